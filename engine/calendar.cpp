#include "engine/calendar.hpp"

#include <charconv>
#include <chrono>

#include <fmt/format.h>

namespace millrace::engine {
namespace {

using std::chrono::days;
using std::chrono::sys_days;
using std::chrono::year_month_day;

year_month_day date_of(day_number day) {
  return year_month_day(sys_days(days(day)));
}

day_number number_of(const year_month_day& date) {
  return static_cast<day_number>(sys_days(date).time_since_epoch().count());
}

template <class Number>
bool read(std::string_view text, Number& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc{} && end == text.data() + text.size() && text.front() != '-';
}

}  // namespace

day_number day_of(wall_time t) {
  return static_cast<day_number>(std::chrono::floor<days>(t).time_since_epoch().count());
}

day_number first_of_month(day_number day) {
  const auto date = date_of(day);
  return number_of(date.year() / date.month() / 1);
}

day_number first_of_next_month(day_number day) {
  const auto date = date_of(day);
  return number_of((date.year() / date.month() + std::chrono::months(1)) / 1);
}

wall_time start_of(day_number day) {
  return wall_time(days(day));
}

std::string day_text(day_number day) {
  const auto date = date_of(day);
  return fmt::format("{:04}-{:02}-{:02}", int{date.year()}, unsigned{date.month()}, unsigned{date.day()});
}

std::optional<day_number> parse_day(std::string_view text) {
  int year = 0;
  unsigned month = 0;
  unsigned day = 0;
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  if (!read(text.substr(0, 4), year) || !read(text.substr(5, 2), month) || !read(text.substr(8, 2), day))
    return std::nullopt;
  const year_month_day date{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!date.ok()) return std::nullopt;
  return number_of(date);
}

std::string start_text(day_number day) {
  return day_text(day) + "T00:00:00Z";
}

}  // namespace millrace::engine
