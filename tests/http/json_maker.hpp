#pragma once

#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {

/// Writes random JSON with random spacing and escaping, the same for the same seed everywhere.
class json_maker {
 public:
  explicit json_maker(unsigned seed) : random_(seed) {}

  size_t below(size_t bound) { return random_() % bound; }

  std::string document() { return space() + object(3) + space(); }

  /// An object with these members, given as text, between random others; the order of `members` is kept.
  std::string object_with(const std::vector<std::string>& members) {
    std::vector<std::string> all;
    for (const auto& member : members) {
      for (size_t i = below(3); i > 0; --i) all.push_back(member_of(2));
      all.push_back(member);
    }
    for (size_t i = below(3); i > 0; --i) all.push_back(member_of(2));
    return "{" + joined(all) + space() + "}";
  }

  std::string space() {
    static constexpr const char* kinds[] = {"", "", "", " ", "\n", "\r\n\t "};
    return kinds[below(6)];
  }

  std::string value(int depth) {
    switch (below(depth > 0 ? 8 : 6)) {
      case 0:
        return "null";
      case 1:
        return below(2) ? "true" : "false";
      case 2:
        return std::to_string(static_cast<int>(below(2000)) - 1000);
      case 3:
        return std::to_string(below(100)) + "." + std::to_string(below(100)) + (below(2) ? "e-7" : "");
      case 6:
        return object(depth - 1);
      case 7:
        return array(depth - 1);
      default:
        return literal();
    }
  }

 private:
  std::string joined(const std::vector<std::string>& parts) {
    std::string out;
    for (const auto& part : parts) {
      if (!out.empty()) out += ",";
      out += space() + part + space();
    }
    return out;
  }

  // Keys are numbered, so no two in one document are the same.
  std::string member_of(int depth) {
    return "\"k" + std::to_string(keys_++) + (below(4) ? "" : "\\u00e9\\\"") + "\"" + space() + ":" +
           space() + value(depth);
  }

  std::string object(int depth) {
    std::vector<std::string> members;
    for (size_t i = below(5); i > 0; --i) members.push_back(member_of(depth));
    return "{" + joined(members) + space() + "}";
  }

  std::string array(int depth) {
    std::vector<std::string> elements;
    for (size_t i = below(5); i > 0; --i) elements.push_back(value(depth));
    return "[" + joined(elements) + space() + "]";
  }

  std::string literal() {
    static constexpr const char* pieces[] = {"a",   "model",  "usage",  "choices",    " ",
                                             "{",   "}",      "[",      "data:",      ",",
                                             ":",   "\\n",    "\\\"",   "\\\\",       "\\u0041",
                                             "\\/", "\u00e9", "\u4e2d", "\U0001F600", "\\ud83d\\ude00"};
    std::string out = "\"";
    for (size_t i = below(12); i > 0; --i) out += pieces[below(20)];
    return out + "\"";
  }

  std::mt19937 random_;
  int keys_ = 0;
};

}  // namespace millrace::http
