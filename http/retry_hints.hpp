#pragma once

#include <chrono>
#include <optional>
#include <string_view>

#include "engine/ports.hpp"

/// What providers say in headers about their limits and when to come back. Pure functions, safe from any
/// thread.
namespace millrace::http {

/// No hint keeps anybody waiting longer than this; longer ones are cut.
inline constexpr engine::duration max_hint = std::chrono::hours(24);

/// A time as rate limit headers write it: `6m0s`, `1h2m3.5s`, `20ms`, or plain seconds with decimals. Nullopt
/// when it is none of these, or so long (above 31 days) that it must be a date.
std::optional<engine::duration> parse_reset(std::string_view text);

/// The three forms of RFC 9110 section 5.6.7; nullopt otherwise.
std::optional<std::chrono::system_clock::time_point> parse_http_date(
    std::string_view text, std::chrono::system_clock::time_point now);

/// `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`; what is absent, negative or unreadable is
/// unknown.
engine::limit_hint read_openai_limits(const engine::upstream_head& head);

/// `retry-after-ms`, `x-ms-retry-after-ms`, `retry-after` (seconds or date): the first that can be read,
/// 0..`max_hint`. 0 when there is none. `now` is compared with dates only.
engine::duration read_retry_hint(const engine::upstream_head& head,
                                 std::chrono::system_clock::time_point now);

}  // namespace millrace::http
