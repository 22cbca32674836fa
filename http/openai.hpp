#pragma once

#include "engine/ports.hpp"

namespace millrace::http {

/// OpenAI's wire format, as spoken by OpenAI and everything compatible with it. Stateless; safe from any
/// thread.
///
/// What it promises beyond `engine::dialect`:
/// - `read_request` accepts exactly one JSON object in valid UTF-8, nested at most 128 deep, without
/// duplicate
///   top-level keys (compared unescaped), and looks only at the members Millrace itself needs. Refusals are
///   400 `invalid_request_error`. `facts.input_tokens` follows token_estimate.hpp; whoever counts tokens "as
///   the limit counts them" adds `facts.max_output_tokens` (which already covers `n` and `best_of`; -1: not
///   said).
/// - `encode_request`, `rewrite_answer` and `read_stream` edit in place: every byte they do not replace is
/// kept.
///   `encode_request` and `rewrite_answer` replace `out`; the stream reader's `feed` appends to it.
const engine::dialect& openai();

}  // namespace millrace::http
