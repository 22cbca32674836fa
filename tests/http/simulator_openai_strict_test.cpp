#include <string>
#include <utility>

#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

class OpenAiSimulator : public Simulator {
 protected:
  void SetUp() override { start(); }
  void expect_refused(const json& body, const std::string& param, const std::string& code,
                      const std::string& message = "", const std::string& path = chat_path) {
    const answer a = ask(body, "k1", path);
    EXPECT_EQ(a.status, 400) << body << a.body;
    if (a.status != 400) return;
    const json error = a.parsed()["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], param.empty() ? json() : json(param)) << error;
    EXPECT_EQ(error["code"], code) << error;
    EXPECT_NE(error["message"].get<std::string>().find(message), std::string::npos) << error;
  }
};

json conversation(json messages) {
  return {{"model", "m"}, {"messages", std::move(messages)}};
}

json said(const std::string& role, json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

json calling(json ids) {
  json calls = json::array();
  for (const auto& id : ids)
    calls.push_back({{"id", id}, {"type", "function"}, {"function", {{"name", "f"}, {"arguments", "{}"}}}});
  return {{"role", "assistant"}, {"content", nullptr}, {"tool_calls", calls}};
}

json tool_said(const std::string& id) {
  return {{"role", "tool"}, {"tool_call_id", id}, {"content", "sunny"}};
}

json function(const std::string& name) {
  return {{"type", "function"}, {"function", {{"name", name}, {"parameters", {{"type", "object"}}}}}};
}

TEST_F(OpenAiSimulator, ModelsThatThinkWantTheNewNameOfTheBound) {
  for (const char* model : {"gpt-5", "gpt-5-mini-2025-08-07", "o1", "o3-mini", "o4-mini"}) {
    expect_refused(with(with(chat("x"), "max_tokens", 5), "model", model), "max_tokens",
                   "unsupported_parameter", "Use 'max_completion_tokens' instead.");
    EXPECT_EQ(ask(with(with(chat("x"), "max_completion_tokens", 5), "model", model)).status, 200) << model;
  }
  for (const char* model : {"gpt-5-chat-latest", "gpt-4o", "omni-1", "o", "open-1"})
    EXPECT_EQ(ask(with(with(chat("x"), "max_tokens", 5), "model", model)).status, 200) << model;
}

TEST_F(OpenAiSimulator, RefusesWhatItDoesNotKnow) {
  expect_refused(with(chat("x"), "top_k", 4), "top_k", "unknown_parameter", "Unknown parameter: 'top_k'.");
  expect_refused(conversation(json::array({said("model", "x")})), "messages[0].role", "invalid_value",
                 "'model'");
  json odd = said("user", "x");
  odd["reasoning_content"] = "y";
  expect_refused(conversation(json::array({odd})), "messages[0].reasoning_content", "unknown_parameter");
  expect_refused({{"model", "m"}, {"input", "x"}, {"top_p", 1}}, "top_p", "unknown_parameter", "",
                 "/v1/embeddings");
  expect_refused({{"model", "m"}, {"prompt", "x"}, {"tools", json::array()}}, "tools", "unknown_parameter",
                 "", "/v1/completions");
  EXPECT_EQ(ask(with(with(chat("x"), "metadata", {{"a", "b"}}), "store", false)).status, 200);
  EXPECT_EQ(ask(conversation({said("developer", "x"), said("user", "y")})).status, 200);
}

TEST_F(OpenAiSimulator, RefusesBadNumbersAndCombinations) {
  expect_refused(with(chat("x"), "temperature", 2.1), "temperature", "decimal_above_max_value",
                 "<= 2, but got 2.1");
  expect_refused(with(chat("x"), "temperature", -1), "temperature", "decimal_below_min_value");
  expect_refused(with(chat("x"), "temperature", "1"), "temperature", "invalid_type");
  expect_refused(with(chat("x"), "max_tokens", 0), "max_tokens", "integer_below_min_value");
  expect_refused(with(with(chat("x"), "max_tokens", 5), "max_completion_tokens", 5), "", "invalid_value",
                 "same time");
  expect_refused(with(chat("x"), "stop", {"a", "b", "c", "d", "e"}), "stop", "array_above_max_length");
  expect_refused(with(chat("x"), "stream_options", {{"include_usage", true}}), "stream_options",
                 "invalid_value");
  expect_refused(with(chat("x"), "parallel_tool_calls", false), "parallel_tool_calls", "invalid_value");
  expect_refused(with(chat("x"), "reasoning_effort", "much"), "reasoning_effort", "invalid_value");
  expect_refused(with(chat("x"), "response_format", {{"type", "json_object"}}), "messages", "invalid_value",
                 "'json'");
}

TEST_F(OpenAiSimulator, WantsEveryCallAnsweredAndEveryAnswerAsked) {
  EXPECT_EQ(
      ask(conversation({said("user", "x"), calling({"a", "b"}), tool_said("b"), tool_said("a")})).status,
      200);
  expect_refused(conversation({said("user", "x"), calling({"a", "b"}), tool_said("b"), said("user", "so?")}),
                 "messages[3].role", "invalid_value", "did not have response messages: a");
  expect_refused(conversation({said("user", "x"), calling({"a"})}), "messages[2].role", "invalid_value");
  expect_refused(conversation({said("user", "x"), tool_said("a")}), "messages[1].role", "invalid_value",
                 "must be a response to a preceeding message");
  expect_refused(conversation({said("user", "x"), calling({"a"}), tool_said("z")}),
                 "messages[2].tool_call_id", "invalid_value", "'z' not found");
  expect_refused(conversation({said("user", "x"), calling({std::string(41, 'i')})}),
                 "messages[1].tool_calls[0].id", "string_above_max_length");
  expect_refused(conversation({said("user", "x"), calling(json::array())}), "messages[1].tool_calls",
                 "empty_array");
}

TEST_F(OpenAiSimulator, RefusesBadContents) {
  const auto part = [](json p) {
    return conversation(json::array({said("user", json::array({std::move(p)}))}));
  };
  const auto image = [&](const std::string& url) {
    return part({{"type", "image_url"}, {"image_url", {{"url", url}}}});
  };
  const std::string at = "messages[0].content[0]";
  EXPECT_EQ(ask(image("data:image/png;base64,AAAA")).status, 200);
  EXPECT_EQ(ask(image("https://example.com/a.png")).status, 200);
  expect_refused(image("data:image/png;base64,AAA"), at + ".image_url.url", "invalid_base64");
  expect_refused(image("data:image/tiff;base64,AAAA"), at + ".image_url.url", "invalid_base64");
  expect_refused(image("file:///x"), at + ".image_url.url", "invalid_image_url");
  expect_refused(part({{"type", "image_url"}, {"image_url", "https://x"}}), at + ".image_url",
                 "invalid_type");
  expect_refused(part({{"type", "image"}, {"source", "x"}}), at + ".type", "invalid_value");
  expect_refused(part({{"type", "text"}}), at + ".text", "missing_required_parameter");
  expect_refused(part({{"type", "text"}, {"text", "x"}, {"cache_control", {{"type", "ephemeral"}}}}),
                 at + ".cache_control", "unknown_parameter");
  expect_refused(part({{"type", "input_audio"}, {"input_audio", {{"data", "AAAA"}, {"format", "ogg"}}}}),
                 at + ".input_audio.format", "invalid_value");
  expect_refused(part({{"type", "file"}, {"file", {{"file_data", "AAAA"}, {"filename", "a"}}}}),
                 at + ".file.file_data", "invalid_value");
  expect_refused(conversation(json::array({said("user", json::array())})), "messages[0].content",
                 "empty_array");
  expect_refused(conversation(json::array({said("user", nullptr)})), "messages[0].content", "invalid_type");
  expect_refused(conversation({{{"role", "user"}}}), "messages[0].content", "invalid_type");
  expect_refused(conversation(json::array({said("system", json::array({{{"type", "image_url"}}}))})),
                 at + ".type", "invalid_value");
}

TEST_F(OpenAiSimulator, RefusesBadTools) {
  EXPECT_EQ(ask(with(chat("x"), "tools", json::array({function("f")}))).status, 200);
  expect_refused(with(chat("x"), "tools", json::array()), "tools", "empty_array");
  expect_refused(with(chat("x"), "tools", json::array({function("a b")})), "tools[0].function.name",
                 "invalid_value");
  json odd = function("f");
  odd["function"]["parameters"] = {{"type", "string"}};
  expect_refused(with(chat("x"), "tools", json::array({odd})), "tools[0].function.parameters",
                 "invalid_function_parameters");
  odd = function("f");
  odd["function"]["strict"] = true;
  expect_refused(with(chat("x"), "tools", json::array({odd})), "tools[0].function.parameters",
                 "invalid_function_parameters", "'additionalProperties'");
  expect_refused(with(chat("x"), "tool_choice", "auto"), "tool_choice", "invalid_value");
  expect_refused(with(with(chat("x"), "tools", json::array({function("f")})), "tool_choice", "any"),
                 "tool_choice", "invalid_value");
  expect_refused(with(with(chat("x"), "tools", json::array({function("f")})), "tool_choice",
                      {{"type", "function"}, {"function", {{"name", "g"}}}}),
                 "tool_choice", "invalid_value", "'g' not found");
}

TEST_F(OpenAiSimulator, ThinksWhereAskedAndBillsIt) {
  const json body = ask(with(chat("x"), "reasoning_effort", "low")).parsed();
  const int thought = body["usage"]["completion_tokens_details"]["reasoning_tokens"];
  EXPECT_GT(thought, 0);
  EXPECT_EQ(body["usage"]["completion_tokens"], thought + 32);
  EXPECT_EQ(stats()["models"]["gpt-4o-mini"]["reasoning_tokens"], thought);
  EXPECT_EQ(stats()["models"]["gpt-4o-mini"]["output_tokens"], thought + 32);
  const json cut = ask(with(with(chat("x"), "reasoning_effort", "low"), "max_completion_tokens", 5)).parsed();
  EXPECT_EQ(cut["choices"][0]["finish_reason"], "length");
  EXPECT_EQ(cut["choices"][0]["message"]["content"], "");
  EXPECT_EQ(cut["usage"]["completion_tokens"], 5);
}

TEST_F(OpenAiSimulator, ReadsARepeatedPrefixFromItsCache) {
  const auto cached = [&](const std::string& question, size_t length = 8000) {
    json body = chat(question);
    body["messages"][0]["content"] = std::string(length, 's');
    return ask(body).parsed()["usage"]["prompt_tokens_details"]["cached_tokens"].get<int>();
  };
  EXPECT_EQ(cached("first"), 0);
  const int again = cached("second");
  EXPECT_GE(again, 1024);
  EXPECT_EQ(again % 128, 0);
  EXPECT_EQ(cached("first", 1000), 0);
  EXPECT_EQ(cached("first", 1000), 0) << "too short";
  EXPECT_EQ(stats()["models"]["gpt-4o-mini"]["cache_read_tokens"], again);
}

}  // namespace
}  // namespace millrace::http::simulator_tests
