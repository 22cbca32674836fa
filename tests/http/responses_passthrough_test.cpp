#include "http/dialects/responses_passthrough.hpp"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/http/responses_events.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using engine::route_kind;
using state = engine::stream_reader::state;

engine::provider_request put(const std::string& body, const std::string& base_path,
                             const std::string& api_version = {}) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(responses_client().read_request(route_kind::responses, body, facts, error)) << error.message;
  engine::provider_config provider;
  provider.base_path = base_path;
  provider.api_version = api_version;
  engine::provider_request out;
  const engine::header_list forwarded = {{"openai-beta", "b"}};
  const engine::secret key("k");
  EXPECT_TRUE(responses_passthrough().encode_request(
      {route_kind::responses, body, facts, forwarded, provider, key, "theirs"}, out, error));
  return out;
}

TEST(responses_passthrough, only_the_model_changes) {
  const std::string before = R"({ "input" : "x", "model" : )";
  const std::string after = R"(,"stream":true,"tools":[{"type":"web_search"}],"seed":1e0 })";
  const auto r = put(before + "\"mine\"" + after, "/v1");
  EXPECT_EQ(r.body, before + "\"theirs\"" + after);
  EXPECT_EQ(r.path, "/v1/responses");
  EXPECT_EQ(r.headers, (engine::header_list{{"openai-beta", "b"}, {"authorization", "Bearer k"}}));
}

TEST(responses_passthrough, leaves_out_thoughts_of_other_providers_and_tells_so) {
  const std::string a = R"({"role":"user","content":"rs_millrace_"})";
  const std::string b = R"({"type":"function_call_output","call_id":"c","output":"r"})";
  const std::string own = R"({"type":"reasoning","id":"rs_1","summary":[]})";
  const std::string unsigned_one = R"({"type":"reasoning","id":"rs_millrace_1_0","summary":[]})";
  const std::string marked = R"({"type":"reasoning","summary":[],"encrypted_content":"millrace:t:c2ln"})";
  const auto body_of = [](const std::string& input, const std::string& model) {
    return R"({"input": [ )" + input + R"( ], "model":")" + model + "\"}";
  };
  const auto sent = [&](const std::string& input) { return put(body_of(input, "mine"), "/v1"); };
  EXPECT_EQ(sent(a + "," + own).body, body_of(a + "," + own, "theirs"));
  EXPECT_TRUE(sent(a + "," + own).dropped.empty());
  for (const std::string& others : {unsigned_one, marked, unsigned_one + " ," + marked}) {
    const std::vector<std::pair<std::string, std::vector<std::string>>> cases = {
        {others + ", " + a + "," + b, {a, b}},
        {a + " , " + others + " ," + own + "," + b, {a, own, b}},
        {a + "," + b + "," + others, {a, b}},
        {others, {}},
        {others + "," + a + "," + others + "," + b + "," + others, {a, b}}};
    for (const auto& [input, left] : cases) {
      const auto r = sent(input);
      json wanted = json::array();
      for (const std::string& item : left) wanted.push_back(json::parse(item));
      EXPECT_EQ(json::parse(r.body)["input"], wanted) << r.body;
      EXPECT_EQ(json::parse(r.body)["model"], "theirs");
      EXPECT_EQ(r.dropped, std::vector<std::string>{"thinking"});
    }
  }
}

TEST(responses_passthrough, azure_has_no_deployment_in_its_path) {
  const std::string body = R"({"model":"m","input":"x"})";
  const auto r = put(body, "/openai/deployments/d", "2025-04-01-preview");
  EXPECT_EQ(r.path, "/openai/responses?api-version=2025-04-01-preview");
  EXPECT_EQ(r.headers, (engine::header_list{{"openai-beta", "b"}, {"api-key", "k"}}));
  EXPECT_EQ(put(body, "/openai", "v").path, "/openai/responses?api-version=v");
}

const std::string answer =
    R"({"id":"resp_1","object":"response","created_at":5,"status":"completed","error":null,
  "incomplete_details":null,"model":"theirs","metadata":{"model":"theirs"},"output":[
  {"id":"ws_1","type":"web_search_call","status":"completed","action":{"type":"search"}},
  {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],"encrypted_content":"gA",
   "content":[{"type":"reasoning_text","text":"raw"}]},
  {"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[
   {"type":"output_text","text":"hello","annotations":[{"type":"url_citation","url":"u"}],"logprobs":[]},
   {"type":"refusal","refusal":"no"}]},
  {"id":"fc_1","type":"function_call","status":"completed","call_id":"c","name":"f","arguments":"{\"a\":1}"}],
  "usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":7},"output_tokens":5,
  "output_tokens_details":{"reasoning_tokens":3},"total_tokens":15}})";

TEST(responses_passthrough, of_an_answer_only_the_model_changes) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(responses_passthrough().rewrite_answer(route_kind::responses, answer, "mine", out, used));
  std::string expected = answer;
  expected.replace(expected.find("\"theirs\""), 8, "\"mine\"");
  EXPECT_EQ(out, expected);
  EXPECT_EQ(used.input_tokens, 10);
  EXPECT_EQ(used.cached_tokens, 7);
  EXPECT_EQ(used.output_tokens, 5);
  EXPECT_EQ(used.reasoning_tokens, 3);
  EXPECT_TRUE(used.known);
}

TEST(responses_passthrough, what_failed_is_no_answer) {
  std::string out;
  engine::usage used;
  for (const char* body :
       {R"({"id":"r","object":"response","status":"failed","error":{"code":"server_error"}})",
        R"({"error":{"message":"no"}})", R"({"status":"queued","model":"m"})", "[]", "{"}) {
    EXPECT_FALSE(responses_passthrough().rewrite_answer(route_kind::responses, body, "mine", out, used))
        << body;
    EXPECT_TRUE(out.empty());
  }
}

std::string replayed(const std::string& whole) {
  std::string out;
  EXPECT_TRUE(responses_client().replay_stream(route_kind::responses, whole, true, out));
  return out;
}

TEST(responses_passthrough, a_replay_tells_the_answer_item_by_item) {
  const auto events = response_events(replayed(answer));
  EXPECT_EQ(events[0]["response"]["status"], "in_progress");
  EXPECT_TRUE(events[0]["response"]["output"].empty());
  EXPECT_EQ(events[0]["response"]["usage"], nullptr);
  EXPECT_EQ(events.back()["type"], "response.completed");
  EXPECT_EQ(events.back()["response"], json::parse(answer));
  EXPECT_EQ(accumulated(events), json::parse(answer)["output"]);
  std::string out;
  EXPECT_FALSE(responses_client().replay_stream(route_kind::responses, R"({"object":"list"})", true, out));
  EXPECT_FALSE(responses_client().replay_stream(
      route_kind::responses, R"({"object":"response","status":"failed","output":[]})", true, out));
}

TEST(responses_passthrough, of_a_stream_only_the_model_changes) {
  const std::string theirs = ": hello\n\n" + replayed(answer);
  for (const std::size_t step : {1U, 13U, 1000000U}) {
    const auto reader = responses_passthrough().read_stream(route_kind::responses, "mine", true);
    std::string out;
    for (std::size_t i = 0; i < theirs.size(); i += step) reader->feed(theirs.substr(i, step), out);
    EXPECT_EQ(reader->feed("", out), state::done);
    EXPECT_EQ(reader->seen_usage().output_tokens, 5);
    std::string expected = theirs;
    std::size_t changed = 0;
    // The one in `metadata` stays.
    for (std::size_t at = 0; (at = expected.find("\"model\":\"theirs\",", at)) != std::string::npos;
         ++changed)
      expected.replace(at, 17, "\"model\":\"mine\",");
    EXPECT_EQ(changed, 3U);
    EXPECT_EQ(out, expected) << step;
  }
}

TEST(responses_passthrough, the_last_event_is_the_answer) {
  std::string out;
  std::string plain;
  engine::usage used;
  const std::string theirs = replayed(answer);
  ASSERT_TRUE(responses_passthrough().collect_answer(route_kind::responses, theirs, "mine", out, used));
  ASSERT_TRUE(responses_passthrough().rewrite_answer(route_kind::responses, answer, "mine", plain, used));
  EXPECT_EQ(json::parse(out), json::parse(plain));
  EXPECT_EQ(used.output_tokens, 5);
  const std::string cut = theirs.substr(0, theirs.find("event: response.completed"));
  EXPECT_FALSE(responses_passthrough().collect_answer(route_kind::responses, cut, "mine", out, used));
}

std::string event(const std::string& type, const std::string& members) {
  return "event: " + type + "\ndata: {\"type\":\"" + type + "\"," + members + "}\n\n";
}

TEST(responses_passthrough, before_anything_is_said_a_stream_may_fail_unseen) {
  const auto reader = responses_passthrough().read_stream(route_kind::responses, "mine", true);
  std::string out;
  EXPECT_EQ(reader->feed(event("response.created", R"("response":{"model":"x","status":"in_progress"})") +
                             event("response.output_item.added", R"("item":{"type":"message"})"),
                         out),
            state::preamble);
  EXPECT_EQ(
      reader->feed(
          event(
              "response.failed",
              R"("response":{"status":"failed","error":{"code":"rate_limit_exceeded","message":"Slow down"}})"),
          out),
      state::failed);
  EXPECT_EQ(reader->failure(), "Slow down");
  EXPECT_EQ(reader->failure_status(), 429);
}

TEST(responses_passthrough, knows_content_and_failures) {
  const auto after = [](const std::string& stream) {
    std::string out;
    const auto reader = responses_passthrough().read_stream(route_kind::responses, "mine", true);
    return std::pair(reader->feed(stream, out), reader->failure());
  };
  EXPECT_EQ(after(event("response.output_text.delta", R"("delta":"x")")).first, state::content);
  EXPECT_EQ(after(event("response.web_search_call.searching", R"("item_id":"x")")).first, state::content);
  EXPECT_EQ(after(event("response.incomplete", R"("response":{"status":"incomplete"})")).first, state::done);
  EXPECT_EQ(after(event("error", R"("code":"server_error","message":"broke","param":null)")),
            std::pair(state::failed, std::string("broke")));
  EXPECT_EQ(after("data: {\"error\":{\"message\":\"broke\"}}\n\n"),
            std::pair(state::failed, std::string("broke")));
  EXPECT_EQ(after("data: nonsense\n\n").first, state::failed);
}

TEST(responses_passthrough, an_error_is_an_event_that_sdks_throw) {
  const engine::api_error e = {502, "upstream_error", "cut", "It \"broke\".", "", {}, false};
  const std::string text = responses_client().error_event(e);
  ASSERT_TRUE(text.starts_with("event: error\ndata: "));
  const json told = json::parse(text.substr(19));
  EXPECT_EQ(told["type"], "error");
  EXPECT_EQ(told["error"]["message"], "It \"broke\".");
  EXPECT_EQ(told["code"], "cut");
  EXPECT_EQ(told["message"], "It \"broke\".");
  EXPECT_EQ(told["param"], nullptr);
  EXPECT_EQ(told["sequence_number"], 0);
  EXPECT_EQ(json::parse(responses_client().error_body(e))["error"]["code"], "cut");
}

}  // namespace
}  // namespace millrace::http
