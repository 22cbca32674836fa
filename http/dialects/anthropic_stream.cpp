#include <algorithm>
#include <optional>
#include <utility>

#include "http/dialects/anthropic_codec.hpp"
#include "http/sse.hpp"

namespace millrace::http {
namespace {

using kind = chat_delta::kind;

/// Longest signature that is put together from pieces.
constexpr std::size_t max_signature_bytes = 4U << 20;

struct open_block {
  std::int64_t index = 0;
  bool is_call = false;
  std::int64_t call = 0;  ///< its number among the answer's calls
  bool has_arguments = false;
  std::string input = "{}";  ///< of the call, where no deltas bring it
  std::string signature;     ///< without quotes
};

class anthropic_source final : public delta_source {
 public:
  using sink_type = std::function<void(const chat_delta&)>;

  bool feed(std::string_view bytes, const sink_type& sink) override;
  void end(const sink_type& sink) override { feed(splitter_.lacking(), sink); }

 private:
  bool take(std::string_view payload, const sink_type& sink);
  bool start(json_literal message, const sink_type& sink);
  bool start_block(json_literal block, std::int64_t index, const sink_type& sink);
  bool start_call(json_literal id, json_literal name, json_literal input, const sink_type& sink);
  bool add(json_literal delta, std::int64_t index, const sink_type& sink);
  bool stop_block(const sink_type& sink);
  bool finish(json_literal delta, const sink_type& sink);
  void read_usage(json_literal usage);
  void tell(kind what, json_literal text, const sink_type& sink);
  void tell_usage(const sink_type& sink);
  void fail(std::string_view payload, const sink_type& sink);

  /// Views that a delta shows.
  struct text_keeper {
    std::string text;
    std::string_view keep(std::string said) { return text = std::move(said); }
  };

  sse_splitter splitter_;
  sse_event event_;
  std::string joined_;
  anthropic_usage usage_;
  std::optional<open_block> block_;
  std::int64_t calls_ = 0;
  bool broken_ = false;
  bool over_ = false;  ///< done, or an error event came: nothing more is read
};

bool anthropic_source::feed(std::string_view bytes, const sink_type& sink) {
  if (broken_) return false;
  if (over_) return true;
  splitter_.feed(bytes);
  for (;;) {
    switch (splitter_.next(event_)) {
      case sse_splitter::result::more:
        return true;
      case sse_splitter::result::too_large:
        broken_ = true;
        return false;
      case sse_splitter::result::event:
        break;
    }
    const std::string_view payload = json_trim(sse_payload(event_, joined_));
    if (payload.empty()) continue;
    if (!take(payload, sink)) {
      broken_ = true;
      return false;
    }
    if (over_) return true;
  }
}

bool anthropic_source::take(std::string_view payload, const sink_type& sink) {
  enum : std::size_t { type, message, index, block, delta, usage, error, count };
  static constexpr std::array<std::string_view, count> names = {"type",  "message", "index", "content_block",
                                                                "delta", "usage",   "error"};
  const json_members<count> value(payload, names);
  if (!value.whole) return false;
  std::int64_t at = 0;
  if (!value[index].empty() && !json_integer(value[index], at)) return false;
  if (json_says(value[type], "message_start")) return start(value[message], sink);
  if (json_says(value[type], "content_block_start")) return start_block(value[block], at, sink);
  if (json_says(value[type], "content_block_delta")) return add(value[delta], at, sink);
  if (json_says(value[type], "content_block_stop")) return stop_block(sink);
  if (json_says(value[type], "message_delta")) {
    read_usage(value[usage]);
    tell_usage(sink);
    return finish(value[delta], sink);
  }
  if (json_says(value[type], "message_stop")) {
    over_ = true;
    chat_delta d;
    d.what = kind::done;
    sink(d);
  } else if (json_says(value[type], "error") || !value[error].empty()) {
    fail(payload, sink);
  }
  // Everything else, `ping` among it, says nothing that has a place elsewhere.
  return true;
}

bool anthropic_source::start(json_literal message, const sink_type& sink) {
  const json_members<2> value(message, {"id", "usage"});
  if (!value.is_object) return false;
  text_keeper keeper;
  chat_delta d;
  d.what = kind::start;
  d.id = text_of(value[0], keeper);
  sink(d);
  read_usage(value[1]);
  tell_usage(sink);
  return true;
}

bool anthropic_source::start_block(json_literal block, std::int64_t index, const sink_type& sink) {
  enum : std::size_t { type, text, thinking, data, id, name, input, count };
  static constexpr std::array<std::string_view, count> names = {"type", "text", "thinking", "data",
                                                                "id",   "name", "input"};
  const json_members<count> value(block, names);
  if (!value.is_object) return false;
  if (block_ && !stop_block(sink)) return false;
  block_.emplace().index = index;
  if (json_says(value[type], "text")) tell(kind::text, value[text], sink);
  if (json_says(value[type], "thinking")) tell(kind::thinking, value[thinking], sink);
  if (json_says(value[type], "redacted_thinking")) tell(kind::sealed_thinking, value[data], sink);
  return !json_says(value[type], "tool_use") || start_call(value[id], value[name], value[input], sink);
}

bool anthropic_source::start_call(json_literal id, json_literal name, json_literal input,
                                  const sink_type& sink) {
  block_->is_call = true;
  block_->call = calls_++;
  text_keeper id_keeper;
  text_keeper name_keeper;
  chat_delta d;
  d.what = kind::tool_call;
  d.index = block_->call;
  d.id = text_of(id, id_keeper);
  d.name = text_of(name, name_keeper);
  if (d.name.empty()) return false;
  sink(d);
  // Arguments come in deltas, as a rule; whole ones stand here, and some servers repeat them in deltas.
  if (!json_is_blank(input)) block_->input = input;
  return true;
}

bool anthropic_source::add(json_literal delta, std::int64_t index, const sink_type& sink) {
  enum : std::size_t { type, text, json, thinking, signature, count };
  static constexpr std::array<std::string_view, count> names = {"type", "text", "partial_json", "thinking",
                                                                "signature"};
  const json_members<count> value(delta, names);
  if (!value.is_object || !block_ || block_->index != index) return false;
  if (json_says(value[type], "text_delta")) tell(kind::text, value[text], sink);
  if (json_says(value[type], "thinking_delta")) tell(kind::thinking, value[thinking], sink);
  if (json_says(value[type], "input_json_delta") && block_->is_call)
    tell(kind::tool_arguments, value[json], sink);
  if (json_says(value[type], "signature_delta") && value[signature].size() > 2 &&
      value[signature].front() == '"') {
    if (block_->signature.size() + value[signature].size() > max_signature_bytes) return false;
    block_->signature.append(value[signature], 1, value[signature].size() - 2);
  }
  return true;
}

bool anthropic_source::stop_block(const sink_type& sink) {
  if (!block_) return false;
  if (!block_->signature.empty()) tell(kind::signature, "\"" + block_->signature + "\"", sink);
  // A call without arguments has no deltas but empty ones.
  if (block_->is_call && !block_->has_arguments) {
    std::string literal;
    json_quote(block_->input, literal);
    tell(kind::tool_arguments, literal, sink);
  }
  block_.reset();
  return true;
}

bool anthropic_source::finish(json_literal delta, const sink_type& sink) {
  if (delta.empty()) return true;
  const json_members<3> value(delta, {"stop_reason", "stop_sequence", "stop_details"});
  if (!value.is_object) return false;
  if (value[0].empty()) return true;
  if (block_) stop_block(sink);
  chat_delta d;
  d.finish = read_anthropic_stop(json_text(value[0]));
  if (d.finish == finish_reason::content_filter) {
    const json_members<1> details(value[2], {"explanation"});
    tell(kind::refusal, details[0], sink);
  }
  d.what = kind::finish;
  if (!value[1].empty() && value[1].front() == '"') d.stop_sequence = value[1];
  sink(d);
  return true;
}

void anthropic_source::read_usage(json_literal usage) {
  if (usage.empty()) return;
  json_scanner scanner(usage);
  usage_.read(scanner);
}

/// Empty pieces are not told.
void anthropic_source::tell(kind what, json_literal text, const sink_type& sink) {
  if (text.size() <= 2 || text.front() != '"') return;
  chat_delta d;
  d.what = what;
  d.text = text;
  if (what == kind::tool_arguments) {
    d.index = block_->call;
    block_->has_arguments = true;
  }
  sink(d);
}

void anthropic_source::tell_usage(const sink_type& sink) {
  chat_delta d;
  d.what = kind::usage;
  d.used = usage_.total();
  if (d.used.known) sink(d);
}

void anthropic_source::fail(std::string_view payload, const sink_type& sink) {
  over_ = true;
  const anthropic_failure failure = read_anthropic_error(payload);
  chat_delta d;
  d.what = kind::error;
  d.message = failure.message.empty() ? payload : std::string_view(failure.message);
  d.status = anthropic_status(failure.type);
  sink(d);
}

}  // namespace

std::unique_ptr<delta_source> decode_anthropic_stream() {
  return std::make_unique<anthropic_source>();
}

}  // namespace millrace::http
