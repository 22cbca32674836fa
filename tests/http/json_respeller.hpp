#pragma once

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/http/json_maker.hpp"

namespace millrace::http {

/// Writes a JSON value in one of its many spellings: members in any order, any white space, numbers and
/// strings in any of their forms. The same for the same seed everywhere.
class json_respeller {
 public:
  explicit json_respeller(unsigned seed) : maker_(seed) {}

  std::string operator()(const nlohmann::json& value) { return space() + spelt(value) + space(); }

 private:
  std::string space() { return maker_.space(); }
  size_t below(size_t bound) { return maker_.below(bound); }

  std::string spelt(const nlohmann::json& value) {
    if (value.is_object()) return object(value);
    if (value.is_array()) return array(value);
    if (value.is_string()) return literal(value.get<std::string>());
    if (value.is_number_integer()) return whole(value.dump());
    if (value.is_number()) return fraction(value.get<double>());
    return value.dump();
  }

  std::string object(const nlohmann::json& value) {
    std::vector<std::string> members;
    for (const auto& [key, member] : value.items())
      members.push_back(literal(key) + space() + ":" + space() + spelt(member));
    for (size_t i = members.size(); i > 1; --i) std::swap(members[i - 1], members[below(i)]);
    return "{" + joined(members) + "}";
  }

  std::string array(const nlohmann::json& value) {
    std::vector<std::string> elements;
    for (const auto& element : value) elements.push_back(spelt(element));
    return "[" + joined(elements) + "]";
  }

  std::string joined(const std::vector<std::string>& parts) {
    std::string out = space();
    for (const auto& part : parts) out += (&part == parts.data() ? "" : ",") + space() + part + space();
    return out;
  }

  std::string whole(const std::string& digits) {
    if (digits == "0" && below(2)) return below(2) ? "-0" : "0E+9";
    switch (below(5)) {
      case 0:
        return digits + ".0";
      case 1:
        return digits + (below(2) ? "e0" : "E+00");
      case 2:
        return digits + "0e-1";
      case 3:
        return digits + ".000e0";
      default:
        return digits;
    }
  }

  std::string fraction(double number) {
    static constexpr const char* formats[] = {"%.17g", "%.25e", "%.40E"};
    char text[128];
    std::snprintf(text, sizeof text, formats[below(3)], number);
    return text;
  }

  /// UTF-8 passes as it is or as \u escapes, ASCII also as short escapes.
  std::string literal(const std::string& text) {
    std::string out = "\"";
    for (size_t at = 0; at < text.size();) {
      size_t length = 1;
      while (at + length < text.size() && (text[at + length] & 0xC0) == 0x80) ++length;
      out += character(text.substr(at, length));
      at += length;
    }
    return out + "\"";
  }

  std::string character(const std::string& utf8) {
    // dump() writes pairs of surrogates where they are needed, and the escapes that must be.
    const bool escaped = below(3) == 0;
    const std::string quoted = nlohmann::json(utf8).dump(-1, ' ', escaped);
    std::string out = quoted.substr(1, quoted.size() - 2);
    if (escaped && utf8.size() == 1) {
      char text[8];
      std::snprintf(text, sizeof text, below(2) ? "\\u%04x" : "\\u%04X", static_cast<unsigned>(utf8[0]));
      out = text;
    }
    return utf8 == "/" && below(2) ? "\\/" : out;
  }

  json_maker maker_;
};

}  // namespace millrace::http
