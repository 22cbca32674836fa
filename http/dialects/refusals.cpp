#include "http/dialects/refusals.hpp"

#include <algorithm>
#include <string>

#include "http/dialects/json_members.hpp"

namespace millrace::http {

namespace {

using engine::provider_kind;
using engine::refusal_reason;

/// An error's own words, whoever wrote it: the members of `error`, or of the body where that has none.
struct refusal_words {
  std::string code, type, message;

  explicit refusal_words(std::string_view body) {
    const json_members<4> top(body, {"error", "code", "type", "message"});
    const json_members<3> inner(top[0], {"code", "type", "message"});
    const bool nested = inner.is_object;
    code = json_text(nested ? inner[0] : top[1]);
    type = json_text(nested ? inner[1] : top[2]);
    message = json_text(nested ? inner[2] : top[3]);
    if (message.empty() && is_string(top[0])) message = json_text(top[0]);
  }
  bool says(std::string_view words) const { return message.find(words) != std::string::npos; }
};

/// xAI's and OpenRouter's words, which come with a 403.
bool violates_guidelines(const refusal_words& e) {
  return e.says("SAFETY_CHECK_TYPE") || e.says("violates usage guidelines") ||
         e.says("your input was flagged");
}

refusal_reason openai_refusal(const refusal_words& e) {
  // OpenAI's and llama.cpp's codes; the words of OpenAI, Mistral and vLLM; of xAI; of vLLM; of TGI.
  if (e.code == "context_length_exceeded" || e.type == "exceed_context_size_error" ||
      e.says("maximum context length") || e.says("maximum prompt length is") ||
      e.says("longer than the maximum model length") || (e.says("`inputs` ") && e.says(" tokens")))
    return refusal_reason::context;
  if (e.code == "content_policy_violation" || e.code == "content_filter" || e.code == "invalid_prompt" ||
      violates_guidelines(e))
    return refusal_reason::content;
  return refusal_reason::none;
}

refusal_reason anthropic_refusal(const refusal_words& e) {
  if (e.message.starts_with("prompt is too long") || e.says("exceed context limit"))
    return refusal_reason::context;
  return e.says("content filtering policy") ? refusal_reason::content : refusal_reason::none;
}

refusal_reason gemini_refusal(const refusal_words& e) {
  return e.says("exceeds the maximum number of tokens") ? refusal_reason::context : refusal_reason::none;
}

/// A whole answer or one event of Gemini's that says why there is no answer.
bool blocked(json_literal answer) {
  const json_members<1> top(answer, {"promptFeedback"});
  const json_members<1> feedback(top[0], {"blockReason"});
  return feedback.is_object && is_string(feedback[0]);
}

/// A whole answer of Anthropic's, or the event of a stream that tells its end.
bool declined(json_literal answer) {
  const json_members<2> top(answer, {"stop_reason", "delta"});
  const json_members<1> delta(top[1], {"stop_reason"});
  return json_says(top[0], "refusal") || json_says(delta[0], "refusal");
}

/// Whether one of the events, or the whole answer, is one.
template <class Test>
bool any_event(std::string_view body, Test test) {
  if (body.find_first_not_of(" \t\r\n") == body.find('{')) return test(body);
  constexpr std::string_view mark = "data:";
  for (std::size_t at = body.find(mark); at != std::string_view::npos; at = body.find(mark, at)) {
    at += mark.size();
    if (test(json_trim(body.substr(at, body.find_first_of("\r\n", at) - at)))) return true;
  }
  return false;
}

}  // namespace

refusal_reason refusal_of(provider_kind kind, int status, std::string_view body) {
  const bool refused = status == 400 || status == 413 || status == 422;
  const bool answered = status >= 200 && status < 300;
  if (status == 403 && violates_guidelines(refusal_words(body))) return refusal_reason::content;
  switch (kind) {
    case provider_kind::openai:
      return refused ? openai_refusal(refusal_words(body)) : refusal_reason::none;
    case provider_kind::anthropic:
      if (refused) return anthropic_refusal(refusal_words(body));
      return answered && any_event(body, declined) ? refusal_reason::content : refusal_reason::none;
    case provider_kind::gemini:
      if (refused) return gemini_refusal(refusal_words(body));
      return answered && any_event(body, blocked) ? refusal_reason::content : refusal_reason::none;
    case provider_kind::builtin:
      break;
  }
  return refusal_reason::none;
}

}  // namespace millrace::http
