#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_chat.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;

const std::string recorded = R"({
  "model": "claude-sonnet-4-5-20250929", "id": "msg_01XFDUDYJgAACzvnptvVoYEL", "type": "message", "role": "assistant",
  "content": [
    {"type":"thinking","thinking":"The user asks.\nI call.","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3h"},
    {"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix"},
    {"type":"text","text":"I\u2019ll look."},
    {"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{}},
    {"type":"tool_use","id":"toolu_01T1x1fJ34qAmk2tNTrN7Up6","name":"get_weather","input":{"location":"SF"}}],
  "stop_reason": "tool_use", "stop_sequence": null,
  "usage": {"input_tokens": 20, "cache_creation_input_tokens": 300, "cache_read_input_tokens": 4000,
            "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 90, "output_tokens_details": {"thinking_tokens": 40}, "service_tier": "standard"}})";

TEST(anthropic_answer, is_read) {
  chat_answer a;
  ASSERT_TRUE(anthropic_chat().decode_answer(recorded, a));
  EXPECT_EQ(a.id, "msg_01XFDUDYJgAACzvnptvVoYEL");
  ASSERT_EQ(a.parts.size(), 4U);
  EXPECT_EQ(a.parts[0].kind, part_kind::thinking);
  EXPECT_EQ(a.parts[0].signature, "\"EqQBCgIYAhIM1gbcDa9GJwZA2b3h\"");
  EXPECT_EQ(a.parts[1].kind, part_kind::sealed_thinking);
  EXPECT_EQ(a.parts[2].text, R"("I\u2019ll look.")");
  EXPECT_EQ(a.parts[3].name, "get_weather");
  EXPECT_EQ(a.parts[3].arguments, R"({"location":"SF"})");
  EXPECT_EQ(a.finish, finish_reason::tool_calls);
  EXPECT_TRUE(a.used.known);
  EXPECT_EQ(a.used.input_tokens, 4320);
  EXPECT_EQ(a.used.cached_tokens, 4000);
  EXPECT_EQ(a.used.cache_write_tokens, 300);
  EXPECT_EQ(a.used.output_tokens, 90);
  EXPECT_EQ(a.used.reasoning_tokens, 40);
}

TEST(anthropic_answer, what_it_keeps_for_an_hour_is_counted_apart) {
  std::string body(recorded);
  const std::string_view counts = R"("ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 0)";
  const auto read = [&](std::string_view told) {
    std::string text = body;
    text.replace(text.find(counts), counts.size(), told);
    chat_answer a;
    EXPECT_TRUE(anthropic_chat().decode_answer(text, a));
    return std::pair(a.used.cache_write_tokens, a.used.long_write_tokens);
  };
  EXPECT_EQ(read(R"("ephemeral_5m_input_tokens": 100, "ephemeral_1h_input_tokens": 200)"),
            std::pair(300L, 200L));
  EXPECT_EQ(read(R"("ephemeral_1h_input_tokens": 900)"), std::pair(300L, 300L))
      << "not more than was written";
}

TEST(anthropic_answer, ends_for_many_reasons) {
  const auto read = [](const std::string& end) {
    chat_answer a;
    const std::string body =
        R"({"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"a"}],)" + end +
        "}";
    EXPECT_TRUE(anthropic_chat().decode_answer(body, a)) << body;
    return std::tuple(a.finish, std::string(a.stop_sequence), a.parts.size());
  };
  using all = std::tuple<finish_reason, std::string, std::size_t>;
  EXPECT_EQ(read(R"("stop_reason":"end_turn","stop_sequence":null)"), all(finish_reason::stop, "", 1));
  EXPECT_EQ(read(R"("stop_reason":"stop_sequence","stop_sequence":"E")"),
            all(finish_reason::stop, "\"E\"", 1));
  EXPECT_EQ(read(R"("stop_reason":"max_tokens")"), all(finish_reason::length, "", 1));
  EXPECT_EQ(read(R"("stop_reason":"model_context_window_exceeded")"), all(finish_reason::length, "", 1));
  EXPECT_EQ(read(R"("stop_reason":"pause_turn")"), all(finish_reason::paused, "", 1));
  EXPECT_EQ(
      read(
          R"("stop_reason":"refusal","stop_details":{"type":"refusal","category":"bio","explanation":"No."})"),
      all(finish_reason::content_filter, "", 2));
  EXPECT_EQ(read(R"("stop_reason":null)"), all(finish_reason::none, "", 1));
}

TEST(anthropic_answer, of_another_shape_is_none) {
  chat_answer a;
  for (const char* body :
       {"", "[]", "{}", R"({"type":"error","error":{"message":"x"}})", R"({"type":"message"})",
        R"({"type":"message","content":[]} x)", R"({"type":"message","content":[})"}) {
    EXPECT_FALSE(anthropic_chat().decode_answer(body, a)) << body;
  }
}

TEST(anthropic_answer, is_written) {
  chat_answer a;
  ASSERT_TRUE(anthropic_chat().decode_answer(recorded, a));
  encode_options options;
  options.model = "mine";
  std::string out;
  anthropic_chat().encode_answer(a, options, out);
  EXPECT_EQ(
      json::parse(out),
      json::parse(R"({"id":"msg_01XFDUDYJgAACzvnptvVoYEL","type":"message","role":"assistant","model":"mine",
    "content":[{"type":"thinking","thinking":"The user asks.\nI call.","signature":"EqQBCgIYAhIM1gbcDa9GJwZA2b3h"},
      {"type":"redacted_thinking","data":"EmwKAhgBEgy3va3pzix"},{"type":"text","text":"I\u2019ll look."},
      {"type":"tool_use","id":"toolu_01T1x1fJ34qAmk2tNTrN7Up6","name":"get_weather","input":{"location":"SF"}}],
    "stop_reason":"tool_use","stop_sequence":null,
    "usage":{"input_tokens":20,"cache_creation_input_tokens":300,"cache_read_input_tokens":4000,"output_tokens":90,
             "output_tokens_details":{"thinking_tokens":40}}})"));
}

TEST(anthropic_answer, gets_what_others_leave_out) {
  chat_answer a;
  chat_part part;
  part.kind = part_kind::tool_call;
  part.name = "f";
  a.parts.push_back(part);
  part.kind = part_kind::refusal;
  part.text = "\"I won't.\"";
  a.parts.push_back(part);
  a.finish = finish_reason::content_filter;
  encode_options options;
  options.model = "m";
  options.now = 17;
  std::string out;
  anthropic_chat().encode_answer(a, options, out);
  const json body = json::parse(out);
  EXPECT_EQ(body["id"], "msg_17");
  EXPECT_EQ(body["content"][0], json::parse(R"({"type":"tool_use","id":"toolu_0","name":"f","input":{}})"));
  EXPECT_EQ(body["content"][1]["text"], "I won't.");
  EXPECT_EQ(body["stop_reason"], "refusal");
  EXPECT_EQ(body["stop_details"]["explanation"], "I won't.");
  EXPECT_EQ(body["usage"]["input_tokens"], 0);
}

TEST(anthropic_answer, tells_errors) {
  EXPECT_EQ(
      anthropic_chat().decode_error(
          R"({"type":"error","error":{"type":"not_found_error","message":"model: \"x\""},"request_id":"req_1"})"),
      "model: \"x\"");
  EXPECT_EQ(anthropic_chat().decode_error("<html>"), "");
  EXPECT_EQ(anthropic_chat().decode_error(R"({"error":"x"})"), "");
}

}  // namespace
}  // namespace millrace::http
