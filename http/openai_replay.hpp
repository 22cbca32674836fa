#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// Where a replay grows beyond this, as an answer of very many parts may, it is given up. It is passed by one
/// event at most.
inline constexpr size_t max_replay_bytes = 64U << 20;

/// A whole plain answer as the event stream that would have told the same; see
/// `engine::client_dialect::replay_stream`. Values stand as the answer has them, line ends between them
/// aside. Every choice has a chunk with its role (and all that is empty or null), one per further member of
/// its message and per tool call, the first of them with its `logprobs`, and one with its finish reason and
/// whatever else it has. Members of the answer that chunks do not repeat are in the first one. Replaces
/// `out`; on false it is empty. Pure.
bool replay_openai_answer(engine::route_kind route, std::string_view answer, bool client_wants_usage,
                          std::string& out);

}  // namespace millrace::http
