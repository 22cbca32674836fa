#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

#include <simdjson.h>

#include "http/token_estimate.hpp"

/// Looking at a request's JSON as a tree. For the places that judge requests; not for other headers.
namespace millrace::http::simulation {

namespace dom = simdjson::dom;

/// Absent and null are the same to most members.
inline std::optional<dom::element> find(dom::object object, std::string_view name) {
  dom::element value;
  if (object.at_key(name).get(value) || value.is_null()) return std::nullopt;
  return value;
}

inline std::optional<std::string_view> find_text(dom::object object, std::string_view name) {
  std::string_view text;
  if (object.at_key(name).get(text)) return std::nullopt;
  return text;
}

inline std::optional<dom::object> as_object(dom::element value) {
  dom::object object;
  if (value.get(object)) return std::nullopt;
  return object;
}

inline bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// White space alone, or nothing.
inline bool is_blank(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isspace(c) != 0; });
}

/// Characters of a name: letters, digits, `more`; `least` to `most` of them.
inline bool is_name(std::string_view text, std::string_view more, std::size_t least, std::size_t most) {
  if (text.size() < least || text.size() > most) return false;
  return std::all_of(text.begin(), text.end(), [&](unsigned char c) {
    return (c < 0x80 && std::isalnum(c) != 0) || more.find(static_cast<char>(c)) != std::string_view::npos;
  });
}

/// RFC 4648 base64 with its padding, not empty. `url_too`: the other alphabet as well, and no padding needed.
inline bool is_base64(std::string_view text, bool url_too = false) {
  if (text.empty() || (!url_too && text.size() % 4 != 0)) return false;
  std::size_t padding = 0;
  while (padding < 2 && text.ends_with('=')) {
    text.remove_suffix(1);
    ++padding;
  }
  return is_name(text, url_too ? "+/-_" : "+/", 1, text.size());
}

/// The value of a top-level member as it was written; empty: absent.
std::string_view raw_member(std::string_view object, std::string_view name);

/// Every object of a JSON schema says that it has no other members, all the way down.
bool is_closed_schema(dom::element schema);

/// Counts a prompt as OpenAI's estimate does (token_estimate.hpp), whatever dialect it came in.
class prompt_counter {
 public:
  prompt_counter() { estimate_.fixed = reply_tokens; }
  void message() { estimate_.fixed += message_tokens; }
  void text(std::string_view text) { estimate_.text_bytes += text.size(); }
  void image() { estimate_.fixed += image_tokens; }
  /// Anything else in base64.
  void attachment(std::size_t bytes) {
    estimate_.fixed += std::min(token_estimate::of_text(bytes), attachment_tokens);
  }
  /// All keys and strings in it.
  void json(dom::element value) {
    if (value.is_string()) {
      text(std::string_view(value));
    } else if (value.is_array()) {
      for (const dom::element inner : dom::array(value)) json(inner);
    } else if (value.is_object()) {
      for (const auto& [key, inner] : dom::object(value)) {
        text(key);
        json(inner);
      }
    }
  }
  /// A function as OpenAI declares it.
  void tool(std::string_view name, std::optional<std::string_view> description,
            std::optional<dom::element> parameters) {
    for (const std::string_view key : {"type", "function", "function", "name"}) text(key);
    text(name);
    if (description) {
      text("description");
      text(*description);
    }
    if (parameters) {
      text("parameters");
      json(*parameters);
    }
  }
  /// A call as OpenAI tells it.
  void call(std::string_view id, std::string_view name, std::size_t argument_bytes) {
    for (const std::string_view key : {"id", "type", "function", "function", "name", "arguments"}) text(key);
    text(id);
    text(name);
    estimate_.text_bytes += argument_bytes;
  }
  std::int64_t total() const { return estimate_.total(); }

 private:
  token_estimate estimate_;
};

}  // namespace millrace::http::simulation
