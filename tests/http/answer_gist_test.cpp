#include "http/dialects/answer_gist.hpp"

#include <cmath>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using engine::confidence_source;
using engine::route_kind;
using nlohmann::json;

const confidence_source by_field;
const confidence_source by_logprobs{true, {}};

std::string chat(const std::string& text, const json& logprobs = nullptr) {
  return json{{"choices", {{{"message", {{"content", text}}}, {"logprobs", logprobs}}}}}.dump();
}

double confidence(const std::string& text, const confidence_source& source = by_field) {
  return read_gist(route_kind::chat, chat(text), source).confidence;
}

TEST(AnswerGist, TheFieldIsFoundWhereverTheJsonStands) {
  EXPECT_EQ(confidence(R"({"label":"a","confidence":0.25})"), 0.25);
  EXPECT_EQ(confidence(" \n{\"confidence\": 1}\n"), 1);
  EXPECT_EQ(confidence("Sure:\n```json\n{\"confidence\": 0.5}\n```\nThat is {it}."), 0.5);
  EXPECT_EQ(confidence(R"(I say {"label":{"b":1},"confidence":0.75}, then.)"), 0.75);
  EXPECT_EQ(confidence(R"({"result":{"confidence":0.5},"confidence":0.9})", {false, "result.confidence"}),
            0.5);
}

TEST(AnswerGist, ANumberOrAShareOfAHundred) {
  EXPECT_EQ(confidence(R"({"confidence":"0.5"})"), 0.5);
  EXPECT_EQ(confidence(R"({"confidence":" 85 % "})"), 0.85);
  for (const char* unreadable : {R"({"confidence":85})", R"({"confidence":-0.1})", R"({"confidence":"high"})",
                                 R"({"confidence":null})", R"({"confidence":{}})", R"({"sure":1})",
                                 R"([0.5])", "0.5", "", "}{", "```json\n{"}) {
    EXPECT_LT(confidence(unreadable), 0) << unreadable;
  }
  EXPECT_LT(confidence(R"({"result":0.5})", {false, "result.confidence"}), 0);
}

TEST(AnswerGist, AnswersAreTheSameWhateverTheirSpellingAndConfidence) {
  const auto said = [](const std::string& text) {
    return read_gist(route_kind::chat, chat(text), by_field).said;
  };
  const std::string one = said(R"({"label":"a","why":"x","confidence":0.25})");
  EXPECT_EQ(one, said("```\n{ \"why\" : \"x\", \"confidence\": 0.9, \"label\": \"\\u0061\" }\n```"));
  EXPECT_NE(one, said(R"({"label":"b","why":"x","confidence":0.25})"));
  EXPECT_EQ(said(" yes\n"), said("yes"));
  EXPECT_NE(said("yes"), said("no"));
}

TEST(AnswerGist, LogprobsAreTheGeometricMean) {
  const auto token = [](double p) { return json{{"token", "x"}, {"logprob", std::log(p)}}; };
  const std::string body = chat("yes", {{"content", {token(0.5), token(0.125)}}});
  EXPECT_NEAR(read_gist(route_kind::chat, body, by_logprobs).confidence, 0.25, 1e-12);
  EXPECT_LT(read_gist(route_kind::chat, chat("yes"), by_logprobs).confidence, 0) << "nobody asked for them";
  EXPECT_LT(read_gist(route_kind::chat, body, by_field).confidence, 0);
}

TEST(AnswerGist, EveryDialectTells) {
  const std::string text = R"({"confidence":0.5})";
  const auto find = [](route_kind route, const json& body, const confidence_source& source = by_field) {
    return read_gist(route, body.dump(), source).confidence;
  };
  EXPECT_EQ(find(route_kind::completions, {{"choices", {{{"text", text}}}}}), 0.5);
  EXPECT_EQ(
      find(route_kind::completions,
           {{"choices", {{{"text", "x"}, {"logprobs", {{"token_logprobs", {nullptr, 0.0}}}}}}}}, by_logprobs),
      1);
  const json said = {{"type", "output_text"}, {"text", text}, {"logprobs", {{{"logprob", 0.0}}}}};
  const json response = {{"output",
                          {{{"type", "reasoning"}, {"summary", json::array()}},
                           {{"type", "message"}, {"content", json::array({said})}}}}};
  EXPECT_EQ(find(route_kind::responses, response), 0.5);
  EXPECT_EQ(find(route_kind::responses, response, by_logprobs), 1);
  EXPECT_EQ(
      find(route_kind::messages,
           {{"content", {{{"type", "thinking"}, {"thinking", "{}"}}, {{"type", "text"}, {"text", text}}}}}),
      0.5);
  const json parts = {{{"text", "{}"}, {"thought", true}}, {{"text", text}}};
  const json gemini = {{"candidates", {{{"content", {{"parts", parts}}}, {"avgLogprobs", 0.0}}}}};
  EXPECT_EQ(find(route_kind::generate, gemini), 0.5);
  EXPECT_EQ(find(route_kind::generate, gemini, by_logprobs), 1);
}

TEST(AnswerGist, AToolCallSpeaksWhereThereIsNoText) {
  const json call = {{"function", {{"name", "classify"}, {"arguments", R"({"confidence":0.5})"}}}};
  const json body = {
      {"choices", {{{"message", {{"content", nullptr}, {"tool_calls", json::array({call})}}}}}}};
  EXPECT_EQ(read_gist(route_kind::chat, body.dump(), by_field).confidence, 0.5);
  const json use = {{"type", "tool_use"}, {"input", {{"confidence", 0.25}}}};
  EXPECT_EQ(
      read_gist(route_kind::messages, json{{"content", json::array({use})}}.dump(), by_field).confidence,
      0.25);
  const json part = {{"functionCall", {{"name", "f"}, {"args", {{"confidence", 0.75}}}}}};
  const json gemini = {{"candidates", {{{"content", {{"parts", json::array({part})}}}}}}};
  EXPECT_EQ(read_gist(route_kind::generate, gemini.dump(), by_field).confidence, 0.75);
}

TEST(AnswerGist, WhatIsNoAnswerSaysNothing) {
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  for (const std::string& body :
       {std::string(), std::string("[]"), std::string("{"), deep, std::string(R"({"choices":{}})"),
        std::string(R"({"choices":[[]]})"), std::string(R"({"choices":[{"message":{"content":[1]}}]})")}) {
    EXPECT_LT(read_gist(route_kind::chat, body, by_field).confidence, 0);
  }
  EXPECT_LT(confidence("{\"confidence\":0.5,\"x\":" + deep + "}"), 0);
  EXPECT_LT(read_gist(route_kind::embeddings, chat("{}"), by_field).confidence, 0);
}

}  // namespace
}  // namespace millrace::http
