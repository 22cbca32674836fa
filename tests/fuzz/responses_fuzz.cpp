#include <cstdint>
#include <string>

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/foreign_thoughts.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_passthrough.hpp"
#include "http/json_scan.hpp"
#include "http/openai_request.hpp"
#include "tests/fuzz/checks.hpp"

// Nothing that comes from outside crashes, what is written is JSON, streams are ones that the dialect's own
// reader takes, and what was put together once comes back as it is from its replay.

namespace {

using namespace millrace;
using namespace millrace::fuzz;
using engine::route_kind;
using state = engine::stream_reader::state;

/// A request is decoded only when it was read before.
void check_request(std::string_view body) {
  engine::request_facts facts;
  engine::api_error error;
  if (!http::responses_client().read_request(route_kind::responses, body, facts, error)) {
    require_refusal(error);
    return;
  }
  std::string encoded;
  http::encode_openai_request(route_kind::responses, body, facts, "other", true, encoded);
  engine::request_facts again;
  require(http::responses_client().read_request(route_kind::responses, encoded, again, error));
  require(again.model == "other" && again.input_tokens == facts.input_tokens);
  if (http::drop_foreign_reasoning(encoded)) require_json(encoded);
  http::chat_request request;
  if (!http::responses_chat().decode_request(body, request, error)) {
    require_refusal(error);
    return;
  }
  http::encode_options options;
  options.model = "theirs";
  for (const http::chat_format* format : {&http::openai_chat(), &http::anthropic_chat()}) {
    std::string out;
    std::vector<std::string> dropped;
    if (format->encode_request(request, options, out, dropped, error)) {
      require_json(out);
    } else {
      require(error.status == 400 && !error.param.empty());
    }
  }
}

void check_answer(std::string_view body) {
  http::chat_answer answer;
  if (!http::anthropic_chat().decode_answer(body, answer)) return;
  http::encode_options options;
  options.model = "mine";
  std::string out;
  http::responses_chat().encode_answer(answer, options, out);
  require_json(out);
  std::string stream;
  if (!http::valid_utf8(out)) return;
  require(http::responses_client().replay_stream(route_kind::responses, out, true, stream));
  engine::usage used;
  std::string again;
  require(http::responses_passthrough().collect_answer(route_kind::responses, stream, "mine", again, used));
  require(used.output_tokens == answer.used.output_tokens);
}

void check_stream(std::string_view bytes, const http::chat_format& format) {
  bool done = false;
  const std::string out = passed_on(format, http::responses_chat(), bytes, done);
  const auto reader = http::responses_passthrough().read_stream(route_kind::responses, "mine", true);
  std::string passed;
  const state end = reader->feed(out, passed);
  require(end != state::failed && (end == state::done) == done && passed == out);
}

void check_passthrough(std::string_view text) {
  check_replays(route_kind::responses, http::responses_client(), http::responses_passthrough(), text);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 5) {
    case 0:
      check_request(text);
      break;
    case 1:
      check_answer(text);
      break;
    case 2:
      check_stream(text, http::anthropic_chat());
      break;
    case 3:
      check_stream(text, http::openai_chat());
      break;
    default:
      check_passthrough(text);
  }
  return 0;
}
