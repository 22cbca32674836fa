#include "http/cache_control.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>

namespace millrace::http {

namespace {

constexpr std::string_view blanks = " \t";

std::string_view trimmed(std::string_view s) {
  const auto first = s.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(blanks) - first + 1);
}

bool same_word(std::string_view text, std::string_view lower_word) {
  return std::equal(text.begin(), text.end(), lower_word.begin(), lower_word.end(), [](char a, char b) {
    return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
  });
}

/// Longer ages than a century are as good as any.
constexpr std::int64_t longest_age = 100LL * 366 * 24 * 3600;

bool read_age(std::string_view text, engine::duration& age) {
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"') text = text.substr(1, text.size() - 2);
  if (text.empty() || text.find_first_not_of("0123456789") != std::string_view::npos) return false;
  std::int64_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error == std::errc::result_out_of_range) seconds = longest_age;
  age = std::chrono::seconds(std::min(seconds, longest_age));
  return true;
}

}  // namespace

bool read_cache_control(std::string_view value, engine::cache_wish& wish) {
  while (!value.empty()) {
    const auto comma = std::min(value.find(','), value.size());
    const auto directive = trimmed(value.substr(0, comma));
    value.remove_prefix(std::min(comma + 1, value.size()));
    const auto equals = std::min(directive.find('='), directive.size());
    const auto name = trimmed(directive.substr(0, equals));
    if (same_word(name, "no-cache")) wish.no_cache = true;
    if (same_word(name, "no-store")) wish.no_store = true;
    if (same_word(name, "only-if-cached")) wish.only_if_cached = true;
    const bool max_age = same_word(name, "max-age");
    if (!max_age && !same_word(name, "stale-if-error")) continue;
    engine::duration age{};
    if (equals == directive.size() || !read_age(trimmed(directive.substr(equals + 1)), age)) return false;
    (max_age ? wish.max_age : wish.stale_if_error) = age;
  }
  return true;
}

}  // namespace millrace::http
