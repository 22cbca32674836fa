#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/retry_hints.hpp"

// A provider's answer may be anything. Rewritten twice it is rewritten once, and its texts and headers never
// crash.

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  const auto& dialect = millrace::http::openai();
  std::string once;
  std::string twice;
  millrace::engine::usage used;
  millrace::engine::usage used_again;
  if (dialect.rewrite_answer(millrace::engine::route_kind::chat, body, "mine", once, used)) {
    if (!dialect.rewrite_answer(millrace::engine::route_kind::chat, once, "mine", twice, used_again) ||
        once != twice)
      std::abort();
    if (used.input_tokens != used_again.input_tokens || used.output_tokens != used_again.output_tokens)
      std::abort();
    if (used.input_tokens < 0 || used.output_tokens < 0 || used.cached_tokens < 0) std::abort();
  }
  dialect.speaks_of_credit(body, {});
  const std::string text(body);
  millrace::engine::upstream_head head;
  for (const char* name :
       {"retry-after-ms", "retry-after", "x-ratelimit-reset-requests", "x-ratelimit-limit-tokens"}) {
    head.headers.emplace_back(name, text);
  }
  const auto hint = dialect.read_limits(head);
  const auto wait = millrace::http::read_retry_hint(head, {});
  if (wait < wait.zero() || wait > millrace::http::max_hint ||
      hint.reset_requests > millrace::http::max_hint) {
    std::abort();
  }
  millrace::engine::api_error error;
  error.message = error.code = text;
  const std::string shaped = dialect.error_body(error);
  millrace::http::json_scanner scanner(shaped);
  if (scanner.value().empty() || !scanner.at_end() || !millrace::http::valid_utf8(shaped)) std::abort();
  return 0;
}
