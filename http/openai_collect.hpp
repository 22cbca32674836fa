#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// The plain answer that a provider would have given instead of this whole stream; see
/// `engine::provider_dialect::collect_answer`. Deltas are put together as delta_merge.hpp says, `logprobs`
/// append, of the other members of choices and chunks the last one that is not null counts. Tool calls lose
/// their `index`, `obfuscation` (padding of each chunk) is left out. Replaces `out`; on false it is empty.
/// Pure.
bool collect_openai_answer(engine::route_kind route, std::string_view stream, std::string_view client_model,
                           std::string& out, engine::usage& used);

}  // namespace millrace::http
