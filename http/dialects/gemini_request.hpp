#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

/// Gemini's requests as they pass; see gemini_passthrough.hpp. Pure functions, safe from any thread.
namespace millrace::http {

/// Keeps `model` and `stream` of `facts`, sets all others.
bool read_gemini_request(engine::route_kind route, std::string_view body, engine::request_facts& facts,
                         engine::api_error& error);

/// Replaces `out`.
void encode_gemini_passthrough(engine::route_kind route, std::string_view body, std::string_view model,
                               std::string& out);

}  // namespace millrace::http
