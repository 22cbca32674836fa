#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/seen_keys.hpp"

/// Requests in OpenAI's format; see `engine::client_dialect` for the meaning. Pure functions, safe from any
/// thread.
namespace millrace::http {

/// Longest name of a model; beyond it the answer is 400.
inline constexpr size_t max_model_bytes = 512;

/// Largest values of `max_tokens` and of `n` or `best_of` that are reckoned with; their product fits 64 bits.
inline constexpr std::int64_t max_counted_tokens = 1'000'000'000;
inline constexpr std::int64_t max_counted_choices = 1024;

bool read_openai_request(engine::route_kind route, std::string_view body, engine::request_facts& facts,
                         engine::api_error& error);

/// Replaces `out`. `stream_usage`: streams are asked to tell what was used, see engine::provider_config.
void encode_openai_request(engine::route_kind route, std::string_view body,
                           const engine::request_facts& facts, std::string_view model, bool stream_usage,
                           std::string& out);

}  // namespace millrace::http
