#include <algorithm>
#include <array>
#include <vector>

#include "http/delta_merge.hpp"
#include "http/dialects/gemini_chunk.hpp"
#include "http/dialects/gemini_passthrough_stream.hpp"
#include "http/sse.hpp"

namespace millrace::http {
namespace {

/// Members in the order they came, by their keys as written.
class last_members {
 public:
  /// False when there are too many, or when another value must not replace the one that is there.
  bool set(json_literal key, json_literal value, bool once) {
    const auto there =
        std::find_if(all_.begin(), all_.end(), [key](const auto& m) { return m.first == key; });
    if (there == all_.end()) {
      if (all_.size() == max_merged_parts) return false;
      all_.emplace_back(key, value);
      return true;
    }
    if (once && there->second != value) return false;
    there->second = value;
    return true;
  }
  void write(std::string& out) const {
    for (const auto& [key, value] : all_) out.append(",").append(key).append(":").append(value);
  }

 private:
  std::vector<std::pair<std::string, std::string>> all_;
};

/// A part of an answer; texts without anything beside them can be joined.
struct collected_part {
  std::string text;  ///< the whole part, or the inside of its text
  bool plain = false;
  bool thought = false;
};

struct collected_candidate {
  std::int64_t index = 0;
  bool ended = false;
  std::vector<collected_part> parts;
  last_members rest;
};

class answer_collector {
 public:
  bool read(std::string_view stream);
  void write(std::string_view client_model, std::string& out) const;
  const engine::usage& used() const { return used_; }

 private:
  bool read_chunk(std::string_view payload);
  bool read_candidate(json_literal literal);
  bool read_content(json_scanner& scanner, collected_candidate& into);
  static void add_part(json_literal part, collected_candidate& into);
  collected_candidate* candidate_at(std::int64_t index);
  bool complete() const;

  bool blocked_ = false;
  engine::usage used_;
  std::vector<collected_candidate> candidates_;
  last_members rest_;
};

bool answer_collector::read(std::string_view stream) {
  if (!valid_utf8(stream)) return false;
  sse_splitter splitter;
  sse_event event;
  std::string joined;
  splitter.feed(stream);
  for (;;) {
    const auto result = splitter.next_of_whole(event);
    if (result == sse_splitter::result::too_large) return false;
    if (result == sse_splitter::result::more) return !splitter.in_a_line() && complete();
    const std::string_view payload = json_trim(sse_payload(event, joined));
    if (payload.empty()) {
      const std::string_view bare = json_trim(event.raw);
      if (!bare.empty() && bare.front() != ':') return false;
    } else if (!read_chunk(payload)) {
      return false;
    }
  }
}

bool answer_collector::read_chunk(std::string_view payload) {
  gemini_chunk chunk;
  if (!read_gemini_chunk(payload, chunk) || !chunk.error.empty()) return false;
  if (chunk.any_usage) used_ = chunk.used;
  blocked_ = blocked_ || chunk.blocked;
  json_scanner scanner(payload);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "candidates" && scanner.enter_array()) {
      while (scanner.next_element()) {
        if (!read_candidate(scanner.value())) return false;
      }
      continue;
    }
    const bool skipped = key == "candidates" || key == "modelVersion" || key == "error";
    const bool is_feedback = key == "promptFeedback";
    const json_literal name = scanner.key_literal();
    const json_literal value = scanner.value();
    if (!skipped && value != "null" && !rest_.set(name, value, is_feedback)) return false;
  }
  return scanner.at_end();
}

bool answer_collector::read_candidate(json_literal literal) {
  constexpr std::array<std::string_view, 4> told_once = {"citationMetadata", "groundingMetadata",
                                                         "logprobsResult", "urlContextMetadata"};
  std::int64_t index = 0;
  if (!read_index(literal, index)) return false;
  collected_candidate* const into = candidate_at(index);
  json_scanner scanner(literal);
  if (into == nullptr || !scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "content") {
      if (!read_content(scanner, *into)) return false;
      continue;
    }
    const bool once = std::find(told_once.begin(), told_once.end(), key) != told_once.end();
    const bool is_index = key == "index";
    const bool is_end = key == "finishReason";
    const json_literal name = scanner.key_literal();
    const json_literal value = scanner.value();
    if (is_index || json_is_blank(value)) continue;
    if (is_end && value.front() != '"') return false;
    into->ended = into->ended || is_end;
    if (!into->rest.set(name, value, once)) return false;
  }
  return scanner.at_end();
}

bool answer_collector::read_content(json_scanner& scanner, collected_candidate& into) {
  if (!scanner.enter_object()) return scanner.value() == "null";
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "parts" && scanner.enter_array()) {
      while (scanner.next_element()) add_part(scanner.value(), into);
    } else {
      scanner.value();
    }
  }
  return scanner.error() == json_error::none;
}

void answer_collector::add_part(json_literal part, collected_candidate& into) {
  json_scanner scanner(part);
  collected_part made;
  json_literal text;
  bool plain = scanner.enter_object();
  std::string_view key;
  while (plain && scanner.next_member(key)) {
    const bool is_text = key == "text";
    const bool is_thought = key == "thought";
    const json_literal value = scanner.value();
    if (is_text && !value.empty() && value.front() == '"') {
      text = value;
    } else if (is_thought && (value == "true" || value == "false")) {
      made.thought = value == "true";
    } else {
      plain = false;
    }
  }
  made.plain = plain && !text.empty();
  if (!made.plain) {
    made.text = part;
  } else if (json_is_blank(text)) {
    return;
  } else {
    const std::string_view inside = text.substr(1, text.size() - 2);
    if (!into.parts.empty() && into.parts.back().plain && into.parts.back().thought == made.thought) {
      into.parts.back().text += inside;
      return;
    }
    made.text = inside;
  }
  into.parts.push_back(std::move(made));
}

collected_candidate* answer_collector::candidate_at(std::int64_t index) {
  const auto at =
      std::lower_bound(candidates_.begin(), candidates_.end(), index,
                       [](const collected_candidate& c, std::int64_t wanted) { return c.index < wanted; });
  if (at != candidates_.end() && at->index == index) return &*at;
  if (candidates_.size() == max_merged_parts) return nullptr;
  const auto made = candidates_.emplace(at);
  made->index = index;
  return &*made;
}

bool answer_collector::complete() const {
  if (candidates_.empty()) return blocked_;
  return std::all_of(candidates_.begin(), candidates_.end(), [](const auto& c) { return c.ended; });
}

void answer_collector::write(std::string_view client_model, std::string& out) const {
  out = "{";
  for (const collected_candidate& c : candidates_) {
    out += &c == candidates_.data() ? "\"candidates\":[{" : ",{";
    out += "\"content\":{\"parts\":[";
    for (const collected_part& part : c.parts) {
      if (&part != c.parts.data()) out += ',';
      if (part.plain) {
        out.append("{\"text\":\"").append(part.text).append(part.thought ? "\",\"thought\":true}" : "\"}");
      } else {
        out += part.text;
      }
    }
    out.append("],\"role\":\"model\"},\"index\":").append(std::to_string(c.index));
    c.rest.write(out);
    out += '}';
  }
  out += candidates_.empty() ? "\"modelVersion\":" : "],\"modelVersion\":";
  json_quote(client_model, out);
  rest_.write(out);
  out += '}';
}

}  // namespace

bool collect_gemini_answer(std::string_view stream, std::string_view client_model, std::string& out,
                           engine::usage& used) {
  out.clear();
  used = {};
  answer_collector collector;
  if (!collector.read(stream)) return false;
  collector.write(client_model, out);
  used = collector.used();
  return true;
}

}  // namespace millrace::http
