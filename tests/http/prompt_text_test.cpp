#include "http/prompt_text.hpp"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

using engine::route_kind;

std::string prompt(route_kind route, const std::string& body, std::size_t most = 1000) {
  std::string out = "left over";
  read_prompt(route, body, most, out);
  return out;
}

TEST(prompt_text, chat_has_the_last_words_of_the_user) {
  EXPECT_EQ(
      prompt(route_kind::chat, R"({"messages":[{"role":"system","content":"s"},{"role":"user","content":"a"},
      {"role":"assistant","content":"b"},{"role":"user","content":"c\n\"d\""}]})"),
      "c\n\"d\"");
  EXPECT_EQ(prompt(route_kind::chat, R"({"messages":[{"role":"user","content":"a"},{"role":"user","content":[
      {"type":"text","text":"b"},{"type":"image_url","image_url":{"url":"x"}},{"type":"text","text":"c"}]}]})"),
            "a\nb\nc");
  EXPECT_EQ(prompt(route_kind::chat, R"({"messages":[{"role":"user","content":"a"},
      {"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"result"}]})"),
            "a")
      << "what a tool said is not the user's question";
}

TEST(prompt_text, every_dialect_has_its_place_for_it) {
  EXPECT_EQ(prompt(route_kind::messages, R"({"system":"s","messages":[{"role":"user","content":"a"},
      {"role":"assistant","content":[{"type":"text","text":"b"}]},
      {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r"}]}]})"),
            "a");
  EXPECT_EQ(prompt(route_kind::messages,
                   R"({"messages":[{"role":"user","content":[{"type":"text","text":"q"}]}]})"),
            "q");
  EXPECT_EQ(prompt(route_kind::count_tokens, R"({"messages":[{"role":"user","content":"q"}]})"), "q");
  EXPECT_EQ(prompt(route_kind::responses, R"({"input":"plain"})"), "plain");
  EXPECT_EQ(prompt(route_kind::responses, R"({"instructions":"i","input":[{"role":"user","content":"a"},
      {"type":"message","role":"assistant","content":[{"type":"output_text","text":"b"}]},
      {"type":"message","role":"user","content":[{"type":"input_text","text":"c"},{"type":"input_image"}]},
      {"type":"function_call_output","call_id":"x","output":"o"}]})"),
            "c");
  EXPECT_EQ(prompt(route_kind::generate, R"({"contents":[{"role":"user","parts":[{"text":"a"}]},
      {"role":"model","parts":[{"text":"b"}]},{"parts":[{"text":"c"},{"inlineData":{}},{"text":"d"}]}]})"),
            "c\nd");
  EXPECT_EQ(prompt(route_kind::completions, R"({"prompt":"a"})"), "a");
  EXPECT_EQ(prompt(route_kind::completions, R"({"prompt":["a","b"]})"), "a\nb");
}

TEST(prompt_text, embeddings_have_none) {
  for (const auto route : {route_kind::embeddings, route_kind::embed, route_kind::batch_embed}) {
    EXPECT_FALSE(has_prompt(route));
    EXPECT_EQ(prompt(route, R"({"input":"a","prompt":"b"})"), "");
  }
  EXPECT_TRUE(has_prompt(route_kind::generate));
}

TEST(prompt_text, what_is_no_request_has_none) {
  for (const std::string body :
       {"", "[]", "{", R"({"messages":7})", R"({"messages":[7,{"role":7,"content":7}]})",
        R"({"messages":[{"role":"user","content":[{"type":"text","text":7}]}]})"}) {
    EXPECT_EQ(prompt(route_kind::chat, body), "") << body;
  }
}

TEST(prompt_text, is_bounded_and_no_escape_is_halved) {
  const auto ask = [](const std::string& text, std::size_t most) {
    return prompt(route_kind::chat, R"({"messages":[{"role":"user","content":")" + text + "\"}]}", most);
  };
  EXPECT_EQ(ask(std::string(50, 'x'), 10), std::string(10, 'x'));
  const std::string whole =
      "ab\xc3\xa4\\\\\"cd\xf0\x9f\x99\x82"
      "ef\n\n\n\\";
  for (std::size_t most = 1; most < 60; ++most) {
    const std::string cut = ask(R"(ab\u00e4\\\\\"cd\ud83d\ude42ef\n\n\n\\)", most);
    EXPECT_LE(cut.size(), most);
    EXPECT_TRUE(whole.starts_with(cut)) << most << ": " << cut;
  }
  std::string many = R"({"messages":[)";
  for (int i = 0; i < 2000; ++i) many += R"({"role":"user","content":"0123456789"},)";
  many.back() = ']';
  EXPECT_LE(prompt(route_kind::chat, many + "}", 100).size(), 101u);
}

}  // namespace
}  // namespace millrace::http
