#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "http/dialects/anthropic_wire.hpp"
#include "http/retry_hints.hpp"

namespace millrace::http {
namespace {

using std::chrono::system_clock;

std::int64_t read_count(std::string_view text) {
  std::int64_t count = -1;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (problem != std::errc{} || end != text.data() + text.size()) return -1;
  return std::max<std::int64_t>(count, -1);
}

bool take_digits(std::string_view& text, std::size_t count, int& out) {
  if (text.size() < count) return false;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + count, out);
  if (problem != std::errc{} || end != text.data() + count || out < 0) return false;
  text.remove_prefix(count);
  return true;
}

bool take(std::string_view& text, std::string_view any_of) {
  if (text.empty() || any_of.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

/// The part behind the seconds: "Z", or hours and minutes ahead of UTC.
std::optional<std::chrono::minutes> take_zone(std::string_view& text) {
  if (take(text, "Zz")) return std::chrono::minutes(0);
  const bool behind = !text.empty() && text.front() == '-';
  int hours = 0;
  int minutes = 0;
  if (!take(text, "+-") || !take_digits(text, 2, hours) || !take(text, ":") ||
      !take_digits(text, 2, minutes) || hours > 23 || minutes > 59) {
    return std::nullopt;
  }
  return std::chrono::minutes((hours * 60 + minutes) * (behind ? -1 : 1));
}

/// RFC 3339, section 5.6; parts of seconds are rounded up.
std::optional<system_clock::time_point> parse_internet_time(std::string_view text) {
  int year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0;
  const bool ok = take_digits(text, 4, year) && take(text, "-") && take_digits(text, 2, month) &&
                  take(text, "-") && take_digits(text, 2, day) && take(text, "Tt ") &&
                  take_digits(text, 2, hour) && take(text, ":") && take_digits(text, 2, minute) &&
                  take(text, ":") && take_digits(text, 2, second);
  if (!ok) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // 60 is a leap second.
  if (!date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  bool parts = false;
  if (take(text, ".")) {
    const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == 0) return std::nullopt;
    parts = text.substr(0, digits).find_first_not_of('0') != std::string_view::npos;
    text.remove_prefix(digits);
  }
  const auto zone = take_zone(text);
  if (!zone || !text.empty()) return std::nullopt;
  return std::chrono::sys_days(date) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
         std::chrono::seconds(second + (parts ? 1 : 0)) - *zone;
}

struct window {
  std::int64_t limit = -1;
  std::int64_t remaining = -1;
  engine::duration reset{};
};

window read_window(const engine::upstream_head& head, std::string_view kind, system_clock::time_point now) {
  const auto header = [&](std::string_view what) {
    return head.header("anthropic-ratelimit-" + std::string(kind) + "-" + std::string(what));
  };
  window w;
  w.limit = read_count(header("limit"));
  w.remaining = read_count(header("remaining"));
  const auto reset = parse_internet_time(header("reset"));
  if (reset && *reset > now)
    w.reset = std::min<engine::duration>(std::chrono::ceil<std::chrono::seconds>(*reset - now), max_hint);
  return w;
}

}  // namespace

engine::limit_hint read_anthropic_limits(const engine::upstream_head& head, system_clock::time_point now) {
  const window requests = read_window(head, "requests", now);
  const window tokens = read_window(head, "tokens", now);
  const window input = read_window(head, "input-tokens", now);
  const window output = read_window(head, "output-tokens", now);
  engine::limit_hint hint;
  hint.limit_requests = requests.limit;
  hint.remaining_requests = requests.remaining;
  hint.reset_requests = requests.reset;
  hint.limit_tokens = tokens.limit;
  hint.remaining_tokens = tokens.remaining;
  hint.reset_tokens = tokens.reset;
  hint.limit_apart = {input.limit, output.limit};
  hint.remaining_apart = {input.remaining, output.remaining};
  hint.reset_input = input.reset;
  hint.reset_output = output.reset;
  return hint;
}

}  // namespace millrace::http
