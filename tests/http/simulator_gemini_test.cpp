#include <string>
#include <vector>

#include "tests/http/simulator_gemini.hpp"

namespace millrace::http::simulator_tests {
namespace {

const std::string sse = "streamGenerateContent?alt=sse";

TEST_F(GeminiSimulator, AnswersLikeTheOthersWithTheSameTokens) {
  start(R"({"tokens": 5})");
  const json body = tell(generate("hello"));
  const json& candidate = body["candidates"][0];
  EXPECT_EQ(candidate["content"]["role"], "model");
  EXPECT_NE(candidate["content"]["parts"][0]["text"].get<std::string>().find(": hello"), std::string::npos);
  EXPECT_EQ(candidate["finishReason"], "STOP");
  EXPECT_EQ(body["modelVersion"], "gemini-x");
  const json openai = ask(chat("hello")).parsed()["usage"];
  EXPECT_EQ(body["usageMetadata"]["promptTokenCount"], openai["prompt_tokens"]);
  EXPECT_EQ(body["usageMetadata"]["candidatesTokenCount"], 5);
  EXPECT_EQ(body["usageMetadata"]["totalTokenCount"], openai["total_tokens"]);
  json cut = generate("hello");
  cut["generationConfig"] = {{"maxOutputTokens", 2}};
  EXPECT_EQ(tell(cut)["candidates"][0]["finishReason"], "MAX_TOKENS");
}

TEST_F(GeminiSimulator, StreamsEventsOrAnArray) {
  start(R"({"tokens": 5})");
  const json whole = tell(generate("hello"));
  const answer events = post_question(generate("hello"), sse);
  EXPECT_EQ(events.headers.at("content-type"), "text/event-stream");
  const answer array = post_question(generate("hello"), "streamGenerateContent");
  EXPECT_EQ(array.headers.at("content-type"), "application/json; charset=UTF-8");
  const auto chunks = gemini_events(events.body);
  ASSERT_EQ(array.parsed().size(), chunks.size());
  for (const json& all : {json(chunks), array.parsed()}) {
    std::string text;
    for (const auto& chunk : all) text += chunk["candidates"][0]["content"]["parts"][0]["text"];
    EXPECT_EQ(text, whole["candidates"][0]["content"]["parts"][0]["text"]);
    EXPECT_EQ(all.back()["candidates"][0]["finishReason"], "STOP");
    EXPECT_FALSE(all[0]["candidates"][0].contains("finishReason"));
    EXPECT_EQ(all.back()["usageMetadata"], whole["usageMetadata"]);
  }
  EXPECT_EQ(stats()["models"]["gemini-x"]["output_tokens"], 15);
}

TEST_F(GeminiSimulator, CallsFunctionsAloneAndInParallel) {
  start();
  const json one = tell(with_functions(generate("use the tool")))["candidates"][0]["content"]["parts"];
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0]["functionCall"]["name"], "weather");
  EXPECT_TRUE(one[0]["functionCall"]["args"]["city"].is_string());
  const json asked = with_functions(generate("use the tool, in parallel"));
  const json both = tell(asked)["candidates"][0]["content"]["parts"];
  ASSERT_EQ(both.size(), 2U);
  json streamed = json::array();
  for (const auto& chunk : gemini_events(post_question(asked, sse).body))
    for (const auto& part : chunk["candidates"][0]["content"]["parts"])
      if (part.contains("functionCall")) streamed.push_back(part);
  EXPECT_EQ(streamed, both);
  json named = with_functions(generate("hi"));
  named["toolConfig"] = {{"functionCallingConfig", {{"mode", "ANY"}, {"allowedFunctionNames", {"time"}}}}};
  EXPECT_EQ(tell(named)["candidates"][0]["content"]["parts"][0]["functionCall"]["name"], "time");
}

TEST_F(GeminiSimulator, AnswersInTheAskedSchema) {
  start();
  json asked = generate("x");
  asked["generationConfig"] = {
      {"responseMimeType", "application/json"},
      {"responseSchema", {{"type", "OBJECT"}, {"properties", {{"ok", {{"type", "BOOLEAN"}}}}}}}};
  const std::string text = tell(asked)["candidates"][0]["content"]["parts"][0]["text"];
  EXPECT_EQ(json::parse(text), (json{{"ok", true}}));
}

TEST_F(GeminiSimulator, ThinksAndKnowsItsOwnSignatures) {
  start(R"({"tokens": 5})");
  json asked = generate("hello");
  asked["generationConfig"] = {{"thinkingConfig", {{"includeThoughts", true}, {"thinkingBudget", 100}}}};
  const json body = tell(asked);
  const json& parts = body["candidates"][0]["content"]["parts"];
  ASSERT_EQ(parts.size(), 2U);
  EXPECT_EQ(parts[0]["thought"], true);
  const int thought = body["usageMetadata"]["thoughtsTokenCount"];
  EXPECT_GT(thought, 0);
  EXPECT_EQ(body["usageMetadata"]["candidatesTokenCount"], 5);
  EXPECT_EQ(stats()["models"]["gemini-x"]["output_tokens"], thought + 5);

  std::string thoughts;
  std::string signature;
  for (const auto& chunk : gemini_events(post_question(asked, sse).body)) {
    const json& part = chunk["candidates"][0]["content"]["parts"][0];
    if (part.value("thought", false)) thoughts += part["text"];
    signature += part.value("thoughtSignature", "");
  }
  EXPECT_EQ(thoughts, parts[0]["text"]);
  EXPECT_EQ(signature, parts[1]["thoughtSignature"]);

  json again = generate("hello");
  again["contents"].push_back(body["candidates"][0]["content"]);
  again["contents"].push_back(content("user", text_part("and now?")));
  EXPECT_EQ(post_question(again).status, 200);
  again["contents"][1]["parts"][1]["thoughtSignature"] = "AAAA";
  expect_refused(again, "Corrupted thought signature.");
  again["contents"][1]["parts"][1]["thoughtSignature"] = "not base64!";
  expect_refused(again, "Base64 decoding failed");
  again["contents"][1]["parts"][1]["thoughtSignature"] = "skip_thought_signature_validator";
  EXPECT_EQ(post_question(again).status, 200);
}

TEST_F(GeminiSimulator, Embeds) {
  start();
  const json one =
      tell({{"content", {{"parts", {{{"text", "a river"}}}}}}, {"outputDimensionality", 8}}, "embedContent");
  EXPECT_EQ(one["embedding"]["values"].size(), 8U);
  const json request = {{"model", "models/gemini-x"}, {"content", {{"parts", {{{"text", "a river"}}}}}}};
  const json two = tell({{"requests", {request, request}}}, "batchEmbedContents");
  ASSERT_EQ(two["embeddings"].size(), 2U);
  EXPECT_EQ(two["embeddings"][0], two["embeddings"][1]);
  json other = request;
  other["model"] = "models/y";
  expect_refused({{"requests", {other}}}, "model must match", "batchEmbedContents");
  expect_refused({{"input", "x"}}, "Unknown name \"input\": Cannot find field.", "embedContent");
  EXPECT_GT(stats()["models"]["gemini-x"]["input_tokens"], 0);
}

TEST_F(GeminiSimulator, ListsItsModels) {
  start();
  client c(port_);
  c.write("GET /v1beta/models HTTP/1.1\r\n\r\nGET /v1beta/models/gemini-2.5-pro HTTP/1.1\r\n\r\n");
  EXPECT_GE(c.read().parsed()["models"].size(), 2U);
  EXPECT_EQ(c.read().parsed()["name"], "models/gemini-2.5-pro");
}

TEST_F(GeminiSimulator, TakesKeysWhereGoogleDoes) {
  start(R"({"require_keys": ["good"]})");
  EXPECT_EQ(post_question(generate("x"), "generateContent", "m", "good").status, 200);
  EXPECT_EQ(post_question(generate("x"), "generateContent?key=good", "m", "").status, 200);
  const answer bad = post_question(generate("x"), "generateContent", "m", "bad");
  EXPECT_EQ(bad.status, 400);
  EXPECT_EQ(bad.parsed()["error"]["details"][0]["reason"], "API_KEY_INVALID");
  EXPECT_EQ(stats("bad")["unauthorized"], 1);
  const std::string text = generate("x").dump();
  EXPECT_EQ(ask(generate("x"), "good", "/v1beta/models/m:generateContent").status, 403) << "a bearer token";
}

TEST_F(GeminiSimulator, SaysWhenToComeBack) {
  start(R"({"rpm": 1})");
  EXPECT_EQ(post_question(generate("x")).status, 200);
  const answer refused = post_question(generate("x"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.parsed()["error"]["status"], "RESOURCE_EXHAUSTED");
  EXPECT_EQ(refused.headers.count("retry-after"), 0U);
  bool found = false;
  const json details = refused.parsed()["error"]["details"];
  for (const auto& detail : details) {
    if (detail["@type"] != "type.googleapis.com/google.rpc.RetryInfo") continue;
    found = true;
    const std::string delay = detail["retryDelay"];
    EXPECT_TRUE(delay.ends_with("s"));
    EXPECT_GT(std::stod(delay), 0);
  }
  EXPECT_TRUE(found);
}

TEST_F(GeminiSimulator, FailsInItsOwnShape) {
  start();
  const auto failed = [&](const std::string& model, const std::string& method = "generateContent") {
    return post_question(generate("x"), method, model);
  };
  EXPECT_EQ(failed("fault-503").parsed()["error"]["status"], "UNAVAILABLE");
  EXPECT_EQ(failed("fault-500").parsed()["error"]["status"], "INTERNAL");
  EXPECT_EQ(failed("fault-quota").status, 429);
  EXPECT_EQ(failed("fault-html").headers.at("content-type"), "text/html");
  const answer cut = failed("fault-cut=2", sse);
  EXPECT_FALSE(cut.complete);
  EXPECT_EQ(gemini_events(cut.body).size(), 2U);
  const auto broken = gemini_events(failed("fault-error-event=2", sse).body);
  ASSERT_EQ(broken.size(), 3U);
  EXPECT_EQ(broken[2]["error"]["status"], "INTERNAL");
  const answer array = failed("fault-error-event=2", "streamGenerateContent");
  EXPECT_EQ(array.parsed()[2]["error"]["code"], 500);
}

// --- what it refuses
// -----------------------------------------------------------------------------------------------

TEST_F(GeminiSimulator, RefusesWhatItDoesNotKnow) {
  start();
  expect_refused(with(generate("x"), "messages", 1), "Unknown name \"messages\": Cannot find field.");
  json odd = generate("x");
  odd["contents"][0]["parts"][0]["type"] = "text";
  expect_refused(odd, "Unknown name \"type\" at 'contents[0].parts[0]': Cannot find field.");
  odd = with_functions(generate("x"));
  odd["tools"][0]["functionDeclarations"][0]["parameters"]["additionalProperties"] = false;
  expect_refused(
      odd,
      "Unknown name \"additionalProperties\" at 'tools[0].function_declarations[0].parameters': Cannot find");
  odd = generate("x");
  odd["generationConfig"] = {{"maxTokens", 1}};
  expect_refused(odd, "Unknown name \"maxTokens\" at 'generation_config'");
  // Both spellings are the same field.
  EXPECT_EQ(post_question({{"contents", generate("x")["contents"]}, {"generation_config", {{"top_p", 0.5}}}})
                .status,
            200);
}

TEST_F(GeminiSimulator, RefusesBadNumbers) {
  start();
  const auto config = [](const std::string& name, json value) {
    return with(generate("x"), "generationConfig", {{name, std::move(value)}});
  };
  expect_refused(config("temperature", 2.5), "temperature must be in the range");
  expect_refused(config("topP", 1.5), "top_p must be in the range");
  expect_refused(config("maxOutputTokens", 0), "max_output_tokens must be positive");
  expect_refused(config("maxOutputTokens", "many"), "max_output_tokens' (TYPE_INT32)");
  expect_refused(config("candidateCount", 2), "Only one candidate");
  expect_refused(config("stopSequences", {"a", "b", "c", "d", "e", "f"}), "stop_sequences");
  expect_refused(config("responseSchema", {{"type", "STRING"}}), "response_mime_type");
  expect_refused(config("thinkingConfig", {{"thinkingBudget", 1}, {"thinkingLevel", "LOW"}}), "only one of");
}

TEST_F(GeminiSimulator, RefusesEmptyAndOddContents) {
  start();
  const auto contents = [](json all) { return json{{"contents", std::move(all)}}; };
  expect_refused(contents(json::array()), "contents is not specified");
  expect_refused(contents(json::array({content("user", json::array())})), "contents.parts must not be empty");
  expect_refused(contents(json::array({content("user", {{"thought", true}})})),
                 "required oneof field 'data'");
  expect_refused(contents(json::array({content("assistant", text_part("x"))})),
                 "Please use a valid role: user, model.");
  expect_refused(
      contents(json::array({content("user", {{"inlineData", {{"mimeType", "image/png"}, {"data", "?"}}}})})),
      "Base64 decoding failed");
  expect_refused(contents(json::array({content("user", {{"text", "x"}, {"functionCall", {{"name", "f"}}}})})),
                 "already set");
}

TEST_F(GeminiSimulator, WantsEveryCallAnsweredAndEveryResponseAsked) {
  start();
  const auto call = [](const std::string& name) {
    return json{{"functionCall", {{"name", name}, {"args", json::object()}}}};
  };
  const auto response = [](const std::string& name) {
    return json{{"functionResponse", {{"name", name}, {"response", {{"output", "sunny"}}}}}};
  };
  const auto turn = [](json calls, json answers) {
    return json{
        {"contents", {content("user", text_part("x")), content("model", calls), content("user", answers)}}};
  };
  EXPECT_EQ(post_question(turn({call("f"), call("g")}, {response("f"), response("g")})).status, 200);
  expect_refused(turn({call("f"), call("g")}, json::array({response("f")})),
                 "number of function response parts is equal");
  expect_refused(turn(json::array({call("f")}), json::array({response("g")})),
                 "answers a function call of that name");
  expect_refused(turn(json::array({call("f")}), json::array({text_part("never mind")})),
                 "number of function response parts is equal");
  expect_refused({{"contents", {content("user", response("f"))}}}, "immediately after a function call turn");
  expect_refused({{"contents", {content("user", call("f"))}}},
                 "function call turn comes immediately after a user turn");
  expect_refused({{"contents", {content("user", text_part("x")), content("model", call("f"))}}},
                 "ends with a user role");
  expect_refused(turn(json::array({call("f")}), json::array({response("f")})), "missing a thought_signature",
                 "generateContent", "gemini-3-pro");
}

TEST_F(GeminiSimulator, RefusesBadFunctions) {
  start();
  const auto function = [](json declaration) {
    return with(generate("x"), "tools",
                json::array({{{"functionDeclarations", json::array({std::move(declaration)})}}}));
  };
  EXPECT_EQ(post_question(function({{"name", "f"}})).status, 200);
  expect_refused(function({{"name", "1f"}}), "Invalid function name");
  expect_refused(function({{"name", "f"}, {"strict", true}}), "Unknown name \"strict\"");
  expect_refused(with(with_functions(generate("x")), "toolConfig",
                      {{"functionCallingConfig", {{"mode", "ANY"}, {"allowedFunctionNames", {"gone"}}}}}),
                 "names of declared functions");
  expect_refused(
      with(with_functions(generate("x")), "generationConfig", {{"responseMimeType", "application/json"}}),
      "Function calling with a response mime type");
}

}  // namespace
}  // namespace millrace::http::simulator_tests
