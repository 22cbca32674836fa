#include <string>
#include <vector>

#include "tests/http/simulator_anthropic.hpp"

namespace millrace::http::simulator_tests {
namespace {

// --- answers
// ---------------------------------------------------------------------------------------------------

TEST_F(AnthropicSimulator, AnswersLikeTheOthersWithTheSameTokens) {
  start(R"({"tokens": 5})");
  const json body = tell(message("hello"));
  EXPECT_EQ(body["type"], "message");
  EXPECT_EQ(body["role"], "assistant");
  EXPECT_EQ(body["model"], "claude-x");
  EXPECT_TRUE(body["id"].get<std::string>().starts_with("msg_"));
  EXPECT_EQ(body["stop_reason"], "end_turn");
  ASSERT_EQ(body["content"].size(), 1U);
  EXPECT_TRUE(body["content"][0]["text"].get<std::string>().starts_with("echo "));
  EXPECT_NE(body["content"][0]["text"].get<std::string>().find(": hello"), std::string::npos);
  const json openai = ask(chat("hello")).parsed();
  EXPECT_EQ(body["usage"]["input_tokens"], openai["usage"]["prompt_tokens"]);
  EXPECT_EQ(body["usage"]["output_tokens"], 5);
  EXPECT_EQ(tell(message("hello"), "/v1/messages/count_tokens", true),
            (json{{"input_tokens", openai["usage"]["prompt_tokens"]}}));
  EXPECT_EQ(tell(with(message("hello"), "max_tokens", 3))["stop_reason"], "max_tokens");
}

TEST_F(AnthropicSimulator, StreamsWhatItWouldSayAtOnce) {
  start(R"({"tokens": 5})");
  const json whole = tell(message("hello"));
  const answer a = post_message(with(message("hello"), "stream", true));
  ASSERT_TRUE(a.complete);
  EXPECT_EQ(a.headers.at("content-type"), "text/event-stream; charset=utf-8");
  const auto all = named_events(a.body);
  std::string order;
  std::string text;
  for (const auto& e : all) {
    order += e["type"].get<std::string>() + " ";
    if (e["type"] == "content_block_delta") text += e["delta"]["text"];
  }
  EXPECT_EQ(order,
            "message_start content_block_start ping content_block_delta content_block_delta "
            "content_block_delta content_block_delta content_block_delta content_block_stop message_delta "
            "message_stop ");
  EXPECT_EQ(text, whole["content"][0]["text"]);
  EXPECT_EQ(all[0]["message"]["usage"]["input_tokens"], whole["usage"]["input_tokens"]);
  const json& last = all[all.size() - 2];
  EXPECT_EQ(last["delta"]["stop_reason"], "end_turn");
  EXPECT_EQ(last["usage"]["output_tokens"], whole["usage"]["output_tokens"]);
  EXPECT_EQ(last["usage"]["input_tokens"], whole["usage"]["input_tokens"]);
}

TEST_F(AnthropicSimulator, CallsToolsAloneAndInParallel) {
  start();
  const json one = tell(with_tools(message("please use the tool")));
  EXPECT_EQ(one["stop_reason"], "tool_use");
  ASSERT_EQ(one["content"].size(), 1U);
  EXPECT_EQ(one["content"][0]["name"], "weather");
  EXPECT_TRUE(one["content"][0]["input"]["city"].is_string());

  const json asked = with_tools(message("use the tools in parallel, use the tool"));
  const json both = tell(asked);
  ASSERT_EQ(both["content"].size(), 2U);
  EXPECT_NE(both["content"][0]["id"], both["content"][1]["id"]);
  EXPECT_EQ(both["content"][1]["name"], "time");
  const json alone = {{"type", "auto"}, {"disable_parallel_tool_use", true}};
  EXPECT_EQ(tell(with(asked, "tool_choice", alone))["content"].size(), 1U);
  const json named = {{"type", "tool"}, {"name", "time"}};
  EXPECT_EQ(tell(with(with_tools(message("hi")), "tool_choice", named))["content"][0]["name"], "time");

  std::vector<std::string> arguments(2);
  for (const auto& e : named_events(post_message(with(asked, "stream", true)).body))
    if (e["type"] == "content_block_delta") arguments.at(e["index"]) += e["delta"]["partial_json"];
  EXPECT_EQ(json::parse(arguments[0]), both["content"][0]["input"]);
  EXPECT_EQ(json::parse(arguments[1]), both["content"][1]["input"]);

  // The same question in OpenAI's words has the same calls.
  json functions = json::array();
  for (const auto& t : asked["tools"])
    functions.push_back(
        {{"type", "function"}, {"function", {{"name", t["name"]}, {"parameters", t["input_schema"]}}}});
  const json openai = ask(with(chat("use the tools in parallel, use the tool"), "tools", functions)).parsed();
  ASSERT_EQ(openai["choices"][0]["message"]["tool_calls"].size(), 2U);
  EXPECT_EQ(openai["usage"]["prompt_tokens"], both["usage"]["input_tokens"]);
  EXPECT_EQ(openai["usage"]["completion_tokens"], both["usage"]["output_tokens"]);
  std::vector<std::string> streamed(2);
  for (const auto& event :
       events(ask(with(with(chat("use the tools in parallel, use the tool"), "tools", functions), "stream",
                       true))
                  .body)) {
    if (event == "[DONE]") continue;
    for (const auto& call : json::parse(event)["choices"][0]["delta"].value("tool_calls", json::array()))
      streamed.at(call["index"]) += call["function"]["arguments"];
  }
  for (size_t i = 0; i < 2; ++i)
    EXPECT_EQ(streamed[i], openai["choices"][0]["message"]["tool_calls"][i]["function"]["arguments"]);
}

TEST_F(AnthropicSimulator, AnswersInTheAskedSchema) {
  start();
  const json schema = {
      {"type", "object"}, {"properties", {{"ok", {{"type", "boolean"}}}}}, {"additionalProperties", false}};
  const json body =
      tell(with(message("x"), "output_config", {{"format", {{"type", "json_schema"}, {"schema", schema}}}}));
  EXPECT_EQ(json::parse(body["content"][0]["text"].get<std::string>()), (json{{"ok", true}}));
}

TEST_F(AnthropicSimulator, ThinksAndKnowsItsOwnThoughts) {
  start(R"({"tokens": 5})");
  const json thinking = {{"type", "enabled"}, {"budget_tokens", 1024}};
  const json asked = with(with(message("hello"), "max_tokens", 2000), "thinking", thinking);
  const json body = tell(asked);
  ASSERT_EQ(body["content"].size(), 2U);
  EXPECT_EQ(body["content"][0]["type"], "thinking");
  const int thought = body["usage"]["output_tokens_details"]["thinking_tokens"];
  EXPECT_GT(thought, 0);
  EXPECT_EQ(body["usage"]["output_tokens"], thought + 5);

  std::string text;
  std::string signature;
  for (const auto& e : named_events(post_message(with(asked, "stream", true)).body)) {
    if (e["type"] != "content_block_delta") continue;
    text += e["delta"].value("thinking", "");
    signature += e["delta"].value("signature", "");
  }
  EXPECT_EQ(text, body["content"][0]["thinking"]);
  EXPECT_EQ(signature, body["content"][0]["signature"]);

  json again = asked;
  again["messages"].push_back({{"role", "assistant"}, {"content", body["content"]}});
  again["messages"].push_back({{"role", "user"}, {"content", "and now?"}});
  EXPECT_EQ(post_message(again).status, 200);
  again["messages"][1]["content"][0]["thinking"] = "something else";
  expect_refused(again, "messages.1.content.0: Invalid `signature` in `thinking` block");

  json secret = asked;
  secret["messages"][0]["content"] = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING_46C9";
  const json redacted = tell(secret);
  EXPECT_EQ(redacted["content"][0]["type"], "redacted_thinking");
  secret["messages"].push_back({{"role", "assistant"}, {"content", redacted["content"]}});
  secret["messages"].push_back({{"role", "user"}, {"content", "and now?"}});
  EXPECT_EQ(post_message(secret).status, 200);
  secret["messages"][1]["content"][0]["data"] = "AAAA";
  expect_refused(secret, "messages.1.content.0: Invalid `data` in `redacted_thinking` block");
}

TEST_F(AnthropicSimulator, ReadsFromItsCacheWhatWasMarked) {
  start();
  json asked = message("first");
  asked["system"] = {
      {{"type", "text"}, {"text", std::string(8000, 's')}, {"cache_control", {{"type", "ephemeral"}}}}};
  const json first = tell(asked)["usage"];
  EXPECT_GT(first["cache_creation_input_tokens"], 1900);
  EXPECT_EQ(first["cache_read_input_tokens"], 0);
  asked["messages"][0]["content"] = "second";
  const json second = tell(asked)["usage"];
  EXPECT_EQ(second["cache_read_input_tokens"], first["cache_creation_input_tokens"]);
  EXPECT_EQ(second["cache_creation_input_tokens"], 0);
  // A mark further on reads up to the first one and writes the rest.
  asked["messages"][0]["content"] = {
      {{"type", "text"}, {"text", std::string(400, 'q')}, {"cache_control", {{"type", "ephemeral"}}}}};
  const json third = tell(asked)["usage"];
  EXPECT_EQ(third["cache_read_input_tokens"], first["cache_creation_input_tokens"]);
  EXPECT_GE(third["cache_creation_input_tokens"], 100);
  asked["system"][0]["text"] = std::string(8000, 't');
  EXPECT_EQ(tell(asked)["usage"]["cache_read_input_tokens"], 0);

  const json bill = stats()["models"]["claude-x"];
  EXPECT_EQ(bill["requests"], 4);
  EXPECT_EQ(bill["cache_read_tokens"], 2 * first["cache_creation_input_tokens"].get<int>());
  EXPECT_EQ(stats()["prompt_tokens"], bill["input_tokens"]);
  EXPECT_EQ(stats()["completion_tokens"], bill["output_tokens"]);
}

// --- limits and faults
// -----------------------------------------------------------------------------------------

TEST_F(AnthropicSimulator, TellsItsLimits) {
  start(R"({"rpm": 50, "tpm_input": 1000, "tpm_output": 250})");
  const answer first = post_message(message("x"));
  ASSERT_EQ(first.status, 200);
  EXPECT_EQ(first.headers.at("anthropic-ratelimit-requests-limit"), "50");
  EXPECT_EQ(first.headers.at("anthropic-ratelimit-requests-remaining"), "49");
  EXPECT_EQ(first.headers.at("anthropic-ratelimit-input-tokens-limit"), "1000");
  EXPECT_EQ(first.headers.at("anthropic-ratelimit-output-tokens-remaining"), "150");
  EXPECT_EQ(first.headers.count("anthropic-ratelimit-tokens-limit"), 0U);
  const std::string reset = first.headers.at("anthropic-ratelimit-requests-reset");
  EXPECT_TRUE(reset.size() == 20 && reset[10] == 'T' && reset.ends_with("Z")) << reset;
  EXPECT_TRUE(first.headers.at("request-id").starts_with("req_"));
  ASSERT_EQ(post_message(message("x")).status, 200);
  const answer refused = post_message(message("x"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.parsed()["error"]["type"], "rate_limit_error");
  EXPECT_NE(refused.parsed()["error"]["message"].get<std::string>().find("250 output tokens"),
            std::string::npos);
  const int seconds = std::stoi(refused.headers.at("retry-after"));
  EXPECT_TRUE(seconds > 0 && seconds <= 60) << seconds;
  EXPECT_EQ(refused.headers.count("retry-after-ms"), 0U);
  EXPECT_EQ(stats()["max_output_tokens_in_60s"], 200);
}

TEST_F(AnthropicSimulator, FailsInItsOwnShape) {
  start();
  const auto failed = [&](const std::string& model) {
    return post_message(with(message("x"), "model", model));
  };
  const answer overloaded = failed("fault-529");
  EXPECT_EQ(overloaded.status, 529);
  EXPECT_EQ(overloaded.parsed()["type"], "error");
  EXPECT_EQ(overloaded.parsed()["error"]["type"], "overloaded_error");
  EXPECT_EQ(overloaded.parsed()["request_id"], overloaded.headers.at("request-id"));
  EXPECT_EQ(failed("fault-500").parsed()["error"]["type"], "api_error");
  EXPECT_EQ(failed("fault-429").headers.at("retry-after"), "1");
  EXPECT_EQ(failed("fault-quota").status, 400);
  EXPECT_EQ(failed("fault-html").headers.at("content-type"), "text/html");
  EXPECT_FALSE(failed("fault-truncate").complete);
  const auto stream = [&](const std::string& model) {
    return post_message(with(with(message("x"), "model", model), "stream", true));
  };
  const answer cut = stream("fault-cut=4");
  EXPECT_FALSE(cut.complete);
  EXPECT_EQ(named_events(cut.body).size(), 4U);
  const answer broken = stream("fault-error-event=3");
  EXPECT_TRUE(broken.complete);
  const auto all = named_events(broken.body);
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[3]["type"], "error");
  EXPECT_EQ(all[3]["error"]["type"], "api_error");
  client c(port_);
  c.write(post_bytes(with(with(message("x"), "model", "fault-stall-stream=4"), "stream", true)));
  until([&] { return stats()["in_flight"] == 1; });
  c.close();
  until([&] { return stats()["in_flight"] == 0; });
  EXPECT_EQ(stats()["models"]["fault-stall-stream=4"]["output_tokens"], 1);
}

TEST_F(AnthropicSimulator, TakesItsKeyFromItsOwnHeader) {
  start(R"({"require_keys": ["good"]})");
  EXPECT_EQ(post_message(message("x"), "good").status, 200);
  const answer bad = post_message(message("x"), "bad");
  EXPECT_EQ(bad.status, 401);
  EXPECT_EQ(bad.parsed()["error"]["type"], "authentication_error");
  client c(port_);
  c.write(post("/v1/messages", message("x").dump(), "good"));  // as a bearer token
  EXPECT_EQ(c.read().parsed()["error"]["message"], "x-api-key header is required");
}

}  // namespace
}  // namespace millrace::http::simulator_tests
