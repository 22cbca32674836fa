#include "http/dialects/gemini_passthrough.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/gemini_passthrough_stream.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;
using nlohmann::json;
using state = engine::stream_reader::state;

engine::request_facts read(const std::string& body, route_kind route = route_kind::generate) {
  engine::request_facts facts;
  facts.model = "mine";
  facts.stream = true;
  engine::api_error error;
  EXPECT_TRUE(gemini_client().read_request(route, body, facts, error)) << error.message;
  return facts;
}

std::string refusal(const std::string& body, route_kind route = route_kind::generate) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_FALSE(gemini_client().read_request(route, body, facts, error)) << body;
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.type, "invalid_request_error");
  return error.code + " " + error.param;
}

engine::provider_request encode(route_kind route, const std::string& body, bool stream,
                                const std::string& model) {
  engine::request_facts facts;
  facts.stream = stream;
  engine::provider_config provider;
  provider.base_path = "/v1beta";
  const engine::header_list forwarded = {{"content-type", "application/json"}, {"anthropic-version", "x"}};
  const engine::secret key("k3y");
  engine::provider_request out;
  engine::api_error error;
  EXPECT_TRUE(
      gemini_passthrough().encode_request({route, body, facts, forwarded, provider, key, model}, out, error));
  return out;
}

TEST(gemini_passthrough, reads_what_the_pipeline_needs) {
  const auto facts = read(
      R"({"system_instruction":{"parts":[{"text":"12345678"}]},"contents":[{"role":"user","parts":[{"text":"1234"},
      {"inline_data":{"mime_type":"image/png","data":"AAAAAAAAAAAAAAAA"}}]}],
      "generationConfig":{"maxOutputTokens":"50","candidate_count":2,"temperature":0.0}})");
  EXPECT_EQ(facts.model, "mine");
  EXPECT_TRUE(facts.stream);
  EXPECT_TRUE(facts.include_usage);
  EXPECT_EQ(facts.max_output_tokens, 100);
  EXPECT_TRUE(facts.zero_temperature);
  EXPECT_EQ(facts.input_tokens, 3 + 2 * message_tokens + reply_tokens + image_tokens);
  EXPECT_EQ(read(R"({"contents":[{}]})").max_output_tokens, -1);
  const auto embedding = read(R"({"content":{"parts":[{"text":"12345"}]}})", route_kind::embed);
  EXPECT_EQ(embedding.input_tokens, 2);
  EXPECT_EQ(embedding.max_output_tokens, 0);
  EXPECT_FALSE(embedding.stream);
  EXPECT_EQ(
      read(R"({"requests":[{"content":{"parts":[{"text":"1234"}]}},{"content":{"parts":{"text":"1234"}}}]})",
           route_kind::batch_embed)
          .input_tokens,
      2);
}

TEST(gemini_passthrough, leaves_out_thoughts_of_other_providers_and_tells_so) {
  const auto conversation = [](const std::string& signature) {
    return R"({"contents":[{"role":"user","parts":[{"text":"q"}]},{"role":"model","parts":[{"text":"","thought":true,"thoughtSignature":")" +
           signature +
           R"("},{"functionCall":{"name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"a":1}}}]}]})";
  };
  const auto own = encode(route_kind::generate, conversation("c2ln"), false, "gemini-3-pro");
  EXPECT_EQ(own.body, conversation("c2ln"));
  EXPECT_TRUE(own.dropped.empty());

  // What is signed "millrace:sig" in base64 was Anthropic's "sig".
  const auto others = encode(route_kind::generate, conversation("bWlsbHJhY2U6c2ln"), true, "gemini-3-pro");
  const json parts = json::parse(others.body)["contents"][1]["parts"];
  ASSERT_EQ(parts.size(), 1U);
  EXPECT_EQ(parts[0]["thoughtSignature"], "skip_thought_signature_validator");
  EXPECT_EQ(others.path, "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse");
  EXPECT_EQ(others.dropped, std::vector<std::string>{"thinking"});
}

TEST(gemini_passthrough, a_call_of_another_provider_gets_the_signature_that_google_has_for_that) {
  const auto conversation = [](const std::string& id) {
    return R"({"contents":[{"role":"user","parts":[{"text":"q"}]},{"role":"model","parts":[{"functionCall":{)" +
           id +
           R"("name":"f","args":{}}}]},{"role":"user","parts":[{"functionResponse":{"name":"f","response":{"a":1}}}]}]})";
  };
  for (const std::string id : {R"("id":"call_1",)", R"("id":"toolu_1",)"}) {
    const auto sent = encode(route_kind::generate, conversation(id), false, "gemini-3-pro");
    EXPECT_EQ(json::parse(sent.body)["contents"][1]["parts"][0]["thoughtSignature"],
              "skip_thought_signature_validator");
    EXPECT_EQ(encode(route_kind::generate, conversation(id), false, "gemini-2.5-pro").body, conversation(id));
  }
  // Of Gemini's own calls it is the client who lost the signature: it shall hear so.
  for (const std::string id : {"", R"("id":"fc-1",)"})
    EXPECT_EQ(encode(route_kind::generate, conversation(id), false, "gemini-3-pro").body, conversation(id));
}

TEST(gemini_passthrough, refuses_what_no_provider_shall_see) {
  EXPECT_EQ(refusal("{}"), "missing_field contents");
  EXPECT_EQ(refusal("{}", route_kind::embed), "missing_field content");
  EXPECT_EQ(refusal(R"({"requests":[]})", route_kind::batch_embed), "empty_array requests");
  EXPECT_EQ(refusal(R"({"contents":[]})"), "empty_array contents");
  EXPECT_EQ(refusal(R"({"contents":"a"})"), "invalid_type contents");
  EXPECT_EQ(refusal(R"({"contents":[{}],"tool_config":{},"toolConfig":{}})"), "duplicate_key toolConfig");
  EXPECT_EQ(refusal(R"({"contents":[{}],"\u0063ontents":[{}]})"), "duplicate_key contents");
  EXPECT_EQ(refusal("[]"), "invalid_json ");
  EXPECT_EQ(refusal(R"({"contents":[{}]}x)"), "invalid_json ");
  EXPECT_EQ(refusal("{\"contents\":[\"\xff\"]}"), "invalid_utf8 ");
  EXPECT_EQ(refusal(R"({"contents":[{}],"x":)" + std::string(200, '[')), "json_too_deep ");
}

TEST(gemini_passthrough, path_and_key_tell_the_model_and_the_body_passes) {
  const std::string body = R"( {"contents" : [{"parts":[{"text":"a","model":"no"}]}]} )";
  const auto plain = encode(route_kind::generate, body, false, "gemini-2.5-flash");
  EXPECT_EQ(plain.path, "/v1beta/models/gemini-2.5-flash:generateContent");
  EXPECT_EQ(plain.body, body);
  EXPECT_EQ(plain.headers,
            (engine::header_list{{"content-type", "application/json"}, {"x-goog-api-key", "k3y"}}));
  EXPECT_EQ(encode(route_kind::generate, body, true, "tunedModels/a b?").path,
            "/v1beta/tunedModels/a%20b%3F:streamGenerateContent?alt=sse");
  const auto one =
      encode(route_kind::embed, R"({"model":"models/mine","content":{"parts":[]}})", false, "e-1");
  EXPECT_EQ(one.path, "/v1beta/models/e-1:embedContent");
  EXPECT_EQ(one.body, R"({"model":"models/e-1","content":{"parts":[]}})");
  const auto many = encode(
      route_kind::batch_embed,
      R"({"requests":[{"model":"models/mine","content":{"model":"x"}}, {"content":{}},{"model" : "mine"}]})",
      false, "e-1");
  EXPECT_EQ(many.path, "/v1beta/models/e-1:batchEmbedContents");
  EXPECT_EQ(
      many.body,
      R"({"requests":[{"model":"models/e-1","content":{"model":"x"}}, {"content":{}},{"model" : "models/e-1"}]})");
}

TEST(gemini_passthrough, an_answer_keeps_all_but_the_models_name) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(gemini_passthrough().rewrite_answer(
      route_kind::generate,
      R"({ "candidates":[{"finishReason":"STOP"}],"modelVersion" : "gemini-2.5-flash" ,"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}})",
      "mine", out, used));
  EXPECT_EQ(
      out,
      R"({ "candidates":[{"finishReason":"STOP"}],"modelVersion" : "mine" ,"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}})");
  EXPECT_EQ(used.input_tokens, 3);
  EXPECT_EQ(used.output_tokens, 2);
  EXPECT_TRUE(gemini_passthrough().rewrite_answer(route_kind::embed, R"({"embedding":{"values":[1]}})", "m",
                                                  out, used));
  EXPECT_EQ(out, R"({"embedding":{"values":[1]}})");
  EXPECT_FALSE(used.known);
  EXPECT_FALSE(gemini_passthrough().rewrite_answer(route_kind::generate, "<html>", "m", out, used));
  EXPECT_TRUE(gemini_passthrough().rewrite_answer(
      route_kind::generate, R"({"promptFeedback":{"blockReason":"SAFETY"}})", "mine", out, used));
  for (const char* none : {"{}", R"({"candidates":[]})", R"({"usageMetadata":{"promptTokenCount":3}})"})
    EXPECT_FALSE(gemini_passthrough().rewrite_answer(route_kind::generate, none, "mine", out, used)) << none;
  EXPECT_TRUE(gemini_passthrough().rewrite_answer(route_kind::embed, R"({"embedding":{"values":[1]}})",
                                                  "mine", out, used));
}

const std::string stream =
    "data: "
    "{\"candidates\":[{\"content\":{\"role\":\"model\"},\"index\":0}],\"modelVersion\":\"gemini-x\"}\r\n\r\n"
    "data: "
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}],\"role\":\"model\"},\"index\":0}],"
    "\"modelVersion\":\"gemini-x\"}\r\n\r\n"
    "data: "
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"},{\"text\":\"!\"}],\"role\":\"model\"},"
    "\"finishReason\":\"STOP\",\"index\":0,"
    "\"safetyRatings\":[]}],\r\ndata: "
    "\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2},\"modelVersion\":\"gemini-x\","
    "\"responseId\":\"r\"}\r\n\r\n";

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

TEST(gemini_passthrough, a_stream_keeps_all_but_the_models_name) {
  for (const size_t piece : {size_t{1}, size_t{10}, stream.size()}) {
    const auto reader = gemini_passthrough().read_stream(route_kind::generate, "mine\"", true);
    std::string out;
    state last = state::preamble;
    for (size_t at = 0; at < stream.size(); at += piece) {
      last = reader->feed(std::string_view(stream).substr(at, piece), out);
      if (at + piece <= stream.find("Hel")) {
        EXPECT_EQ(last, state::preamble);
      }
    }
    EXPECT_EQ(out, replaced(stream, "\"gemini-x\"", "\"mine\\\"\""));
    EXPECT_EQ(last, state::content);
    EXPECT_EQ(reader->end(out), state::done);
    EXPECT_EQ(out, replaced(stream, "\"gemini-x\"", "\"mine\\\"\"")) << "its end says nothing";
    EXPECT_EQ(reader->seen_usage().output_tokens, 2);
  }
}

// Some models say STOP in every chunk, and some tell what was used behind the last.
TEST(gemini_passthrough, a_stream_is_not_over_before_its_body) {
  const auto reader = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  std::string out;
  const std::string chunks[] = {
      "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]},\"finishReason\":\"STOP\"}]}\n\n",
      "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"lo\"}]},\"finishReason\":\"STOP\"}]}\n\n",
      "data: {\"usageMetadata\":{\"promptTokenCount\":4,\"candidatesTokenCount\":2}}\n\n"};
  std::string all;
  for (const std::string& chunk : chunks) {
    EXPECT_EQ(reader->feed(chunk, out), state::content);
    all += chunk;
  }
  EXPECT_EQ(out, all);
  EXPECT_EQ(reader->end(out), state::done);
  EXPECT_EQ(reader->seen_usage().output_tokens, 2);
  const auto cut = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  cut->feed("data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hel\"}]}}]}\n\n", out);
  EXPECT_EQ(cut->end(out), state::content) << "nothing says that it ended well";
  const auto within = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  within->feed(chunks[0] + "data: {\"candida", out);
  EXPECT_EQ(within->end(out), state::content) << "it ended within a line";
  std::string answer;
  engine::usage used;
  EXPECT_FALSE(gemini_passthrough().collect_answer(route_kind::generate, chunks[0] + "data: {\"candida", "m",
                                                   answer, used));
  ASSERT_TRUE(gemini_passthrough().collect_answer(
      route_kind::generate, chunks[0] + chunks[1].substr(0, chunks[1].size() - 1), "m", answer, used));
  EXPECT_NE(answer.find("Hello"), std::string::npos) << "what is told is what is kept: " << answer;
}

// Such a model may begin with a chunk of no text; what fails behind it can still be failed over unseen.
TEST(gemini_passthrough, an_end_without_text_before_it_is_not_the_beginning_of_an_answer) {
  const std::string nothing =
      "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}]},\"finishReason\":\"STOP\"}]}\n\n";
  std::string out;
  const auto fails = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  EXPECT_EQ(fails->feed(nothing, out), state::preamble);
  EXPECT_EQ(fails->feed("data: {\"error\":{\"code\":503,\"message\":\"Busy\"}}\n\n", out), state::failed);
  const auto ends = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  EXPECT_EQ(ends->feed(nothing, out), state::preamble);
  EXPECT_EQ(ends->end(out), state::done) << "an answer of nothing is one, too";
}

TEST(gemini_passthrough, a_stream_ends_with_its_last_candidate) {
  const auto reader = gemini_passthrough().read_stream(route_kind::generate, "m", true);
  std::string out;
  const auto chunk = [&](const std::string& candidates) {
    return reader->feed("data: {\"candidates\":[" + candidates + "]}\n\n", out);
  };
  EXPECT_EQ(
      chunk(
          R"({"index":0,"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"text":"a"}]}})"),
      state::content);
  EXPECT_EQ(chunk(R"({"index":1,"finishReason":"STOP"})"), state::content);
  EXPECT_EQ(reader->end(out), state::content);
  EXPECT_EQ(chunk(R"({"index":0,"finishReason":"STOP"})"), state::content);
  EXPECT_EQ(reader->end(out), state::done);
}

TEST(gemini_passthrough, errors_in_a_stream) {
  const auto fail = [](const std::string& text) {
    const auto reader = gemini_passthrough().read_stream(route_kind::generate, "m", true);
    std::string out;
    EXPECT_EQ(reader->feed(text, out), state::failed) << text;
    EXPECT_TRUE(out.empty());
    return std::to_string(reader->failure_status()) + " " + reader->failure();
  };
  EXPECT_EQ(fail("data: {\"error\":{\"code\":503,\"message\":\"Busy\"}}\n\n"), "503 Busy");
  EXPECT_EQ(
      fail("{\"error\":{\"code\":429,\"message\":\"Slow\",\"details\":[{\"retryDelay\":\"3s\"}]}}\r\n\r\n"),
      "429 Slow");
  EXPECT_EQ(
      fail("data: {\"error\":{\"code\":429,\"message\":\"Your prepayment credits are depleted.\"}}\n\n"),
      "402 Your prepayment credits are depleted.");
  EXPECT_EQ(fail("data: x\n\n").substr(0, 2), "0 ");
}

TEST(gemini_passthrough, a_stream_and_its_answer_tell_the_same) {
  std::string answer;
  engine::usage used;
  ASSERT_TRUE(gemini_passthrough().collect_answer(route_kind::generate, stream, "mine", answer, used));
  EXPECT_EQ(json::parse(answer),
            json::parse(R"({"candidates":[{"content":{"parts":[{"text":"Hello!"}],"role":"model"},
      "finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2},
      "modelVersion":"mine","responseId":"r"})"));
  EXPECT_EQ(used.input_tokens, 4);
  std::string events;
  ASSERT_TRUE(gemini_client().replay_stream(route_kind::generate, answer, false, events));
  const auto reader = gemini_passthrough().read_stream(route_kind::generate, "mine", true);
  std::string out;
  EXPECT_EQ(reader->feed(events, out), state::content);
  EXPECT_EQ(reader->end(out), state::done);
  EXPECT_EQ(out, events);
  std::string again;
  ASSERT_TRUE(gemini_passthrough().collect_answer(route_kind::generate, events, "mine", again, used));
  EXPECT_EQ(again, answer);
}

TEST(gemini_passthrough, streams_that_cannot_be_put_together_are_not) {
  std::string out = "x";
  engine::usage used;
  const auto collects = [&](const std::string& text) {
    return gemini_passthrough().collect_answer(route_kind::generate, text, "m", out, used);
  };
  EXPECT_FALSE(collects(stream.substr(0, stream.rfind("data: {"))));
  EXPECT_TRUE(out.empty());
  EXPECT_FALSE(collects(stream + "data: {\"error\":{\"message\":\"x\"}}\n\n"));
  EXPECT_FALSE(
      collects("data: {\"candidates\":[{\"citationMetadata\":{\"a\":1}}]}\n\ndata: "
               "{\"candidates\":[{\"citationMetadata\":{\"a\":2},\"finishReason\":\"STOP\"}]}\n\n"));
  EXPECT_FALSE(gemini_passthrough().collect_answer(route_kind::embed, stream, "m", out, used));
  EXPECT_FALSE(
      gemini_client().replay_stream(route_kind::generate, R"({"candidates":[{"content":{}}]})", true, out));
  EXPECT_FALSE(gemini_client().replay_stream(route_kind::embed, R"({"embedding":{}})", true, out));
}

TEST(gemini_passthrough, thoughts_calls_and_texts_keep_apart_when_collected) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(gemini_passthrough().collect_answer(
      route_kind::generate,
      "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"h\",\"thought\":true}]}}]}\n\n"
      "data: "
      "{\"candidates\":[{\"content\":{\"parts\":[{\"thought\":true,\"text\":\"m\"},{\"text\":\"\\ud83d\"}]}}]"
      "}\n\n"
      "data: "
      "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\\ude00\"},{\"functionCall\":{\"name\":\"f\"}},{"
      "\"text\":\"s\",\"thoughtSignature\":\"QQ==\"}]},"
      "\"finishReason\":\"STOP\"}]}\n\n",
      "m", out, used));
  EXPECT_EQ(
      json::parse(out)["candidates"][0]["content"]["parts"],
      json::parse(
          R"([{"text":"hm","thought":true},{"text":"\ud83d\ude00"},{"functionCall":{"name":"f"}},{"text":"s","thoughtSignature":"QQ=="}])"));
}

TEST(gemini_passthrough, when_to_come_back) {
  using namespace std::chrono_literals;
  engine::upstream_head head;
  const auto wait = [&](const std::string& body) {
    return gemini_passthrough().read_retry_after(head, body);
  };
  EXPECT_EQ(
      wait(
          R"({"error":{"code":429,"details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"17.5s"}]}})"),
      17500ms);
  EXPECT_EQ(wait(R"([{"error":{"details":[{"retryDelay":"3s"}]}}])"), 3s);
  EXPECT_EQ(wait("{}"), 0s);
  head.headers.emplace_back("retry-after", "9");
  EXPECT_EQ(wait(R"({"error":{"details":[{"retryDelay":"3s"}]}})"), 9s);
}

TEST(gemini_passthrough, credit_and_keys_that_are_none) {
  const auto out_of_credit = [](const std::string& error, const std::string& request = "") {
    return gemini_passthrough().speaks_of_credit("{\"error\":" + error + "}", request);
  };
  EXPECT_TRUE(out_of_credit(R"({"code":429,"message":"Your prepayment credits are depleted."})"));
  const std::string no_key =
      R"({"code":400,"message":"API key not valid.","details":[{"reason":"API_KEY_INVALID"}]})";
  EXPECT_FALSE(out_of_credit(no_key));
  EXPECT_TRUE(gemini_passthrough().refuses_key("{\"error\":" + no_key + "}"));
  EXPECT_FALSE(gemini_passthrough().refuses_key(R"({"error":{"code":400,"message":"Invalid argument"}})"));
  EXPECT_TRUE(out_of_credit(R"({"code":403,"message":"x","details":[{"reason":"BILLING_DISABLED"}]})"));
  EXPECT_FALSE(out_of_credit(
      R"({"code":429,"message":"You exceeded your current quota, please check your billing account.",
      "details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure"}]})"));
  EXPECT_FALSE(out_of_credit(R"({"code":400,"message":"Invalid: enable billing"})", "please enable billing"));
  EXPECT_FALSE(out_of_credit(R"({"code":400,"message":"Invalid argument"})"));
}

TEST(gemini_passthrough, errors_have_googles_shape) {
  engine::api_error e;
  e.status = 429;
  e.code = "rate_limited";
  e.message = "Slow \"down\"";
  e.param = "contents";
  e.retry_after = std::chrono::milliseconds(1500);
  const json body = json::parse(gemini_client().error_body(e));
  EXPECT_EQ(
      body,
      json::parse(R"({"error":{"code":429,"message":"Slow \"down\"","status":"RESOURCE_EXHAUSTED","details":[
    {"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMITED","domain":"millrace"},
    {"@type":"type.googleapis.com/google.rpc.BadRequest","fieldViolations":[{"field":"contents","description":"Slow \"down\""}]},
    {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"1.500s"}]}})"));
  EXPECT_EQ(gemini_client().error_event(e), "data: " + gemini_client().error_body(e) + "\r\n\r\n");
  e.status = 404;
  EXPECT_EQ(json::parse(gemini_client().error_body(e))["error"]["status"], "NOT_FOUND");
}

}  // namespace
}  // namespace millrace::http
