#pragma once

#include "engine/ports.hpp"

namespace millrace::http {

/// Embeddings of OpenAI's clients at Gemini, and of Gemini's at providers that speak OpenAI's API; see
/// embedding.hpp. Stateless; safe from any thread.
const engine::provider_dialect& openai_embeddings_at_gemini();
const engine::provider_dialect& gemini_embeddings_at_openai();

}  // namespace millrace::http
