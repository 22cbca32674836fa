#pragma once

#include <string_view>

#include "engine/cache_policy.hpp"

namespace millrace::http {

/// Reads one `Cache-Control` header of a request (RFC 9111, section 5.2.1; RFC 5861) into `wish`; several add
/// up. What is not of use here (`min-fresh`, extensions) is passed over. False when `max-age` or
/// `stale-if-error` is no whole number of seconds. Pure.
bool read_cache_control(std::string_view value, engine::cache_wish& wish);

}  // namespace millrace::http
