#include <utility>

#include "http/delta_merge.hpp"
#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

using kind = chat_delta::kind;

class anthropic_sink final : public delta_sink {
 public:
  explicit anthropic_sink(const encode_options& options) : now_(options.now) {
    json_quote(options.model, model_);
  }

  void put(const chat_delta& d, std::string& out) override;
  bool overflowed() const override { return overflowed_; }

 private:
  enum class open : std::uint8_t { none, text, thinking, call };

  void start(std::string_view id, std::string& out);
  void need(open what, std::string& out);
  void close(std::string& out);
  void add(std::int64_t block, std::string_view type, std::string_view member, json_literal text,
           std::string& out);
  void seal(json_literal data, std::string& out);
  void begin_call(const chat_delta& d, std::string& out);
  void add_arguments(const chat_delta& d, std::string& out);
  void end(std::string& out);

  const std::int64_t now_;
  std::string model_;  ///< as a literal
  bool started_ = false;
  bool ended_ = false;
  bool overflowed_ = false;
  open open_ = open::none;
  std::int64_t next_block_ = 0;
  std::vector<std::int64_t> call_blocks_;  ///< the block of each call
  engine::usage used_;
  finish_reason finish_ = finish_reason::none;
  std::string stop_sequence_;  ///< as a literal
};

void anthropic_sink::put(const chat_delta& d, std::string& out) {
  if (ended_ || overflowed_) return;
  if (d.what == kind::usage) {
    used_ = d.used;
    return;
  }
  if (!started_) start(d.what == kind::start ? d.id : std::string_view(), out);
  const bool blank = json_is_blank(d.text);
  switch (d.what) {
    case kind::text:
    case kind::refusal:
      if (blank) return;
      need(open::text, out);
      return add(next_block_ - 1, "text_delta", "text", d.text, out);
    case kind::thinking:
      if (blank) return;
      need(open::thinking, out);
      return add(next_block_ - 1, "thinking_delta", "thinking", d.text, out);
    case kind::signature:
      if (blank) return;
      need(open::thinking, out);
      add(next_block_ - 1, "signature_delta", "signature", d.text, out);
      return close(out);
    case kind::sealed_thinking:
      return seal(d.text, out);
    case kind::tool_call:
      return begin_call(d, out);
    case kind::tool_arguments:
      return add_arguments(d, out);
    case kind::finish:
      finish_ = d.finish;
      stop_sequence_ = d.stop_sequence;
      return close(out);
    case kind::done:
      return end(out);
    default:
      return;
  }
}

/// How large the input was may not be known yet; the last event tells it, too.
void anthropic_sink::start(std::string_view id, std::string& out) {
  started_ = true;
  out += "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":";
  json_quote(id.empty() ? "msg_" + std::to_string(now_) : std::string(id), out);
  out.append(R"(,"type":"message","role":"assistant","model":)").append(model_);
  out += R"(,"content":[],"stop_reason":null,"stop_sequence":null,"usage":)";
  engine::usage so_far = used_;
  so_far.output_tokens = so_far.reasoning_tokens = 0;
  write_anthropic_usage(so_far, out);
  out += "}}\n\n";
}

void anthropic_sink::need(open what, std::string& out) {
  if (open_ == what) return;
  close(out);
  open_ = what;
  out.append("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
  out.append(std::to_string(next_block_++));
  out += what == open::text ? R"(,"content_block":{"type":"text","text":""}})"
                            : R"(,"content_block":{"type":"thinking","thinking":"","signature":""}})";
  out += "\n\n";
}

void anthropic_sink::close(std::string& out) {
  if (open_ == open::none) return;
  open_ = open::none;
  out.append("event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
  out.append(std::to_string(next_block_ - 1)).append("}\n\n");
}

void anthropic_sink::add(std::int64_t block, std::string_view type, std::string_view member,
                         json_literal text, std::string& out) {
  out.append("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":");
  out.append(std::to_string(block)).append(",\"delta\":{\"type\":\"").append(type).append("\",\"");
  out.append(member).append("\":").append(text).append("}}\n\n");
}

void anthropic_sink::seal(json_literal data, std::string& out) {
  close(out);
  const std::string index = std::to_string(next_block_++);
  out.append("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":").append(index);
  out.append(R"(,"content_block":{"type":"redacted_thinking","data":)").append(data.empty() ? "\"\"" : data);
  out.append("}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":");
  out.append(index).append("}\n\n");
}

/// Calls are numbered from 0 on without gaps.
void anthropic_sink::begin_call(const chat_delta& d, std::string& out) {
  overflowed_ = call_blocks_.size() == max_merged_parts;
  if (overflowed_) return;
  close(out);
  open_ = open::call;
  out.append("event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":");
  out.append(std::to_string(next_block_)).append(R"(,"content_block":{"type":"tool_use","id":)");
  json_quote(d.id.empty() ? "toolu_" + std::to_string(d.index) : std::string(d.id), out);
  out += ",\"name\":";
  json_quote(d.name, out);
  out += ",\"input\":{}}}\n\n";
  call_blocks_.push_back(next_block_++);
}

/// Pieces for a call before the last one come late and go to its block all the same: clients put them
/// together by their index.
void anthropic_sink::add_arguments(const chat_delta& d, std::string& out) {
  const auto call = static_cast<std::size_t>(d.index);
  if (d.index < 0 || call >= call_blocks_.size() || json_is_blank(d.text)) return;
  add(call_blocks_[call], "input_json_delta", "partial_json", d.text, out);
}

void anthropic_sink::end(std::string& out) {
  close(out);
  ended_ = true;
  out += "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":";
  out.append(anthropic_stop_literal(finish_, !stop_sequence_.empty())).append(",\"stop_sequence\":");
  out.append(stop_sequence_.empty() ? "null" : stop_sequence_).append("},\"usage\":");
  write_anthropic_usage(used_, out);
  out += "}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
}

}  // namespace

std::unique_ptr<delta_sink> encode_anthropic_stream(const encode_options& options) {
  return std::make_unique<anthropic_sink>(options);
}

}  // namespace millrace::http
