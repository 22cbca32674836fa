#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "http/dialects/chat.hpp"
#include "http/json_scan.hpp"

/// Reading objects and texts of the dialects. Pure functions, safe from any thread.
namespace millrace::http {

/// Values of the members `names` of an object, as written, in their order; null and absent ones are empty.
template <std::size_t N>
struct json_members {
  std::array<json_literal, N> values;
  bool is_object = false;
  bool whole = false;   ///< of a literal: it is one object, all of it JSON, and nothing behind it
  std::string unknown;  ///< the first other member that is not null

  json_members(json_literal object, const std::array<std::string_view, N>& names) {
    json_scanner scanner(object);
    read(scanner, names);
    whole = is_object && scanner.at_end();
  }
  /// Consumes the object that comes next; nothing, where something else does.
  json_members(json_scanner& scanner, const std::array<std::string_view, N>& names) { read(scanner, names); }
  json_literal operator[](std::size_t i) const { return values[i]; }

 private:
  void read(json_scanner& scanner, const std::array<std::string_view, N>& names) {
    is_object = scanner.enter_object();
    std::string_view key;
    while (is_object && scanner.next_member(key)) {
      std::size_t at = 0;
      while (at < N && names[at] != key) ++at;
      std::string other;
      if (at == N && unknown.empty()) other = key;
      const std::string_view value = scanner.value();
      if (value == "null") continue;
      if (at < N) {
        values[at] = value;
      } else if (unknown.empty()) {
        unknown = std::move(other);
      }
    }
  }
};

inline bool is_string(json_literal literal) {
  return literal.size() >= 2 && literal.front() == '"';
}

/// Whether `text` is one JSON object and nothing else.
inline bool is_json_object(std::string_view text) {
  json_scanner scanner(text);
  return scanner.peek() == '{' && !scanner.value().empty() && scanner.at_end();
}

/// A string literal without its quotes, still escaped.
inline std::string_view inside(json_literal string) {
  return is_string(string) ? string.substr(1, string.size() - 2) : std::string_view();
}

/// Whether `literal` is a string that says `word`, which needs no escapes.
inline bool json_says(json_literal literal, std::string_view word) {
  if (literal.size() == word.size() + 2)
    return literal.substr(1, word.size()) == word && literal.front() == '"';
  return literal.size() > word.size() + 2 && literal.find('\\') != std::string_view::npos &&
         json_text(literal) == word;
}

/// The text of a string literal: a part of it, or, when it holds escapes, kept in `owner`. Empty for anything
/// else.
template <class Owner>
std::string_view text_of(json_literal literal, Owner& owner) {
  const std::string_view text = inside(literal);
  if (text.find('\\') == std::string_view::npos) return text;
  return owner.keep(json_text(literal));
}

/// Calls `element(value as written, index)` for each element until it returns false. False then, and when
/// `array` is none.
template <class F>
bool each_element(json_literal array, F&& element) {
  json_scanner scanner(array);
  if (!scanner.enter_array()) return false;
  for (std::size_t i = 0; scanner.next_element(); ++i) {
    if (!element(scanner.value(), i)) return false;
  }
  return true;
}

}  // namespace millrace::http
