#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_schema.hpp"
#include "http/dialects/gemini_signature.hpp"

namespace millrace::http {
namespace {

using nlohmann::json;

/// Body and value, which points into it.
struct decoded {
  std::string body;
  chat_request request;
  engine::api_error error;
  bool fine = false;
  explicit decoded(std::string text) : body(std::move(text)) {
    fine = gemini_chat().decode_request(body, request, error);
  }
};

/// With a content of a user before `members`.
std::string hello(const std::string& members = "") {
  return R"({"contents":[{"role":"user","parts":[{"text":"Hello"}]}])" + members + "}";
}

void refuses(const std::string& body, const std::string& code, const std::string& param) {
  const decoded d(body);
  EXPECT_FALSE(d.fine) << body;
  EXPECT_EQ(d.error.status, 400) << body;
  EXPECT_EQ(d.error.type, "invalid_request_error") << body;
  EXPECT_EQ(d.error.code, code) << body;
  EXPECT_EQ(d.error.param, param) << body;
  EXPECT_FALSE(d.error.message.empty()) << body;
}

TEST(gemini_decode, reads_a_conversation_in_both_spellings) {
  for (
      const char* body :
      {R"({"systemInstruction":{"parts":[{"text":"Be \"brief\"."}]},"contents":[{"role":"user","parts":[{"text":"a"},
           {"inlineData":{"mimeType":"image/png","data":"iVBO"}}]},{"role":"model","parts":[{"text":"b"}]}],
           "generationConfig":{"maxOutputTokens":99,"topP":0.5,"topK":40,"stopSequences":["x","y"],"seed":7,
           "temperature":1e0,"presencePenalty":0.1,"frequencyPenalty":-0.2}})",
       R"({"system_instruction":{"parts":{"text":"Be \"brief\"."}},"contents":[{"parts":[{"text":"a"},
           {"inline_data":{"mime_type":"image/png","data":"iVBO"}}]},{"role":"model","parts":[{"text":"b"}]}],
           "generation_config":{"max_output_tokens":"99","top_p":0.5,"top_k":40,"stop_sequences":["x","y"],"seed":7,
           "temperature":1e0,"presence_penalty":0.1,"frequency_penalty":-0.2,"response_schema":null}})"}) {
    const decoded d(body);
    ASSERT_TRUE(d.fine) << d.error.message;
    const chat_request& r = d.request;
    ASSERT_EQ(r.messages.size(), 3U);
    EXPECT_EQ(r.messages[0].role, chat_role::system);
    EXPECT_EQ(r.messages[0].parts.at(0).text, R"("Be \"brief\".")");
    EXPECT_EQ(r.messages[1].role, chat_role::user);
    ASSERT_EQ(r.messages[1].parts.size(), 2U);
    EXPECT_EQ(r.messages[1].parts[1].kind, part_kind::image);
    EXPECT_EQ(r.messages[1].parts[1].media_type, "image/png");
    EXPECT_EQ(r.messages[1].parts[1].data, "iVBO");
    EXPECT_EQ(r.messages[2].role, chat_role::assistant);
    EXPECT_EQ(r.max_output_tokens, 99);
    EXPECT_EQ(r.temperature, "1e0");
    EXPECT_EQ(r.top_p, "0.5");
    EXPECT_EQ(r.top_k, "40");
    EXPECT_EQ(r.seed, "7");
    EXPECT_EQ(r.presence_penalty, "0.1");
    EXPECT_EQ(r.frequency_penalty, "-0.2");
    EXPECT_EQ(r.stop, (std::vector<json_literal>{"\"x\"", "\"y\""}));
    EXPECT_TRUE(r.dropped.empty());
  }
}

TEST(gemini_decode, media_become_what_other_providers_take) {
  const decoded d(R"({"contents":[{"parts":[
      {"inlineData":{"mimeType":"application/pdf","data":"-_8","displayName":"a.pdf"}},
      {"inlineData":{"mimeType":"text/plain","data":"aGVsbG8sICJ5b3Ui"}},
      {"inlineData":{"mimeType":"audio/wav","data":"UklG"}},
      {"fileData":{"fileUri":"https://a.test/x.JPG?size=2"}},
      {"fileData":{"fileUri":"https://a.test/x","mimeType":"application/pdf"}}]}]})");
  ASSERT_TRUE(d.fine) << d.error.message;
  const auto& parts = d.request.messages.at(0).parts;
  ASSERT_EQ(parts.size(), 5U);
  EXPECT_EQ(parts[0].kind, part_kind::document);
  EXPECT_EQ(parts[0].data, "+/8=") << "what Python's SDK writes, in the alphabet of all others";
  EXPECT_EQ(parts[0].name, "a.pdf");
  EXPECT_EQ(parts[1].kind, part_kind::document);
  EXPECT_EQ(parts[1].text, R"("hello, \"you\"")");
  EXPECT_TRUE(parts[1].data.empty());
  EXPECT_EQ(parts[2].kind, part_kind::audio);
  EXPECT_EQ(parts[3].kind, part_kind::image);
  EXPECT_EQ(parts[3].url, "https://a.test/x.JPG?size=2");
  EXPECT_EQ(parts[3].media_type, "image/jpeg");
  EXPECT_EQ(parts[4].kind, part_kind::document);
}

TEST(gemini_decode, calls_without_ids_get_them_by_their_place_and_results_find_them_by_name) {
  const decoded d(R"({"contents":[{"parts":[{"text":"?"}]},
    {"role":"model","parts":[{"functionCall":{"name":"weather","args":{"city":"Rome"}}},
       {"functionCall":{"name":"weather","args":{"city":"Oslo"}}},{"functionCall":{"name":"time"}}]},
    {"role":"user","parts":[{"functionResponse":{"name":"time","response":{"output":"noon"}}},
       {"functionResponse":{"name":"weather","response":{"t":30}}},
       {"functionResponse":{"name":"weather","response":{"error":"no such town"}}}]},
    {"role":"model","parts":[{"functionCall":{"id":"own","name":"time","args":{}}}]},
    {"role":"function","parts":[{"functionResponse":{"id":"own","name":"time","response":{"result":{"h":1}}}}]}]})");
  ASSERT_TRUE(d.fine) << d.error.message;
  const auto& m = d.request.messages;
  ASSERT_EQ(m.size(), 5U);
  EXPECT_EQ(m[1].parts.at(0).id, "call_0");
  EXPECT_EQ(m[1].parts.at(1).id, "call_1");
  EXPECT_EQ(m[1].parts.at(2).id, "call_2");
  EXPECT_EQ(m[1].parts.at(1).arguments, R"({"city":"Oslo"})");
  EXPECT_EQ(m[1].parts.at(2).arguments, "{}");
  EXPECT_EQ(m[2].parts.at(0).id, "call_2");
  EXPECT_EQ(m[2].parts.at(0).result.at(0).text, "\"noon\"");
  EXPECT_EQ(m[2].parts.at(1).id, "call_0");
  EXPECT_EQ(m[2].parts.at(1).result.at(0).text, R"("{\"t\":30}")");
  EXPECT_EQ(m[2].parts.at(2).id, "call_1");
  EXPECT_TRUE(m[2].parts.at(2).failed);
  EXPECT_EQ(m[2].parts.at(2).result.at(0).text, "\"no such town\"");
  EXPECT_EQ(m[4].parts.at(0).id, "own");
  EXPECT_EQ(m[4].parts.at(0).result.at(0).text, R"("{\"h\":1}")");
}

TEST(gemini_decode, thoughts_that_come_back_in_pieces_are_one_with_their_signature) {
  const std::string wrapped = wrap_for_gemini_client("\"Ab+/=\"");
  const decoded d(R"({"contents":[{"parts":[{"text":"?"}]},
    {"role":"model","parts":[{"text":"Let me ","thought":true}]},{"role":"model","parts":[{"text":"think.","thought":true}]},
    {"role":"model","parts":[{"text":"","thought":true,"thoughtSignature":)" +
                  wrapped + R"(}]},
    {"role":"model","parts":[{"text":"It "}]},{"role":"model","parts":[{"text":"is"}]},{"role":"model","parts":[{"text":" 4."}]},
    {"role":"model","parts":[{"text":"","thoughtSignature":"Q2k-_w"}]}]})");
  ASSERT_TRUE(d.fine) << d.error.message;
  ASSERT_EQ(d.request.messages.size(), 2U);
  const auto& parts = d.request.messages[1].parts;
  ASSERT_EQ(parts.size(), 3U);
  EXPECT_EQ(parts[0].kind, part_kind::thinking);
  EXPECT_EQ(parts[0].text, "\"Let me think.\"");
  EXPECT_EQ(parts[0].signature, "\"Ab+/=\"") << "another provider's own, unwrapped";
  EXPECT_EQ(parts[1].text, "\"It is 4.\"");
  EXPECT_EQ(parts[2].kind, part_kind::sealed_thinking);
  EXPECT_TRUE(is_gemini_signature(parts[2].signature));
  EXPECT_EQ(unmark_gemini_signature(parts[2].signature), "\"Q2k+/w==\"");
}

TEST(gemini_decode, a_signed_call_signs_the_thought_before_it) {
  const decoded d(
      R"({"contents":[{"parts":[{"text":"?"}]},{"role":"model","parts":[{"text":"Hm","thought":true},
      {"functionCall":{"name":"f","args":{}},"thoughtSignature":"QUJD"},{"functionCall":{"name":"g","args":{}},"thoughtSignature":"REVG"}]}]})");
  ASSERT_TRUE(d.fine) << d.error.message;
  const auto& parts = d.request.messages.at(1).parts;
  ASSERT_EQ(parts.size(), 4U);
  EXPECT_EQ(unmark_gemini_signature(parts[0].signature), "\"QUJD\"");
  EXPECT_EQ(parts[1].kind, part_kind::tool_call);
  EXPECT_EQ(parts[2].kind, part_kind::sealed_thinking);
  EXPECT_EQ(parts[3].name, "g");
}

TEST(gemini_decode, tools_and_who_may_be_called) {
  const std::string tools =
      R"(,"tools":[{"functionDeclarations":[{"name":"a","description":"A\n","parameters":{"type":"OBJECT",
      "properties":{"n":{"type":"INTEGER","nullable":true}}}},{"name":"b","parametersJsonSchema":{"type":"object"}},{"name":"c"}]}])";
  const auto with = [&](const std::string& config) {
    return hello(tools + R"(,"toolConfig":{"functionCallingConfig":)" + config + "}");
  };
  const decoded any(with(R"({"mode":"ANY"})"));
  ASSERT_TRUE(any.fine) << any.error.message;
  ASSERT_EQ(any.request.tools.size(), 3U);
  EXPECT_EQ(any.request.tools[0].description, "\"A\\n\"");
  EXPECT_EQ(json::parse(any.request.tools[0].parameters),
            json::parse(R"({"type":"object","properties":{"n":{"type":["integer","null"]}}})"));
  EXPECT_EQ(any.request.tools[1].parameters, R"({"type":"object"})");
  EXPECT_TRUE(any.request.tools[2].parameters.empty());
  EXPECT_EQ(any.request.tool_choice, tool_choice::any);
  EXPECT_EQ(decoded(with(R"({"mode":"AUTO"})")).request.tool_choice, tool_choice::automatic);
  EXPECT_EQ(decoded(with(R"({"mode":"NONE"})")).request.tool_choice, tool_choice::none);
  EXPECT_EQ(decoded(with(R"({"mode":"VALIDATED"})")).request.tool_choice, tool_choice::automatic);
  const decoded one(with(R"({"mode":"ANY","allowedFunctionNames":["b"]})"));
  EXPECT_EQ(one.request.tool_choice, tool_choice::named);
  EXPECT_EQ(one.request.chosen_tool, "b");
  EXPECT_EQ(one.request.tools.size(), 3U);
  const decoded two(with(R"({"mode":"ANY","allowed_function_names":["a","c"]})"));
  EXPECT_EQ(two.request.tool_choice, tool_choice::any);
  ASSERT_EQ(two.request.tools.size(), 2U);
  EXPECT_EQ(two.request.tools[1].name, "c");
  refuses(with(R"({"mode":"ANY","allowedFunctionNames":["z"]})"), "invalid_value",
          "toolConfig.functionCallingConfig.allowedFunctionNames");
  refuses(with(R"({"mode":"SOME"})"), "invalid_value", "toolConfig.functionCallingConfig.mode");
}

TEST(gemini_decode, formats_and_thinking) {
  const decoded schema(hello(
      R"(,"generationConfig":{"responseMimeType":"application/json","responseSchema":{"type":"STRING","enum":["a"],"format":"enum"}})"));
  ASSERT_TRUE(schema.fine) << schema.error.message;
  EXPECT_EQ(schema.request.format, answer_format::schema);
  EXPECT_EQ(json::parse(schema.request.schema), json::parse(R"({"type":"string","enum":["a"]})"));
  const decoded plain(hello(R"(,"generationConfig":{"responseMimeType":"application/json"})"));
  EXPECT_EQ(plain.request.format, answer_format::json);
  const auto thinking = [](const std::string& config) {
    return decoded(hello(R"(,"generationConfig":{"thinkingConfig":)" + config + "}"));
  };
  EXPECT_EQ(thinking(R"({"thinkingBudget":0})").request.thinking, thinking_mode::off);
  EXPECT_EQ(thinking(R"({"thinkingBudget":-1})").request.thinking, thinking_mode::on);
  EXPECT_EQ(thinking(R"({"thinkingBudget":-1})").request.thinking_tokens, -1);
  EXPECT_EQ(thinking(R"({"thinkingBudget":512})").request.thinking_tokens, 512);
  EXPECT_EQ(thinking(R"({"includeThoughts":true})").request.thinking, thinking_mode::on);
  const decoded level = thinking(R"({"thinkingLevel":"HIGH"})");
  EXPECT_EQ(level.request.effort, "high");
  EXPECT_EQ(level.request.thinking, thinking_mode::unset);
}

TEST(gemini_decode, hints_are_listed_and_not_silently_dropped) {
  const decoded d(hello(
      R"(,"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"labels":{"a":"b"},
      "generationConfig":{"mediaResolution":"MEDIA_RESOLUTION_LOW","candidateCount":1}, "cachedContent":null)"));
  ASSERT_TRUE(d.fine) << d.error.message;
  EXPECT_EQ(d.request.dropped, (std::vector<std::string>{"safetySettings", "labels", "mediaResolution"}));
}

TEST(gemini_decode, an_order_of_properties_is_told_as_left_out) {
  const std::string inner =
      R"({"type":"ARRAY","items":{"type":"OBJECT","properties":{"b":{"type":"STRING"}},"property_ordering":["b"]}})";
  for (const std::string& rest :
       {R"(,"tools":[{"functionDeclarations":[{"name":"f","parameters":)" + inner + "}]}]",
        R"(,"generationConfig":{"responseMimeType":"application/json","responseSchema":)" + inner + "}"}) {
    const decoded d(hello(rest));
    ASSERT_TRUE(d.fine) << d.error.message;
    EXPECT_EQ(d.request.dropped, std::vector<std::string>{"propertyOrdering"}) << rest;
  }
  // A property may have that name.
  const decoded named(hello(
      R"(,"tools":[{"functionDeclarations":[{"name":"f","parameters":{"type":"OBJECT","properties":{"propertyOrdering":{"type":"STRING"}}}}]}])"));
  ASSERT_TRUE(named.fine) << named.error.message;
  EXPECT_TRUE(named.request.dropped.empty());
}

TEST(gemini_decode, names_what_only_gemini_can_do) {
  refuses(hello(R"(,"cachedContent":"cachedContents/1")"), "unsupported_field", "cachedContent");
  refuses(hello(R"(,"tools":[{"functionDeclarations":[]},{"googleSearch":{}}])"), "unsupported_field",
          "tools[1].googleSearch");
  refuses(hello(R"(,"nonsense":1)"), "unsupported_field", "nonsense");
  refuses(hello(R"(,"generationConfig":{"speechConfig":{}})"), "unsupported_field",
          "generationConfig.speechConfig");
  refuses(hello(R"(,"generationConfig":{"responseModalities":["TEXT","IMAGE"]})"), "unsupported_field",
          "generationConfig.responseModalities");
  refuses(hello(R"(,"generationConfig":{"responseMimeType":"text/x.enum"})"), "unsupported_field",
          "generationConfig.responseMimeType");
  refuses(R"({"contents":[{"parts":[{"executableCode":{"code":"1"}}]}]})", "unsupported_field",
          "contents[0].parts[0].executableCode");
  refuses(R"({"contents":[{"parts":[{"text":"a"},{"fileData":{"fileUri":"gs://b/c.png"}}]}]})",
          "unsupported_field", "contents[0].parts[1].fileData.fileUri");
  refuses(
      R"({"contents":[{"parts":[{"fileData":{"fileUri":"https://generativelanguage.googleapis.com/v1beta/files/x","mimeType":"image/png"}}]}]})",
      "unsupported_field", "contents[0].parts[0].fileData.fileUri");
  refuses(R"({"contents":[{"parts":[{"inlineData":{"mimeType":"video/mp4","data":"AAAA"}}]}]})",
          "unsupported_field", "contents[0].parts[0].inlineData.mimeType");
}

TEST(gemini_decode, names_what_is_malformed) {
  refuses("{}", "missing_field", "contents");
  refuses(R"({"contents":[]})", "missing_field", "contents");
  refuses(R"({"contents":"hi"})", "invalid_type", "contents");
  refuses(R"({"contents":[{"role":"system","parts":[{"text":"a"}]}]})", "invalid_value", "contents[0].role");
  refuses(R"({"contents":[{"role":"user"}]})", "missing_field", "contents[0].parts");
  refuses(R"({"contents":[{"parts":[{"text":1}]}]})", "invalid_type", "contents[0].parts[0].text");
  refuses(R"({"contents":[{"parts":[{}]}]})", "missing_field", "contents[0].parts[0].text");
  refuses(R"({"contents":[{"parts":[{"text":"a","inlineData":{"mimeType":"image/png","data":"a"}}]}]})",
          "invalid_value", "contents[0].parts[0]");
  refuses(R"({"contents":[{"parts":[{"functionCall":{"name":"f"}}]}]})", "invalid_value",
          "contents[0].parts[0].functionCall");
  refuses(R"({"contents":[{"parts":[{"functionResponse":{"name":"f","response":{}}}]}]})", "invalid_value",
          "contents[0].parts[0].functionResponse");
  refuses(hello(R"(,"generationConfig":{"temperature":"hot"})"), "invalid_type",
          "generationConfig.temperature");
  refuses(hello(R"(,"generationConfig":{"responseSchema":{"type":"OBJECT"}})"), "invalid_value",
          "generationConfig.responseMimeType");
  refuses(hello(R"(,"tools":[{"functionDeclarations":[{"description":"x"}]}])"), "missing_field",
          "tools[0].functionDeclarations[0].name");
  refuses(hello() + "x", "invalid_json", "");
  refuses(R"({"contents":[{"parts":[{"text":"a"}]})", "invalid_json", "");
}

TEST(gemini_schema, becomes_plain_json_schema) {
  const std::string schema =
      R"({"type":"OBJECT","title":"T","description":"d","required":["a"],"propertyOrdering":["b","a"],
      "properties":{"a":{"type":"ARRAY","items":{"type":"STRING","nullable":true,"enum":["x","y"]},"min_items":"1","maxItems":5},
      "type":{"type":"NUMBER","minimum":0.5,"example":1,"default":null},
      "u":{"nullable":true,"anyOf":[{"type":"STRING"},{"type":"INTEGER","format":"int32"}]},
      "r":{"ref":"#/$defs/q"}},"defs":{"q":{"type":"BOOLEAN"}},"additionalProperties":false})";
  std::string out;
  bool unordered = false;
  ASSERT_TRUE(gemini_schema_to_json_schema(schema, out, unordered));
  EXPECT_TRUE(unordered);
  EXPECT_EQ(json::parse(out), json::parse(R"({"type":"object","title":"T","description":"d","required":["a"],
      "properties":{"a":{"type":"array","items":{"type":["string","null"],"enum":["x","y",null]},"minItems":1,"maxItems":5},
      "type":{"type":"number","minimum":0.5,"examples":[1],"default":null},
      "u":{"anyOf":[{"type":"string"},{"type":"integer","format":"int32"},{"type":"null"}]},
      "r":{"$ref":"#/$defs/q"}},"$defs":{"q":{"type":"boolean"}},"additionalProperties":false})"));
  std::string wrong;
  EXPECT_FALSE(gemini_schema_to_json_schema("[1]", wrong, unordered));
}

}  // namespace
}  // namespace millrace::http
