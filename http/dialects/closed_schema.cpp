#include "http/dialects/closed_schema.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "http/dialects/json_members.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

/// Deeper ones are copied.
constexpr int max_schema_depth = 64;
/// OpenAI's bounds: of the nesting, and, generously, of the 120,000 characters of all names and values.
constexpr int max_strict_depth = 21;
constexpr std::size_t max_strict_schema_bytes = 1U << 20;

constexpr std::array<std::string_view, 6> maps = {
    "properties", "$defs", "definitions", "patternProperties", "dependentSchemas", "dependencies"};
constexpr std::array<std::string_view, 8> schemas = {
    "items", "additionalItems", "contains", "not", "if", "then", "else", "additionalProperties"};
constexpr std::array<std::string_view, 4> lists = {"anyOf", "allOf", "oneOf", "prefixItems"};

template <std::size_t N>
bool is_one_of(std::string_view key, const std::array<std::string_view, N>& names) {
  return std::find(names.begin(), names.end(), key) != names.end();
}

void close(json_literal schema, std::string& out, int depth);

/// Copies an object or array whose values are schemas.
void close_each(json_literal container, std::string& out, int depth) {
  json_scanner scanner(container);
  bool first = true;
  const auto separate = [&] {
    if (!first) out += ',';
    first = false;
  };
  std::string_view key;
  if (scanner.enter_object()) {
    out += '{';
    while (scanner.next_member(key)) {
      separate();
      out.append(scanner.key_literal()).append(":");
      close(scanner.value(), out, depth);
    }
    out += '}';
  } else if (scanner.enter_array()) {
    out += '[';
    while (scanner.next_element()) {
      separate();
      close(scanner.value(), out, depth);
    }
    out += ']';
  } else {
    out += container;
  }
}

void close(json_literal schema, std::string& out, int depth) {
  json_scanner scanner(schema);
  if (depth == 0 || !scanner.enter_object()) {
    out += schema;
    return;
  }
  bool object = false;
  bool said = false;
  out += '{';
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool type = key == "type";
    const bool nested = is_one_of(key, maps) || is_one_of(key, lists);
    const bool one = is_one_of(key, schemas);
    object = object || key == "properties";
    said = said || key == "additionalProperties";
    if (out.back() != '{') out += ',';
    out.append(scanner.key_literal()).append(":");
    const json_literal value = scanner.value();
    object = object || (type && value.find("\"object\"") != std::string_view::npos);
    if (nested) {
      close_each(value, out, depth - 1);
    } else if (one) {
      close(value, out, depth - 1);
    } else {
      out += value;
    }
  }
  if (object && !said) out.append(out.back() == '{' ? "" : ",").append(R"("additionalProperties":false)");
  out += '}';
}

/// Texts of an array, or keys of an object, in order.
std::vector<std::string> names_in(json_literal container) {
  std::vector<std::string> out;
  json_scanner scanner(container);
  std::string_view key;
  if (scanner.enter_object()) {
    while (scanner.next_member(key)) {
      out.emplace_back(key);
      scanner.value();
    }
  } else if (scanner.enter_array()) {
    while (scanner.next_element()) out.push_back(json_text(scanner.value()));
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool is_strict(json_literal schema, int depth);

/// An object or array whose values are schemas.
bool all_strict(json_literal container, int depth) {
  json_scanner scanner(container);
  std::string_view key;
  bool strict = true;
  if (scanner.enter_object()) {
    while (strict && scanner.next_member(key)) strict = is_strict(scanner.value(), depth);
  } else if (scanner.enter_array()) {
    while (strict && scanner.next_element()) strict = is_strict(scanner.value(), depth);
  }
  return strict;
}

bool is_strict(json_literal schema, int depth) {
  json_scanner scanner(schema);
  if (!scanner.enter_object()) return true;
  if (depth == 0) return false;
  bool object = false;
  bool closed = false;
  json_literal properties;
  json_literal required;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool type = key == "type";
    const bool nested = is_one_of(key, maps) || is_one_of(key, lists);
    const bool one = is_one_of(key, schemas);
    const bool more = key == "additionalProperties";
    json_literal* const named = key == "properties" ? &properties : key == "required" ? &required : nullptr;
    const json_literal value = scanner.value();
    if (named != nullptr) *named = value;
    object = object || (type && value.find("\"object\"") != std::string_view::npos);
    closed = closed || (more && value == "false");
    if ((nested && !all_strict(value, depth - 1)) || (one && !is_strict(value, depth - 1))) return false;
  }
  if (!object && properties.empty()) return true;
  const auto all = names_in(properties);
  const auto wanted = names_in(required);
  return closed && std::includes(wanted.begin(), wanted.end(), all.begin(), all.end());
}

}  // namespace

void append_closed_schema(json_literal schema, std::string& out) {
  close(schema, out, max_schema_depth);
}

bool takes_strictly(json_literal schema) {
  if (schema.size() > max_strict_schema_bytes || !is_strict(schema, max_strict_depth)) return false;
  const json_members<2> root(schema, {"type", "anyOf"});
  return json_says(root[0], "object") && root[1].empty();
}

}  // namespace millrace::http
