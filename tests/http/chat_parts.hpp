#pragma once

#include <string_view>

#include "http/dialects/chat.hpp"

/// Parts of conversations, as the tests of encoders make them.
namespace millrace::http {

inline chat_part text(json_literal literal) {
  chat_part part;
  part.text = literal;
  return part;
}

inline chat_part call(std::string_view id, std::string_view name, json_literal arguments = "{}") {
  chat_part part;
  part.kind = part_kind::tool_call;
  part.id = id;
  part.name = name;
  part.arguments = arguments;
  return part;
}

inline chat_part result(std::string_view id, json_literal said) {
  chat_part part;
  part.kind = part_kind::tool_result;
  part.id = id;
  part.result.push_back(text(said));
  return part;
}

inline chat_part thought(json_literal said, json_literal signature) {
  chat_part part = text(said);
  part.kind = part_kind::thinking;
  part.signature = signature;
  return part;
}

}  // namespace millrace::http
