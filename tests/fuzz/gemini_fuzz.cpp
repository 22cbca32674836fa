#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/dialects/embedding.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_passthrough.hpp"
#include "http/json_scan.hpp"
#include "tests/fuzz/checks.hpp"

// Whatever comes as a request, an answer or a stream of Gemini's: nothing crashes, what is refused says why,
// and what is written is JSON.

namespace {

using namespace millrace;
using namespace millrace::fuzz;

void translate_request(std::string_view body) {
  http::chat_request request;
  engine::api_error error;
  if (!http::gemini_chat().decode_request(body, request, error)) return require_refusal(error);
  for (const char* model : {"gemini-2.5-flash", "gemini-3-pro"}) {
    http::encode_options options;
    options.model = model;
    std::string out;
    std::vector<std::string> dropped;
    if (http::gemini_chat().encode_request(request, options, out, dropped, error)) {
      require_json(out);
    } else {
      require_refusal(error);
    }
  }
}

void translate_answer(std::string_view body) {
  http::chat_answer answer;
  http::gemini_chat().decode_error(body);
  if (!http::gemini_chat().decode_answer(body, answer)) return;
  std::string out;
  http::gemini_chat().encode_answer(answer, {}, out);
  require_json(out);
  require(answer.used.input_tokens >= 0 && answer.used.output_tokens >= 0);
}

/// Taken apart in two pieces, and put together again: every event is whole.
void translate_stream(std::string_view body) {
  const auto source = http::gemini_chat().decode_stream();
  const auto sink = http::gemini_chat().encode_stream({}, true);
  std::string out;
  const auto put = [&](const http::chat_delta& d) {
    if (d.what == http::chat_delta::kind::error) return;
    const size_t before = out.size();
    sink->put(d, out);
    if (out.size() == before) return;
    const std::string_view event = std::string_view(out).substr(before);
    require(event.substr(0, 6) == "data: " && event.substr(event.size() - 4) == "\r\n\r\n");
    require_json(event.substr(6));
  };
  if (source->feed(body.substr(0, body.size() / 2), put)) source->feed(body.substr(body.size() / 2), put);
}

void pass_request(engine::route_kind route, std::string_view body) {
  engine::request_facts facts;
  engine::api_error error;
  if (!http::gemini_client().read_request(route, body, facts, error)) return require_refusal(error);
  require(facts.input_tokens >= 0 && facts.max_output_tokens >= -1);
  const engine::header_list forwarded;
  const engine::provider_config provider;
  const engine::secret key;
  engine::provider_request out;
  require(http::gemini_passthrough().encode_request({route, body, facts, forwarded, provider, key, "other"},
                                                    out, error));
  engine::request_facts again;
  require(http::gemini_client().read_request(route, out.body, again, error));
  // Without thoughts that were not Gemini's it is another request.
  if (!out.dropped.empty()) return;
  require(again.input_tokens == facts.input_tokens && again.max_output_tokens == facts.max_output_tokens);
}

void pass_answer(std::string_view body) {
  const auto route = engine::route_kind::generate;
  std::string out;
  engine::usage used;
  if (http::gemini_passthrough().rewrite_answer(route, body, "mine", out, used)) require_json(out);
  const auto reader = http::gemini_passthrough().read_stream(route, "mine", true);
  reader->feed(body, out);
  reader->end(out);
  if (http::gemini_passthrough().collect_answer(route, body, "mine", out, used)) {
    require_json(out);
    std::string events;
    require(http::gemini_client().replay_stream(route, out, true, events));
  }
  http::gemini_client().replay_stream(route, body, true, out);
  http::gemini_passthrough().read_retry_after({}, body);
  http::gemini_passthrough().speaks_of_credit(body, {});
}

void embed(std::string_view body) {
  http::embedding_request request;
  engine::api_error error;
  for (const auto route : {engine::route_kind::embed, engine::route_kind::batch_embed}) {
    if (http::decode_gemini_embedding_request(route, body, request, error)) {
      std::string out;
      std::vector<std::string> dropped;
      http::encode_openai_embedding_request(request, "m", out, dropped);
      require_json(out);
    } else {
      require_refusal(error);
    }
  }
  if (http::decode_openai_embedding_request(body, request, error)) {
    std::string out;
    std::vector<std::string> dropped;
    http::encode_gemini_batch(request, "m", out, dropped);
    require_json(out);
  }
  http::embedding_answer answer;
  if (http::decode_gemini_embeddings(body, answer) || http::decode_openai_embeddings(body, answer)) {
    std::string out;
    http::encode_openai_embeddings(answer, true, "m", out);
    require_json(out);
    out.clear();
    http::encode_gemini_embeddings(engine::route_kind::batch_embed, answer, out);
    require_json(out);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  const std::string_view body(reinterpret_cast<const char*>(data), size);
  translate_request(body);
  translate_answer(body);
  translate_stream(body);
  for (const auto route :
       {engine::route_kind::generate, engine::route_kind::embed, engine::route_kind::batch_embed})
    pass_request(route, body);
  pass_answer(body);
  embed(body);
  return 0;
}
