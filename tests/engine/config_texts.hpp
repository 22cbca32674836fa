#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "engine/config.hpp"

/// Short ways to read a configuration from text.
namespace millrace::engine::config_testing {

inline environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto it = values.find(name);
    if (it == values.end()) return std::nullopt;
    return it->second;
  };
}

inline config_ptr parse(const std::string& yaml, std::map<std::string, std::string> env = {}) {
  return parse_config(yaml, "c.yaml", variables(std::move(env)));
}

/// What parse_config says about a bad file; empty when it is accepted.
inline std::string complaint(const std::string& yaml, std::map<std::string, std::string> env = {}) {
  try {
    parse(yaml, std::move(env));
  } catch (const config_error& e) {
    return e.what();
  }
  return {};
}

inline const std::string two_providers = R"(providers:
  openai:
    kind: openai
    base_url: https://api.openai.com/v1/
    timeouts: { first_byte: 5s }
    breaker: { open: 300s }
    keys:
      - { id: openai-1, secret: sk-one, rpm: 10000, tpm: 2000000, rpd: 1000000, concurrency: 500 }
      - { id: openai-2, secret: sk-two, tpm_input: 10, tpm_output: 20 }
  local:
    base_url: http://[::1]:8000
    private: true
    keys: [ { id: k, secret: none } ]
models:
  gpt-4o-mini:
    strategy: speed
    targets:
      - { provider: openai, model: gpt-4o-mini, input_usd: 0.15, output_usd: 0.60, quality: 0.92, weight: 2 }
      - { provider: local, model: "llama:8b" }
    fallbacks: [gpt-4o]
    cache: { any_temperature: true, ttl: 2h, enabled: false }
    coalesce: true
  gpt-4o:
    targets: [ { provider: openai, model: gpt-4o } ]
)";

}  // namespace millrace::engine::config_testing
