#pragma once

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

}  // namespace millrace::engine
