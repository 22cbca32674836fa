#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"
#include "http/json_scan.hpp"

/// The functions that gemini_chat() is made of, see `chat_format`; and what they share. Pure, safe from any
/// thread.
namespace millrace::http {

bool decode_gemini_request(std::string_view body, chat_request& out, engine::api_error& error);
bool encode_gemini_request(const chat_request& request, const encode_options& options, std::string& out,
                           std::vector<std::string>& dropped, engine::api_error& error);
bool decode_gemini_answer(std::string_view body, chat_answer& out);
void encode_gemini_answer(const chat_answer& answer, const encode_options& options, std::string& out);
std::unique_ptr<delta_source> decode_gemini_stream();
std::unique_ptr<delta_sink> encode_gemini_stream(const encode_options& options);

/// An error of Gemini's, in an answer or in a stream.
struct gemini_error {
  std::int64_t code = 0;  ///< an HTTP status
  std::string message;
  std::string status;          ///< RESOURCE_EXHAUSTED and the like
  std::string reason;          ///< of ErrorInfo, such as API_KEY_INVALID
  std::string retry_delay;     ///< of RetryInfo, such as "17s"
  bool quota_failure = false;  ///< it names the quota that is used up for now
};
/// Reads the value of an `error` member.
gemini_error read_gemini_error(json_literal value);
/// Reads a whole body, which may be a list of one; false when it is no error of Gemini's.
bool read_gemini_error_body(std::string_view body, gemini_error& out);

/// Consumes the value of `usageMetadata`. What Gemini reckons apart - thoughts, prompts of tools - is part of
/// the output and of the input.
void read_gemini_usage(json_scanner& scanner, engine::usage& used);
/// Appends the member, with its name.
void write_gemini_usage(const engine::usage& used, std::string& out);

/// What a `finishReason` means: STOP stop, MAX_TOKENS length, and everything else, from SAFETY to
/// MALFORMED_FUNCTION_CALL, content_filter: the answer is not to be used as if it were whole.
finish_reason read_gemini_finish(std::string_view name);
/// The other way round; empty for none.
std::string_view gemini_finish_name(finish_reason finish);

}  // namespace millrace::http
