#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/exchange.hpp"
#include "http/guard.hpp"

/// Cross-origin requests from browsers (Fetch standard, "CORS protocol"). Credentials are never allowed: keys
/// come in headers, not in cookies.
namespace millrace::http {

/// Adds what lets the page that sent the request read the answer, when its origin is among `allowed` ("*":
/// all).
void add_cors(std::span<const header_field> request, const std::vector<std::string>& allowed,
              engine::header_list& answer);

/// Adds the permissions that a preflight request asks for. `allow`: the methods of the route.
void add_preflight(std::span<const header_field> request, const std::vector<std::string>& allowed,
                   std::string_view allow, engine::header_list& answer);

}  // namespace millrace::http
