#include "http/retry_hints.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string>

namespace millrace::http {
namespace {

using std::chrono::system_clock;

constexpr double longest_reset_s = 31 * 86400.0;

bool is_decimal(char c) {
  return c >= '0' && c <= '9';
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// Reads a number without sign and exponent off the front.
bool take_number(std::string_view& text, double& out) {
  if (text.empty() || !is_decimal(text.front())) return false;
  const auto [end, problem] =
      std::from_chars(text.data(), text.data() + text.size(), out, std::chars_format::fixed);
  if (problem != std::errc{} || !std::isfinite(out)) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return true;
}

bool take_word(std::string_view& text, std::string_view word) {
  if (text.substr(0, word.size()) != word) return false;
  text.remove_prefix(word.size());
  return true;
}

/// Seconds in the unit at the front of `text`, longest names first; 0 when there is none.
double take_unit(std::string_view& text) {
  if (take_word(text, "ms")) return 1e-3;
  if (take_word(text, "us") || take_word(text, "\xC2\xB5s")) return 1e-6;
  if (take_word(text, "ns")) return 1e-9;
  if (take_word(text, "s")) return 1;
  if (take_word(text, "m")) return 60;
  if (take_word(text, "h")) return 3600;
  return take_word(text, "d") ? 86400 : 0;
}

engine::duration bounded(double seconds) {
  const double most = std::chrono::duration<double>(max_hint).count();
  return std::chrono::duration_cast<engine::duration>(
      std::chrono::duration<double>(std::clamp(seconds, 0.0, most)));
}

std::optional<double> plain_number(std::string_view text) {
  text = trimmed(text);
  const bool negative = take_word(text, "-");
  double number = 0;
  if (!take_number(text, number) || !text.empty()) return std::nullopt;
  return negative ? -number : number;
}

std::int64_t read_count(std::string_view text) {
  text = trimmed(text);
  std::int64_t count = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc{} || end != text.data() + text.size()) return -1;
  return std::max<std::int64_t>(count, -1);
}

/// Two or four digits.
bool take_digits(std::string_view& text, size_t count, int& out) {
  if (text.size() < count) return false;
  out = 0;
  for (size_t i = 0; i < count; ++i) {
    if (!is_decimal(text[i])) return false;
    out = out * 10 + (text[i] - '0');
  }
  text.remove_prefix(count);
  return true;
}

/// asctime pads days below ten with a space.
bool take_padded_day(std::string_view& text, int& day) {
  return take_word(text, " ") ? take_digits(text, 1, day) : take_digits(text, 2, day);
}

bool take_month(std::string_view& text, int& month) {
  constexpr std::array<std::string_view, 12> names = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  for (size_t i = 0; i < names.size(); ++i) {
    if (!take_word(text, names[i])) continue;
    month = static_cast<int>(i) + 1;
    return true;
  }
  return false;
}

struct date_parts {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
};

bool take_clock(std::string_view& text, date_parts& d) {
  return take_digits(text, 2, d.hour) && take_word(text, ":") && take_digits(text, 2, d.minute) &&
         take_word(text, ":") && take_digits(text, 2, d.second);
}

std::optional<system_clock::time_point> to_time(const date_parts& d) {
  const std::chrono::year_month_day day{std::chrono::year(d.year),
                                        std::chrono::month(static_cast<unsigned>(d.month)),
                                        std::chrono::day(static_cast<unsigned>(d.day))};
  // 60 is a leap second.
  if (!day.ok() || d.hour > 23 || d.minute > 59 || d.second > 60) return std::nullopt;
  return std::chrono::sys_days(day) + std::chrono::hours(d.hour) + std::chrono::minutes(d.minute) +
         std::chrono::seconds(d.second);
}

int year_of(system_clock::time_point t) {
  return static_cast<int>(std::chrono::year_month_day(std::chrono::floor<std::chrono::days>(t)).year());
}

}  // namespace

std::optional<engine::duration> parse_reset(std::string_view text) {
  text = trimmed(text);
  double seconds = 0;
  double number = 0;
  if (!take_number(text, number)) return std::nullopt;
  if (text.empty()) {
    seconds = number;
  } else {
    for (;;) {
      const double unit = take_unit(text);
      if (unit == 0) return std::nullopt;
      seconds += number * unit;
      if (text.empty()) break;
      if (!take_number(text, number)) return std::nullopt;
    }
  }
  if (seconds > longest_reset_s) return std::nullopt;
  return bounded(seconds);
}

std::optional<system_clock::time_point> parse_http_date(std::string_view text, system_clock::time_point now) {
  text = trimmed(text);
  date_parts d;
  const size_t comma = text.find(',');
  if (comma == std::string_view::npos) {  // asctime: Sun Nov  6 08:49:37 1994
    text.remove_prefix(std::min<size_t>(text.size(), 4));
    const bool ok = take_month(text, d.month) && take_word(text, " ") && take_padded_day(text, d.day) &&
                    take_word(text, " ") && take_clock(text, d) && take_word(text, " ") &&
                    take_digits(text, 4, d.year);
    return ok && text.empty() ? to_time(d) : std::nullopt;
  }
  text.remove_prefix(comma + 1);
  if (!take_word(text, " ") || !take_digits(text, 2, d.day)) return std::nullopt;
  if (take_word(text, "-")) {  // RFC 850: Sunday, 06-Nov-94 08:49:37 GMT
    if (!take_month(text, d.month) || !take_word(text, "-") || !take_digits(text, 2, d.year))
      return std::nullopt;
    // Two digits that seem more than 50 years ahead mean the century before.
    const int this_year = year_of(now);
    d.year += this_year / 100 * 100;
    if (d.year > this_year + 50) d.year -= 100;
  } else {  // IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
    if (!take_word(text, " ") || !take_month(text, d.month) || !take_word(text, " ") ||
        !take_digits(text, 4, d.year)) {
      return std::nullopt;
    }
  }
  const bool ok = take_word(text, " ") && take_clock(text, d) && text == " GMT";
  return ok ? to_time(d) : std::nullopt;
}

engine::limit_hint read_openai_limits(const engine::upstream_head& head) {
  engine::limit_hint hint;
  hint.limit_requests = read_count(head.header("x-ratelimit-limit-requests"));
  hint.remaining_requests = read_count(head.header("x-ratelimit-remaining-requests"));
  hint.limit_tokens = read_count(head.header("x-ratelimit-limit-tokens"));
  hint.remaining_tokens = read_count(head.header("x-ratelimit-remaining-tokens"));
  const engine::duration unknown{};
  hint.reset_requests = parse_reset(head.header("x-ratelimit-reset-requests")).value_or(unknown);
  hint.reset_tokens = parse_reset(head.header("x-ratelimit-reset-tokens")).value_or(unknown);
  return hint;
}

engine::duration read_retry_hint(const engine::upstream_head& head, system_clock::time_point now) {
  for (const std::string_view name : {"retry-after-ms", "x-ms-retry-after-ms"}) {
    if (const auto ms = plain_number(head.header(name))) return bounded(*ms / 1000);
  }
  const std::string_view after = head.header("retry-after");
  if (const auto seconds = plain_number(after)) return bounded(*seconds);
  if (const auto date = parse_http_date(after, now)) {
    return bounded(std::chrono::duration<double>(*date - now).count());
  }
  return {};
}

}  // namespace millrace::http
