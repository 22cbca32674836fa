#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_chat.hpp"
#include "http/dialects/anthropic_thinking.hpp"
#include "tests/http/chat_parts.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using names = std::vector<std::string>;

struct encoded {
  bool ok = false;
  std::string text;
  names dropped;
  engine::api_error error;
  json body() const { return json::parse(text); }
};

encoded encode(const chat_request& request, encode_options options = {}) {
  encoded e;
  if (options.model.empty()) options.model = "claude-sonnet-4-5";
  e.ok = anthropic_chat().encode_request(request, options, e.text, e.dropped, e.error);
  return e;
}

chat_part result_of(std::string_view name, json_literal said) {
  chat_part part = result("", said);
  part.name = name;
  return part;
}

chat_message message(chat_role role, std::vector<chat_part> parts) {
  return {role, std::move(parts)};
}

chat_request hello() {
  chat_request request;
  request.messages.push_back(message(chat_role::user, {text("\"hi\"")}));
  return request;
}

TEST(anthropic_encode, writes_the_least_request) {
  EXPECT_EQ(
      encode(hello()).text,
      R"({"model":"claude-sonnet-4-5","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}]})");
}

TEST(anthropic_encode, puts_messages_into_order) {
  chat_request r;
  r.messages = {message(chat_role::system, {text("\"one\"")}),
                message(chat_role::user, {text("\"a\"")}),
                message(chat_role::assistant, {text("\"\""), call("c1", "f"), call("c2", "g", R"({"x":1})")}),
                message(chat_role::user, {result("c1", "\"r1\"")}),
                message(chat_role::system, {text("\"two\"")}),
                message(chat_role::user, {text("\" \\n\""), text("\"b\""), result("c2", "\"r2\"")}),
                message(chat_role::user, {text("\"c\"")})};
  EXPECT_EQ(encode(r).body(), json::parse(R"({"model":"claude-sonnet-4-5","max_tokens":4096,
    "system":[{"type":"text","text":"one"},{"type":"text","text":"two"}],
    "messages":[{"role":"user","content":[{"type":"text","text":"a"}]},
      {"role":"assistant","content":[{"type":"tool_use","id":"c1","name":"f","input":{}},
                                     {"type":"tool_use","id":"c2","name":"g","input":{"x":1}}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":[{"type":"text","text":"r1"}]},
                                {"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"r2"}]},
                                {"type":"text","text":"b"},{"type":"text","text":"c"}]}]})"));
}

TEST(anthropic_encode, says_system_prompts_alone_as_the_user) {
  chat_request r;
  r.messages = {message(chat_role::system, {text("\"be brief\"")})};
  const json body = encode(r).body();
  EXPECT_FALSE(body.contains("system"));
  EXPECT_EQ(body["messages"],
            json::parse(R"([{"role":"user","content":[{"type":"text","text":"be brief"}]}])"));
  chat_request none;
  none.messages = {message(chat_role::user, {text("\"\"")})};
  EXPECT_EQ(encode(none).error.param, "messages");
}

TEST(anthropic_encode, copies_texts_as_they_are_written) {
  chat_request r;
  r.messages = {message(chat_role::user, {text(R"("\u00e4 \ud83d\ude00\/")")})};
  EXPECT_NE(encode(r).text.find(R"("text":"\u00e4 \ud83d\ude00\/")"), std::string::npos);
}

TEST(anthropic_encode, writes_images_and_documents) {
  chat_part url;
  url.kind = part_kind::image;
  url.url = "https://a/b\"c";
  url.detail = "low";
  chat_part png;
  png.kind = part_kind::image;
  png.media_type = "image/png";
  png.data = "AAAA";
  chat_part pdf;
  pdf.kind = part_kind::document;
  pdf.media_type = "application/pdf";
  pdf.data = "JVBE";
  pdf.name = "T";
  chat_part plain;
  plain.kind = part_kind::document;
  plain.text = "\"x\"";
  chat_request r;
  r.messages = {message(chat_role::user, {url, png, pdf, plain})};
  const encoded e = encode(r);
  EXPECT_EQ(e.dropped, names{"detail"});
  EXPECT_EQ(e.body()["messages"][0]["content"], json::parse(R"([
    {"type":"image","source":{"type":"url","url":"https://a/b\"c"}},
    {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
    {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"},"title":"T"},
    {"type":"document","source":{"type":"text","media_type":"text/plain","data":"x"}}])"));
  r.messages[0].parts[1].media_type = "image/tiff";
  const encoded refused = encode(r);
  EXPECT_FALSE(refused.ok);
  EXPECT_EQ(refused.error.status, 400);
  EXPECT_TRUE(refused.text.empty());
}

TEST(anthropic_encode, respells_ids_alike_in_call_and_result) {
  chat_request r = hello();
  r.messages.push_back(
      message(chat_role::assistant, {call("a.b", "f"), call("a:b", "f"), call("", "g"), call("", "h")}));
  r.messages.push_back(message(chat_role::user, {result("a:b", "\"2\""), result("a.b", "\"1\""),
                                                 result_of("h", "\"h\""), result_of("g", "\"g\"")}));
  const json messages = encode(r).body()["messages"];
  const json& calls = messages[1]["content"];
  const json& results = messages[2]["content"];
  EXPECT_EQ(results[0]["tool_use_id"], calls[1]["id"]);
  EXPECT_EQ(results[1]["tool_use_id"], calls[0]["id"]);
  EXPECT_EQ(results[2]["tool_use_id"], calls[3]["id"]);
  EXPECT_EQ(results[3]["tool_use_id"], calls[2]["id"]);
  std::set<std::string> ids;
  for (const json& c : calls) {
    const auto id = c["id"].get<std::string>();
    EXPECT_EQ(id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"),
              std::string::npos);
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 4U);
}

TEST(anthropic_encode, writes_tools_and_their_choice) {
  chat_request r = hello();
  chat_tool tool;
  tool.name = "f";
  tool.description = "\"does f\"";
  tool.parameters = R"({"type":"object"})";
  tool.strict = true;
  r.tools = {tool, chat_tool{"g", {}, {}, {}, {}}};
  r.parallel_tool_calls = false;
  json body = encode(r).body();
  EXPECT_EQ(
      body["tools"],
      json::parse(R"([{"name":"f","description":"does f","input_schema":{"type":"object"},"strict":true},
                                          {"name":"g","input_schema":{"type":"object","properties":{}}}])"));
  EXPECT_EQ(body["tool_choice"], json::parse(R"({"type":"auto","disable_parallel_tool_use":true})"));
  r.tool_choice = tool_choice::named;
  r.chosen_tool = "g";
  r.parallel_tool_calls = true;
  EXPECT_EQ(encode(r).body()["tool_choice"], json::parse(R"({"type":"tool","name":"g"})"));
  r.tool_choice = tool_choice::any;
  EXPECT_EQ(encode(r).body()["tool_choice"], json::parse(R"({"type":"any"})"));
  r.tool_choice = tool_choice::none;
  EXPECT_EQ(encode(r).body()["tool_choice"], json::parse(R"({"type":"none"})"));
  r.tools[0].name = "a.b";
  EXPECT_EQ(encode(r).error.param, "tools");
}

TEST(anthropic_encode, bends_sampling_and_says_so) {
  chat_request r = hello();
  r.temperature = "1.7";
  r.top_p = "0.9";
  r.top_k = "5";
  r.presence_penalty = "0.5";
  r.frequency_penalty = "0.0";
  r.seed = "7";
  const encoded e = encode(r);
  EXPECT_EQ(e.body()["temperature"], 1);
  EXPECT_EQ(e.body()["top_k"], 5);
  EXPECT_FALSE(e.body().contains("top_p"));
  EXPECT_EQ(e.dropped, (names{"presence_penalty", "seed", "temperature", "top_p"}));
  r = hello();
  r.top_p = "0.9";
  EXPECT_EQ(encode(r).body()["top_p"], 0.9);
  r.temperature = "0.30";
  EXPECT_NE(encode(r).text.find("\"temperature\":0.30"), std::string::npos);
}

TEST(anthropic_encode, refuses_what_changes_the_answer) {
  chat_request r = hello();
  r.choices = 2;
  EXPECT_EQ(encode(r).error.param, "n");
  r = hello();
  r.logprobs = true;
  EXPECT_EQ(encode(r).error.param, "logprobs");
  r = hello();
  r.stop = {"\"\\n\""};
  EXPECT_EQ(encode(r).error.param, "stop");
  r = hello();
  r.effort = "colossal";
  EXPECT_EQ(encode(r).error.param, "reasoning_effort");
  r = hello();
  chat_part audio;
  audio.kind = part_kind::audio;
  r.messages[0].parts.push_back(audio);
  EXPECT_EQ(encode(r).error.param, "messages");
}

TEST(anthropic_encode, writes_schemas_stops_users_and_streams) {
  chat_request r = hello();
  r.format = answer_format::schema;
  r.schema = R"({"type":"object"})";
  r.stop = {"\"END\"", "\"X\""};
  r.end_user = "u\n1";
  r.stream = true;
  r.max_output_tokens = 7;
  const json body = encode(r).body();
  EXPECT_EQ(
      body["output_config"],
      json::parse(
          R"({"format":{"type":"json_schema","schema":{"type":"object","additionalProperties":false}}})"));
  EXPECT_EQ(body["stop_sequences"], json::parse(R"(["END","X"])"));
  EXPECT_EQ(body["metadata"]["user_id"], "u\n1");
  EXPECT_EQ(body["stream"], true);
  EXPECT_EQ(body["max_tokens"], 7);
  r = hello();
  r.format = answer_format::json;
  const encoded plain = encode(r);
  EXPECT_EQ(plain.dropped, names{"response_format"});
  EXPECT_NE(plain.body()["system"][0]["text"].get<std::string>().find("JSON"), std::string::npos);
}

TEST(anthropic_encode, gives_older_models_a_budget) {
  chat_request r = hello();
  r.effort = "low";
  r.temperature = "0.2";
  r.top_k = "3";
  const encoded e = encode(r);
  EXPECT_EQ(e.body()["thinking"], json::parse(R"({"type":"enabled","budget_tokens":2048})"));
  EXPECT_EQ(e.body()["max_tokens"], 4096 + 2048);
  EXPECT_FALSE(e.body().contains("output_config"));
  EXPECT_EQ(e.dropped, (names{"temperature", "top_k"}));
  r = hello();
  r.effort = "high";
  r.max_output_tokens = 8000;
  EXPECT_EQ(encode(r).body()["thinking"]["budget_tokens"], 4000);
  r.max_output_tokens = 2000;
  EXPECT_FALSE(encode(r).body().contains("thinking"));
  EXPECT_EQ(encode(r).dropped, names{"reasoning_effort"});
  r = hello();
  r.effort = "none";
  EXPECT_FALSE(encode(r).body().contains("thinking"));
  EXPECT_TRUE(encode(r).dropped.empty());
}

TEST(anthropic_encode, lets_newer_models_adapt) {
  encode_options options;
  options.model = "claude-opus-4-6";
  chat_request r = hello();
  EXPECT_FALSE(encode(r, options).body().contains("thinking"));
  r.effort = "minimal";
  EXPECT_EQ(encode(r, options).body()["thinking"], json::parse(R"({"type":"adaptive"})"));
  EXPECT_EQ(encode(r, options).body()["output_config"], json::parse(R"({"effort":"low"})"));
  r = hello();
  r.thinking = thinking_mode::on;
  r.thinking_tokens = 9000;
  r.format = answer_format::schema;
  r.schema = "{}";
  EXPECT_EQ(encode(r, options).body()["output_config"],
            json::parse(R"({"effort":"high","format":{"type":"json_schema","schema":{}}})"));
  r = hello();
  r.thinking = thinking_mode::off;
  EXPECT_EQ(encode(r, options).body()["thinking"], json::parse(R"({"type":"disabled"})"));
  for (const char* model :
       {"claude-3-7-sonnet-latest", "claude-sonnet-4-20250514", "claude-opus-4-1", "claude-haiku-4-5"})
    EXPECT_TRUE(takes_thinking_budget(model)) << model;
  for (const char* model : {"claude-sonnet-4-6", "claude-opus-4-7", "claude-sonnet-5", "claude-haiku-5-5"})
    EXPECT_FALSE(takes_thinking_budget(model)) << model;
}

TEST(anthropic_encode, does_not_think_where_that_is_refused) {
  chat_request r = hello();
  r.effort = "low";
  r.tools = {chat_tool{"f", {}, {}, {}, {}}};
  r.tool_choice = tool_choice::any;
  EXPECT_FALSE(encode(r).body().contains("thinking"));
  EXPECT_EQ(encode(r).dropped, names{"reasoning_effort"});
  // Amid a loop of tools the turn must have begun with a thought.
  r.tool_choice = tool_choice::unset;
  r.messages.push_back(message(chat_role::assistant, {call("c1", "f")}));
  r.messages.push_back(message(chat_role::user, {result("c1", "\"r\"")}));
  EXPECT_FALSE(encode(r).body().contains("thinking"));
  r.messages[1].parts.insert(r.messages[1].parts.begin(), thought("\"hm\"", "\"sig\""));
  EXPECT_TRUE(encode(r).body().contains("thinking"));
  EXPECT_EQ(encode(r).body()["messages"][1]["content"][0],
            json::parse(R"({"type":"thinking","thinking":"hm","signature":"sig"})"));
  r.messages[1].parts[0].signature = {};
  EXPECT_EQ(encode(r).body()["messages"][1]["content"].size(), 1U);
}

TEST(anthropic_encode, marks_long_prompts_for_the_cache) {
  const std::string long_text = "\"" + std::string(5000, 'x') + "\"";
  const json mark = json::parse(R"({"type":"ephemeral"})");
  chat_request r = hello();
  r.messages.insert(r.messages.begin(), message(chat_role::system, {text("\"a\""), text(long_text)}));
  r.tools = {chat_tool{"f", {}, "{}", {}, {}}, chat_tool{"g", {}, "{}", {}, {}}};
  encode_options options;
  options.mark_prompt_cache = true;
  json body = encode(r, options).body();
  EXPECT_FALSE(body["system"][0].contains("cache_control"));
  EXPECT_EQ(body["system"][1]["cache_control"], mark);
  EXPECT_FALSE(body["tools"][1].contains("cache_control"));
  r.tools[0].description = long_text;
  body = encode(r, options).body();
  EXPECT_EQ(body["tools"][1]["cache_control"], mark);
  EXPECT_FALSE(body["tools"][0].contains("cache_control"));
  EXPECT_EQ(encode(r).text.find("cache_control"), std::string::npos);
  // The client's own marks stand alone.
  r.messages[1].parts[0].cache_control = R"({"type":"ephemeral","ttl":"1h"})";
  body = encode(r, options).body();
  EXPECT_FALSE(body["tools"][1].contains("cache_control"));
  EXPECT_EQ(body["messages"][0]["content"][0]["cache_control"]["ttl"], "1h");
  chat_request brief = hello();
  brief.messages.insert(brief.messages.begin(), message(chat_role::system, {text("\"short\"")}));
  EXPECT_EQ(encode(brief, options).text.find("cache_control"), std::string::npos);
}

TEST(anthropic_encode, gives_back_what_it_reads) {
  const std::string body =
      R"({"model":"claude-sonnet-4-5","max_tokens":3000,"system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral"}}],)"
      R"("messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://a/b.png"}},{"type":"text","text":"q"}]},)"
      R"({"role":"assistant","content":[{"type":"thinking","thinking":"t","signature":"g"},{"type":"redacted_thinking","data":"d"},{"type":"tool_use","id":"toolu_1","name":"f","input":{"a":[1]}}]},)"
      R"({"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"r"}],"is_error":true}]}],)"
      R"("tools":[{"name":"f","description":"d","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"}}],)"
      R"("tool_choice":{"type":"auto","disable_parallel_tool_use":true},"stop_sequences":["E"],)"
      R"("thinking":{"type":"enabled","budget_tokens":1500},"metadata":{"user_id":"u"},"stream":true})";
  chat_request request;
  engine::api_error error;
  ASSERT_TRUE(anthropic_chat().decode_request(body, request, error)) << error.message;
  EXPECT_EQ(encode(request).text, body);
}

}  // namespace
}  // namespace millrace::http
