#include "http/dialects/gemini_reader.hpp"

#include "http/bad_request.hpp"

namespace millrace::http {
namespace {

bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}

std::string_view unquoted(json_literal literal) {
  const bool quoted = literal.size() >= 2 && literal.front() == '"';
  return quoted ? literal.substr(1, literal.size() - 2) : literal;
}

}  // namespace

bool is_gemini_field(std::string_view key, std::string_view camel) {
  size_t at = 0;
  for (const char c : camel) {
    if (at == key.size()) return false;
    if (is_upper(c) && key[at] == '_') {
      if (++at == key.size() || key[at] != static_cast<char>(c - 'A' + 'a')) return false;
    } else if (key[at] != c) {
      return false;
    }
    ++at;
  }
  return at == key.size();
}

std::string gemini_field_name(std::string_view key) {
  std::string out;
  for (size_t i = 0; i < key.size(); ++i) {
    const bool hump = key[i] == '_' && i + 1 < key.size() && key[i + 1] >= 'a' && key[i + 1] <= 'z';
    out += hump ? static_cast<char>(key[++i] - 'a' + 'A') : key[i];
  }
  return out;
}

std::string gemini_place::of(std::string_view field) const {
  std::string out(outer);
  if (index >= 0) out.append("[").append(std::to_string(index)).append("]");
  if (!inner.empty()) out.append(".").append(inner);
  if (inner_index >= 0) out.append("[").append(std::to_string(inner_index)).append("]");
  if (!out.empty() && !field.empty()) out += '.';
  return out.append(field);
}

bool gemini_reader::refuse(std::string code, std::string message, std::string param) {
  error_ = bad_request(std::move(code), std::move(message), std::move(param));
  return false;
}

bool gemini_reader::wrong_type(std::string_view field, std::string_view expected) {
  if (scanner.error() != json_error::none) return false;
  std::string where = place.of(field);
  std::string message = "`" + where + "` must be " + std::string(expected) + ".";
  return refuse("invalid_type", std::move(message), std::move(where));
}

bool gemini_reader::unsupported(std::string_view field) {
  std::string where = place.of(field);
  std::string message =
      "`" + where + "` cannot be said to the provider of this model: leave it out, or ask a Gemini model.";
  return refuse("unsupported_field", std::move(message), std::move(where));
}

bool gemini_reader::missing(std::string_view field) {
  std::string where = place.of(field);
  std::string message = "`" + where + "` is missing or empty: add it.";
  return refuse("missing_field", std::move(message), std::move(where));
}

bool gemini_reader::fail_json() {
  if (scanner.error() == json_error::none && !error_.code.empty()) return false;
  if (scanner.error() == json_error::too_deep)
    return refuse("json_too_deep", "The request body is nested too deep: flatten it.", {});
  return refuse(
      "invalid_json",
      "The request body is not one valid JSON object: look at byte " + std::to_string(scanner.offset()) + ".",
      {});
}

bool gemini_reader::skip_null() {
  return scanner.peek() == 'n' && !scanner.value().empty();
}

bool gemini_reader::string(std::string_view field, json_literal& into) {
  if (scanner.peek() != '"') return skip_null() || wrong_type(field, "a string");
  into = scanner.value();
  return !into.empty();
}

std::string_view gemini_reader::text_of(json_literal literal) {
  if (literal.find('\\') != std::string_view::npos) return keep(json_text(literal));
  return unquoted(literal);
}

bool gemini_reader::text(std::string_view field, std::string_view& into) {
  json_literal literal;
  if (!string(field, literal)) return false;
  if (!literal.empty()) into = text_of(literal);
  return true;
}

bool gemini_reader::boolean(std::string_view field, std::optional<bool>& into) {
  const json_literal literal = scanner.value();
  if (literal == "null") return true;
  if (literal != "true" && literal != "false") return wrong_type(field, "true or false");
  into = literal == "true";
  return true;
}

bool gemini_reader::integer(std::string_view field, std::int64_t& into) {
  const json_literal literal = scanner.value();
  return literal == "null" || json_integer(unquoted(literal), into) || wrong_type(field, "a whole number");
}

bool gemini_reader::number(std::string_view field, json_literal& into) {
  const char first = scanner.peek();
  if (first != '-' && !(first >= '0' && first <= '9')) return skip_null() || wrong_type(field, "a number");
  into = scanner.value();
  return !into.empty();
}

bool gemini_reader::object(std::string_view field, json_literal& into) {
  if (scanner.peek() != '{') return skip_null() || wrong_type(field, "an object");
  into = scanner.value();
  return !into.empty();
}

}  // namespace millrace::http
