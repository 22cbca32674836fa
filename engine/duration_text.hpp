#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/time.hpp"

namespace millrace::engine {

/// What the units of a duration and of a size are, for messages.
inline constexpr std::string_view duration_units = "ms, s, m, h or d";
inline constexpr std::string_view size_units = "KiB, MiB or GiB";

/// Reads a whole number followed directly by `ms`, `s`, `m`, `h` or `d`: "250ms", "30s". Nullopt for anything
/// else, a number without a unit included, and for what does not fit.
std::optional<duration> parse_duration(std::string_view text);

/// Reads a whole number followed directly by `KiB`, `MiB` or `GiB` (powers of 1024), into bytes. Nullopt
/// otherwise.
std::optional<std::int64_t> parse_size(std::string_view text);

/// The shortest text that `parse_duration` reads back, rounded down to milliseconds: "90s", "2m".
std::string duration_text(duration d);

/// The shortest text that `parse_size` reads back, rounded down to KiB.
std::string size_text(std::int64_t bytes);

}  // namespace millrace::engine
