#include <string>
#include <utility>

#include "http/dialects/responses_passthrough.hpp"
#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

const std::string path = "/v1/responses";
const std::string question = "What is a mill race?";

json asking(json input) {
  return {{"model", "gpt-5"}, {"input", std::move(input)}};
}

json said(const std::string& role, json content) {
  return {{"role", role}, {"content", std::move(content)}};
}

json calling(const std::string& id) {
  return {{"type", "function_call"}, {"call_id", id}, {"name", "f"}, {"arguments", "{}"}};
}

json result(const std::string& id) {
  return {{"type", "function_call_output"}, {"call_id", id}, {"output", "sunny"}};
}

json function(const std::string& name) {
  return {{"type", "function"},
          {"name", name},
          {"parameters", {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}}}};
}

class ResponsesSimulator : public Simulator {
 protected:
  void SetUp() override { start(); }
  json tell(const json& body) {
    const answer a = ask(body, "k1", path);
    EXPECT_EQ(a.status, 200) << body << a.body;
    return a.parsed();
  }
  std::vector<json> stream(const json& body) {
    const answer a = ask(with(body, "stream", true), "k1", path);
    EXPECT_EQ(a.status, 200) << a.body;
    EXPECT_TRUE(a.complete);
    return named_events(a.body);
  }
  void expect_refused(const json& body, const std::string& param, const std::string& code,
                      const std::string& message = "", int status = 400) {
    const answer a = ask(body, "k1", path);
    EXPECT_EQ(a.status, status) << body << a.body;
    if (a.status != status) return;
    const json error = a.parsed()["error"];
    EXPECT_EQ(error["type"], "invalid_request_error");
    EXPECT_EQ(error["param"], param.empty() ? json() : json(param)) << error;
    EXPECT_EQ(error["code"], code.empty() ? json() : json(code)) << error;
    EXPECT_NE(error["message"].get<std::string>().find(message), std::string::npos) << error;
  }
  /// The same but for what a stream's texts and an answer's id are made of.
  static json comparable(json response) {
    response.erase("id");
    response.erase("created_at");
    response.erase("completed_at");
    for (json& item : response["output"]) item.erase("id");
    return response;
  }
};

TEST_F(ResponsesSimulator, AnswersWithAMessage) {
  const json body = tell(with(asking(question), "metadata", {{"a", "b"}}));
  EXPECT_EQ(body["object"], "response");
  EXPECT_EQ(body["status"], "completed");
  EXPECT_EQ(body["metadata"], (json{{"a", "b"}}));
  EXPECT_EQ(body["temperature"], 1.0);
  ASSERT_EQ(body["output"].size(), 1U);
  const json& item = body["output"][0];
  EXPECT_EQ(item["type"], "message");
  EXPECT_EQ(item["status"], "completed");
  EXPECT_EQ(item["content"][0]["type"], "output_text");
  EXPECT_NE(item["content"][0]["text"].get<std::string>().find(question), std::string::npos);
  EXPECT_EQ(body["usage"]["output_tokens"], 32);
  EXPECT_EQ(body["usage"]["total_tokens"], body["usage"]["input_tokens"].get<int>() + 32);
  EXPECT_EQ(stats()["models"]["gpt-5"]["output_tokens"], 32);
}

TEST_F(ResponsesSimulator, CutsAtTheMaximum) {
  const json body = tell(with(asking(question), "max_output_tokens", 16));
  EXPECT_EQ(body["status"], "incomplete");
  EXPECT_EQ(body["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(body["output"][0]["status"], "incomplete");
  EXPECT_EQ(body["usage"]["output_tokens"], 16);
  EXPECT_EQ(stream(with(asking(question), "max_output_tokens", 16)).back()["type"], "response.incomplete");
}

TEST_F(ResponsesSimulator, StreamsWhatItAnswers) {
  json tools = with(asking("use the tool in parallel"), "tools", {function("f"), function("g")});
  tools["reasoning"] = {{"effort", "low"}, {"summary", "auto"}};
  tools["include"] = {"reasoning.encrypted_content"};
  for (const json& body : {asking(question), with(asking(question), "max_output_tokens", 16), tools}) {
    const json whole = tell(body);
    const auto events = stream(body);
    EXPECT_EQ(events[0]["type"], "response.created");
    EXPECT_EQ(events[0]["response"]["status"], "in_progress");
    EXPECT_EQ(events[1]["type"], "response.in_progress");
    std::vector<std::string> said(whole["output"].size());
    std::vector<json> done(whole["output"].size());
    for (size_t i = 0; i < events.size(); ++i) {
      EXPECT_EQ(events[i]["sequence_number"], i);
      const std::string type = events[i]["type"];
      if (type.ends_with(".delta")) said[events[i]["output_index"]] += events[i]["delta"];
      if (type == "response.output_item.done") done[events[i]["output_index"]] = events[i]["item"];
    }
    EXPECT_EQ(comparable(events.back()["response"]), comparable(whole));
    for (size_t i = 0; i < said.size(); ++i) {
      const json& item = events.back()["response"]["output"][i];
      EXPECT_EQ(done[i], item);
      const json text = item["type"] == "message"     ? item["content"][0]["text"]
                        : item["type"] == "reasoning" ? item["summary"][0]["text"]
                                                      : item["arguments"];
      EXPECT_EQ(said[i], text);
    }
  }
}

TEST_F(ResponsesSimulator, ItsStreamIsWhatTheGatewayReads) {
  const answer a = ask(with(asking(question), "stream", true), "k1", path);
  std::string collected;
  engine::usage used;
  ASSERT_TRUE(responses_passthrough().collect_answer(engine::route_kind::responses, a.body, "gpt-5",
                                                     collected, used));
  EXPECT_EQ(comparable(json::parse(collected)), comparable(tell(asking(question))));
  EXPECT_EQ(used.output_tokens, 32);
}

TEST_F(ResponsesSimulator, CallsToolsAndTakesTheirResults) {
  json body = with(asking("use the tool"), "tools", json::array({function("f")}));
  const json call = tell(body)["output"][0];
  EXPECT_EQ(call["type"], "function_call");
  EXPECT_TRUE(json::parse(call["arguments"].get<std::string>()).contains("city"));
  body["input"] = {said("user", "use the tool"), call, result(call["call_id"])};
  EXPECT_EQ(tell(body)["output"][0]["type"], "message");
  body["tool_choice"] = {{"type", "function"}, {"name", "g"}};
  expect_refused(body, "tool_choice", "invalid_value");
}

TEST_F(ResponsesSimulator, WritesJsonByItsSchema) {
  json schema = {{"type", "object"},
                 {"properties", {{"days", {{"type", "integer"}}}}},
                 {"required", {"days"}},
                 {"additionalProperties", false}};
  const auto format = [&](json f) { return with(asking(question), "text", {{"format", std::move(f)}}); };
  const json named = {{"type", "json_schema"}, {"name", "n"}, {"strict", true}, {"schema", schema}};
  const json body = tell(format(named));
  EXPECT_EQ(json::parse(body["output"][0]["content"][0]["text"].get<std::string>())["days"], 42);
  EXPECT_EQ(body["text"]["format"], named);
  schema.erase("additionalProperties");
  expect_refused(format(with(named, "schema", schema)), "text.format.schema", "invalid_json_schema");
  expect_refused(format({{"type", "json_object"}}), "input", "", "'json'");
  expect_refused(format(with(named, "name", "a b")), "text.format.name", "invalid_value");
}

TEST_F(ResponsesSimulator, ThinksAndKnowsItsThoughtsAgain) {
  json body = with(asking(question), "reasoning", {{"effort", "low"}});
  json first = tell(body);
  EXPECT_GT(first["usage"]["output_tokens_details"]["reasoning_tokens"], 0);
  ASSERT_EQ(first["output"][0]["type"], "reasoning");
  EXPECT_EQ(first["output"][0]["summary"], json::array());
  const auto again = [&](const json& output) {
    json next = body;
    next["input"] = json::array({said("user", question)});
    for (const json& item : output) next["input"].push_back(item);
    next["input"].push_back(said("user", "And?"));
    return next;
  };
  tell(again(first["output"]));

  body["store"] = false;
  expect_refused(again(tell(body)["output"]), "input", "", "not persisted", 404);
  body["include"] = {"reasoning.encrypted_content"};
  first = tell(body);
  tell(again(first["output"]));
  json altered = first["output"];
  std::string sealed = altered[0]["encrypted_content"];
  sealed[0] = sealed[0] == 'A' ? 'B' : 'A';
  altered[0]["encrypted_content"] = sealed;
  expect_refused(again(altered), "", "invalid_encrypted_content", "could not be verified");
  expect_refused(again(json::array({first["output"][0]})), "input", "", "required following item");
}

TEST_F(ResponsesSimulator, RefusesWhatItDoesNotKnow) {
  expect_refused(with(asking("x"), "top_k", 4), "top_k", "unknown_parameter");
  expect_refused(with(asking("x"), "max_tokens", 40), "max_tokens", "unsupported_parameter",
                 "moved to 'max_output_tokens'");
  expect_refused(with(asking("x"), "response_format", {{"type", "text"}}), "response_format",
                 "unsupported_parameter", "'text.format'");
  expect_refused(with(asking("x"), "max_output_tokens", 5), "max_output_tokens", "integer_below_min_value",
                 ">= 16");
  expect_refused(with(asking("x"), "temperature", 2.5), "temperature", "decimal_above_max_value");
  expect_refused(with(asking("x"), "include", {"everything"}), "include[0]", "invalid_value");
  expect_refused(with(asking("x"), "reasoning", {{"effort", "much"}}), "reasoning.effort", "invalid_value");
  expect_refused(with(asking("x"), "stream_options", {{"include_obfuscation", false}}), "stream_options",
                 "invalid_value");
  expect_refused(with(with(asking("x"), "stream", true), "stream_options", {{"include_usage", true}}),
                 "stream_options.include_usage", "unknown_parameter");
  expect_refused({{"model", "m"}}, "input", "missing_required_parameter");
  expect_refused({{"input", "m"}}, "model", "missing_required_parameter");
  expect_refused(asking(json::array()), "input", "empty_array");
  json nested = {{"type", "function"}, {"function", {{"name", "f"}}}};
  expect_refused(with(asking("x"), "tools", json::array({nested})), "tools[0].name",
                 "missing_required_parameter");
}

TEST_F(ResponsesSimulator, RefusesWhatItDidNotKeep) {
  expect_refused(with(asking("x"), "previous_response_id", "resp_1"), "previous_response_id",
                 "previous_response_not_found", "'resp_1' not found");
  expect_refused(with(asking("x"), "conversation", "conv_1"), "", "", "'conv_1' not found", 404);
  expect_refused(asking({{{"type", "item_reference"}, {"id", "msg_1"}}}), "input", "", "'msg_1' not found",
                 404);
  expect_refused(with(asking("x"), "background", true), "background", "unsupported_value");
}

TEST_F(ResponsesSimulator, RefusesBadItems) {
  const json user = said("user", "x");
  expect_refused(asking(json::array({said("model", "x")})), "input[0].role", "invalid_value", "'model'");
  expect_refused(asking({{{"type", "thought"}}}), "input[0].type", "invalid_value");
  expect_refused(asking(json::array({with(user, "name", "n")})), "input[0].name", "unknown_parameter");
  expect_refused(asking(json::array({said("user", {{{"type", "text"}, {"text", "x"}}})})),
                 "input[0].content[0].type", "invalid_value", "'input_text'");
  expect_refused(asking(json::array({said("assistant", {{{"type", "input_text"}, {"text", "x"}}})})),
                 "input[0].content[0].type", "invalid_value", "'output_text'");
  expect_refused(asking(json::array({said(
                     "user", {{{"type", "input_image"}, {"image_url", "data:image/png;base64,AAA"}}})})),
                 "input[0].content[0].image_url", "invalid_base64");
  expect_refused(asking({user, result("a")}), "input", "", "No tool call found");
  expect_refused(asking({user, calling("a")}), "input", "", "No tool output found for function call a");
  expect_refused(asking({user, calling(std::string(65, 'i')), result("a")}), "input[1].call_id",
                 "string_above_max_length");
  expect_refused(asking({user, with(calling("a"), "id", "call_1"), result("a")}), "input[1].id",
                 "invalid_value", "begins with 'fc'");
  const json message = with(said("assistant", "x"), "id", "msg_1");
  expect_refused(asking({user, message, message, user}), "input", "", "Duplicate item");
  tell(asking({user, calling("a"), calling("b"), result("b"), result("a")}));
}

TEST_F(ResponsesSimulator, LimitsFaultsAndCachesLikeEveryRoute) {
  provider_->configure([&] {
    simulator_settings s = provider_->settings();
    apply_settings_json(s, R"({"keys":{"small":{"rpm":1}}})");
    return s;
  }());
  EXPECT_EQ(ask(asking("x"), "small", path).headers["x-ratelimit-remaining-requests"], "0");
  const answer refused = ask(asking("x"), "small", path);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.parsed()["error"]["code"], "rate_limit_exceeded");
  EXPECT_EQ(ask(with(asking("x"), "model", "fault-500"), "k1", path).status, 500);

  const auto events = stream(with(asking("x"), "model", "fault-error-event=4"));
  ASSERT_EQ(events.size(), 5U);
  EXPECT_EQ(events[4]["type"], "error");
  EXPECT_EQ(events[4]["sequence_number"], 4);
  EXPECT_EQ(events[4]["code"], "server_error");

  const json long_question = asking(std::string(8000, 'q'));
  EXPECT_EQ(tell(long_question)["usage"]["input_tokens_details"]["cached_tokens"], 0);
  EXPECT_GE(tell(long_question)["usage"]["input_tokens_details"]["cached_tokens"], 1024);
}

}  // namespace
}  // namespace millrace::http::simulator_tests
