#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <string>

#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/openai_request.hpp"

// What is accepted must be JSON for another parser too, and the encoded body must read back as the same
// request for another model.

namespace {

using millrace::engine::route_kind;

void require(bool condition) {
  if (!condition) std::abort();
}

void check_accepted(route_kind route, std::string_view body, const millrace::engine::request_facts& facts) {
  const auto& dialect = millrace::http::openai();
  require(body.at(facts.model_offset) == '"' && body.at(facts.insert_offset - 1) == '{');
  require(facts.input_tokens >= 0 && facts.max_output_tokens >= -1);
  std::string encoded;
  millrace::http::encode_openai_request(route, body, facts, "other", true, encoded);
  millrace::engine::request_facts again;
  millrace::engine::api_error error;
  // Adding stream_options may exceed the bound of members, and nothing else.
  if (!dialect.read_request(route, encoded, again, error)) {
    require(error.code == "too_many_members");
    return;
  }
  require(again.model == "other" && again.stream == facts.stream);
  require(again.include_usage || !facts.stream);
  require(again.input_tokens == facts.input_tokens && again.max_output_tokens == facts.max_output_tokens);
}

/// Whether there may be a number in `body` that is too large for a double: one with an exponent, or very
/// long.
bool huge_numbers(std::string_view body) {
  constexpr size_t longest = 300;
  size_t digits = 0;
  for (const char c : body) {
    digits = c >= '0' && c <= '9' ? digits + 1 : 0;
    if (digits > longest || c == 'e' || c == 'E') return true;
  }
  return false;
}

/// Where this scanner says yes, so must a tree parser, but for numbers and lone surrogates, which it cannot
/// hold.
void compare_parsers(std::string_view body) {
  millrace::http::json_scanner scanner(body);
  const bool accepted = !scanner.value().empty() && scanner.at_end() && millrace::http::valid_utf8(body);
  // The other parser takes a zero byte for the end of the text.
  if (scanner.error() == millrace::http::json_error::too_deep || body.find('\0') != std::string_view::npos)
    return;
  const bool other = nlohmann::json::accept(body);
  if (other) require(accepted || body.substr(0, 3) == "\xEF\xBB\xBF");
  const bool same_reach = body.find("\\u") == std::string_view::npos && !huge_numbers(body);
  if (accepted && same_reach) require(other);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto route = static_cast<route_kind>(data[0] % 3);
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  compare_parsers(body);
  millrace::engine::request_facts facts;
  millrace::engine::api_error error;
  if (millrace::http::openai().read_request(route, body, facts, error)) {
    check_accepted(route, body, facts);
  } else {
    require(error.status == 400 && !error.code.empty() && !error.message.empty());
  }
  return 0;
}
