#include "http/dialects/anthropic_passthrough.hpp"

#include <algorithm>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_wire.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using engine::route_kind;
using state = engine::stream_reader::state;

const std::string body =
    R"({ "model" : "claude", "max_tokens":64,"system":"abcdefgh","messages":[{"role":"user","content":"abcd"}],"stream":true, "temperature":0.0 })";

engine::request_facts facts_of(const std::string& text, route_kind route = route_kind::messages) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(anthropic_client().read_request(route, text, facts, error)) << error.message;
  return facts;
}

std::string refusal_of(const std::string& text) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_FALSE(anthropic_client().read_request(route_kind::messages, text, facts, error)) << text;
  EXPECT_EQ(error.status, 400);
  return error.code;
}

engine::provider_request put(const std::string& text, route_kind route, engine::header_list forwarded = {},
                             const std::string& base_path = "/v1", const std::string& key = "k",
                             const std::string& model = "theirs", const std::string& host = {}) {
  const engine::request_facts facts = facts_of(text, route);
  engine::provider_config provider;
  provider.base_path = base_path;
  provider.host = host;
  const engine::secret secret(key);
  engine::provider_request out;
  engine::api_error error;
  EXPECT_TRUE(anthropic_passthrough().encode_request({route, text, facts, forwarded, provider, secret, model},
                                                     out, error));
  return out;
}

TEST(anthropic_passthrough, reads_what_it_needs) {
  const engine::request_facts facts = facts_of(body);
  EXPECT_EQ(facts.model, "claude");
  EXPECT_EQ(body.substr(facts.model_offset, facts.model_length), "\"claude\"");
  EXPECT_TRUE(facts.stream && facts.include_usage && facts.zero_temperature);
  EXPECT_EQ(facts.max_output_tokens, 64);
  EXPECT_EQ(facts.input_tokens, reply_tokens + message_tokens + 3);
  const engine::request_facts counted = facts_of(body, route_kind::count_tokens);
  EXPECT_FALSE(counted.stream);
  EXPECT_EQ(counted.max_output_tokens, 0);
}

TEST(anthropic_passthrough, reckons_pictures_by_the_piece) {
  const auto tokens = [](const std::string& block) {
    return facts_of(R"({"model":"m","messages":[{"role":"user","content":[)" + block + "]}]}").input_tokens -
           reply_tokens - message_tokens;
  };
  const std::string data(100000, 'A');
  EXPECT_EQ(tokens(R"({"type":"image","source":{"type":"base64","media_type":"image/png","data":")" + data +
                   "\"}}"),
            image_tokens);
  EXPECT_EQ(tokens(R"({"type":"document","source":{"type":"base64","data":")" + data + "\"}}"),
            attachment_tokens);
  EXPECT_EQ(
      tokens(
          R"({"type":"tool_result","tool_use_id":"","content":[{"type":"image","source":{"type":"url","url":"u"}}]})"),
      image_tokens);
  EXPECT_EQ(tokens(R"({"type":"text","text":"abcd","cache_control":{"type":"ephemeral"}})"), 1 + 0);
}

TEST(anthropic_passthrough, refuses_bad_bodies) {
  EXPECT_EQ(refusal_of("[]"), "invalid_json");
  EXPECT_EQ(refusal_of("{\"a\":\"\xFF\"}"), "invalid_utf8");
  EXPECT_EQ(refusal_of(R"({"model":"m","m\u006fdel":"x"})"), "duplicate_key");
  EXPECT_EQ(refusal_of(R"({"messages":[{}]})"), "missing_required_parameter");
  EXPECT_EQ(refusal_of(R"({"model":"m"})"), "missing_required_parameter");
  EXPECT_EQ(refusal_of(R"({"model":"m","messages":[]})"), "empty_array");
  EXPECT_EQ(refusal_of(R"({"model":"m","messages":"a"})"), "invalid_type");
  EXPECT_EQ(refusal_of(R"({"model":"m","messages":[{}],"stream":1})"), "invalid_type");
  EXPECT_EQ(refusal_of(R"({"model":"m","messages":[{}]} x)"), "invalid_json");
  EXPECT_EQ(refusal_of(R"({"model":"m","messages":[{"a":)" + std::string(200, '[')), "json_too_deep");
}

TEST(anthropic_passthrough, changes_only_the_model) {
  const engine::provider_request r = put(body, route_kind::messages);
  std::string wanted = body;
  wanted.replace(wanted.find("\"claude\""), 8, "\"theirs\"");
  EXPECT_EQ(r.body, wanted);
  EXPECT_EQ(r.path, "/v1/messages");
  EXPECT_EQ(r.headers, (engine::header_list{{"anthropic-version", "2023-06-01"}, {"x-api-key", "k"}}));
}

/// A conversation whose last turn calls a tool, after these thoughts.
std::string thinking_body(const std::string& thoughts) {
  return R"({"model":"m","max_tokens":4000,"thinking":{"type":"enabled","budget_tokens":2000},"messages":[)"
         R"({"role":"user","content":"q"},{"role":"assistant","content":[)" +
         thoughts +
         R"({"type":"tool_use","id":"t","name":"f","input":{"signature":"a"}}]},)"
         R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}]})";
}

/// To a model that must begin a turn with its thoughts.
engine::provider_request put_older(const std::string& text, engine::header_list forwarded = {}) {
  return put(text, route_kind::messages, std::move(forwarded), "/v1", "k", "claude-sonnet-4-5",
             "api.anthropic.com");
}

TEST(anthropic_passthrough, passes_its_own_thoughts_on) {
  const std::string own = thinking_body(R"({"type":"thinking","thinking":"a","signature":"c2ln"},)"
                                        R"({"type":"redacted_thinking","data":"c2ln"},)");
  std::string wanted = own;
  wanted.replace(wanted.find("\"m\""), 3, "\"theirs\"");
  const engine::provider_request r = put(own, route_kind::messages);
  EXPECT_EQ(r.body, wanted);
  EXPECT_TRUE(r.dropped.empty());
}

TEST(anthropic_passthrough, leaves_out_thoughts_of_other_providers_and_tells_so) {
  for (const std::string thought : {R"({"type":"thinking","thinking":"a","signature":"gemini#c2ln"},)",
                                    R"({"type":"redacted_thinking","data":"gemini#c2ln"},)",
                                    R"({"type":"thinking","thinking":"a","signature" : ""},)"}) {
    const engine::provider_request r = put_older(thinking_body(thought), {{"anthropic-beta", "b"}});
    const json sent = json::parse(r.body);
    EXPECT_EQ(sent["messages"][1]["content"].size(), 1U);
    EXPECT_EQ(sent["messages"][1]["content"][0]["type"], "tool_use");
    // With thinking on, a turn that goes on with results must begin with thoughts.
    EXPECT_FALSE(sent.contains("thinking"));
    EXPECT_EQ(sent["model"], "claude-sonnet-4-5");
    EXPECT_EQ(r.path, "/v1/messages");
    EXPECT_EQ(r.headers.front(), (engine::header_list::value_type("anthropic-beta", "b")));
    EXPECT_NE(std::find(r.dropped.begin(), r.dropped.end(), "thinking"), r.dropped.end());
  }
}

TEST(anthropic_passthrough, a_call_of_another_provider_goes_on_without_thinking) {
  std::string own = thinking_body("");
  const engine::provider_request foreign = put_older(own);
  EXPECT_FALSE(json::parse(foreign.body).contains("thinking"));
  EXPECT_FALSE(foreign.dropped.empty());
  // Of Anthropic's own calls it is the client who lost the thoughts: it shall hear so.
  for (size_t at = 0; (at = own.find("\"t\"", at)) != std::string::npos;) own.replace(at, 3, "\"toolu_1\"");
  EXPECT_TRUE(json::parse(put_older(own).body).contains("thinking"));
}

TEST(anthropic_passthrough, others_that_speak_its_api_may_sign_nothing) {
  const std::string text = thinking_body(R"({"type":"thinking","thinking":"a","signature":""},)");
  const engine::provider_request r =
      put(text, route_kind::messages, {}, "/v1", "k", "theirs", "api.example.com");
  EXPECT_TRUE(json::parse(r.body).contains("thinking"));
  EXPECT_TRUE(r.dropped.empty());
}

TEST(anthropic_passthrough, what_no_translation_can_put_passes_with_its_thoughts) {
  std::string text = thinking_body(R"({"type":"thinking","thinking":"a","signature":"gemini#c2ln"},)");
  text.insert(1, R"("container":"c",)");
  const engine::provider_request r = put(text, route_kind::messages);
  EXPECT_NE(r.body.find("gemini#"), std::string::npos);
  EXPECT_TRUE(r.dropped.empty());
}

TEST(anthropic_passthrough, forwards_headers_and_finds_the_path) {
  const engine::header_list sent = {{"anthropic-version", "2024-01-01"}, {"anthropic-beta", "b"}};
  EXPECT_EQ(put(body, route_kind::messages, sent, "", "").headers, sent);
  EXPECT_EQ(put(body, route_kind::messages, {}, "").path, "/v1/messages");
  EXPECT_EQ(put(body, route_kind::count_tokens, {}, "/anthropic").path,
            "/anthropic/v1/messages/count_tokens");
}

TEST(anthropic_passthrough, rewrites_answers) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(anthropic_passthrough().rewrite_answer(
      route_kind::messages,
      R"({"id":"m", "model":"theirs","content":[{"model":"x"}],"usage":{"input_tokens":1,"cache_read_input_tokens":2,"cache_creation_input_tokens":3,"output_tokens":4}})",
      "mine", out, used));
  EXPECT_EQ(
      out,
      R"({"id":"m", "model":"mine","content":[{"model":"x"}],"usage":{"input_tokens":1,"cache_read_input_tokens":2,"cache_creation_input_tokens":3,"output_tokens":4}})");
  EXPECT_TRUE(used.known);
  EXPECT_EQ(used.input_tokens, 6);
  ASSERT_TRUE(anthropic_passthrough().rewrite_answer(route_kind::count_tokens, R"({"input_tokens": 14})",
                                                     "mine", out, used));
  EXPECT_EQ(out, R"({"input_tokens": 14})");
  EXPECT_FALSE(used.known);
  EXPECT_TRUE(
      anthropic_passthrough().rewrite_answer(route_kind::messages, R"({"content":[]})", "mine", out, used))
      << "a model with nothing to add says so";
  for (const char* none : {"<html>", "{}", R"({"content":null})", R"({"id":"m","role":"assistant"})"})
    EXPECT_FALSE(anthropic_passthrough().rewrite_answer(route_kind::messages, none, "mine", out, used))
        << none;
  EXPECT_FALSE(anthropic_passthrough().rewrite_answer(
      route_kind::messages, R"({"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}})",
      "mine", out, used));
  EXPECT_EQ(out, "");
}

const std::string start =
    "event: message_start\ndata: "
    "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":"
    "\"assistant\",\"model\": "
    "\"theirs\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{"
    "\"input_tokens\":10,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n";
const std::string ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n";
const std::string open_text =
    "event: content_block_start\ndata: "
    "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\","
    "\"text\":\"\"}}\n\n";
const std::string some_text =
    "event: content_block_delta\ndata: "
    "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","
    "\"text\":\"H\\u00e9llo\"}}\n\n";
const std::string close_text =
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
const std::string end =
    "event: message_delta\ndata: "
    "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},"
    "\"usage\":{\"output_tokens\":12,\"cache_read_input_tokens\":null}}\n\nevent: message_stop\ndata: "
    "{\"type\":\"message_stop\"}\n\n";

std::string mine(std::string stream) {
  return stream.replace(stream.find("theirs"), 6, "mine");
}

TEST(anthropic_passthrough, a_marker_with_nothing_before_it_ends_no_answer) {
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string out;
  EXPECT_EQ(reader->feed(start + "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", out),
            state::failed);
}

TEST(anthropic_passthrough, follows_a_stream) {
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string out;
  EXPECT_EQ(reader->feed(start + ping + open_text, out), state::preamble);
  EXPECT_EQ(reader->feed(some_text, out), state::content);
  EXPECT_EQ(reader->feed(close_text, out), state::content);
  EXPECT_EQ(reader->feed(end, out), state::done);
  EXPECT_EQ(out, mine(start) + ping + open_text + some_text + close_text + end);
  EXPECT_EQ(reader->seen_usage().input_tokens, 15);
  EXPECT_EQ(reader->seen_usage().cached_tokens, 5);
  EXPECT_EQ(reader->seen_usage().output_tokens, 12);
}

TEST(anthropic_passthrough, follows_a_stream_byte_by_byte) {
  std::string stream = start + ping + open_text + some_text + close_text + end;
  for (const bool crlf : {false, true}) {
    std::string text;
    for (const char c : stream) text += c == '\n' && crlf ? std::string("\r\n") : std::string(1, c);
    const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
    std::string out;
    state last = state::preamble;
    for (const char c : text) last = reader->feed(std::string(1, c), out);
    EXPECT_EQ(last, state::done);
    // The very last line end may still be on its way when the end is known.
    EXPECT_EQ(out, mine(text).substr(0, out.size()));
    EXPECT_GE(out.size() + 1, mine(text).size());
  }
}

TEST(anthropic_passthrough, edits_payloads_spread_over_lines) {
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string out;
  reader->feed(
      "data: {\"type\":\"message_start\",\ndata: \"message\":{\ndata:\"model\":\"theirs\"\ndata: }}\n\n",
      out);
  EXPECT_EQ(out,
            "data: {\"type\":\"message_start\",\ndata: \"message\":{\ndata:\"model\":\"mine\"\ndata: }}\n\n");
}

TEST(anthropic_passthrough, tells_a_failed_stream) {
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string out;
  EXPECT_EQ(
      reader->feed(
          start +
              "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":"
              "\"Overloaded\"}}\n\n" +
              end,
          out),
      state::failed);
  EXPECT_EQ(out, mine(start));
  EXPECT_EQ(reader->failure(), "Overloaded");
  EXPECT_EQ(reader->failure_status(), 529);
  const auto other = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  EXPECT_EQ(other->feed("data: [DONE]\n\n", out), state::failed);
}

TEST(anthropic_passthrough, takes_calls_for_content) {
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  std::string out;
  EXPECT_EQ(
      reader->feed(
          R"(data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}})"
          "\n\n",
          out),
      state::content);
}

TEST(anthropic_passthrough, collects_a_stream) {
  std::string answer;
  engine::usage used;
  ASSERT_TRUE(anthropic_passthrough().collect_answer(
      route_kind::messages, start + ping + open_text + some_text + close_text + end, "mine", answer, used));
  EXPECT_EQ(json::parse(answer),
            json::parse(R"({"model":"mine","id":"msg_1","type":"message","role":"assistant",
    "content":[{"type":"text","text":"H\u00e9llo"}],"stop_reason":"end_turn","stop_sequence":null,
    "usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":12}})"));
  EXPECT_EQ(used.input_tokens, 15);
  EXPECT_EQ(used.output_tokens, 12);
}

TEST(anthropic_passthrough, collects_nothing_uncertain) {
  std::string answer = "x";
  engine::usage used;
  const auto fails = [&](const std::string& stream) {
    return !anthropic_passthrough().collect_answer(route_kind::messages, stream, "mine", answer, used) &&
           answer.empty();
  };
  EXPECT_TRUE(fails(start + open_text + some_text + close_text));
  EXPECT_TRUE(fails(start + open_text + some_text + end));
  EXPECT_TRUE(fails(open_text + some_text + close_text + end));
  EXPECT_TRUE(fails(start + start + end));
  EXPECT_TRUE(fails(start + "data: {\"type\":\"news\"}\n\n" + end));
  EXPECT_TRUE(fails(start + "data: {\"type\":\"message_stop\"}\n\n"));
  const std::string call =
      "data: "
      "{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\","
      "\"name\":\"f\",\"input\":{}}}\n\n";
  const std::string broken =
      "data: "
      "{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_"
      "json\":\"{\\\"a\"}}\n\n";
  EXPECT_FALSE(fails(start + call + close_text + end));
  EXPECT_TRUE(fails(start + call + broken + close_text + end));
}

TEST(anthropic_passthrough, replays_answers_that_collect_to_themselves) {
  const std::string answer =
      R"({"model":"mine","id":"msg_1","type":"message","role":"assistant","container":null,
    "content":[{"type":"thinking","thinking":"a\nb","signature":"S"},{"type":"redacted_thinking","data":"D"},
      {"type":"text","text":"\u00e9","citations":[{"type":"char_location","cited_text":"x"},{"type":"page_location"}]},
      {"type":"text","text":"","citations":null},
      {"type":"tool_use","id":"t1","name":"f","input":{"a":"\"\u00e9\ud83d\ude00","b":[1,{}]},"caller":{"type":"direct"}},
      {"type":"tool_use","id":"t2","name":"g","input":{}}],
    "stop_reason":"tool_use","stop_sequence":null,
    "usage":{"input_tokens":10,"cache_read_input_tokens":5,"output_tokens":12,"service_tier":"standard","server_tool_use":null}})";
  std::string stream;
  ASSERT_TRUE(anthropic_client().replay_stream(route_kind::messages, answer, true, stream));
  std::string passed;
  const auto reader = anthropic_passthrough().read_stream(route_kind::messages, "mine", true);
  EXPECT_EQ(reader->feed(stream, passed), state::done);
  EXPECT_EQ(passed, stream);
  std::string again;
  engine::usage used;
  ASSERT_TRUE(anthropic_passthrough().collect_answer(route_kind::messages, stream, "mine", again, used));
  EXPECT_EQ(json::parse(again), json::parse(answer));
  EXPECT_FALSE(
      anthropic_client().replay_stream(route_kind::count_tokens, R"({"input_tokens":1})", true, stream));
  EXPECT_FALSE(anthropic_client().replay_stream(route_kind::messages, R"({"type":"error"})", true, stream));
}

TEST(anthropic_passthrough, says_errors_as_the_api_does) {
  const auto type_of = [](int status) {
    engine::api_error e;
    e.status = status;
    return json::parse(anthropic_client().error_body(e))["error"]["type"].get<std::string>();
  };
  EXPECT_EQ(type_of(400), "invalid_request_error");
  EXPECT_EQ(type_of(401), "authentication_error");
  EXPECT_EQ(type_of(403), "permission_error");
  EXPECT_EQ(type_of(404), "not_found_error");
  EXPECT_EQ(type_of(405), "invalid_request_error");
  EXPECT_EQ(type_of(413), "request_too_large");
  EXPECT_EQ(type_of(429), "rate_limit_error");
  EXPECT_EQ(type_of(502), "api_error");
  EXPECT_EQ(type_of(503), "overloaded_error");
  EXPECT_EQ(type_of(504), "timeout_error");
  EXPECT_EQ(type_of(529), "overloaded_error");
  engine::api_error e;
  e.status = 404;
  e.message = "No \"m\".";
  e.code = "model_not_found";
  EXPECT_EQ(
      anthropic_client().error_event(e),
      "event: error\ndata: "
      R"({"type":"error","error":{"type":"not_found_error","message":"No \"m\".","details":{"error_code":"model_not_found"}},"request_id":null})"
      "\n\n");
}

TEST(anthropic_passthrough, reads_limits) {
  const auto now = std::chrono::sys_days(std::chrono::year(2025) / 3 / 1) + std::chrono::hours(12);
  engine::upstream_head head;
  head.headers = {{"anthropic-ratelimit-requests-limit", "50"},
                  {"anthropic-ratelimit-requests-remaining", "49"},
                  {"anthropic-ratelimit-requests-reset", "2025-03-01T12:00:07Z"},
                  {"anthropic-ratelimit-input-tokens-limit", "40000"},
                  {"anthropic-ratelimit-input-tokens-remaining", "39000"},
                  {"anthropic-ratelimit-input-tokens-reset", "2025-03-01T12:00:00Z"},
                  {"anthropic-ratelimit-output-tokens-limit", "8000"},
                  {"anthropic-ratelimit-output-tokens-remaining", "7000"},
                  {"anthropic-ratelimit-output-tokens-reset", "2025-03-01T14:00:01.5+02:00"}};
  engine::limit_hint hint = read_anthropic_limits(head, now);
  EXPECT_EQ(hint.limit_requests, 50);
  EXPECT_EQ(hint.remaining_requests, 49);
  EXPECT_EQ(hint.reset_requests, std::chrono::seconds(7));
  EXPECT_EQ(hint.limit_tokens, -1);
  EXPECT_EQ(hint.remaining_tokens, -1);
  EXPECT_EQ(hint.limit_apart, (engine::token_count{40000, 8000}));
  EXPECT_EQ(hint.remaining_apart, (engine::token_count{39000, 7000}));
  head.headers.emplace_back("anthropic-ratelimit-tokens-remaining", "100");
  head.headers.emplace_back("anthropic-ratelimit-tokens-reset", "2025-03-01T14:00:01.5+02:00");
  hint = read_anthropic_limits(head, now);
  EXPECT_EQ(hint.remaining_tokens, 100);
  EXPECT_EQ(hint.reset_tokens, std::chrono::seconds(2));
  const std::string_view reset = "anthropic-ratelimit-tokens-reset";
  erase_if(head.headers, [&](const auto& field) { return field.first == reset; });
  head.headers.emplace_back(reset, "2025-02-30T12:00:00Z");
  EXPECT_EQ(read_anthropic_limits(head, now).reset_tokens, engine::duration{});
  EXPECT_TRUE(read_anthropic_limits({}, now).empty());
}

TEST(anthropic_passthrough, knows_an_empty_account) {
  EXPECT_TRUE(anthropic_passthrough().speaks_of_credit(
      R"({"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API."}})",
      ""));
  EXPECT_TRUE(anthropic_passthrough().speaks_of_credit(
      R"({"type":"error","error":{"type":"billing_error","message":"Pay."}})", ""));
  EXPECT_FALSE(anthropic_passthrough().speaks_of_credit(
      R"({"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your rate limit; see billing."}})",
      ""));
}

}  // namespace
}  // namespace millrace::http
