#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "engine/ports.hpp"
#include "http/dialects/chat.hpp"
#include "http/json_scan.hpp"

/// What the readers of Gemini's JSON have in common. It is protobuf's JSON mapping: a field is known by its
/// camelCase and by its snake_case name, null is as good as absent, 64-bit numbers may stand in quotes, and a
/// list with one element may be that element.
namespace millrace::http {

/// Whether `key` is the field `camel` in either spelling.
bool is_gemini_field(std::string_view key, std::string_view camel);

/// `key` in camelCase: two keys with the same one are the same field.
std::string gemini_field_name(std::string_view key);

/// Where in the request a reader stands; for messages.
struct gemini_place {
  std::string_view outer;
  std::int64_t index = -1;
  std::string_view inner;
  std::int64_t inner_index = -1;
  /// "contents[1].parts[0].text"; `field` may be empty.
  std::string of(std::string_view field) const;
};

/// A scanner over one request that writes refusals. Every `bool` function consumes one value and is false
/// when `error` was set; errors of the scanner make them false, too, and are judged at the end by
/// `fail_json`. Not thread-safe; the body, the error and `texts` must outlive it.
class gemini_reader {
 public:
  gemini_reader(std::string_view body, std::deque<std::string>& texts, engine::api_error& error)
      : scanner(body), texts_(texts), error_(error) {}

  bool refuse(std::string code, std::string message, std::string param);
  bool wrong_type(std::string_view field, std::string_view expected);
  bool unsupported(std::string_view field);
  bool missing(std::string_view field);
  /// The refusal of a body that is no JSON object; keeps an error set before.
  bool fail_json();

  /// A string as written. Null leaves `into` as it is.
  bool string(std::string_view field, json_literal& into);
  /// The same, unescaped.
  bool text(std::string_view field, std::string_view& into);
  bool boolean(std::string_view field, std::optional<bool>& into);
  bool integer(std::string_view field, std::int64_t& into);
  bool number(std::string_view field, json_literal& into);
  /// An object as written.
  bool object(std::string_view field, json_literal& into);

  /// Calls `member(key)`, which consumes the value, for every member that is not null.
  template <class F>
  bool members(std::string_view field, F&& member) {
    if (!scanner.enter_object()) return skip_null() || wrong_type(field, "an object");
    std::string_view key;
    while (scanner.next_member(key)) {
      if (scanner.peek() == 'n') {
        scanner.value();
      } else if (!member(key)) {
        return false;
      }
    }
    return scanner.error() == json_error::none;
  }
  /// Calls `element(index)`, which consumes it, for every element, or for the value itself when it is no
  /// list.
  template <class F>
  bool elements(F&& element) {
    if (scanner.peek() == 'n') return !scanner.value().empty();
    if (!scanner.enter_array()) return element(std::int64_t{0});
    for (std::int64_t i = 0; scanner.next_element(); ++i) {
      if (!element(i)) return false;
    }
    return scanner.error() == json_error::none;
  }

  std::string_view keep(std::string text) { return texts_.emplace_back(std::move(text)); }
  /// The text of a string literal: part of the body where it has no escapes.
  std::string_view text_of(json_literal literal);

  json_scanner scanner;
  gemini_place place;

 private:
  bool skip_null();

  std::deque<std::string>& texts_;
  engine::api_error& error_;
};

}  // namespace millrace::http
