#pragma once

#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// Why a provider of this kind refuses a request that another model may take: see
/// `engine::wire_formats::reason_of`. Too long is
/// - OpenAI's and Azure's 400 with the code `context_length_exceeded`, vLLM's "maximum context length",
///   llama.cpp's `exceed_context_size_error`;
/// - Anthropic's 400 "prompt is too long" or "exceed context limit";
/// - Gemini's 400 "exceeds the maximum number of tokens".
///
/// Forbidden is
/// - OpenAI's and Azure's 400 with the code `content_policy_violation`, `content_filter` or `invalid_prompt`;
/// - Anthropic's 400 "content filtering policy", and an answer with `stop_reason: refusal`;
/// - Gemini's answer with `promptFeedback.blockReason`.
///
/// Pure; any thread.
engine::refusal_reason refusal_of(engine::provider_kind kind, int status, std::string_view body);

}  // namespace millrace::http
