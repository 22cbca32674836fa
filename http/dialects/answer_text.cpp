#include "http/dialects/answer_text.hpp"

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/responses_chat.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {

namespace {

using engine::route_kind;

/// Null for routes that are no conversations.
const chat_client_format* format_of(route_kind route) {
  switch (route) {
    case route_kind::chat:
      return &openai_chat();
    case route_kind::responses:
      return &responses_chat();
    case route_kind::messages:
      return &anthropic_chat();
    case route_kind::generate:
      return &gemini_chat();
    default:
      return nullptr;
  }
}

/// Ids look as each dialect's own do.
std::string id_of(route_kind route, std::int64_t now) {
  std::string number = "millrace" + std::to_string(now);
  switch (route) {
    case route_kind::chat:
      return "chatcmpl-" + number;
    case route_kind::completions:
      return "cmpl-" + number;
    case route_kind::responses:
      return "resp_" + number;
    case route_kind::messages:
      return "msg_" + number;
    default:
      return number;
  }
}

void write_completion(std::string_view id, std::string_view model, json_literal text, std::int64_t now,
                      std::string& out) {
  out += "{\"id\":";
  json_quote(id, out);
  out.append(R"(,"object":"text_completion","created":)").append(std::to_string(now)).append(",\"model\":");
  json_quote(model, out);
  out.append(R"(,"choices":[{"index":0,"text":)").append(text);
  out += R"(,"logprobs":null,"finish_reason":"stop"}],)";
  out += R"("usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}})";
}

}  // namespace

bool write_text_answer(route_kind route, std::string_view client_model, std::string_view text,
                       std::int64_t now, std::string& out) {
  out.clear();
  std::string literal;
  json_quote(text, literal);
  const std::string id = id_of(route, now);
  if (route == route_kind::completions) {
    write_completion(id, client_model, literal, now, out);
    return true;
  }
  const chat_client_format* format = format_of(route);
  if (format == nullptr) return false;
  chat_answer answer;
  answer.id = id;
  answer.created = now;
  answer.finish = finish_reason::stop;
  answer.used.known = true;
  answer.parts.emplace_back().text = literal;
  encode_options options;
  options.model = client_model;
  options.now = now;
  format->encode_answer(answer, options, out);
  return true;
}

}  // namespace millrace::http
