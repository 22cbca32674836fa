#include "http/simulator/openai_judging.hpp"

#include <algorithm>
#include <optional>

#include "http/simulator/errors.hpp"

namespace millrace::http::simulation {
namespace {

std::string shown(double n) {
  std::string text = std::to_string(n);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text;
}

}  // namespace

void refuse_missing(const std::string& param) {
  throw rejected("Missing required parameter: '" + param + "'.", param, "missing_required_parameter");
}

void refuse_type(const std::string& param, std::string_view expected) {
  throw rejected("Invalid type for '" + param + "': expected " + std::string(expected) + ".", param,
                 "invalid_type");
}

void refuse_value(const std::string& param, std::string_view value, std::string_view supported) {
  throw rejected(
      "Invalid value: '" + std::string(value) + "'. Supported values are: " + std::string(supported) + ".",
      param, "invalid_value");
}

void refuse_unknown(const std::string& param) {
  throw rejected("Unknown parameter: '" + param + "'.", param, "unknown_parameter");
}

void refuse_empty_array(const std::string& param) {
  throw rejected("Invalid '" + param +
                     "': empty array. Expected an array with minimum length 1, but got an empty array "
                     "instead.",
                 param, "empty_array");
}

std::string inside_of(const std::string& path, std::string_view name) {
  return path.empty() ? std::string(name) : path + "." + std::string(name);
}

std::string_view want_text(dom::object object, std::string_view name, const std::string& path) {
  const std::string param = inside_of(path, name);
  if (!find(object, name)) refuse_missing(param);
  const auto text = find_text(object, name);
  if (!text) refuse_type(param, "a string");
  return *text;
}

dom::object want_object(dom::object object, std::string_view name, const std::string& path) {
  const std::string param = inside_of(path, name);
  const auto value = find(object, name);
  if (!value) refuse_missing(param);
  const auto inner = as_object(*value);
  if (!inner) refuse_type(param, "an object");
  return *inner;
}

dom::array want_array(dom::element value, const std::string& param) {
  if (!value.is_array()) refuse_type(param, "an array of objects");
  const dom::array elements(value);
  if (elements.size() == 0) refuse_empty_array(param);
  return elements;
}

void want_known(dom::object object, std::initializer_list<std::string_view> names, const std::string& path) {
  for (const auto& [name, value] : object)
    if (!is_one_of(name, names)) refuse_unknown(inside_of(path, name));
}

void want_no_longer(std::string_view text, std::size_t most, const std::string& param) {
  if (text.size() <= most) return;
  throw rejected("Invalid '" + param + "': string too long. Expected a string with maximum length " +
                     std::to_string(most) + ", but got a string with length " + std::to_string(text.size()) +
                     " instead.",
                 param, "string_above_max_length");
}

void want_name(std::string_view name, std::string_view more, const std::string& param) {
  if (is_name(name, more, 1, 64)) return;
  throw rejected("Invalid '" + param +
                     "': string does not match pattern. Expected a string that matches the pattern "
                     "'^[a-zA-Z0-9_-]+$'.",
                 param, "invalid_value");
}

void judge_decimal(dom::object object, std::string_view name, double least, double most) {
  const auto value = find(object, name);
  if (!value) return;
  const std::string param(name);
  double n = 0;
  if (value->get(n)) refuse_type(param, "a decimal");
  if (n < least)
    throw rejected("Invalid '" + param + "': decimal below minimum value. Expected a value >= " +
                       shown(least) + ", but got " + shown(n) + " instead.",
                   param, "decimal_below_min_value");
  if (n > most)
    throw rejected("Invalid '" + param + "': decimal above maximum value. Expected a value <= " +
                       shown(most) + ", but got " + shown(n) + " instead.",
                   param, "decimal_above_max_value");
}

void judge_integer(dom::object object, std::string_view name, std::int64_t least) {
  const auto value = find(object, name);
  if (!value) return;
  const std::string param(name);
  std::int64_t n = 0;
  if (value->get(n)) refuse_type(param, "an integer");
  if (n < least)
    throw rejected("Invalid '" + param + "': integer below minimum value. Expected a value >= " +
                       std::to_string(least) + ", but got " + std::to_string(n) + " instead.",
                   param, "integer_below_min_value");
}

void judge_one_of(dom::object object, std::string_view name, std::initializer_list<std::string_view> values,
                  const std::string& path) {
  if (!find(object, name)) return;
  const std::string_view value = find_text(object, name).value_or("");
  if (is_one_of(value, values)) return;
  std::string supported;
  for (const std::string_view v : values)
    supported.append(supported.empty() ? "'" : ", '").append(v).append("'");
  refuse_value(inside_of(path, name), value, supported);
}

void judge_parameters(dom::element parameters, bool strict, std::string_view function,
                      const std::string& param) {
  const auto schema = as_object(parameters);
  const std::string what = "function '" + std::string(function) + "'";
  if (!schema || (schema->size() > 0 && find_text(*schema, "type") != "object"))
    throw rejected("Invalid schema for " + what + ": schema must be a JSON Schema of 'type: \"object\"'.",
                   param, "invalid_function_parameters");
  if (strict) judge_closed(parameters, what, param);
}

/// The first property that an object of the schema does not require; empty: none.
std::string optional_property(dom::element schema) {
  if (const auto object = as_object(schema)) {
    if (const auto properties = find(*object, "properties"); properties && properties->is_object()) {
      const auto required = find(*object, "required");
      for (const auto& [name, value] : dom::object(*properties)) {
        bool is_required = false;
        if (required && required->is_array())
          for (const dom::element other : dom::array(*required))
            is_required |= other.is_string() && std::string_view(other) == name;
        if (!is_required) return std::string(name);
      }
    }
    for (const auto& [key, value] : *object)
      if (auto name = optional_property(value); !name.empty()) return name;
  } else if (schema.is_array()) {
    for (const dom::element inner : dom::array(schema))
      if (auto name = optional_property(inner); !name.empty()) return name;
  }
  return {};
}

void judge_closed(dom::element schema, const std::string& what, const std::string& param) {
  const char* const code =
      param.ends_with(".parameters") ? "invalid_function_parameters" : "invalid_json_schema";
  if (!is_closed_schema(schema))
    throw rejected("Invalid schema for " + what +
                       ": In context=(), 'additionalProperties' is required to be supplied and to be false.",
                   param, code);
  if (const std::string name = optional_property(schema); !name.empty())
    throw rejected(
        "Invalid schema for " + what +
            ": In context=(), 'required' is required to be supplied and to be an array including every "
            "key in properties. Missing '" +
            name + "'.",
        param, code);
}

bool is_data_url(std::string_view url, std::string_view type) {
  if (!url.starts_with("data:")) return false;
  const size_t comma = url.find(',');
  if (comma == std::string_view::npos) return false;
  const std::string_view head = url.substr(5, comma - 5);
  return head.starts_with(type) && head.ends_with(";base64") && is_base64(url.substr(comma + 1));
}

void judge_image_url(std::string_view url, const std::string& param) {
  if (url.starts_with("https://") || url.starts_with("http://")) return;
  for (const std::string_view type : {"image/png", "image/jpeg", "image/jpg", "image/gif", "image/webp"})
    if (is_data_url(url, type)) return;
  if (url.starts_with("data:"))
    throw rejected(
        "Invalid base64 image_url. You uploaded an unsupported image. Please make sure your image has "
        "one of the following formats: ['png', 'jpeg', 'gif', 'webp'].",
        param, "invalid_base64");
  throw rejected("Invalid image_url: expected an http(s) URL or a base64 data URL.", param,
                 "invalid_image_url");
}

std::string joined(const std::vector<std::string_view>& ids) {
  std::string out;
  for (const std::string_view id : ids) out.append(out.empty() ? "" : ", ").append(id);
  return out;
}

void word_finder::read(std::string_view text) {
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; };
  found_ = found_ || std::search(text.begin(), text.end(), word_.begin(), word_.end(), same) != text.end();
}

}  // namespace millrace::http::simulation
