#include "http/dialects/refusals.hpp"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

using engine::provider_kind;
using engine::refusal_reason;

refusal_reason at(provider_kind kind, const std::string& body, int status = 400) {
  return refusal_of(kind, status, body);
}

TEST(refusals, openai_and_those_who_speak_as_it_does) {
  const auto kind = provider_kind::openai;
  EXPECT_EQ(at(kind, R"({"error":{"message":"This model's maximum context length is 8192 tokens.","type":
      "invalid_request_error","param":"messages","code":"context_length_exceeded"}})"),
            refusal_reason::context);
  EXPECT_EQ(at(kind, R"({"object":"error","message":"This model's maximum context length is 4096 tokens.",
      "type":"BadRequestError","param":null,"code":400})"),
            refusal_reason::context)
      << "vLLM";
  EXPECT_EQ(at(kind, R"({"error":{"code":400,"message":"the request exceeds the available context size",
      "type":"exceed_context_size_error","n_ctx":4096}})"),
            refusal_reason::context)
      << "llama.cpp";
  EXPECT_EQ(at(kind, R"({"error":{"message":"Rejected.","code":"content_policy_violation"}})"),
            refusal_reason::content);
  EXPECT_EQ(at(kind, R"({"error":{"message":"The response was filtered","type":null,"param":"prompt",
      "code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}})"),
            refusal_reason::content)
      << "Azure";
  EXPECT_EQ(
      at(kind, R"({"error":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096"})",
         422),
      refusal_reason::context)
      << "TGI";
  EXPECT_EQ(
      at(kind, R"({"error":"This model's maximum prompt length is 131072 but the request contains 140000"})"),
      refusal_reason::context)
      << "xAI";
  EXPECT_EQ(
      at(kind,
         R"({"object":"error","message":"The prompt is longer than the maximum model length of 4096."})"),
      refusal_reason::context)
      << "vLLM";
  EXPECT_EQ(
      at(kind, R"({"error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X"})", 403),
      refusal_reason::content)
      << "xAI";
  EXPECT_EQ(at(kind, R"({"error":"Your team has no access to this model"})", 403), refusal_reason::none);
  EXPECT_EQ(at(kind, R"({"error":{"message":"no","code":"invalid_value"}})"), refusal_reason::none);
  EXPECT_EQ(at(kind, R"({"error":{"code":"context_length_exceeded"}})", 500), refusal_reason::none);
  EXPECT_EQ(at(kind, R"({"choices":[{"message":{"content":"maximum context length"}}]})", 200),
            refusal_reason::none);
}

TEST(refusals, anthropic) {
  const auto kind = provider_kind::anthropic;
  const auto error = [](const std::string& message) {
    return R"({"type":"error","error":{"type":"invalid_request_error","message":")" + message + "\"}}";
  };
  EXPECT_EQ(at(kind, error("prompt is too long: 208310 tokens > 200000 maximum")), refusal_reason::context);
  EXPECT_EQ(at(kind, error("input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000")),
            refusal_reason::context);
  EXPECT_EQ(at(kind, error("Output blocked by content filtering policy")), refusal_reason::content);
  EXPECT_EQ(at(kind, error("max_tokens: too small")), refusal_reason::none);
  EXPECT_EQ(at(kind, R"({"type":"message","content":[],"stop_reason":"refusal"})", 200),
            refusal_reason::content);
  EXPECT_EQ(at(kind, R"({"type":"message","content":[{"text":"refusal"}],"stop_reason":"end_turn"})", 200),
            refusal_reason::none);
  EXPECT_EQ(at(kind,
               "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: message_delta\n"
               "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"refusal\"}}\n\n",
               200),
            refusal_reason::content);
}

TEST(refusals, gemini) {
  const auto kind = provider_kind::gemini;
  EXPECT_EQ(
      at(kind,
         R"({"error":{"code":400,"message":"The input token count (1189816) exceeds the maximum number )"
         R"(of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}})"),
      refusal_reason::context);
  const std::string blocked =
      R"({"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":4}})";
  EXPECT_EQ(at(kind, blocked, 200), refusal_reason::content);
  EXPECT_EQ(at(kind, "data: " + blocked + "\r\n\r\n", 200), refusal_reason::content);
  EXPECT_EQ(
      at(kind, R"({"candidates":[{"content":{"parts":[{"text":"\"promptFeedback\":{\"blockReason\":1}"}]}}],
      "promptFeedback":{}})",
         200),
      refusal_reason::none);
}

TEST(refusals, what_cannot_be_read_is_none) {
  for (const auto kind :
       {provider_kind::openai, provider_kind::anthropic, provider_kind::gemini, provider_kind::builtin}) {
    for (const std::string body : {"", "{", "<html>", "[]", "data:", "data: {\n\n", R"({"error":"no"})"}) {
      for (const int status : {200, 400}) EXPECT_EQ(at(kind, body, status), refusal_reason::none) << body;
    }
  }
}

}  // namespace
}  // namespace millrace::http
