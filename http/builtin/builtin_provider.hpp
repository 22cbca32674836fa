#pragma once

#include <string>
#include <string_view>

namespace millrace::http::builtin {

struct reply {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
};

/// Answers in OpenAI's dialect with neither a network nor model weights:
/// - /embeddings: text_features.hpp, 512 dimensions or as many fewer as asked for. Lexical: texts are alike
///   when they share words, whatever they mean.
/// - /chat/completions with a JSON schema that has a property with an `enum` of texts: label_choice.hpp picks
///   one for the user's text, and a property `confidence` says how sure that is.
/// - /chat/completions otherwise: sentences of the request that are most like its last question, and a word
///   that no model answered. Plain or streamed. Of a request that asks for more, builtin_chat.hpp tells so.
/// `now`: UNIX time, seconds. Pure; the same request has the same answer.
reply answer(std::string_view path, std::string_view body, std::int64_t now);

}  // namespace millrace::http::builtin
