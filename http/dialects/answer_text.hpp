#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/ports.hpp"

/// Plain answers as texts, in the dialect of any client. Pure; safe from any thread.
namespace millrace::http {

/// See `engine::wire_formats::text_answer`.
bool write_text_answer(engine::route_kind route, std::string_view client_model, std::string_view text,
                       std::int64_t now, std::string& out);

}  // namespace millrace::http
