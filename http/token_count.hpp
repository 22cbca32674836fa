#pragma once

#include <cstdint>
#include <string_view>

#include "http/json_scan.hpp"

namespace millrace::http {

/// A larger count of tokens is a provider's mistake, not a bill: no model takes or writes so many, and
/// windows and budgets would believe it.
inline constexpr std::int64_t max_token_count = 1'000'000'000;

/// Sets `into` if `literal` is a count of tokens; otherwise it stays as it is.
inline void read_token_count(std::string_view literal, std::int64_t& into) {
  std::int64_t count = 0;
  if (json_integer(literal, count) && count >= 0 && count <= max_token_count) into = count;
}

/// Consumes an object and reads one count out of it.
inline void read_token_detail(json_scanner& scanner, std::string_view wanted, std::int64_t& into) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_wanted = key == wanted;
    const std::string_view value = scanner.value();
    if (is_wanted) read_token_count(value, into);
  }
}

}  // namespace millrace::http
