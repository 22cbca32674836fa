#include <cstdint>
#include <string>

#include "http/dialects/answer_gist.hpp"
#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/dialects/refusals.hpp"
#include "http/event_reader.hpp"
#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "tests/fuzz/checks.hpp"

// OpenAI's conversations on their way to and from other dialects: nothing crashes, what is refused says why,
// what is written is JSON, and what was read and written again comes back from that as it is: only the first
// time changes spellings.

namespace {

using namespace millrace;
using namespace millrace::fuzz;
using engine::route_kind;

constexpr std::string_view good_request =
    R"({"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":[{"type":"text","text":)"
    R"("a"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]},{"role":"assistant",)"
    R"("tool_calls":[{"id":"c","type":"function","function":{"name":"w","arguments":"{}"}}]},{"role":"tool",)"
    R"("tool_call_id":"c","content":"r"}],"tools":[{"type":"function","function":{"name":"w","parameters":{}}}],)"
    R"("tool_choice":"auto","response_format":{"type":"json_schema","json_schema":{"name":"p","schema":{}}},)"
    R"("max_tokens":5,"temperature":1,"stop":["a"],"reasoning_effort":"low"})";
constexpr std::string_view good_answer =
    R"({"id":"c","created":1,"choices":[{"message":{"content":"{\"confidence\":\"9%\"}","refusal":"no",)"
    R"("reasoning_content":"hm","tool_calls":[{"id":"c","function":{"name":"w","arguments":"{}"}}]},"logprobs":)"
    R"({"content":[{"logprob":-0.1}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":6}})";
constexpr std::string_view good_stream =
    "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":"
    "{\"name\":\"w\",\"arguments\":\"{}\"}}]}}]}\n\n"
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";

std::string encoded(const http::chat_format& format, const http::chat_request& request) {
  http::encode_options options;
  options.model = "theirs";
  std::string out;
  std::vector<std::string> dropped;
  engine::api_error error;
  if (!format.encode_request(request, options, out, dropped, error)) {
    require_refusal(error);
    return {};
  }
  require_json(out);
  return out;
}

std::string request_again(std::string_view body) {
  http::chat_request request;
  engine::api_error error;
  require(http::openai_chat().decode_request(body, request, error));
  const std::string out = encoded(http::openai_chat(), request);
  require(!out.empty());
  return out;
}

std::string answer_again(std::string_view body) {
  http::chat_answer answer;
  require(http::openai_chat().decode_answer(body, answer));
  std::string out;
  http::openai_chat().encode_answer(answer, {}, out);
  require_json(out);
  return out;
}

/// A request is decoded only when it was read before.
void check_request(std::string_view body) {
  engine::request_facts facts;
  engine::api_error error;
  if (!http::openai().read_request(route_kind::chat, body, facts, error)) return;
  http::chat_request request;
  if (!http::openai_chat().decode_request(body, request, error)) return require_refusal(error);
  require(!request.messages.empty());
  encoded(http::anthropic_chat(), request);
  encoded(http::gemini_chat(), request);
  const std::string once = encoded(http::openai_chat(), request);
  if (once.empty()) return;
  const std::string twice = request_again(once);
  require(request_again(twice) == twice);
}

void check_answer(std::string_view body) {
  http::openai_chat().decode_error(body);
  http::chat_answer answer;
  if (!http::openai_chat().decode_answer(body, answer)) return;
  require(answer.used.input_tokens >= 0 && answer.used.output_tokens >= 0);
  http::encode_options options;
  options.model = "mine";
  for (const http::chat_format* format : {&http::anthropic_chat(), &http::gemini_chat()}) {
    http::chat_answer told = answer;
    std::string out;
    if (!format->fit(told)) continue;
    format->encode_answer(told, options, out);
    require_json(out);
  }
  std::string once;
  http::openai_chat().encode_answer(answer, options, once);
  require_json(once);
  http::chat_answer again;
  require(http::openai_chat().decode_answer(once, again));
  require(again.finish == answer.finish || answer.finish == http::finish_reason::none);
  require(again.used.output_tokens == answer.used.output_tokens);
  const std::string twice = answer_again(once);
  require(answer_again(twice) == twice);
}

void check_stream(std::string_view bytes) {
  bool done = false;
  const std::string out = passed_on(http::openai_chat(), http::openai_chat(), bytes, done);
  // What the sink wrote is a stream that readers take.
  using state = engine::stream_reader::state;
  std::string passed;
  const auto reader = http::openai().read_stream(route_kind::chat, "mine", true);
  const state end = reader->feed(out, passed);
  // One that ends before it says anything is none, and goes to no client.
  const bool unsaid = end == state::failed && reader->failure() == http::ended_unsaid;
  require(unsaid ? done : end != state::failed && (end == state::done) == done);
}

void check_refusal(std::string_view body) {
  using kind = engine::provider_kind;
  for (const kind provider : {kind::openai, kind::anthropic, kind::gemini}) {
    for (const int status : {200, 400}) http::refusal_of(provider, status, body);
  }
}

void check_gist(route_kind route, std::string_view answer) {
  for (const bool logprobs : {false, true}) {
    const engine::answer_gist gist = http::read_gist(route, answer, {logprobs, "confidence"});
    require(gist.confidence <= 1);  // and a number
    require(http::valid_utf8(gist.said));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      check_request(spliced(good_request, input));
      break;
    case 1:
      check_answer(spliced(good_answer, input));
      check_refusal(input);
      break;
    case 2:
      check_stream(spliced(good_stream, input));
      break;
    default:
      check_gist(route_kind::chat, spliced(good_answer, input));
      check_gist(static_cast<route_kind>(data[0] / 4 % engine::route_kinds), input);
  }
  return 0;
}
