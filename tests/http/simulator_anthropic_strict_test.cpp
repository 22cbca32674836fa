#include <string>
#include <utility>

#include "tests/http/simulator_anthropic.hpp"

namespace millrace::http::simulator_tests {
namespace {

json text_block(const std::string& text) {
  return {{"type", "text"}, {"text", text}};
}

json said(const std::string& role, json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

json call(const std::string& id) {
  return {{"type", "tool_use"}, {"id", id}, {"name", "weather"}, {"input", {{"city", "Ulm"}}}};
}

json result(const std::string& id) {
  return {{"type", "tool_result"}, {"tool_use_id", id}, {"content", "sunny"}};
}

json conversation(json messages) {
  return with(message(""), "messages", std::move(messages));
}

TEST_F(AnthropicSimulator, RefusesWithoutItsVersion) {
  start();
  const std::string body = message("x").dump();
  client c(port_);
  c.write("POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\ncontent-length: " + std::to_string(body.size()) +
          "\r\n\r\n" + body);
  const answer a = c.read();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.parsed()["error"]["message"], "anthropic-version: header is required");
  EXPECT_EQ(json::parse(provider_->stats())["keys"]["k"]["failed"], 1);
}

TEST_F(AnthropicSimulator, RefusesWhatItDoesNotKnow) {
  start();
  expect_refused(with(message("x"), "frequency_penalty", 1),
                 "frequency_penalty: Extra inputs are not permitted");
  json odd = message("x");
  odd["messages"][0]["name"] = "bob";
  expect_refused(odd, "messages.0.name: Extra inputs are not permitted");
  expect_refused(conversation(json::array({said("tool", "x")})), "Unexpected role \"tool\"");
  expect_refused(conversation(json::array({said("assistant", "x")})),
                 "first message must use the \"user\" role");
  expect_refused(
      conversation(json::array({said("user", json::array({{{"type", "image_url"}, {"image_url", "x"}}}))})),
      "messages.0.content.0: Input tag 'image_url' found using 'type' does not match");
  json extra = text_block("x");
  extra["index"] = 0;
  expect_refused(conversation(json::array({said("user", json::array({extra}))})),
                 "messages.0.content.0.text.index: Extra inputs are not permitted");
  expect_refused(with(message("x"), "metadata", {{"team", "a"}}), "metadata.team: Extra inputs");
  expect_refused(with(message("x"), "tools", {{{"type", "function"}, {"function", {{"name", "f"}}}}}),
                 "tools.0: Input tag 'function'");
}

TEST_F(AnthropicSimulator, RefusesBadNumbers) {
  start();
  json body = message("x");
  body.erase("max_tokens");
  expect_refused(body, "max_tokens: Field required");
  expect_refused(with(message("x"), "max_tokens", 0),
                 "max_tokens: Input should be greater than or equal to 1");
  expect_refused(with(message("x"), "max_tokens", "9"), "max_tokens: Input should be a valid integer");
  expect_refused(with(message("x"), "temperature", 1.5),
                 "temperature: Input should be less than or equal to 1");
  expect_refused(with(message("x"), "temperature", -0.1), "temperature: Input should be greater");
  expect_refused(with(message("x"), "stop_sequences", {" "}), "must contain non-whitespace");
  json both = with(with(with(message("x"), "temperature", 1), "top_p", 0.5), "model", "claude-sonnet-4-5");
  expect_refused(both, "`temperature` and `top_p` cannot both be specified");
}

TEST_F(AnthropicSimulator, RefusesEmptyTexts) {
  start();
  expect_refused(conversation(json::array()), "messages: at least one message is required");
  expect_refused(conversation(json::array({said("user", "")})), "messages must have non-empty content");
  expect_refused(conversation(json::array({said("user", json::array())})),
                 "messages must have non-empty content");
  expect_refused(conversation(json::array({said("user", json::array({text_block("")}))})),
                 "messages: text content blocks must be non-empty");
  expect_refused(conversation(json::array({said("user", json::array({text_block(" \n")}))})),
                 "messages: text content blocks must contain non-whitespace text");
  expect_refused(with(message("x"), "system", json::array({text_block("")})),
                 "system: text content blocks must be non-empty");
  expect_refused(conversation({said("user", "x"), said("assistant", "begun ")}),
                 "final assistant content cannot end with trailing whitespace");
  EXPECT_EQ(post_message(conversation({said("user", "x"), said("assistant", "begun")})).status, 200);
}

TEST_F(AnthropicSimulator, WantsEveryCallAnsweredAndEveryResultAsked) {
  start();
  const auto turn = [](json calls, json results) {
    return conversation(
        {said("user", "x"), said("assistant", std::move(calls)), said("user", std::move(results))});
  };
  EXPECT_EQ(post_message(turn({call("a"), call("b")}, {result("b"), result("a"), text_block("so?")})).status,
            200);
  expect_refused(turn({call("a"), call("b")}, json::array({result("b")})),
                 "without `tool_result` blocks immediately after: a.");
  expect_refused(turn(json::array({call("a")}), "never mind"),
                 "without `tool_result` blocks immediately after: a.");
  expect_refused(turn(json::array({call("a")}), {text_block("first"), result("a")}),
                 "must come before any text");
  expect_refused(turn(json::array({call("a")}), {result("a"), result("z")}),
                 "unexpected `tool_use_id` found in `tool_result`");
  expect_refused(turn(json::array({call("a")}), {result("a"), result("a")}), "must have a single result");
  expect_refused(turn({call("a"), call("a")}, json::array({result("a")})), "`tool_use` ids must be unique");
  expect_refused(turn(json::array({call("call.1")}), json::array({result("call.1")})),
                 "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'");
  expect_refused(conversation(json::array({said("user", json::array({result("a")}))})),
                 "unexpected `tool_use_id`");
  expect_refused(conversation({said("user", "x"), said("assistant", json::array({call("a")}))}),
                 "without `tool_result` blocks");
  expect_refused(conversation(json::array({said("user", json::array({call("a")}))})),
                 "`tool_use` blocks are not allowed");
  json odd = call("a");
  odd["input"] = "{}";
  expect_refused(turn(json::array({odd}), json::array({result("a")})),
                 "tool_use.input: Input should be a valid dictionary");
  // A result is no question: the answer still echoes the one before.
  const json body = tell(turn(json::array({call("a")}), json::array({result("a")})));
  EXPECT_NE(body["content"][0]["text"].get<std::string>().find(": x"), std::string::npos);
}

TEST_F(AnthropicSimulator, RefusesBadTools) {
  start();
  const auto tool = [](json t) { return with(message("x"), "tools", json::array({std::move(t)})); };
  const json schema = {{"type", "object"}};
  expect_refused(tool({{"name", "a b"}, {"input_schema", schema}}),
                 "tools.0.custom.name: String should match");
  expect_refused(tool({{"name", "a"}}), "tools.0.custom.input_schema: Field required");
  expect_refused(tool({{"name", "a"}, {"input_schema", json::object()}}),
                 "input_schema.type: Field required");
  expect_refused(tool({{"name", "a"}, {"input_schema", schema}, {"parameters", schema}}),
                 "tools.0.custom.parameters: Extra inputs are not permitted");
  expect_refused(with(message("x"), "tools",
                      {{{"name", "a"}, {"input_schema", schema}}, {{"name", "a"}, {"input_schema", schema}}}),
                 "tools: Tool names must be unique.");
  expect_refused(with(message("x"), "tool_choice", {{"type", "auto"}}),
                 "only be specified while providing tools");
  expect_refused(with(with_tools(message("x")), "tool_choice", "auto"), "tool_choice: Input tag");
  expect_refused(with(with_tools(message("x")), "tool_choice", {{"type", "tool"}, {"name", "gone"}}),
                 "'gone' not found in provided tools");
}

TEST_F(AnthropicSimulator, RefusesBadThinking) {
  start();
  const auto thinking = [](json t) {
    return with(with(message("x"), "max_tokens", 4000), "thinking", std::move(t));
  };
  const json on = {{"type", "enabled"}, {"budget_tokens", 1024}};
  EXPECT_EQ(post_message(thinking(on)).status, 200);
  expect_refused(thinking({{"type", "enabled"}, {"budget_tokens", 1023}}), "greater than or equal to 1024");
  expect_refused(thinking({{"type", "enabled"}, {"budget_tokens", 4000}}),
                 "must be greater than `thinking.budget_tokens`");
  expect_refused(thinking({{"type", "enabled"}}), "budget_tokens: Field required");
  expect_refused(with(thinking(on), "temperature", 0), "may only be set to 1 when thinking");
  expect_refused(with(thinking(on), "top_k", 5), "`top_k` must be unset");
  expect_refused(with(with_tools(thinking(on)), "tool_choice", {{"type", "any"}}),
                 "Thinking may not be enabled when tool_choice forces tool use.");
  json amid = thinking(on);
  amid["messages"] = {said("user", "x"), said("assistant", json::array({call("a")})),
                      said("user", json::array({result("a")}))};
  expect_refused(amid, "Expected `thinking` or `redacted_thinking`, but found `tool_use`");
  expect_refused(with(message("x"), "thinking", {{"type", "on"}}), "thinking: Input tag");
}

TEST_F(AnthropicSimulator, RefusesBadPictures) {
  start();
  const auto image = [](json source) {
    return conversation(
        json::array({said("user", json::array({{{"type", "image"}, {"source", std::move(source)}}}))}));
  };
  EXPECT_EQ(post_message(image({{"type", "base64"}, {"media_type", "image/png"}, {"data", "AAAA"}})).status,
            200);
  expect_refused(image({{"type", "base64"}, {"media_type", "image/bmp"}, {"data", "AAAA"}}), "media_type");
  expect_refused(
      image({{"type", "base64"}, {"media_type", "image/png"}, {"data", "data:image/png;base64,AAAA"}}),
      "Invalid base64 data");
  expect_refused(image({{"type", "url"}, {"url", "file:///etc/passwd"}}), "Only HTTPS URLs");
}

TEST_F(AnthropicSimulator, RefusesOpenSchemasAndTooManyMarks) {
  start();
  const auto format = [](json schema) {
    return with(message("x"), "output_config",
                {{"format", {{"type", "json_schema"}, {"schema", std::move(schema)}}}});
  };
  expect_refused(format({{"type", "object"}}), "'additionalProperties' must be explicitly set to false");
  json marked = text_block("x");
  marked["cache_control"] = {{"type", "ephemeral"}};
  expect_refused(conversation(json::array({said("user", {marked, marked, marked, marked, marked})})),
                 "A maximum of 4 blocks with cache_control may be provided");
  marked["cache_control"] = {{"type", "forever"}};
  expect_refused(conversation(json::array({said("user", json::array({marked}))})),
                 "cache_control: Input tag");
}

}  // namespace
}  // namespace millrace::http::simulator_tests
