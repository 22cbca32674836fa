#include "http/dialects/chat_collector.hpp"

#include <algorithm>

#include "http/dialects/json_members.hpp"

namespace millrace::http {

using kind = chat_delta::kind;

/// The part that grows: the last one, if it is of this kind.
chat_collector::piece* chat_collector::open(part_kind kind) {
  const bool grows = !pieces_.empty() && pieces_.back().kind == kind && pieces_.back().signature.empty();
  if (grows && kind != part_kind::tool_call) return &pieces_.back();
  if (pieces_.size() == max_parts) return nullptr;
  pieces_.emplace_back().kind = kind;
  return &pieces_.back();
}

chat_collector::piece* chat_collector::call(std::int64_t index) {
  const auto found = std::find_if(pieces_.begin(), pieces_.end(), [index](const piece& p) {
    return p.kind == part_kind::tool_call && p.index == index;
  });
  return found == pieces_.end() ? nullptr : &*found;
}

void chat_collector::put(const chat_delta& d) {
  const auto say = [&](part_kind what) {
    piece* p = open(what);
    failed_ = failed_ || !p;
    if (p) p->text += inside(d.text);
  };
  switch (d.what) {
    case kind::start:
      answer_.id = answer_.keep(std::string(d.id));
      return;
    case kind::text:
      return say(part_kind::text);
    case kind::refusal:
      return say(part_kind::refusal);
    case kind::thinking:
      return say(part_kind::thinking);
    case kind::signature:
    case kind::sealed_thinking: {
      const bool sealed = d.what == kind::sealed_thinking;
      piece* p = open(sealed ? part_kind::sealed_thinking : part_kind::thinking);
      failed_ = failed_ || !p;
      if (p) p->signature = d.text;
      return;
    }
    case kind::tool_call: {
      const bool twice = call(d.index) != nullptr;
      piece* p = open(part_kind::tool_call);
      failed_ = failed_ || !p || twice;
      if (!p) return;
      p->index = d.index;
      p->id = d.id;
      p->name = d.name;
      return;
    }
    case kind::tool_arguments: {
      piece* p = call(d.index);
      failed_ = failed_ || !p;
      if (p) p->text += inside(d.text);
      return;
    }
    case kind::usage:
      answer_.used = d.used;
      return;
    case kind::finish:
      answer_.finish = d.finish;
      answer_.stop_sequence = answer_.keep(std::string(d.stop_sequence));
      return;
    case kind::done:
      done_ = true;
      return;
    case kind::error:
      failed_ = true;
      return;
  }
}

void chat_collector::write(const piece& p) {
  chat_part& part = answer_.parts.emplace_back();
  part.kind = p.kind;
  part.signature = answer_.keep(p.signature);
  const std::string literal = '"' + p.text + '"';
  if (p.kind != part_kind::tool_call) {
    part.text = answer_.keep(literal);
    return;
  }
  part.id = answer_.keep(p.id);
  part.name = answer_.keep(p.name);
  part.arguments = answer_.keep(p.text.empty() ? "{}" : json_text(literal));
  failed_ = failed_ || !is_json_object(part.arguments);
}

const chat_answer* chat_collector::answer() {
  if (done_ && !failed_ && answer_.parts.empty()) {
    for (const piece& p : pieces_) write(p);
  }
  return done_ && !failed_ && answer_.finish != finish_reason::none ? &answer_ : nullptr;
}

}  // namespace millrace::http
