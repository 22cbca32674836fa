#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/dialects/gemini_formats.hpp"

/// Gemini's streams as they pass; see gemini_passthrough.hpp.
namespace millrace::http {

/// Longest text of a provider's failure that is kept.
inline constexpr size_t max_gemini_failure_bytes = 1024;

/// See `engine::stream_reader`. Every byte but the value of `modelVersion` passes as it came. Content starts
/// with the first part that is more than an empty text, with a finishReason, or with a blocked prompt. The
/// stream is done when its body ends and every candidate has a finishReason, or the prompt was blocked.
std::unique_ptr<engine::stream_reader> read_gemini_stream(std::string_view client_model);

/// See `engine::provider_dialect::collect_answer`. Texts that follow each other and are all thought or all
/// not become one part; of other members the last one counts, but what tells of places in the text or comes
/// in pieces (citations, grounding, logprobs) must be told once. Replaces `out`; on false it is empty.
bool collect_gemini_answer(std::string_view stream, std::string_view client_model, std::string& out,
                           engine::usage& used);

/// See `engine::client_dialect::replay_stream`: one event, since a whole answer is one. Replaces `out`.
bool replay_gemini_answer(std::string_view answer, std::string& out);

/// The status that an error means for the pipeline: 402 without credit, 401 for a key that does not work.
int status_of_gemini_error(const gemini_error& e);

bool gemini_refuses_key(const gemini_error& e);

/// Whether the account has no credit; `request` as in `provider_dialect`.
bool gemini_speaks_of_credit(const gemini_error& e, std::string_view request);

}  // namespace millrace::http
