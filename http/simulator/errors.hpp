#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http::simulation {

engine::api_error make_error(int status, std::string_view type, std::string_view code, std::string message);

/// What OpenAI says with a status.
engine::api_error error_of_status(int status);

}  // namespace millrace::http::simulation
