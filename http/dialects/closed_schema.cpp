#include "http/dialects/closed_schema.hpp"

#include <algorithm>
#include <array>

#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

/// Deeper ones are copied.
constexpr int max_schema_depth = 64;

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

}  // namespace

void append_closed_schema(json_literal schema, std::string& out) {
  close(schema, out, max_schema_depth);
}

}  // namespace millrace::http
