#include <cstdint>
#include <string>

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/anthropic_passthrough.hpp"
#include "http/dialects/anthropic_wire.hpp"
#include "http/event_reader.hpp"
#include "http/json_scan.hpp"
#include "tests/fuzz/checks.hpp"

// Nothing that comes from outside crashes, what is written is JSON, and what was put together once comes back
// as it is from its replay.

namespace {

using namespace millrace;
using namespace millrace::fuzz;
using engine::route_kind;
using state = engine::stream_reader::state;

void check_request(std::string_view body) {
  const http::chat_format& format = http::anthropic_chat();
  http::chat_request request;
  engine::api_error error;
  if (!format.decode_request(body, request, error)) {
    require_refusal(error);
    return;
  }
  http::encode_options options;
  options.model = "claude-sonnet-4-5";
  options.mark_prompt_cache = body.size() % 2 == 0;
  std::string out;
  std::vector<std::string> dropped;
  if (!format.encode_request(request, options, out, dropped, error)) {
    require(out.empty() && error.status == 400 && !error.param.empty());
    return;
  }
  require_json(out);
}

void check_answer(std::string_view body) {
  const http::chat_format& format = http::anthropic_chat();
  http::chat_answer answer;
  format.decode_error(body);
  if (!format.decode_answer(body, answer)) return;
  http::encode_options options;
  options.model = "mine";
  std::string out;
  format.encode_answer(answer, options, out);
  require_json(out);
  http::chat_answer again;
  require(format.decode_answer(out, again) && again.parts.size() == answer.parts.size());
  require(again.used.output_tokens == answer.used.output_tokens);
}

void check_stream(std::string_view bytes) {
  const http::chat_format& format = http::anthropic_chat();
  http::encode_options options;
  options.model = "mine";
  const auto source = format.decode_stream();
  const auto sink = format.encode_stream(options, true);
  std::string out;
  bool done = false;
  const auto put = [&](const http::chat_delta& d) {
    done = done || d.what == http::chat_delta::kind::done;
    sink->put(d, out);
  };
  const std::size_t half = bytes.size() / 2;
  if (source->feed(bytes.substr(0, half), put)) source->feed(bytes.substr(half), put);
  // What the sink wrote is a stream that readers take.
  const auto reader = http::anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string passed;
  const state end = reader->feed(out, passed);
  // One that ends before it says anything is none, and goes to no client.
  const bool unsaid = end == state::failed && reader->failure() == http::ended_unsaid;
  require(unsaid ? done : end != state::failed && (end == state::done) == done && passed == out);
}

void check_passthrough(std::string_view text) {
  const auto& client = http::anthropic_client();
  const auto& provider = http::anthropic_passthrough();
  engine::request_facts facts;
  engine::api_error error;
  if (client.read_request(route_kind::messages, text, facts, error)) {
    for (const bool mark : {false, true}) {  // marks for the cache in a tool count as text of it
      std::string encoded;
      http::write_anthropic_body(text, facts, "other", mark, encoded);
      engine::request_facts again;
      require(client.read_request(route_kind::messages, encoded, again, error) && again.model == "other");
      require(again.max_output_tokens == facts.max_output_tokens);
      require(mark ? again.input_tokens >= facts.input_tokens : again.input_tokens == facts.input_tokens);
    }
  } else {
    require_refusal(error);
  }
  check_replays(route_kind::messages, client, provider, text);
}

void check_headers(std::string_view text) {
  engine::upstream_head head;
  for (const char* name : {"anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-reset",
                           "anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"}) {
    head.headers.emplace_back(name, std::string(text));
  }
  const engine::limit_hint hint = http::read_anthropic_limits(head, {});
  require(hint.reset_requests >= engine::duration{} && hint.limit_requests >= -1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      // A request is decoded only when it was read before.
      if (http::valid_utf8(text)) check_request(text);
      break;
    case 1:
      check_answer(text);
      break;
    case 2:
      check_stream(text);
      break;
    case 3:
      check_passthrough(text);
      break;
    default:
      check_headers(text);
  }
  return 0;
}
