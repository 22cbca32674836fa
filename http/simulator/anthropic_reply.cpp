#include <string_view>
#include <utility>

#include "http/simulator/anthropic_api.hpp"
#include "http/simulator/signature.hpp"

namespace millrace::http::simulation {
namespace {

void append_count(std::string& out, std::string_view name, std::int64_t n) {
  out.append(",\"").append(name).append("\":");
  append_number(out, n);
}

/// Input first: this dialect leaves cached tokens out of it.
void append_input_usage(std::string& out, const engine::usage& used) {
  out += R"({"input_tokens":)";
  append_number(out, used.input_tokens - used.cached_tokens - used.cache_write_tokens);
  append_count(out, "cache_creation_input_tokens", used.cache_write_tokens);
  append_count(out, "cache_read_input_tokens", used.cached_tokens);
}

void append_thinking_tokens(std::string& out, const engine::usage& used) {
  if (used.reasoning_tokens == 0) return;
  out += R"(,"output_tokens_details":{"thinking_tokens":)";
  append_number(out, used.reasoning_tokens);
  out += '}';
}

void append_whole_usage(std::string& out, const engine::usage& used) {
  append_input_usage(out, used);
  out += R"(,"cache_creation":{"ephemeral_5m_input_tokens":)";
  append_number(out, used.cache_write_tokens);
  out += R"(,"ephemeral_1h_input_tokens":0})";
  append_count(out, "output_tokens", used.output_tokens);
  append_thinking_tokens(out, used);
  out += R"(,"service_tier":"standard"})";
}

std::string_view stop_reason(const reply_text& text) {
  if (text.is_cut()) return "max_tokens";
  return text.calls_tool() ? "tool_use" : "end_turn";
}

void append_head(std::string& out, const identity& who) {
  out += R"({"id":")";
  out += who.id;
  out += R"(","type":"message","role":"assistant","model":")";
  out += who.model;
  out += R"(","content":[)";
}

void append_tool_use_head(std::string& out, const reply_text& text, size_t call) {
  out += R"({"type":"tool_use","id":"toolu_)";
  append_number(out, text.digest());
  out += '_';
  append_number(out, static_cast<std::int64_t>(call));
  out += R"(","name":")";
  out += text.calls()[call].name;
  out += R"(","input":)";
}

std::string thought_of(const reply_text& text) {
  std::string out;
  for (std::int64_t token = 0; token < text.thought_tokens(); ++token) text.append_thought(out, token);
  return out;
}

std::string redacted(const reply_text& text) {
  return R"({"type":"redacted_thinking","data":")" + seal(thought_of(text)) + "\"}";
}

void append_block(std::string& out, const reply_block& b, const reply_text& text, bool shows_thoughts,
                  std::int64_t now_us) {
  switch (b.what) {
    case reply_block::kind::redacted:
      out += redacted(text);
      return;
    case reply_block::kind::thinking: {
      const std::string thought = shows_thoughts ? thought_of(text) : "";
      out += R"({"type":"thinking","thinking":")" + thought + R"(","signature":")" + sign(thought) + "\"}";
      return;
    }
    case reply_block::kind::text:
      out += R"({"type":"text","text":")";
      for (std::int64_t token = b.first; token < b.end; ++token) text.append(out, token, now_us);
      out += "\"}";
      return;
    case reply_block::kind::call: {
      append_tool_use_head(out, text, b.call);
      const std::string& arguments = text.calls()[b.call].arguments;
      out += arguments.empty() ? "{}" : arguments;
      out += '}';
    }
  }
}

}  // namespace

std::vector<reply_block> blocks_of(const reply_text& text, const question& q) {
  using kind = reply_block::kind;
  std::vector<reply_block> blocks;
  if (text.thought_tokens() > 0)
    blocks.push_back({q.redacts_thoughts ? kind::redacted : kind::thinking, 0, 0, text.thought_tokens()});
  if (text.calls_tool()) {
    for (size_t call = 0; call < text.calls().size(); ++call)
      blocks.push_back({kind::call, call, text.calls()[call].first, text.calls()[call].end});
  } else if (text.tokens() > 0) {
    blocks.push_back({kind::text, 0, 0, text.tokens()});
  }
  return blocks;
}

void append_anthropic_message(std::string& out, const identity& who, const reply_choices& choices,
                              const question& q, std::int64_t now_us) {
  const reply_text& text = choices.text(0);
  append_head(out, who);
  bool first = true;
  for (const reply_block& b : blocks_of(text, q)) {
    if (!std::exchange(first, false)) out += ',';
    append_block(out, b, text, q.shows_thoughts, now_us);
  }
  out += R"(],"stop_reason":")";
  out += stop_reason(text);
  out += R"(","stop_sequence":null,"usage":)";
  append_whole_usage(out, choices.usage());
  out += '}';
}

// --- streams
// -----------------------------------------------------------------------------------------------------

anthropic_stream::anthropic_stream(identity who, reply_choices choices, const question& q,
                                   double tokens_per_second, bool chunked)
    : event_stream(chunked),
      who_(std::move(who)),
      choices_(std::move(choices)),
      tokens_per_second_(tokens_per_second),
      blocks_(blocks_of(choices_.text(0), q)),
      shows_thoughts_(q.shows_thoughts) {
  const bool thinks = !blocks_.empty() && blocks_.front().what == reply_block::kind::thinking;
  if (thinks) signature_ = sign(shows_thoughts_ ? thought_of(choices_.text(0)) : "");
}

engine::duration anthropic_stream::due() const {
  return step_ == step::start ? engine::duration{} : due_of_token(tokens_, tokens_per_second_);
}

engine::usage anthropic_stream::used() const {
  return choices_.usage_after(events_written() > 0 ? tokens_ : -1);
}

void anthropic_stream::write_event(std::string& out, std::int64_t now_us) {
  scratch_ = "event: ";
  append_event(now_us);
  scratch_ += "\n\n";
  write_data(out, scratch_);
  count_event();
  advance();
}

void anthropic_stream::append_event(std::int64_t now_us) {
  std::string& out = scratch_;
  switch (step_) {
    case step::start:
      out += "message_start\ndata: {\"type\":\"message_start\",\"message\":";
      append_head(out, who_);
      out += R"(],"stop_reason":null,"stop_sequence":null,"usage":)";
      append_input_usage(out, choices_.usage());
      out += R"(,"output_tokens":1,"service_tier":"standard"}}})";
      return;
    case step::block_start:
      return append_block_start();
    case step::ping:
      out += "ping\ndata: {\"type\":\"ping\"}";
      return;
    case step::delta:
    case step::signature:
      return append_delta(now_us);
    case step::block_stop:
      out += "content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":";
      append_number(out, static_cast<std::int64_t>(block_));
      out += '}';
      return;
    case step::finish:
      out += "message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"";
      out += stop_reason(choices_.text(0));
      out += R"(","stop_sequence":null},"usage":)";
      append_input_usage(out, choices_.usage());
      append_count(out, "output_tokens", choices_.completion_tokens());
      append_thinking_tokens(out, choices_.usage());
      out += "}}";
      return;
    case step::stop:
    case step::end:
      out += "message_stop\ndata: {\"type\":\"message_stop\"}";
  }
}

void anthropic_stream::append_block_start() {
  std::string& out = scratch_;
  out += "content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":";
  append_number(out, static_cast<std::int64_t>(block_));
  out += R"(,"content_block":)";
  const reply_block& b = blocks_[block_];
  switch (b.what) {
    case reply_block::kind::thinking:
      out += R"({"type":"thinking","thinking":"","signature":""})";
      break;
    case reply_block::kind::redacted:
      out += redacted(choices_.text(0));
      break;
    case reply_block::kind::text:
      out += R"({"type":"text","text":""})";
      break;
    case reply_block::kind::call:
      append_tool_use_head(out, choices_.text(0), b.call);
      out += "{}}";
  }
  out += '}';
}

void anthropic_stream::append_delta(std::int64_t now_us) {
  std::string& out = scratch_;
  out += "content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":";
  append_number(out, static_cast<std::int64_t>(block_));
  const reply_block& b = blocks_[block_];
  if (step_ == step::signature) {
    out += R"(,"delta":{"type":"signature_delta","signature":")" + signature_ + "\"}}";
    return;
  }
  const bool thinking = b.what == reply_block::kind::thinking;
  out += thinking                            ? R"(,"delta":{"type":"thinking_delta","thinking":")"
         : b.what == reply_block::kind::text ? R"(,"delta":{"type":"text_delta","text":")"
                                             : R"(,"delta":{"type":"input_json_delta","partial_json":")";
  if (thinking) {
    choices_.text(0).append_thought(out, token_);
  } else {
    choices_.text(0).append(out, token_, now_us);
    ++tokens_;
  }
  out += "\"}}";
}

void anthropic_stream::advance() {
  const bool first = block_ == 0;
  switch (step_) {
    case step::start:
      step_ = blocks_.empty() ? step::finish : step::block_start;
      return;
    case step::block_start:
    case step::ping: {
      // Right behind the first block's start there is a ping.
      if (step_ == step::block_start && first) {
        step_ = step::ping;
        return;
      }
      const reply_block& b = blocks_[block_];
      token_ = b.first;
      const bool thinking = b.what == reply_block::kind::thinking;
      if (b.what == reply_block::kind::redacted)
        step_ = step::block_stop;
      else if (thinking && !shows_thoughts_)
        step_ = step::signature;
      else
        step_ = b.first < b.end ? step::delta : step::block_stop;
      return;
    }
    case step::delta:
      if (++token_ < blocks_[block_].end) return;
      step_ = blocks_[block_].what == reply_block::kind::thinking ? step::signature : step::block_stop;
      return;
    case step::signature:
      step_ = step::block_stop;
      return;
    case step::block_stop:
      step_ = ++block_ < blocks_.size() ? step::block_start : step::finish;
      return;
    case step::finish:
      step_ = step::stop;
      return;
    case step::stop:
    case step::end:
      step_ = step::end;
  }
}

}  // namespace millrace::http::simulation
