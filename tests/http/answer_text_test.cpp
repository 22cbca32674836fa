#include "http/dialects/answer_text.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/dialects/formats.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;
using nlohmann::json;

json answer_of(route_kind route, std::string_view text) {
  std::string out = "before";
  EXPECT_TRUE(write_text_answer(route, "mo\"del", text, 1700000000, out));
  return json::parse(out, nullptr, false);
}

constexpr std::string_view spoken = "Say \"ä\"\nagain";

TEST(AnswerText, IsAnAnswerOfEachDialect) {
  const json chat = answer_of(route_kind::chat, spoken);
  EXPECT_EQ(chat["choices"][0]["message"]["content"], spoken);
  EXPECT_EQ(chat["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(chat["model"], "mo\"del");
  EXPECT_EQ(chat["created"], 1700000000);
  EXPECT_EQ(chat["usage"]["total_tokens"], 0);
  const json completion = answer_of(route_kind::completions, spoken);
  EXPECT_EQ(completion["choices"][0]["text"], spoken);
  EXPECT_EQ(completion["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(completion["usage"]["total_tokens"], 0);
  const json response = answer_of(route_kind::responses, spoken);
  EXPECT_EQ(response["status"], "completed");
  EXPECT_EQ(response["output"][0]["content"][0]["text"], spoken);
  EXPECT_EQ(response["usage"]["total_tokens"], 0);
  const json message = answer_of(route_kind::messages, spoken);
  EXPECT_EQ(message["content"][0]["text"], spoken);
  EXPECT_EQ(message["stop_reason"], "end_turn");
  EXPECT_EQ(message["usage"]["output_tokens"], 0);
  const json gemini = answer_of(route_kind::generate, spoken);
  EXPECT_EQ(gemini["candidates"][0]["content"]["parts"][0]["text"], spoken);
  EXPECT_EQ(gemini["candidates"][0]["finishReason"], "STOP");
  EXPECT_EQ(gemini["usageMetadata"]["totalTokenCount"], 0);
}

TEST(AnswerText, CanBeToldAsAStream) {
  for (const route_kind route : {route_kind::chat, route_kind::completions, route_kind::responses,
                                 route_kind::messages, route_kind::generate}) {
    std::string body;
    std::string events;
    ASSERT_TRUE(write_text_answer(route, "m", "Come back later.", 1, body));
    EXPECT_TRUE(all_formats().of(route).replay_stream(route, body, true, events)) << to_string(route);
    EXPECT_NE(events.find("Come back later."), std::string::npos) << events;
  }
}

TEST(AnswerText, VectorsAndCountsAreNoTexts) {
  for (const route_kind route :
       {route_kind::embeddings, route_kind::embed, route_kind::batch_embed, route_kind::count_tokens}) {
    std::string out = "before";
    EXPECT_FALSE(write_text_answer(route, "m", "text", 1, out)) << to_string(route);
    EXPECT_EQ(out, "");
  }
}

}  // namespace
}  // namespace millrace::http
