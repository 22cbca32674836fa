#pragma once

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Whether OpenAI takes a JSON schema with `strict: true`: every object in it is closed, and all its
/// properties are required. https://platform.openai.com/docs/guides/structured-outputs#supported-schemas
/// Pure.
bool takes_strictly(json_literal schema);

}  // namespace millrace::http
