#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_signature.hpp"
#include "tests/http/chat_parts.hpp"

namespace millrace::http {
namespace {

using nlohmann::json;

chat_part failure(std::string_view id, json_literal said) {
  chat_part part = result(id, said);
  part.failed = true;
  return part;
}

chat_request hello() {
  chat_request request;
  request.messages.push_back({chat_role::user, {text("\"Hello\"")}});
  return request;
}

struct encoded {
  json body;
  std::vector<std::string> dropped;
  engine::api_error error;
  bool fine = false;
  explicit encoded(const chat_request& request, std::string_view model = "gemini-2.5-flash") {
    encode_options options;
    options.model = model;
    std::string out;
    fine = gemini_chat().encode_request(request, options, out, dropped, error);
    if (fine) {
      body = json::parse(out);
    } else {
      EXPECT_TRUE(out.empty());
    }
  }
};

TEST(gemini_encode, a_conversation_with_all_that_samples_it) {
  chat_request r;
  r.messages.push_back({chat_role::system, {text("\"One.\"")}});
  r.messages.push_back({chat_role::user, {text(R"("caf\u00e9")")}});
  r.messages.push_back({chat_role::assistant, {text("\"b\"")}});
  r.messages.push_back({chat_role::system, {text("\"Two.\"")}});
  r.messages.push_back({chat_role::user, {text("\"c\"")}});
  r.messages.push_back({chat_role::user, {text("\"d\"")}});
  r.max_output_tokens = 10;
  r.temperature = "0.50";
  r.top_p = "0.9";
  r.top_k = "3";
  r.seed = "42";
  r.presence_penalty = "1";
  r.frequency_penalty = "2";
  r.stop = {"\"x\""};
  const encoded e(r);
  ASSERT_TRUE(e.fine) << e.error.message;
  EXPECT_EQ(e.body, json::parse(R"({"systemInstruction":{"parts":[{"text":"One."},{"text":"Two."}]},
    "contents":[{"role":"user","parts":[{"text":"café"}]},{"role":"model","parts":[{"text":"b"}]},
      {"role":"user","parts":[{"text":"c"},{"text":"d"}]}],
    "generationConfig":{"maxOutputTokens":10,"temperature":0.50,"topP":0.9,"topK":3,"presencePenalty":1,
      "frequencyPenalty":2,"seed":42,"stopSequences":["x"]}})"));
  EXPECT_TRUE(e.dropped.empty());
}

TEST(gemini_encode, nothing_but_a_system_message_is_what_the_user_says) {
  chat_request r;
  r.messages.push_back({chat_role::system, {text("\"Say hi.\"")}});
  EXPECT_EQ(encoded(r).body, json::parse(R"({"contents":[{"role":"user","parts":[{"text":"Say hi."}]}]})"));
  r.messages.clear();
  const encoded none(r);
  EXPECT_FALSE(none.fine);
  EXPECT_EQ(none.error.param, "messages");
}

TEST(gemini_encode, results_name_their_call_and_stand_right_behind_it) {
  chat_request r = hello();
  r.messages.push_back({chat_role::assistant, {call("a", "f", R"({"x":1})"), call("b", "g")}});
  r.messages.push_back({chat_role::user, {text("\"and now?\""), failure("b", "\"no\"")}});
  r.messages.push_back({chat_role::user, {result("a", R"("{\"y\":2}")")}});
  const encoded e(r);
  ASSERT_TRUE(e.fine) << e.error.message;
  EXPECT_EQ(e.body["contents"], json::parse(R"([{"role":"user","parts":[{"text":"Hello"}]},
    {"role":"model","parts":[{"functionCall":{"id":"a","name":"f","args":{"x":1}}},{"functionCall":{"id":"b","name":"g","args":{}}}]},
    {"role":"user","parts":[{"functionResponse":{"id":"b","name":"g","response":{"error":"no"}}},
      {"functionResponse":{"id":"a","name":"f","response":{"output":"{\"y\":2}"}}}]},
    {"role":"user","parts":[{"text":"and now?"}]}])"));
  r.messages.push_back({chat_role::user, {result("zzz", "\"x\"")}});
  const encoded unknown(r);
  EXPECT_FALSE(unknown.fine);
  EXPECT_EQ(unknown.error.code, "invalid_value");
  EXPECT_EQ(unknown.error.param, "messages");
}

TEST(gemini_encode, media_of_results_go_where_the_model_takes_them) {
  chat_request r = hello();
  r.messages.push_back({chat_role::assistant, {call("a", "f")}});
  chat_part shot = result("a", "\"see\"");
  chat_part image;
  image.kind = part_kind::image;
  image.media_type = "image/png";
  image.data = "AAAA";
  shot.result.push_back(image);
  r.messages.push_back({chat_role::user, {shot}});
  const json inline_data = json::parse(R"({"inlineData":{"mimeType":"image/png","data":"AAAA"}})");
  const json newer = encoded(r, "gemini-3-pro-preview").body["contents"];
  EXPECT_EQ(newer[2]["parts"][0]["functionResponse"]["parts"], json::array({inline_data}));
  EXPECT_EQ(newer.size(), 3U);
  const json older = encoded(r).body["contents"];
  EXPECT_FALSE(older[2]["parts"][0]["functionResponse"].contains("parts"));
  EXPECT_EQ(older[3]["parts"], json::array({inline_data}));
}

TEST(gemini_encode, signatures_stand_at_the_part_behind_the_thought) {
  const std::string own = mark_gemini_signature("\"QUJD\"");
  const std::string other = "\"ErUBCkYI\"";
  chat_request r = hello();
  r.messages.push_back(
      {chat_role::assistant,
       {thought("\"hm\"", own), call("a", "f"), call("b", "f"), thought("\"gone\"", other)}});
  const encoded e(r, "gemini-3-pro-preview");
  EXPECT_EQ(e.body["contents"][1]["parts"], json::parse(R"([{"text":"hm","thought":true},
      {"functionCall":{"id":"a","name":"f","args":{}},"thoughtSignature":"QUJD"},{"functionCall":{"id":"b","name":"f","args":{}}}])"));
  EXPECT_EQ(e.dropped, std::vector<std::string>{"thinking"});

  r.messages[1].parts = {text("\"4\""), thought("\"\"", own)};
  EXPECT_EQ(encoded(r).body["contents"][1]["parts"],
            json::parse(R"([{"text":"4"},{"text":"","thoughtSignature":"QUJD"}])"));

  r.messages[1].parts = {call("a", "f"), call("b", "f")};
  const json foreign = encoded(r, "gemini-3-flash").body["contents"][1]["parts"];
  EXPECT_EQ(foreign[0]["thoughtSignature"], "skip_thought_signature_validator");
  EXPECT_FALSE(foreign[1].contains("thoughtSignature"));
  EXPECT_FALSE(encoded(r).body["contents"][1]["parts"][0].contains("thoughtSignature"));
}

TEST(gemini_encode, media_inside_and_elsewhere) {
  chat_request r = hello();
  chat_part image;
  image.kind = part_kind::image;
  image.url = "https://a.test/\"x\".png";
  image.detail = "low";
  chat_part pdf;
  pdf.kind = part_kind::document;
  pdf.media_type = "application/pdf";
  pdf.data = "JVBE";
  pdf.name = "a.pdf";
  chat_part note;
  note.kind = part_kind::document;
  note.text = "\"plain\"";
  r.messages[0].parts = {image, pdf, note};
  const encoded e(r);
  EXPECT_EQ(e.body["contents"][0]["parts"],
            json::parse(R"([{"fileData":{"mimeType":"image/png","fileUri":"https://a.test/\"x\".png"}},
    {"inlineData":{"mimeType":"application/pdf","data":"JVBE"}},{"text":"plain"}])"));
  EXPECT_EQ(e.dropped, (std::vector<std::string>{"detail", "filename"}));
}

TEST(gemini_encode, tools_choices_and_formats) {
  chat_request r = hello();
  r.tools = {{"f", "\"does\"", R"({"type":"object"})", true, {}}, {"g", {}, {}, std::nullopt, {}}};
  r.tool_choice = tool_choice::named;
  r.chosen_tool = "g";
  r.format = answer_format::schema;
  r.schema = R"({"type":"object","additionalProperties":false})";
  const encoded e(r);
  EXPECT_EQ(e.body["tools"], json::parse(R"([{"functionDeclarations":[{"name":"f","description":"does",
      "parametersJsonSchema":{"type":"object"}},{"name":"g"}]}])"));
  EXPECT_EQ(e.body["toolConfig"],
            json::parse(R"({"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["g"]}})"));
  EXPECT_EQ(e.body["generationConfig"], json::parse(R"({"responseMimeType":"application/json",
      "responseJsonSchema":{"type":"object","additionalProperties":false}})"));
  EXPECT_EQ(e.dropped, std::vector<std::string>{"strict"});
  r.tool_choice = tool_choice::none;
  EXPECT_EQ(encoded(r).body["toolConfig"]["functionCallingConfig"]["mode"], "NONE");
}

TEST(gemini_encode, thinking_as_each_generation_takes_it) {
  const auto config = [](thinking_mode mode, std::int64_t tokens, std::string_view effort,
                         std::string_view model) {
    chat_request r = hello();
    r.thinking = mode;
    r.thinking_tokens = tokens;
    r.effort = effort;
    const encoded e(r, model);
    const json said = e.body.value("generationConfig", json::object()).value("thinkingConfig", json());
    return said.dump() + (e.dropped.empty() ? "" : " " + e.dropped[0]);
  };
  const auto on = thinking_mode::on;
  const auto off = thinking_mode::off;
  const auto unset = thinking_mode::unset;
  EXPECT_EQ(config(on, 2048, "", "gemini-2.5-flash"), R"({"includeThoughts":true,"thinkingBudget":2048})");
  EXPECT_EQ(config(on, 60000, "", "gemini-2.5-flash"),
            R"({"includeThoughts":true,"thinkingBudget":24576} reasoning_effort)");
  EXPECT_EQ(config(unset, -1, "medium", "gemini-2.5-pro"), R"({"thinkingBudget":8192})");
  EXPECT_EQ(config(off, -1, "", "gemini-2.5-flash"), R"({"thinkingBudget":0})");
  EXPECT_EQ(config(off, -1, "", "gemini-2.5-pro"), R"({"thinkingBudget":128} reasoning_effort)");
  EXPECT_EQ(config(unset, -1, "medium", "gemini-3-pro-preview"), R"({"thinkingLevel":"medium"})");
  EXPECT_EQ(config(unset, -1, "minimal", "gemini-3-pro-preview"),
            R"({"thinkingLevel":"low"} reasoning_effort)");
  EXPECT_EQ(config(unset, -1, "minimal", "models/gemini-3-flash"), R"({"thinkingLevel":"minimal"})");
  EXPECT_EQ(config(on, 2048, "", "gemini-3-pro-preview"),
            R"({"includeThoughts":true,"thinkingBudget":2048})");
  EXPECT_EQ(config(unset, -1, "high", "gemini-2.0-flash"), "null reasoning_effort");
  EXPECT_EQ(config(unset, -1, "", "gemini-2.5-flash"), "null");
}

TEST(gemini_encode, refuses_what_would_change_the_answer_and_lists_the_rest) {
  const auto refused = [](auto change) {
    chat_request r = hello();
    change(r);
    const encoded e(r);
    EXPECT_FALSE(e.fine);
    EXPECT_EQ(e.error.status, 400);
    EXPECT_EQ(e.error.code, "unsupported_field");
    return e.error.param;
  };
  EXPECT_EQ(refused([](auto& r) { r.choices = 2; }), "n");
  EXPECT_EQ(refused([](auto& r) { r.logprobs = true; }), "logprobs");
  EXPECT_EQ(refused([](auto& r) { r.stop.assign(6, "\"x\""); }), "stop");
  chat_request r = hello();
  r.end_user = "u";
  r.parallel_tool_calls = false;
  r.seed = "99999999999";
  const encoded e(r);
  EXPECT_TRUE(e.fine);
  EXPECT_EQ(e.dropped, (std::vector<std::string>{"parallel_tool_calls", "user", "seed"}));
  EXPECT_FALSE(e.body.contains("generationConfig"));
}

TEST(gemini_encode, what_a_gemini_client_says_comes_out_as_it_went_in) {
  const std::string body =
      R"({"systemInstruction":{"parts":[{"text":"s"}]},"contents":[{"role":"user","parts":[{"text":"a"},
      {"inlineData":{"mimeType":"image/png","data":"AAAA"}}]},{"role":"model","parts":[{"text":"hm","thought":true},
      {"functionCall":{"id":"1","name":"f","args":{"x":[1,2]}},"thoughtSignature":"QUJD"}]},
      {"role":"user","parts":[{"functionResponse":{"id":"1","name":"f","response":{"output":"y"}}}]}],
      "tools":[{"functionDeclarations":[{"name":"f","parametersJsonSchema":{"type":"object"}}]}],
      "toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},
      "generationConfig":{"maxOutputTokens":5,"temperature":0.1,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":99}}})";
  chat_request r;
  engine::api_error error;
  ASSERT_TRUE(gemini_chat().decode_request(body, r, error)) << error.message;
  EXPECT_EQ(encoded(r).body, json::parse(body));
}

}  // namespace
}  // namespace millrace::http
