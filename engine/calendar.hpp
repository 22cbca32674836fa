#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/cached_answer.hpp"

/// Days and months of UTC, by which money is counted. Pure.
namespace millrace::engine {

/// Days since 1970-01-01.
using day_number = std::int32_t;

day_number day_of(wall_time t);
/// Of the month that `day` is in.
day_number first_of_month(day_number day);
day_number first_of_next_month(day_number day);
/// When a day begins.
wall_time start_of(day_number day);

/// "2026-11-29"
std::string day_text(day_number day);
/// Nullopt for what is no day of the calendar written so.
std::optional<day_number> parse_day(std::string_view text);
/// "2026-11-29T00:00:00Z", the moment at which a day begins.
std::string start_text(day_number day);

}  // namespace millrace::engine
