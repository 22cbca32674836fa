#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// Whether requests of a route hold a prompt that can be judged: those that ask for an answer, and those that
/// ask how many tokens such a question has.
bool has_prompt(engine::route_kind route);

/// What the user said last, as text: that of the last message or messages of the user with nobody else's turn
/// between them. Results of tools, pictures and files are nobody's words and are passed over. Parts are
/// joined by line ends. At most about `most_bytes`; what is longer is cut. Replaces `out`; leaves it empty
/// where there is no such text, and for bodies that `read_request` did not accept. Pure; any thread.
void read_prompt(engine::route_kind route, std::string_view body, std::size_t most_bytes, std::string& out);

}  // namespace millrace::http
