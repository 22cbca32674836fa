#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/ports.hpp"

/// The parts of `responses_client` and `responses_passthrough`; see there and engine/ports.hpp. All are pure
/// and safe from any thread.
namespace millrace::http {

/// Replaces `out`; on false it is empty.
bool rewrite_responses_answer(std::string_view body, std::string_view client_model, std::string& out,
                              engine::usage& used);
std::unique_ptr<engine::stream_reader> read_responses_stream(std::string_view client_model);
/// Replaces `out`; on false it is empty.
bool collect_responses_answer(std::string_view stream, std::string_view client_model, std::string& out,
                              engine::usage& used);
/// Replaces `out`; on false it is empty.
bool replay_responses_answer(std::string_view answer, std::string& out);

/// Counts of a `usage` member as written.
engine::usage read_responses_usage(std::string_view literal);

}  // namespace millrace::http
