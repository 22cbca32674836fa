#include <utility>

#include "http/simulator/gemini_api.hpp"
#include "http/simulator/signature.hpp"

namespace millrace::http::simulation {
namespace {

void append_count(std::string& out, std::string_view name, std::int64_t n) {
  out.append(",\"").append(name).append("\":");
  append_number(out, n);
}

/// Thoughts are no candidates' tokens here.
void append_usage(std::string& out, const engine::usage& used) {
  out += R"("usageMetadata":{"promptTokenCount":)";
  append_number(out, used.input_tokens);
  append_count(out, "candidatesTokenCount", used.output_tokens - used.reasoning_tokens);
  append_count(out, "totalTokenCount", used.input_tokens + used.output_tokens);
  if (used.cached_tokens > 0) append_count(out, "cachedContentTokenCount", used.cached_tokens);
  out += R"(,"promptTokensDetails":[{"modality":"TEXT","tokenCount":)";
  append_number(out, used.input_tokens);
  out += "}]";
  if (used.reasoning_tokens > 0) append_count(out, "thoughtsTokenCount", used.reasoning_tokens);
  out += '}';
}

/// Behind the candidates.
void append_tail(std::string& out, const identity& who, const engine::usage& used) {
  out += "],";
  append_usage(out, used);
  out.append(R"(,"modelVersion":")").append(who.model);
  out.append(R"(","responseId":")").append(who.id).append("\"}");
}

std::string signature_of(const reply_text& text) {
  return R"(,"thoughtSignature":")" + seal("thought " + std::to_string(text.digest())) + "\"";
}

void append_thought(std::string& out, const reply_text& text, std::int64_t first, std::int64_t end) {
  out += R"({"text":")";
  for (std::int64_t token = first; token < end; ++token) text.append_thought(out, token);
  out += R"(","thought":true})";
}

/// The first call of a thinking model bears its signature.
void append_call(std::string& out, const reply_text& text, size_t call, bool thinks) {
  const reply_text::call& c = text.calls()[call];
  out.append(R"({"functionCall":{"name":")").append(c.name).append(R"(","args":)");
  out.append(c.arguments.empty() ? "{}" : c.arguments).append("}");
  if (thinks && call == 0) out += signature_of(text);
  out += '}';
}

void append_finish(std::string& out, const reply_text& text) {
  out += text.is_cut() ? R"(,"finishReason":"MAX_TOKENS")" : R"(,"finishReason":"STOP")";
}

}  // namespace

void append_gemini_answer(std::string& out, const identity& who, const reply_choices& choices,
                          const question& q, std::int64_t now_us) {
  const reply_text& text = choices.text(0);
  out += R"({"candidates":[{"content":{"parts":[)";
  const size_t start = out.size();
  if (q.shows_thoughts && text.thought_tokens() > 0) append_thought(out, text, 0, text.thought_tokens());
  for (size_t call = 0; call < text.calls().size(); ++call) {
    if (out.size() > start) out += ',';
    append_call(out, text, call, q.reasons);
  }
  if (!text.calls_tool()) {
    if (out.size() > start) out += ',';
    out += R"({"text":")";
    for (std::int64_t token = 0; token < text.tokens(); ++token) text.append(out, token, now_us);
    out += '"';
    if (q.reasons) out += signature_of(text);
    out += '}';
  }
  out += R"(],"role":"model"})";
  append_finish(out, text);
  out += R"(,"index":0})";
  append_tail(out, who, choices.usage());
}

// --- streams
// -----------------------------------------------------------------------------------------------------

gemini_stream::gemini_stream(identity who, reply_choices choices, const question& q, double tokens_per_second,
                             bool chunked)
    : event_stream(chunked),
      who_(std::move(who)),
      choices_(std::move(choices)),
      tokens_per_second_(tokens_per_second),
      thinks_(q.reasons),
      shows_thoughts_(q.shows_thoughts && choices_.text(0).thought_tokens() > 0),
      array_(q.array_stream),
      step_(step::finish) {
  const reply_text& text = choices_.text(0);
  if (shows_thoughts_)
    step_ = step::thought;
  else if (text.calls_tool())
    step_ = step::call;
  else if (text.tokens() > 0)
    step_ = step::token;
}

engine::usage gemini_stream::used() const {
  return choices_.usage_after(events_written() > 0 ? tokens_ : -1);
}

void gemini_stream::write_event(std::string& out, std::int64_t now_us) {
  if (array_)
    scratch_ = events_written() == 0 ? "[" : ",\r\n";
  else
    scratch_ = "data: ";
  append_chunk(now_us);
  advance();
  scratch_ += !array_ ? "\r\n\r\n" : done() ? "\n]\n" : "\n";
  write_data(out, scratch_);
  count_event();
}

void gemini_stream::append_chunk(std::int64_t now_us) {
  const reply_text& text = choices_.text(0);
  std::string& out = scratch_;
  out += R"({"candidates":[{"content":{"parts":[)";
  switch (step_) {
    case step::thought:
      append_thought(out, text, token_, token_ + 1);
      break;
    case step::call:
      append_call(out, text, call_, thinks_);
      tokens_ = text.calls()[call_].end;
      break;
    case step::token:
      out += R"({"text":")";
      text.append(out, token_, now_us);
      out += "\"}";
      tokens_ = token_ + 1;
      break;
    case step::finish:
    case step::end:
      out += R"({"text":"")";
      if (thinks_ && !text.calls_tool()) out += signature_of(text);
      out += '}';
  }
  out += R"(],"role":"model"})";
  if (step_ == step::finish) append_finish(out, text);
  out += R"(,"index":0})";
  append_tail(out, who_, choices_.usage_after(tokens_));
}

void gemini_stream::advance() {
  const reply_text& text = choices_.text(0);
  switch (step_) {
    case step::thought:
      if (++token_ < text.thought_tokens()) return;
      token_ = 0;
      step_ = text.calls_tool() ? step::call : text.tokens() > 0 ? step::token : step::finish;
      return;
    case step::call:
      if (++call_ == text.calls().size()) step_ = step::finish;
      return;
    case step::token:
      if (++token_ >= text.tokens()) step_ = step::finish;
      return;
    case step::finish:
    case step::end:
      step_ = step::end;
  }
}

}  // namespace millrace::http::simulation
