#include <utility>

#include "http/dialects/gemini_answer_parts.hpp"
#include "http/dialects/gemini_chunk.hpp"
#include "http/dialects/gemini_formats.hpp"
#include "http/dialects/gemini_signature.hpp"
#include "http/sse.hpp"

namespace millrace::http {
namespace {

using delta = chat_delta::kind;
using part_type = gemini_answer_part::kind;

class stream_decoder final : public delta_source {
 public:
  using sink_type = std::function<void(const chat_delta&)>;
  bool feed(std::string_view bytes, const sink_type& sink) override;
  void end(const sink_type& sink) override;

 private:
  bool take(const sink_type& sink);
  bool fail(const gemini_error& e, const sink_type& sink);
  void tell(const sink_type& sink);
  void tell_part(const gemini_answer_part& part, const sink_type& sink);
  void tell_call(const gemini_answer_part& part, const sink_type& sink);
  void sign(json_literal signature, const sink_type& sink);
  void tell_text(delta what, json_literal text, const sink_type& sink);

  sse_splitter splitter_;
  bool broken_ = false;
  bool started_ = false;
  bool failed_ = false;
  bool blocked_ = false;
  std::string finish_;       ///< as a literal; empty: none yet
  bool in_thought_ = false;  ///< the last thing told was a thought without signature
  std::int64_t calls_ = 0;
  std::string id_;

  // The event being read; kept for their memory.
  sse_event event_;
  std::string joined_;
  gemini_chunk chunk_;
};

bool stream_decoder::feed(std::string_view bytes, const sink_type& sink) {
  if (broken_) return false;
  splitter_.feed(bytes);
  for (;;) {
    const auto result = splitter_.next(event_);
    if (result == sse_splitter::result::more) return true;
    if (result == sse_splitter::result::too_large || !take(sink)) {
      broken_ = true;
      return false;
    }
  }
}

bool stream_decoder::take(const sink_type& sink) {
  std::string_view payload = json_trim(sse_payload(event_, joined_));
  if (payload.empty()) {
    // Google writes an error into a stream as plain JSON, too.
    payload = json_trim(event_.raw);
    gemini_error e;
    const bool bare = !payload.empty() && (payload.front() == '{' || payload.front() == '[');
    return !(bare && read_gemini_error_body(payload, e)) || fail(e, sink);
  }
  if (!read_gemini_chunk(payload, chunk_)) return false;
  if (!chunk_.error.empty()) return fail(read_gemini_error(chunk_.error), sink);
  tell(sink);
  return true;
}

bool stream_decoder::fail(const gemini_error& e, const sink_type& sink) {
  failed_ = true;
  chat_delta d;
  d.what = delta::error;
  d.message = e.message;
  d.status = e.code >= 400 && e.code < 600 ? static_cast<int>(e.code) : 0;
  sink(d);
  return true;
}

void stream_decoder::tell(const sink_type& sink) {
  if (!std::exchange(started_, true)) {
    id_ = json_text(chunk_.id);
    chat_delta d;
    d.what = delta::start;
    d.id = id_;
    sink(d);
  }
  for (const gemini_answer_part& part : chunk_.parts) tell_part(part, sink);
  blocked_ = blocked_ || chunk_.blocked;
  if (!chunk_.finish.empty()) finish_ = chunk_.finish;
  if (chunk_.any_usage) {
    chat_delta d;
    d.what = delta::usage;
    d.used = chunk_.used;
    sink(d);
  }
}

/// Some models give a reason to finish in every chunk, and usage may come behind it: the last one is not
/// known before.
void stream_decoder::end(const sink_type& sink) {
  feed(splitter_.lacking(), sink);
  if (splitter_.in_a_line() || broken_ || failed_ || (finish_.empty() && !blocked_)) return;
  chat_delta d;
  d.what = delta::finish;
  d.finish = read_gemini_finish(json_text(finish_));
  if (d.finish == finish_reason::none) d.finish = finish_reason::stop;
  if (finish_.empty()) d.finish = finish_reason::content_filter;
  if (d.finish == finish_reason::stop && calls_ > 0) d.finish = finish_reason::tool_calls;
  sink(d);
  d = {};
  d.what = delta::done;
  sink(d);
}

void stream_decoder::tell_part(const gemini_answer_part& part, const sink_type& sink) {
  const bool says = !json_is_blank(part.text);
  if (part.thought && part.what == part_type::text) {
    if (says) tell_text(delta::thinking, part.text, sink);
    in_thought_ = in_thought_ || says;
    if (!part.signature.empty()) sign(part.signature, sink);
    return;
  }
  if (!part.signature.empty()) sign(part.signature, sink);
  if (part.what == part_type::text && says) {
    in_thought_ = false;
    tell_text(delta::text, part.text, sink);
  } else if (part.what == part_type::call) {
    in_thought_ = false;
    tell_call(part, sink);
  } else if (part.what == part_type::media || part.what == part_type::own) {
    in_thought_ = false;
    tell_text(delta::text, gemini_note_of(part), sink);
  }
}

void stream_decoder::tell_text(delta what, json_literal text, const sink_type& sink) {
  chat_delta d;
  d.what = what;
  d.text = text;
  sink(d);
}

/// Gemini signs the part behind a thought, other dialects the thought.
void stream_decoder::sign(json_literal signature, const sink_type& sink) {
  const std::string marked = mark_gemini_signature(signature);
  tell_text(std::exchange(in_thought_, false) ? delta::signature : delta::sealed_thinking, marked, sink);
}

/// Calls come whole.
void stream_decoder::tell_call(const gemini_answer_part& part, const sink_type& sink) {
  const std::string id =
      part.id.empty() ? gemini_call_id(id_, static_cast<size_t>(calls_)) : json_text(part.id);
  const std::string name = json_text(part.name);
  chat_delta d;
  d.what = delta::tool_call;
  d.index = calls_++;
  d.id = id;
  d.name = name;
  sink(d);
  std::string arguments;
  json_quote(part.arguments, arguments);
  d.what = delta::tool_arguments;
  d.text = arguments;
  sink(d);
}

/// Most bytes of arguments that are kept until they are whole; what exceeds it makes the call malformed.
constexpr size_t max_kept_arguments = 8U << 20;
constexpr size_t max_kept_calls = 1024;

class stream_encoder final : public delta_sink {
 public:
  explicit stream_encoder(const encode_options& options) { json_quote(options.model, model_); }

  void put(const chat_delta& d, std::string& out) override;

 private:
  struct call {
    std::int64_t index = 0;
    std::string id;
    std::string name;
    std::string arguments;
  };

  void put_text(json_literal text, bool thought, std::string& out);
  void put_signature(json_literal signature, std::string& out);
  void put_end(std::string& out);
  void add_arguments(const chat_delta& d);
  void begin(std::string& out) const;
  void end(std::string& out) const;

  std::string model_;        ///< as a literal
  std::string id_ = "\"\"";  ///< the same
  std::string half_;         ///< an escape that is one half of a character: the other one comes next
  std::vector<call> calls_;
  size_t kept_ = 0;
  bool malformed_ = false;
  finish_reason finish_ = finish_reason::none;
  engine::usage used_;
};

void stream_encoder::put(const chat_delta& d, std::string& out) {
  switch (d.what) {
    case delta::start:
      id_.clear();
      json_quote(d.id, id_);
      return;
    case delta::text:
    case delta::refusal:
      return put_text(d.text, false, out);
    case delta::thinking:
      return put_text(d.text, true, out);
    case delta::signature:
    case delta::sealed_thinking:
      return put_signature(d.text, out);
    case delta::tool_call:
      if (calls_.size() < max_kept_calls) {
        calls_.push_back({d.index, std::string(d.id), std::string(d.name), {}});
      } else {
        malformed_ = true;
      }
      return;
    case delta::tool_arguments:
      return add_arguments(d);
    case delta::usage:
      used_ = d.used;
      return;
    case delta::finish:
      finish_ = d.finish;
      return;
    case delta::done:
      return put_end(out);
    case delta::error:
      return;
  }
}

/// Length of the escape of a high surrogate that ends `inside`; 0: it ends in none.
size_t trailing_half(std::string_view inside) {
  constexpr size_t length = 6;
  if (inside.size() < length) return 0;
  const std::string_view escape = inside.substr(inside.size() - length);
  const bool high = escape[0] == '\\' && escape[1] == 'u' && (escape[2] == 'd' || escape[2] == 'D') &&
                    std::string_view("89abAB").find(escape[3]) != std::string_view::npos;
  if (!high) return 0;
  size_t slashes = 0;
  while (slashes < inside.size() - length && inside[inside.size() - length - 1 - slashes] == '\\') ++slashes;
  return slashes % 2 == 0 ? length : 0;
}

/// Every event must be UTF-8 of its own: Python's SDK refuses halves of characters.
void stream_encoder::put_text(json_literal text, bool thought, std::string& out) {
  if (text.size() < 2) return;
  std::string_view inside = text.substr(1, text.size() - 2);
  const size_t half = trailing_half(inside);
  const std::string_view next_half = inside.substr(inside.size() - half);
  inside.remove_suffix(half);
  if (!inside.empty()) {
    begin(out);
    out.append("{\"text\":\"").append(half_).append(inside).append(thought ? "\",\"thought\":true}" : "\"}");
    end(out);
    half_.clear();
  }
  half_.append(next_half);
}

void stream_encoder::put_signature(json_literal signature, std::string& out) {
  if (json_is_blank(signature)) return;
  begin(out);
  out += R"({"text":"","thought":true,"thoughtSignature":)";
  out.append(wrap_for_gemini_client(signature)).append("}");
  end(out);
}

void stream_encoder::add_arguments(const chat_delta& d) {
  kept_ += d.text.size();
  for (call& c : calls_) {
    if (c.index != d.index) continue;
    if (kept_ > max_kept_arguments) {
      malformed_ = true;
    } else {
      c.arguments += json_text(d.text);
    }
    return;
  }
}

/// Calls, usage and the reason for the end are in the last event, as Gemini has it.
void stream_encoder::put_end(std::string& out) {
  begin(out);
  bool first = true;
  for (const call& c : calls_) {
    const size_t before = out.size();
    if (!first) out += ',';
    if (!malformed_ && valid_utf8(c.arguments) && write_gemini_call(c.id, c.name, c.arguments, out)) {
      first = false;
    } else {
      out.resize(before);
      malformed_ = true;
    }
  }
  if (first) out += R"({"text":""})";
  out += R"(],"role":"model"})";
  const std::string_view finish = malformed_ ? "MALFORMED_FUNCTION_CALL" : gemini_finish_name(finish_);
  out.append(",\"finishReason\":\"").append(finish).append("\",\"index\":0}],");
  if (used_.known) {
    write_gemini_usage(used_, out);
    out += ',';
  }
  out.append("\"modelVersion\":").append(model_).append(",\"responseId\":").append(id_).append("}\r\n\r\n");
}

void stream_encoder::begin(std::string& out) const {
  out += R"(data: {"candidates":[{"content":{"parts":[)";
}

void stream_encoder::end(std::string& out) const {
  out += R"(],"role":"model"},"index":0}],"modelVersion":)";
  out.append(model_).append(",\"responseId\":").append(id_).append("}\r\n\r\n");
}

}  // namespace

std::unique_ptr<delta_source> decode_gemini_stream() {
  return std::make_unique<stream_decoder>();
}

std::unique_ptr<delta_sink> encode_gemini_stream(const encode_options& options) {
  return std::make_unique<stream_encoder>(options);
}

}  // namespace millrace::http
