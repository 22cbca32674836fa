#pragma once

#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// Why a provider of this kind refuses a request that another model may take: see
/// `engine::wire_formats::reason_of`. By what the providers say:
///
/// | | too long | forbidden content |
/// |---|---|---|
/// | OpenAI, Azure | 400 `context_length_exceeded` | 400 `content_policy_violation`, `content_filter`,
/// `invalid_prompt` | | those who speak OpenAI's (vLLM, llama.cpp) | 400 "maximum context length",
/// `exceed_context_size_error` | | | Anthropic | 400 "prompt is too long", "exceed context limit" | 400
/// "content filtering policy"; 200 `stop_reason: refusal` | | Gemini | 400 "exceeds the maximum number of
/// tokens" | 200 `promptFeedback.blockReason` |
///
/// Pure; any thread.
engine::refusal_reason refusal_of(engine::provider_kind kind, int status, std::string_view body);

}  // namespace millrace::http
