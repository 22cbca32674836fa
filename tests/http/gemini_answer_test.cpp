#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/base64.hpp"
#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_signature.hpp"

namespace millrace::http {
namespace {

using nlohmann::json;

chat_answer read(std::string_view body) {
  chat_answer answer;
  EXPECT_TRUE(gemini_chat().decode_answer(body, answer)) << body;
  return answer;
}

json write(const chat_answer& answer) {
  encode_options options;
  options.model = "mine";
  std::string out;
  gemini_chat().encode_answer(answer, options, out);
  return json::parse(out);
}

TEST(gemini_answer, texts_thoughts_calls_and_usage) {
  const std::string body = R"({"candidates":[{"content":{"parts":[{"text":"Hm \u2026","thought":true},
      {"text":"I will "},{"text":"look."},{"functionCall":{"name":"f","args":{"a":1}},"thoughtSignature":"QUJD"},
      {"functionCall":{"id":"own","name":"g","args":{}}}],"role":"model"},"finishReason":"STOP","index":0,"avgLogprobs":-0.1}],
      "usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"totalTokenCount":175,"cachedContentTokenCount":64,
      "thoughtsTokenCount":50,"toolUsePromptTokenCount":5,"promptTokensDetails":[{"modality":"TEXT","tokenCount":100}]},
      "modelVersion":"gemini-2.5-flash","responseId":"rX-1"})";
  const chat_answer a = read(body);
  EXPECT_EQ(a.id, "rX-1");
  ASSERT_EQ(a.parts.size(), 5U);
  EXPECT_EQ(a.parts[0].kind, part_kind::thinking);
  EXPECT_EQ(a.parts[0].text, R"("Hm \u2026")");
  EXPECT_EQ(a.parts[1].text, "\"I will look.\"");
  EXPECT_EQ(a.parts[2].kind, part_kind::sealed_thinking);
  EXPECT_EQ(unmark_gemini_signature(a.parts[2].signature), "\"QUJD\"");
  EXPECT_EQ(a.parts[3].kind, part_kind::tool_call);
  EXPECT_EQ(a.parts[3].id, "call_rX-1_0");
  EXPECT_EQ(a.parts[3].arguments, R"({"a":1})");
  EXPECT_EQ(a.parts[4].id, "own");
  EXPECT_EQ(a.finish, finish_reason::tool_calls);
  EXPECT_EQ(a.used.input_tokens, 105);
  EXPECT_EQ(a.used.output_tokens, 70);
  EXPECT_EQ(a.used.cached_tokens, 64);
  EXPECT_EQ(a.used.reasoning_tokens, 50);
  EXPECT_TRUE(a.used.known);
}

TEST(gemini_answer, what_others_have_no_word_for_leaves_a_note) {
  const chat_answer a = read(R"({"candidates":[{"content":{"parts":[{"text":"Here:"},
      {"inlineData":{"mimeType":"image/png","data":"AAAA"}},{"executableCode":{"code":"x"}},{"text":"So."}],
      "role":"model"},"finishReason":"STOP","index":0}]})");
  ASSERT_EQ(a.parts.size(), 1U);
  const auto text = json::parse(a.parts[0].text).get<std::string>();
  EXPECT_EQ(text.substr(0, 6), "Here:\n");
  EXPECT_NE(text.find("[Data of type image/png is left out here"), std::string::npos) << text;
  EXPECT_NE(text.find("[A file or code is left out here"), std::string::npos) << text;
  EXPECT_EQ(text.substr(text.size() - 4), "\nSo.");
  EXPECT_EQ(text.find("AAAA"), std::string::npos);
}

TEST(gemini_answer, finish_reasons) {
  const auto finish = [](const std::string& name) {
    return read(R"({"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":")" + name + "\"}]}")
        .finish;
  };
  EXPECT_EQ(finish("STOP"), finish_reason::stop);
  EXPECT_EQ(finish("MAX_TOKENS"), finish_reason::length);
  for (const char* name : {"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE",
                           "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "SOMETHING_NEW"})
    EXPECT_EQ(finish(name), finish_reason::content_filter) << name;
  const chat_answer blocked =
      read(R"({"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}})");
  EXPECT_EQ(blocked.finish, finish_reason::content_filter);
  EXPECT_TRUE(blocked.parts.empty());
  EXPECT_EQ(blocked.used.input_tokens, 4);
}

TEST(gemini_answer, what_is_none_is_not_taken_for_one) {
  chat_answer a;
  for (const char* body : {"", "[]", "{}", "{\"candidates\":[]}", "{\"candidates\":[{}]", "nonsense",
                           R"({"error":{"code":500,"message":"x"}})"})
    EXPECT_FALSE(gemini_chat().decode_answer(body, a)) << body;
}

TEST(gemini_answer, is_written_as_gemini_would) {
  chat_answer a;
  a.id = "id1";
  a.finish = finish_reason::tool_calls;
  a.used = {30, 12, 10, 0, 0, 4, true};
  chat_part thought;
  thought.kind = part_kind::thinking;
  thought.text = "\"hm\"";
  thought.signature = "\"Er+/\"";
  chat_part said;
  said.text = R"("a\nb")";
  chat_part call;
  call.kind = part_kind::tool_call;
  call.id = "toolu_1";
  call.name = "f";
  call.arguments = R"({"x":1})";
  a.parts = {thought, said, call};
  const json out = write(a);
  std::string wrapped;
  base64_encode("millrace:Er+/", wrapped);
  EXPECT_EQ(out,
            json({{"candidates",
                   {{{"content",
                      {{"role", "model"},
                       {"parts",
                        {{{"text", "hm"}, {"thought", true}, {"thoughtSignature", wrapped}},
                         {{"text", "a\nb"}},
                         {{"functionCall", {{"id", "toolu_1"}, {"name", "f"}, {"args", {{"x", 1}}}}}}}}}},
                     {"finishReason", "STOP"},
                     {"index", 0}}}},
                  {"usageMetadata",
                   {{"promptTokenCount", 30},
                    {"candidatesTokenCount", 8},
                    {"thoughtsTokenCount", 4},
                    {"cachedContentTokenCount", 10},
                    {"totalTokenCount", 42}}},
                  {"modelVersion", "mine"},
                  {"responseId", "id1"}}));
  EXPECT_EQ(unwrap_from_gemini_client("\"" + wrapped + "\""), "\"Er+/\"");
}

TEST(gemini_answer, broken_arguments_call_nothing) {
  chat_answer a;
  a.finish = finish_reason::tool_calls;
  chat_part call;
  call.kind = part_kind::tool_call;
  call.name = "f";
  for (const char* arguments : {"[1]", "{\"a\":", "\"{}\"", "{} {}"}) {
    call.arguments = arguments;
    a.parts = {call};
    const json out = write(a)["candidates"][0];
    EXPECT_EQ(out["finishReason"], "MALFORMED_FUNCTION_CALL") << arguments;
    EXPECT_TRUE(out["content"]["parts"].empty()) << arguments;
  }
}

TEST(gemini_answer, errors_tell_their_message) {
  const std::string body = R"({"error":{"code":400,"message":"Bad \"x\"","status":"INVALID_ARGUMENT"}})";
  EXPECT_EQ(gemini_chat().decode_error(body), "Bad \"x\"");
  EXPECT_EQ(gemini_chat().decode_error("[" + body + "]"), "Bad \"x\"");
  EXPECT_EQ(gemini_chat().decode_error("<html>"), "");
}

}  // namespace
}  // namespace millrace::http
