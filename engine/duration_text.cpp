#include "engine/duration_text.hpp"

#include <array>
#include <charconv>
#include <limits>

namespace millrace::engine {
namespace {

struct unit {
  std::string_view name;
  std::int64_t factor;
};

// Ordered from large to small, so that writing picks the largest unit that divides the value.
constexpr std::array<unit, 5> duration_table = {{
    {"d", 86'400'000},
    {"h", 3'600'000},
    {"m", 60'000},
    {"s", 1'000},
    {"ms", 1},
}};

constexpr std::array<unit, 3> size_table = {{
    {"GiB", 1LL << 20},
    {"MiB", 1LL << 10},
    {"KiB", 1},
}};

/// The number in units of the table's smallest one, at most `most`.
template <size_t N>
std::optional<std::int64_t> parse(std::string_view text, const std::array<unit, N>& table,
                                  std::int64_t most) {
  if (text.empty() || text.front() < '0' || text.front() > '9') return std::nullopt;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return std::nullopt;
  const std::string_view rest(end, static_cast<size_t>(text.data() + text.size() - end));
  for (const unit& u : table) {
    if (rest != u.name) continue;
    if (number > most / u.factor) return std::nullopt;
    return number * u.factor;
  }
  return std::nullopt;
}

template <size_t N>
std::string write(std::int64_t value, const std::array<unit, N>& table) {
  for (const unit& u : table) {
    if (value != 0 && value % u.factor == 0) return std::to_string(value / u.factor).append(u.name);
  }
  return std::to_string(value).append(table.back().name);
}

}  // namespace

std::optional<duration> parse_duration(std::string_view text) {
  constexpr auto most = std::chrono::duration_cast<std::chrono::milliseconds>(duration::max()).count();
  const auto ms = parse(text, duration_table, most);
  if (!ms) return std::nullopt;
  return std::chrono::milliseconds(*ms);
}

std::optional<std::int64_t> parse_size(std::string_view text) {
  const auto kib = parse(text, size_table, std::numeric_limits<std::int64_t>::max() / 1024);
  if (!kib) return std::nullopt;
  return *kib * 1024;
}

std::string duration_text(duration d) {
  return write(std::chrono::duration_cast<std::chrono::milliseconds>(d).count(), duration_table);
}

std::string size_text(std::int64_t bytes) {
  return write(bytes / 1024, size_table);
}

}  // namespace millrace::engine
