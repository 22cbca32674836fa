#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_chat.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;

struct decoded {
  std::string body;  // views point into it
  chat_request request;
  engine::api_error error;
  bool ok = false;
};

std::unique_ptr<decoded> decode(std::string body) {
  auto d = std::make_unique<decoded>();
  d->body = std::move(body);
  d->ok = anthropic_chat().decode_request(d->body, d->request, d->error);
  return d;
}

/// A request with these members beside the usual ones.
std::string with(const std::string& members) {
  return R"({"model":"m","max_tokens":4000,"messages":[{"role":"user","content":"hi"}],)" + members + "}";
}

std::string with_blocks(const std::string& role, const std::string& blocks) {
  return R"({"model":"m","max_tokens":9,"messages":[{"role":")" + role + R"(","content":[)" + blocks + "]}]}";
}

void expect_refused(const std::string& body, const std::string& code, const std::string& param) {
  const auto d = decode(body);
  EXPECT_FALSE(d->ok) << body;
  EXPECT_EQ(d->error.status, 400) << body;
  EXPECT_EQ(d->error.type, "invalid_request_error");
  EXPECT_EQ(d->error.code, code) << body;
  EXPECT_EQ(d->error.param, param) << body;
  EXPECT_NE(d->error.message.find(param), std::string::npos);
}

TEST(anthropic_request, reads_a_conversation) {
  const auto d = decode(R"({
    "model": "claude-sonnet-4-5", "max_tokens": 1024, "stream": true, "temperature": 0.5, "top_k": 40,
    "system": [{"type":"text","text":"Be \"terse\".","cache_control":{"type":"ephemeral","ttl":"1h"}}],
    "stop_sequences": ["END", "\n\nHuman:"], "metadata": {"user_id": "u-1"},
    "messages": [
      {"role": "user", "content": "What is the weather in K\u00f6ln?"},
      {"content": [
        {"type":"thinking","thinking":"Look it up.","signature":"sig=="},
        {"type":"redacted_thinking","data":"c2VhbA=="},
        {"type":"text","text":"I look."},
        {"type":"tool_use","id":"toolu_1","name":"weather","input":{"city":"K\u00f6ln"}}], "role": "assistant"},
      {"role": "user", "content": [
        {"type":"tool_result","tool_use_id":"toolu_1","is_error":true,"content":[
          {"type":"text","text":"rain"},
          {"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}}]},
        {"type":"tool_result","tool_use_id":"toolu_2","content":"plain"}]}]})");
  ASSERT_TRUE(d->ok) << d->error.message;
  const chat_request& r = d->request;
  ASSERT_EQ(r.messages.size(), 4U);
  EXPECT_EQ(r.messages[0].role, chat_role::system);
  EXPECT_EQ(r.messages[0].parts[0].text, R"("Be \"terse\".")");
  EXPECT_EQ(r.messages[0].parts[0].cache_control, R"({"type":"ephemeral","ttl":"1h"})");
  EXPECT_EQ(r.messages[1].parts[0].text, R"("What is the weather in K\u00f6ln?")");
  ASSERT_EQ(r.messages[2].parts.size(), 4U);
  EXPECT_EQ(r.messages[2].role, chat_role::assistant);
  EXPECT_EQ(r.messages[2].parts[0].signature, R"("sig==")");
  EXPECT_EQ(r.messages[2].parts[1].kind, part_kind::sealed_thinking);
  EXPECT_EQ(r.messages[2].parts[1].signature, R"("c2VhbA==")");
  EXPECT_EQ(r.messages[2].parts[3].id, "toolu_1");
  EXPECT_EQ(r.messages[2].parts[3].arguments, R"({"city":"K\u00f6ln"})");
  const chat_part& result = r.messages[3].parts[0];
  EXPECT_TRUE(result.failed);
  EXPECT_EQ(result.id, "toolu_1");
  ASSERT_EQ(result.result.size(), 2U);
  EXPECT_EQ(result.result[1].media_type, "image/png");
  EXPECT_EQ(result.result[1].data, "AAAA");
  EXPECT_EQ(r.messages[3].parts[1].result[0].text, "\"plain\"");
  EXPECT_EQ(r.max_output_tokens, 1024);
  EXPECT_EQ(r.temperature, "0.5");
  EXPECT_EQ(r.top_k, "40");
  EXPECT_EQ(r.end_user, "u-1");
  EXPECT_EQ(r.stop, (std::vector<json_literal>{"\"END\"", R"("\n\nHuman:")"}));
  EXPECT_TRUE(r.stream && r.include_usage);
  EXPECT_TRUE(r.dropped.empty());
}

TEST(anthropic_request, reads_images_and_documents) {
  const auto d = decode(with_blocks("user", R"(
    {"type":"image","source":{"type":"url","url":"https:\/\/a.example\/b.png"}},
    {"type":"document","title":"T","context":"From 2020.","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"}},
    {"type":"document","citations":{"enabled":false},"source":{"type":"text","media_type":"text/plain","data":"a\nb"}},
    {"type":"document","source":{"type":"url","url":"https://a.example/c.pdf"}})"));
  ASSERT_TRUE(d->ok) << d->error.message;
  const auto& parts = d->request.messages[0].parts;
  ASSERT_EQ(parts.size(), 5U);
  EXPECT_EQ(parts[0].url, "https://a.example/b.png");
  EXPECT_EQ(parts[1].text, "\"From 2020.\"");
  EXPECT_EQ(parts[2].name, "T");
  EXPECT_EQ(parts[2].media_type, "application/pdf");
  EXPECT_EQ(parts[2].data, "JVBE");
  EXPECT_EQ(parts[3].text, R"("a\nb")");
  EXPECT_EQ(parts[4].kind, part_kind::document);
  EXPECT_EQ(parts[4].url, "https://a.example/c.pdf");
}

TEST(anthropic_request, reads_tools_and_their_choice) {
  const auto d = decode(with(R"("tools":[
    {"name":"a","description":"say \u0041","input_schema":{"type":"object"},"strict":true,"type":"custom"},
    {"name":"b","input_schema":{"type":"object"},"cache_control":{"type":"ephemeral"},"allowed_callers":["direct"]}],
    "tool_choice":{"type":"tool","name":"b","disable_parallel_tool_use":true})"));
  ASSERT_TRUE(d->ok) << d->error.message;
  const chat_request& r = d->request;
  ASSERT_EQ(r.tools.size(), 2U);
  EXPECT_EQ(r.tools[0].description, R"("say \u0041")");
  EXPECT_EQ(r.tools[0].parameters, R"({"type":"object"})");
  EXPECT_EQ(r.tools[0].strict, true);
  EXPECT_EQ(r.tools[1].cache_control, R"({"type":"ephemeral"})");
  EXPECT_EQ(r.tool_choice, tool_choice::named);
  EXPECT_EQ(r.chosen_tool, "b");
  EXPECT_EQ(r.parallel_tool_calls, false);
  EXPECT_EQ(decode(with(R"("tool_choice":{"type":"any"})"))->request.tool_choice, tool_choice::any);
  EXPECT_EQ(decode(with(R"("tool_choice":{"type":"none"})"))->request.tool_choice, tool_choice::none);
  EXPECT_EQ(decode(with(R"("tool_choice":{"type":"auto"})"))->request.parallel_tool_calls, std::nullopt);
}

TEST(anthropic_request, reads_thinking_effort_and_schema) {
  const auto budget = decode(with(R"("thinking":{"type":"enabled","budget_tokens":2048})"));
  EXPECT_EQ(budget->request.thinking, thinking_mode::on);
  EXPECT_EQ(budget->request.thinking_tokens, 2048);
  EXPECT_EQ(decode(with(R"("thinking":{"type":"disabled"})"))->request.thinking, thinking_mode::off);
  const auto d = decode(with(
      R"("thinking":{"type":"adaptive"},"output_config":{"effort":"high","format":{"type":"json_schema","schema":{"type":"object"}}})"));
  ASSERT_TRUE(d->ok) << d->error.message;
  EXPECT_EQ(d->request.thinking, thinking_mode::on);
  EXPECT_EQ(d->request.thinking_tokens, -1);
  EXPECT_EQ(d->request.effort, "high");
  EXPECT_EQ(d->request.format, answer_format::schema);
  EXPECT_EQ(d->request.schema, R"({"type":"object"})");
}

TEST(anthropic_request, drops_only_hints_and_says_which) {
  const auto d = decode(
      R"({"model":"m","max_tokens":1,"service_tier":"auto","speed":"fast","cache_control":{"type":"ephemeral"},
          "diagnostics":{},"thinking":{"type":"adaptive","display":"omitted"},
          "tools":[{"name":"a","input_schema":{},"eager_input_streaming":true,"input_examples":[{}]}],
          "messages":[{"role":"assistant","content":[{"type":"text","text":"a","citations":[{"type":"x"}]},
                                                     {"type":"text","text":"b","citations":[{"type":"x"}]}]}]})");
  ASSERT_TRUE(d->ok) << d->error.message;
  auto dropped = d->request.dropped;
  std::sort(dropped.begin(), dropped.end());
  EXPECT_EQ(dropped,
            (std::vector<std::string>{"cache_control", "citations", "diagnostics", "eager_input_streaming",
                                      "input_examples", "service_tier", "speed", "thinking.display"}));
}

TEST(anthropic_request, takes_null_for_absent) {
  const auto d = decode(with(
      R"("system":null,"tools":null,"thinking":null,"container":null,"stream":null,"metadata":{"user_id":null},"temperature":null)"));
  EXPECT_TRUE(d->ok) << d->error.message;
  EXPECT_TRUE(d->request.dropped.empty());
  EXPECT_TRUE(
      decode(with_blocks("assistant", R"({"type":"text","text":"a","citations":null,"cache_control":null})"))
          ->ok);
}

TEST(anthropic_request, refuses_what_only_anthropic_can_do) {
  const std::string code = "unsupported_field";
  expect_refused(with(R"("container":"c1")"), code, "container");
  expect_refused(with(R"("mcp_servers":[])"), code, "mcp_servers");
  expect_refused(with(R"("inference_geo":"eu")"), code, "inference_geo");
  expect_refused(with(R"("tools":[{"type":"web_search_20250305","name":"web_search","max_uses":3}])"), code,
                 "tools.0.type");
  expect_refused(with(R"("tools":[{"name":"a","input_schema":{},"defer_loading":true}])"), code,
                 "tools.0.defer_loading");
  expect_refused(with(R"("thinking":{"type":"between_tools"})"), code, "thinking.type");
  expect_refused(with(R"("output_config":{"task_budget":{}})"), code, "output_config.task_budget");
  expect_refused(
      with_blocks("user",
                  R"({"type":"text","text":"a"},{"type":"image","source":{"type":"file","file_id":"f"}})"),
      code, "messages.0.content.1.source.type");
  expect_refused(
      with_blocks("user",
                  R"({"type":"document","citations":{"enabled":true},"source":{"type":"url","url":"u"}})"),
      code, "messages.0.content.0.citations");
  expect_refused(
      with_blocks("assistant", R"({"type":"server_tool_use","id":"a","name":"web_search","input":{}})"), code,
      "messages.0.content.0.type");
  expect_refused(
      with_blocks(
          "user",
          R"({"type":"tool_result","tool_use_id":"t","content":[{"type":"search_result","source":"s"}]})"),
      code, "messages.0.content.0.content.0.type");
  expect_refused(with_blocks("user", R"({"type":"text","text":"a","id":"x"})"), code,
                 "messages.0.content.0.id");
  expect_refused(with_blocks("user", R"({"type":"text","text":"a","novel":1})"), code,
                 "messages.0.content.0.novel");
  expect_refused(with(R"("tools":[{"name":"a","input_schema":{},"novel":1}])"), code, "tools.0.novel");
  expect_refused(R"({"model":"m","max_tokens":0,"messages":[{"role":"user","content":"a"}]})", code,
                 "max_tokens");
}

TEST(anthropic_request, refuses_what_the_api_refuses) {
  expect_refused(R"({"model":"m","messages":[{"role":"user","content":"a"}]})", "missing_field",
                 "max_tokens");
  expect_refused(R"({"model":"m","max_tokens":1})", "missing_field", "messages");
  expect_refused(R"({"model":"m","max_tokens":1,"messages":[{"role":"tool","content":"a"}]})",
                 "invalid_value", "messages.0.role");
  expect_refused(R"({"model":"m","max_tokens":1,"messages":[{"role":"user"}]})", "missing_field",
                 "messages.0.content");
  expect_refused(R"({"model":"m","max_tokens":1,"messages":[{"role":"user","content":7}]})", "invalid_type",
                 "messages.0.content");
  expect_refused(with(R"("temperature":1.5)"), "invalid_value", "temperature");
  expect_refused(with(R"("top_k":"4")"), "invalid_type", "top_k");
  expect_refused(with(R"("stop_sequences":"END")"), "invalid_type", "stop_sequences");
  expect_refused(with(R"("thinking":{"type":"enabled","budget_tokens":1000})"), "invalid_value",
                 "thinking.budget_tokens");
  expect_refused(with(R"("thinking":{"type":"enabled","budget_tokens":4000})"), "invalid_value",
                 "thinking.budget_tokens");
  expect_refused(with(R"("tool_choice":{"type":"tool"})"), "missing_field", "tool_choice.name");
  expect_refused(with(R"("tool_choice":"auto")"), "invalid_type", "tool_choice");
  expect_refused(with(R"("tools":[{"name":"a"}])"), "missing_field", "tools.0.input_schema");
  expect_refused(with_blocks("user", R"({"type":"tool_use","id":"a","name":"b","input":{}})"),
                 "invalid_value", "messages.0.content.0.type");
  expect_refused(with_blocks("assistant", R"({"type":"tool_use","id":"a","name":"b"})"), "missing_field",
                 "messages.0.content.0.input");
  expect_refused(with_blocks("assistant", R"({"type":"thinking","thinking":"a"})"), "missing_field",
                 "messages.0.content.0.signature");
  expect_refused(with_blocks("user", R"({"type":"image","source":{"type":"base64","data":"AA"}})"),
                 "missing_field", "messages.0.content.0.source.media_type");
}

TEST(anthropic_request, reads_content_before_its_role) {
  const auto d = decode(
      R"({"messages":[{"content":[{"type":"tool_use","id":"a","name":"b","input":{}}],"role":"assistant"}],"max_tokens":1,"system":"s","model":"m"})");
  ASSERT_TRUE(d->ok) << d->error.message;
  EXPECT_EQ(d->request.messages[0].role, chat_role::system);
  EXPECT_EQ(d->request.messages[1].parts[0].name, "b");
}

}  // namespace
}  // namespace millrace::http
