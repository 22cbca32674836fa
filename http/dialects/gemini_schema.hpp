#pragma once

#include <string>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Gemini's `Schema` (types in upper case, `nullable`, `propertyOrdering`) as plain JSON schema. Appends to
/// `out`. What JSON schema has by the same name is copied, `example` becomes `examples`, and
/// `propertyOrdering` is left out, which `unordered` becomes true for: objects of JSON have no order. False
/// when it is no object; `out` is of no use then. Pure.
bool gemini_schema_to_json_schema(json_literal schema, std::string& out, bool& unordered);

}  // namespace millrace::http
