#pragma once

#include <string>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Appends a JSON schema in which every object that does not say so itself takes no other properties than
/// those it names: Anthropic answers by no other schemas. A text that is no schema is appended as it is.
/// Pure.
void append_closed_schema(json_literal schema, std::string& out);

/// Whether OpenAI takes a JSON schema with `strict: true`: its root is an object, every object in it is
/// closed, and all properties are required.
/// https://platform.openai.com/docs/guides/structured-outputs#supported-schemas False, too, above OpenAI's
/// own bounds. Pure.
bool takes_strictly(json_literal schema);

}  // namespace millrace::http
