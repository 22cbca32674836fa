#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "engine/config.hpp"

/// Bodies of Millrace's own answers in OpenAI's shape. Pure functions, safe from any thread.
namespace millrace::http {

/// `GET /v1/models`: every configured model, in configuration order, owned by its first target's provider.
/// Without configured models, each provider's wildcard `<provider>/*` is listed. `created`: Unix time in
/// seconds.
std::string models_body(const engine::config& config, std::int64_t created);

/// `GET /v1/models/{id}`; nullopt when no such model is known (answer 404 `model_not_found`).
std::optional<std::string> model_body(const engine::config& config, const std::string& id,
                                      std::int64_t created);

}  // namespace millrace::http
