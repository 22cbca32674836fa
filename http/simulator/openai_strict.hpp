#pragma once

#include <cstddef>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http::simulation {

/// Whether the real API refuses `max_tokens` for the model.
bool wants_completion_tokens(std::string_view model);

/// Judges a body that is valid JSON as strictly as OpenAI's API: members and their types and ranges, roles,
/// parts of contents, tool calls and their answers. `padding` bytes behind it may be read. Throws `rejected`.
/// Plain requests, of texts with common settings, need not come here: there is nothing to refuse in them.
void judge_openai(engine::route_kind route, std::string_view body, size_t padding);

}  // namespace millrace::http::simulation
