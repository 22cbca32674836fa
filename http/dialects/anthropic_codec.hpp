#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"
#include "http/dialects/json_members.hpp"
#include "http/json_scan.hpp"

/// The parts of `anthropic_chat`; see there. All are pure and safe from any thread.
namespace millrace::http {

bool decode_anthropic_request(std::string_view body, chat_request& out, engine::api_error& error);
bool encode_anthropic_request(const chat_request& request, const encode_options& options, std::string& out,
                              std::vector<std::string>& dropped, engine::api_error& error);
bool decode_anthropic_answer(std::string_view body, chat_answer& out);
/// See chat_client_format::fit.
bool fit_anthropic_answer(chat_answer& answer);
void encode_anthropic_answer(const chat_answer& answer, const encode_options& options, std::string& out);
std::unique_ptr<delta_source> decode_anthropic_stream();
std::unique_ptr<delta_sink> encode_anthropic_stream(const encode_options& options);

finish_reason read_anthropic_stop(std::string_view stop_reason);
/// With the quotes.
std::string_view anthropic_stop_literal(finish_reason finish, bool at_sequence);

/// Counts as this dialect tells them; -1: not told.
struct anthropic_usage {
  std::int64_t input_tokens = -1;
  std::int64_t output_tokens = -1;
  std::int64_t cache_read_tokens = -1;
  std::int64_t cache_write_tokens = -1;
  std::int64_t long_write_tokens = -1;
  std::int64_t thinking_tokens = -1;

  /// Consumes the value of a `usage` member. What is absent, null or no whole number stays as it is.
  void read(json_scanner& scanner);
  engine::usage total() const;
};

/// Appends an object.
void write_anthropic_usage(const engine::usage& used, std::string& out);

/// What an error body or event says; empty texts when it is none of this dialect.
struct anthropic_failure {
  std::string type;
  std::string message;
};
anthropic_failure read_anthropic_error(std::string_view body);
/// The HTTP status that stands for an error's type; 0 when it is not known.
int anthropic_status(std::string_view type);
std::string_view anthropic_error_type(int status);

}  // namespace millrace::http
