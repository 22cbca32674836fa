#include "http/dialects/openai_strict_schema.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using nlohmann::json;

/// Deeper ones are not taken.
constexpr int max_strict_depth = 64;

const json* member(const json& object, const char* name) {
  const auto found = object.find(name);
  return found == object.end() ? nullptr : &*found;
}

bool is_closed(const json& object) {
  const json* const more = member(object, "additionalProperties");
  if (more == nullptr || !more->is_boolean() || more->get<bool>()) return false;
  const json* const properties = member(object, "properties");
  const json* const required = member(object, "required");
  if (properties == nullptr || properties->empty()) return true;
  if (required == nullptr || !properties->is_object()) return false;
  for (auto p = properties->begin(); p != properties->end(); ++p) {
    if (std::find(required->begin(), required->end(), p.key()) == required->end()) return false;
  }
  return true;
}

bool is_strict(const json& schema, int depth) {
  if (depth == 0) return false;
  if (schema.is_object()) {
    const json* const type = member(schema, "type");
    const json* const properties = member(schema, "properties");
    const bool object =
        (type != nullptr && *type == "object") || (properties != nullptr && properties->is_object());
    if (object && !is_closed(schema)) return false;
  }
  return !schema.is_structured() || std::all_of(schema.begin(), schema.end(), [&](const json& inner) {
    return is_strict(inner, depth - 1);
  });
}

}  // namespace

bool takes_strictly(json_literal schema) {
  return is_strict(json::parse(schema, nullptr, false), max_strict_depth);
}

}  // namespace millrace::http
