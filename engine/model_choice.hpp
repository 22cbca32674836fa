#pragma once

#include <cstdint>
#include <string_view>

#include "engine/complexity.hpp"
#include "engine/config.hpp"

namespace millrace::engine {

/// The model that answers a request for `model`: where that has rules, the one that the first fitting rule
/// names, and so on from there; itself where none fits. A private request fits no rule to a model that no
/// private provider serves. Pure; `c` has no loops.
size_t choose_model(const config& c, size_t model, const prompt_traits& prompt, std::string_view tier,
                    bool private_only);

/// Whether a private request could be served: by a target of the model, or of one of its fallbacks.
bool serves_private(const config& c, const model_config& m);

/// Whether a request fits into a model's context, as far as is known: `context_tokens` 0 is not, and
/// `output_tokens` below 0 was not said.
constexpr bool fits_context(std::int64_t context_tokens, std::int64_t input_tokens,
                            std::int64_t output_tokens) {
  return context_tokens <= 0 || input_tokens + (output_tokens > 0 ? output_tokens : 0) <= context_tokens;
}

}  // namespace millrace::engine
