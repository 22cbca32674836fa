#include "http/dialects/translation.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/output_estimate.hpp"
#include "http/dialects/formats.hpp"
#include "http/json_scan.hpp"

/// Clients of one dialect at providers of another, as the pipeline uses them.
namespace millrace::http {
namespace {

using engine::provider_kind;
using engine::route_kind;
using nlohmann::json;

engine::provider_config provider_of(provider_kind kind) {
  engine::provider_config p;
  p.kind = kind;
  p.host = "127.0.0.1";
  return p;
}

const engine::provider_dialect& between(route_kind route, provider_kind kind) {
  const auto* found = all_formats().between(route, provider_of(kind));
  if (!found) throw std::runtime_error("no such pair");
  return *found;
}

std::string header(const engine::header_list& headers, std::string_view name) {
  for (const auto& [key, value] : headers) {
    if (key == name) return std::string(value);
  }
  return {};
}

struct asked {
  engine::provider_request request;
  json body;
};

asked ask(route_kind route, provider_kind kind, const std::string& body) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(all_formats().of(route).read_request(route, body, facts, error)) << error.message;
  const engine::provider_config p = provider_of(kind);
  const engine::header_list forwarded = {{"user-agent", "me"}, {"openai-beta", "b"}, {"anthropic-beta", "c"}};
  asked out;
  EXPECT_TRUE(between(route, kind)
                  .encode_request({route, body, facts, forwarded, p, engine::secret("sk-canary"), "theirs"},
                                  out.request, error))
      << error.message;
  out.body = json::parse(out.request.body);
  return out;
}

const std::string openai_question = R"({"model":"m","messages":[{"role":"system","content":"Be brief."},
  {"role":"user","content":"hi"}],"max_tokens":9,"metadata":{"a":"b"},"stream":true})";
const std::string anthropic_question = R"({"model":"m","max_tokens":9,"system":"Be brief.",
  "messages":[{"role":"user","content":"hi"}],"stream":true})";

TEST(translation, an_openai_client_at_anthropic) {
  const asked a = ask(route_kind::chat, provider_kind::anthropic, openai_question);
  EXPECT_EQ(a.request.path, "/v1/messages");
  EXPECT_EQ(header(a.request.headers, "x-api-key"), "sk-canary");
  EXPECT_EQ(header(a.request.headers, "anthropic-version"), "2023-06-01");
  EXPECT_EQ(header(a.request.headers, "user-agent"), "me");
  EXPECT_EQ(header(a.request.headers, "openai-beta"), "");
  EXPECT_EQ(header(a.request.headers, "authorization"), "");
  EXPECT_EQ(a.request.dropped, std::vector<std::string>{"metadata"});
  EXPECT_EQ(a.body["model"], "theirs");
  EXPECT_EQ(a.body["max_tokens"], 9);
  EXPECT_EQ(a.body["stream"], true);
  EXPECT_EQ(a.body["messages"][0]["role"], "user");
}

TEST(translation, an_anthropic_client_at_openai) {
  const asked a = ask(route_kind::messages, provider_kind::openai, anthropic_question);
  EXPECT_EQ(a.request.path, "/chat/completions");
  EXPECT_EQ(header(a.request.headers, "authorization"), "Bearer sk-canary");
  EXPECT_EQ(header(a.request.headers, "anthropic-beta"), "");
  EXPECT_EQ(a.body["messages"],
            json::parse(R"([{"role":"system","content":"Be brief."},{"role":"user","content":"hi"}])"));
  EXPECT_EQ(a.body["stream_options"]["include_usage"], true);
}

const std::string anthropic_answer = R"({"id":"msg_1","type":"message","role":"assistant","model":"theirs",
  "content":[{"type":"text","text":"hello"},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}}],
  "stop_reason":"tool_use","stop_sequence":null,
  "usage":{"input_tokens":3,"cache_creation_input_tokens":0,"cache_read_input_tokens":7,"output_tokens":5}})";

TEST(translation, an_answer_comes_back_in_the_clients_dialect) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(between(route_kind::chat, provider_kind::anthropic)
                  .rewrite_answer(route_kind::chat, anthropic_answer, "mine", out, used));
  const json a = json::parse(out);
  EXPECT_EQ(a["model"], "mine");
  EXPECT_EQ(a["choices"][0]["message"]["content"], "hello");
  EXPECT_EQ(a["choices"][0]["message"]["tool_calls"][0]["function"]["arguments"], R"({"a":1})");
  EXPECT_EQ(a["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(a["usage"]["prompt_tokens"], 10);
  EXPECT_EQ(a["usage"]["prompt_tokens_details"]["cached_tokens"], 7);
  EXPECT_EQ(used.input_tokens, 10);
  EXPECT_EQ(used.cached_tokens, 7);
  EXPECT_EQ(used.output_tokens, 5);
  EXPECT_TRUE(used.known);
  EXPECT_FALSE(between(route_kind::chat, provider_kind::anthropic)
                   .rewrite_answer(route_kind::chat, R"({"ok":true})", "mine", out, used));
}

/// An answer of OpenAI's whose only call has `arguments`, as JSON.
std::string calling(const std::string& arguments, const std::string& finish = "tool_calls") {
  return R"({"id":"c-1","choices":[{"index":0,"message":{"role":"assistant","content":"so","tool_calls":[
    {"id":"t1","type":"function","function":{"name":"f","arguments":)" +
         arguments + R"(}}]},"finish_reason":")" + finish +
         R"("}],"usage":{"prompt_tokens":1,"completion_tokens":5}})";
}

TEST(translation, a_call_whose_arguments_are_no_object_is_never_one_without_arguments) {
  const auto told = [](route_kind clients, const std::string& answer) {
    std::string out;
    engine::usage used;
    const bool fine =
        between(clients, provider_kind::openai).rewrite_answer(clients, answer, "mine", out, used);
    return fine ? json::parse(out) : json();
  };
  for (const char* arguments : {R"("{\"city\": \"Ro")", R"("Rome")", R"("[1]")", "17"}) {
    const std::string answer = calling(arguments);
    const json gemini = told(route_kind::generate, answer)["candidates"][0];
    EXPECT_EQ(gemini["finishReason"], "MALFORMED_FUNCTION_CALL") << arguments;
    EXPECT_EQ(gemini["content"]["parts"], json::parse(R"([{"text":"so"}])")) << arguments;
    const json call = told(route_kind::responses, answer)["output"][1];
    const json written = json::parse(arguments);
    EXPECT_EQ(call["arguments"], written.is_string() ? written : json("17")) << arguments;
    std::string out;
    engine::usage used;
    EXPECT_FALSE(between(route_kind::messages, provider_kind::openai)
                     .rewrite_answer(route_kind::messages, answer, "mine", out, used));
    EXPECT_EQ(used.output_tokens, 5) << "the provider bills it";
    const json cut = told(route_kind::messages, calling(arguments, "length"));
    EXPECT_EQ(cut["stop_reason"], "max_tokens") << arguments;
    EXPECT_EQ(cut["content"], json::parse(R"([{"type":"text","text":"so"}])")) << arguments;
  }
  // What says nothing, or the object in place of its text, is no fault.
  for (const auto& [arguments, input] :
       {std::pair(R"("")", "{}"), std::pair("null", "{}"), std::pair(R"({"a":1})", R"({"a":1})")}) {
    const json message = told(route_kind::messages, calling(arguments));
    EXPECT_EQ(message["content"][1]["input"], json::parse(input)) << arguments;
  }
}

/// A whole answer as a stream of its own dialect.
std::string as_stream(route_kind route, const std::string& answer) {
  std::string out;
  EXPECT_TRUE(all_formats().of(route).replay_stream(route, answer, true, out)) << answer;
  return out;
}

/// A pair of dialects: whose clients, whose providers, and a route that these providers serve natively.
struct pair {
  route_kind clients;
  provider_kind providers;
  route_kind own;
};

const std::string openai_answer =
    R"({"id":"c-1","object":"chat.completion","created":1,"model":"theirs","choices":[
    {"index":0,"message":{"role":"assistant","content":"hello","tool_calls":[{"id":"t1","type":"function",
    "function":{"name":"f","arguments":"{\"a\":1}"}}]},"finish_reason":"tool_calls"}],
    "usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":7}}})";
const std::string gemini_answer =
    R"({"responseId":"r-1","modelVersion":"theirs","candidates":[{"index":0,"content":{
    "role":"model","parts":[{"text":"hello"},{"functionCall":{"name":"f","args":{"a":1}}}]},"finishReason":"STOP"}],
    "usageMetadata":{"promptTokenCount":10,"candidatesTokenCount":5,"totalTokenCount":15,"cachedContentTokenCount":7}})";

const std::string& answer_of(route_kind own) {
  if (own == route_kind::chat) return openai_answer;
  return own == route_kind::messages ? anthropic_answer : gemini_answer;
}

std::vector<pair> pairs() {
  const std::pair<route_kind, provider_kind> sides[] = {{route_kind::chat, provider_kind::openai},
                                                        {route_kind::messages, provider_kind::anthropic},
                                                        {route_kind::generate, provider_kind::gemini}};
  std::vector<pair> out;
  for (const auto& [clients, own_kind] : sides) {
    for (const auto& [own, kind] : sides) {
      if (own_kind != kind) out.push_back({clients, kind, own});
    }
  }
  for (const auto& [own, kind] : sides) out.push_back({route_kind::responses, kind, own});
  return out;
}

/// Of providers that speak the clients' own dialect.
const engine::provider_dialect& native_of(route_kind clients) {
  if (clients == route_kind::responses) {
    auto p = provider_of(provider_kind::openai);
    p.responses = true;
    return *all_formats().between(clients, p);
  }
  if (clients == route_kind::chat) return between(clients, provider_kind::openai);
  return between(clients, clients == route_kind::messages ? provider_kind::anthropic : provider_kind::gemini);
}

/// What every dialect says of an answer: its text, call, reason and usage.
json gist(route_kind clients, const std::string& text) {
  const json a = json::parse(text);
  if (clients == route_kind::chat) {
    const json& m = a["choices"][0]["message"];
    return {m["content"], m["tool_calls"][0]["function"]["name"],
            json::parse(m["tool_calls"][0]["function"]["arguments"].get<std::string>()),
            a["choices"][0]["finish_reason"], a["usage"]["completion_tokens"]};
  }
  if (clients == route_kind::messages) {
    return {a["content"][0]["text"], a["content"][1]["name"], a["content"][1]["input"], a["stop_reason"],
            a["usage"]["output_tokens"]};
  }
  if (clients == route_kind::responses) {
    return {a["output"][0]["content"][0]["text"], a["output"][1]["name"],
            json::parse(a["output"][1]["arguments"].get<std::string>()), a["status"],
            a["usage"]["output_tokens"]};
  }
  const json& parts = a["candidates"][0]["content"]["parts"];
  return {parts[0]["text"], parts[1]["functionCall"]["name"], parts[1]["functionCall"]["args"],
          a["candidates"][0]["finishReason"], a["usageMetadata"]["candidatesTokenCount"]};
}

TEST(translation, a_stream_passes_as_it_comes_and_ends_as_the_clients_dialect_has_it) {
  for (const pair& p : pairs()) {
    const std::string& answer = answer_of(p.own);
    const std::string theirs = as_stream(p.own, answer);
    const auto& wire = between(p.clients, p.providers);
    std::string whole;
    for (const std::size_t step : {1U, 13U, 100000U}) {
      const auto reader = wire.read_stream(p.clients, "mine", true);
      std::string out;
      for (std::size_t i = 0; i < theirs.size(); i += step) reader->feed(theirs.substr(i, step), out);
      EXPECT_EQ(reader->end(out), engine::stream_reader::state::done);
      EXPECT_EQ(reader->seen_usage().output_tokens, 5);
      EXPECT_EQ(reader->seen_usage().cached_tokens, 7);
      if (whole.empty()) whole = out;
      EXPECT_EQ(out, whole) << step;
    }
    // What the client has got is what its own dialect's reader takes for a whole stream.
    std::string from_clients_stream;
    std::string from_providers_stream;
    std::string from_plain;
    engine::usage used;
    ASSERT_TRUE(native_of(p.clients).collect_answer(p.clients, whole, "mine", from_clients_stream, used))
        << whole;
    EXPECT_EQ(used.output_tokens, 5);
    ASSERT_TRUE(wire.collect_answer(p.clients, theirs, "mine", from_providers_stream, used));
    EXPECT_EQ(used.output_tokens, 5);
    ASSERT_TRUE(wire.rewrite_answer(p.clients, answer, "mine", from_plain, used));
    EXPECT_EQ(gist(p.clients, from_plain)[0], "hello");
    EXPECT_EQ(gist(p.clients, from_clients_stream), gist(p.clients, from_plain)) << whole;
    EXPECT_EQ(gist(p.clients, from_providers_stream), gist(p.clients, from_plain));
  }
}

/// What an answer tells of input and output tokens.
std::pair<int, int> told_usage(route_kind clients, const std::string& text) {
  const json a = json::parse(text);
  if (clients == route_kind::chat) return {a["usage"]["prompt_tokens"], a["usage"]["completion_tokens"]};
  if (clients == route_kind::generate)
    return {a["usageMetadata"]["promptTokenCount"], a["usageMetadata"]["candidatesTokenCount"]};
  return {a["usage"]["input_tokens"], a["usage"]["output_tokens"]};
}

TEST(translation, where_a_provider_counts_nothing_the_client_is_told_what_is_billed) {
  for (const pair& p : pairs()) {
    if (p.own == route_kind::messages) continue;  // no stream of Anthropic's is without
    json uncounted = json::parse(answer_of(p.own));
    uncounted.erase("usage");
    uncounted.erase("usageMetadata");
    const std::string answer = uncounted.dump();
    const auto& wire = between(p.clients, p.providers);
    const engine::answer_form form("mine", 12);
    const auto billed = [](const std::string& heard) {
      engine::output_estimate estimate;
      estimate.feed(heard);
      EXPECT_GT(estimate.tokens(), 0);
      return std::pair<int, int>(12, estimate.tokens());
    };
    std::string out;
    engine::usage used;
    ASSERT_TRUE(wire.rewrite_answer(p.clients, answer, form, out, used));
    EXPECT_FALSE(used.known) << "the call reckons by itself";
    EXPECT_EQ(told_usage(p.clients, out), billed(answer)) << out;

    const std::string theirs = as_stream(p.own, answer);
    ASSERT_TRUE(wire.collect_answer(p.clients, theirs, form, out, used));
    EXPECT_FALSE(used.known);
    EXPECT_EQ(told_usage(p.clients, out), billed(theirs)) << out;
    for (const std::size_t step : {1U, 13U, 100000U}) {
      const auto reader = wire.read_stream(p.clients, form, true);
      std::string streamed;
      for (std::size_t i = 0; i < theirs.size(); i += step) reader->feed(theirs.substr(i, step), streamed);
      EXPECT_EQ(reader->end(streamed), engine::stream_reader::state::done);
      EXPECT_FALSE(reader->seen_usage().known);
      ASSERT_TRUE(native_of(p.clients).collect_answer(p.clients, streamed, "mine", out, used)) << streamed;
      EXPECT_EQ(told_usage(p.clients, out), billed(theirs)) << streamed;
    }
  }
}

TEST(translation, bytes_that_are_no_text_do_not_reach_clients_who_read_strictly) {
  std::string answer = answer_of(route_kind::chat);
  answer.replace(answer.find("hello"), 5, "h\xFF\xE2\x82llo\xC3\xA9");
  const auto& wire = between(route_kind::messages, provider_kind::openai);
  std::string out;
  engine::usage used;
  ASSERT_TRUE(wire.rewrite_answer(route_kind::messages, answer, "mine", out, used));
  EXPECT_NE(out.find("h\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBDllo\xC3\xA9"), std::string::npos) << out;
  EXPECT_TRUE(valid_utf8(out));
  const auto reader = wire.read_stream(route_kind::messages, "mine", true);
  std::string events;
  reader->feed("data: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\xFFok\"}}]}\n\n",
               events);
  EXPECT_NE(events.find("\xEF\xBF\xBDok"), std::string::npos) << events;
  EXPECT_TRUE(valid_utf8(events));
}

TEST(translation, before_any_content_a_stream_may_fail_unseen) {
  const auto reader =
      between(route_kind::chat, provider_kind::anthropic).read_stream(route_kind::chat, "mine", false);
  std::string out;
  const std::string start =
      "event: message_start\ndata: "
      "{\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\","
      "\"role\":\"assistant\",\"model\":\"x\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,"
      "\"usage\":{\"input_tokens\":3,\"output_tokens\":1}}}\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n";
  EXPECT_EQ(reader->feed(start, out), engine::stream_reader::state::preamble);
  EXPECT_EQ(reader->feed("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
                         "\"message\":\"Overloaded\"}}\n\n",
                         out),
            engine::stream_reader::state::failed);
  EXPECT_EQ(reader->failure(), "Overloaded");
  EXPECT_EQ(reader->failure_status(), 529);
}

TEST(translation, a_refusal_is_told_in_the_clients_dialect) {
  std::string body =
      R"({"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}})";
  std::string type = "text/plain";
  between(route_kind::chat, provider_kind::anthropic).rewrite_refusal(route_kind::chat, 400, body, type);
  EXPECT_EQ(json::parse(body)["error"]["message"], "max_tokens: too large");
  EXPECT_EQ(json::parse(body)["error"]["type"], "invalid_request_error");
  EXPECT_EQ(type, "application/json");
  body = "<html>";
  between(route_kind::messages, provider_kind::openai).rewrite_refusal(route_kind::messages, 404, body, type);
  EXPECT_EQ(json::parse(body)["type"], "error");
  EXPECT_EQ(json::parse(body)["error"]["type"], "not_found_error");
}

TEST(translation, models_that_think_get_their_bound_under_the_name_they_take) {
  const std::string body = R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}]})";
  engine::request_facts facts;
  engine::api_error error;
  ASSERT_TRUE(all_formats().of(route_kind::messages).read_request(route_kind::messages, body, facts, error));
  const auto p = provider_of(provider_kind::openai);
  const engine::header_list none;
  const engine::secret key;
  for (const auto& [model, name] :
       {std::pair("gpt-5-mini", "max_completion_tokens"), std::pair("llama-3", "max_tokens")}) {
    engine::provider_request out;
    const engine::provider_dialect::question q{route_kind::messages, body, facts, none, p, key, model};
    ASSERT_TRUE(between(route_kind::messages, provider_kind::openai).encode_request(q, out, error));
    EXPECT_EQ(json::parse(out.body)[name], 9) << out.body;
  }
}

TEST(translation, what_the_providers_dialect_cannot_say_is_refused_by_name) {
  const std::string body = R"({"model":"m","messages":[{"role":"user","content":"x"}],"n":2})";
  engine::request_facts facts;
  engine::api_error error;
  ASSERT_TRUE(all_formats().of(route_kind::chat).read_request(route_kind::chat, body, facts, error));
  const auto p = provider_of(provider_kind::anthropic);
  engine::provider_request out;
  EXPECT_FALSE(between(route_kind::chat, provider_kind::anthropic)
                   .encode_request({route_kind::chat, body, facts, {}, p, {}, "theirs"}, out, error));
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.param, "n");
}

TEST(translation, not_every_provider_serves_every_route) {
  const auto anthropic = provider_of(provider_kind::anthropic);
  EXPECT_EQ(all_formats().between(route_kind::embeddings, anthropic), nullptr);
  EXPECT_EQ(all_formats().between(route_kind::completions, anthropic), nullptr);
  EXPECT_NE(all_formats().between(route_kind::count_tokens, anthropic), nullptr);
  EXPECT_EQ(all_formats().between(route_kind::count_tokens, provider_of(provider_kind::openai)), nullptr);
}

TEST(translation, azure_is_called_by_deployment_and_version) {
  auto p = provider_of(provider_kind::openai);
  p.base_path = "/openai";
  p.api_version = "2024-10-21";
  engine::request_facts facts;
  engine::api_error error;
  for (const auto& [route, body] :
       {std::pair(route_kind::chat, openai_question), std::pair(route_kind::messages, anthropic_question)}) {
    ASSERT_TRUE(all_formats().of(route).read_request(route, body, facts, error));
    engine::provider_request out;
    ASSERT_TRUE(all_formats().between(route, p)->encode_request(
        {route, body, facts, {}, p, engine::secret("k"), "dep"}, out, error));
    EXPECT_EQ(out.path, "/openai/deployments/dep/chat/completions?api-version=2024-10-21");
    EXPECT_EQ(header(out.headers, "api-key"), "k");
    EXPECT_EQ(header(out.headers, "authorization"), "");
  }
}

}  // namespace
}  // namespace millrace::http
