#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <string_view>

#include "engine/ports.hpp"

/// The parts of `anthropic_client` and `anthropic_passthrough`; see there and engine/ports.hpp. All are pure
/// and safe from any thread.
namespace millrace::http {

bool read_anthropic_request(engine::route_kind route, std::string_view body, engine::request_facts& facts,
                            engine::api_error& error);
/// Appends `body` with another model, and with marks for the provider's cache, if it shall have them and may.
void write_anthropic_body(std::string_view body, const engine::request_facts& facts, std::string_view model,
                          bool mark_prompt_cache, std::string& out);

/// Replaces `out`; on false it is empty. With an error, or without the content that it must have, it is no
/// answer, whatever else is there.
bool rewrite_anthropic_answer(std::string_view body, std::string_view client_model, bool has_content,
                              std::string& out, engine::usage& used);
std::unique_ptr<engine::stream_reader> read_anthropic_stream(std::string_view client_model);
/// Replaces `out`; on false it is empty.
bool collect_anthropic_answer(std::string_view stream, std::string_view client_model, std::string& out,
                              engine::usage& used);
/// Replaces `out`; on false it is empty.
bool replay_anthropic_answer(std::string_view answer, std::string& out);

/// `anthropic-ratelimit-*`; what is absent or unreadable is unknown, resets are counted from `now`.
engine::limit_hint read_anthropic_limits(const engine::upstream_head& head,
                                         std::chrono::system_clock::time_point now);

/// Appends an error's body.
void write_anthropic_error(const engine::api_error& error, std::string& out);

}  // namespace millrace::http
