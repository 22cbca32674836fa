#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_passthrough.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using engine::route_kind;

struct decoded {
  std::string body;
  chat_request request;
  engine::api_error error;
  bool good;
  explicit decoded(std::string text) : body(std::move(text)) {
    good = responses_chat().decode_request(body, request, error);
  }
};

/// A body with `member` beside what is required.
std::string with(const std::string& member) {
  return R"({"model":"m","input":"hi",)" + member + "}";
}

/// A body with one item.
std::string item(const std::string& literal) {
  return R"({"model":"m","input":[)" + literal + "]}";
}

std::string content(const std::string& part) {
  return item(R"({"role":"user","content":[)" + part + "]}");
}

TEST(responses_request, a_text_is_what_the_user_says) {
  const decoded d(with(R"("instructions":"Be brief.","stream":true,"max_output_tokens":9,"temperature":0.5,
    "top_p":1,"user":"u","reasoning":{"effort":"low"},"parallel_tool_calls":false)"));
  ASSERT_TRUE(d.good) << d.error.message;
  const chat_request& r = d.request;
  ASSERT_EQ(r.messages.size(), 2U);
  EXPECT_EQ(r.messages[0].role, chat_role::system);
  EXPECT_EQ(r.messages[0].parts[0].text, R"("Be brief.")");
  EXPECT_EQ(r.messages[1].role, chat_role::user);
  EXPECT_EQ(r.messages[1].parts[0].text, R"("hi")");
  EXPECT_TRUE(r.stream && r.include_usage);
  EXPECT_EQ(r.max_output_tokens, 9);
  EXPECT_EQ(r.temperature, "0.5");
  EXPECT_EQ(r.top_p, "1");
  EXPECT_EQ(r.end_user, "u");
  EXPECT_EQ(r.effort, "low");
  EXPECT_EQ(r.parallel_tool_calls, false);
  EXPECT_TRUE(r.dropped.empty());
}

TEST(responses_request, items_are_a_conversation) {
  const decoded d(R"({"model":"m","input":[
    {"role":"developer","content":"sys"},
    {"type":"message","role":"user","content":[{"type":"input_text","text":"look"},
      {"type":"input_image","image_url":"data:image/png;base64,AAAA","detail":"low"},
      {"type":"input_image","image_url":"https://x/y.png","detail":"auto"},
      {"type":"input_file","file_data":"data:application/pdf;base64,BBBB","filename":"a.pdf"},
      {"type":"input_file","file_url":"https://x/z.pdf"}]},
    {"id":"rs_1","type":"reasoning","summary":[{"type":"summary_text","text":"hm"}],
     "encrypted_content":"gAAAA"},
    {"id":"msg_1","type":"message","role":"assistant","status":"completed","content":[
      {"type":"output_text","text":"ok","annotations":[],"logprobs":[]}]},
    {"id":"fc_1","type":"function_call","call_id":"c1","name":"f","arguments":"{\"a\":1}","status":"completed"},
    {"type":"function_call","call_id":"c2","name":"g","arguments":""},
    {"type":"function_call_output","call_id":"c1","output":"one"},
    {"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"},
      {"type":"input_image","image_url":"data:image/png;base64,CCCC"}]}]})");
  ASSERT_TRUE(d.good) << d.error.message;
  const auto& m = d.request.messages;
  ASSERT_EQ(m.size(), 4U);
  EXPECT_EQ(m[0].role, chat_role::system);
  ASSERT_EQ(m[1].parts.size(), 5U);
  EXPECT_EQ(m[1].parts[1].media_type, "image/png");
  EXPECT_EQ(m[1].parts[1].data, "AAAA");
  EXPECT_EQ(m[1].parts[1].detail, "low");
  EXPECT_EQ(m[1].parts[2].url, "https://x/y.png");
  EXPECT_EQ(m[1].parts[3].kind, part_kind::document);
  EXPECT_EQ(m[1].parts[3].name, "a.pdf");
  EXPECT_EQ(m[1].parts[4].url, "https://x/z.pdf");
  EXPECT_EQ(m[2].role, chat_role::assistant);
  ASSERT_EQ(m[2].parts.size(), 4U);
  EXPECT_EQ(m[2].parts[0].kind, part_kind::thinking);
  EXPECT_EQ(m[2].parts[0].text, R"("hm")");
  EXPECT_TRUE(m[2].parts[0].signature.empty());
  EXPECT_EQ(m[2].parts[2].id, "c1");
  EXPECT_EQ(m[2].parts[2].arguments, R"({"a":1})");
  EXPECT_EQ(m[2].parts[3].arguments, "{}");
  EXPECT_EQ(m[3].role, chat_role::user);
  ASSERT_EQ(m[3].parts.size(), 2U);
  EXPECT_EQ(m[3].parts[0].result[0].text, R"("one")");
  EXPECT_EQ(m[3].parts[1].result[1].data, "CCCC");
  EXPECT_EQ(d.request.dropped, std::vector<std::string>{"input.encrypted_content"});
}

TEST(responses_request, tools_and_formats) {
  const decoded d(with(R"("tools":[{"type":"function","name":"f","description":"d","strict":true,
    "parameters":{"type":"object"}}],"tool_choice":{"type":"function","name":"f"},
    "text":{"format":{"type":"json_schema","name":"s","schema":{"type":"object"},"strict":true}})"));
  ASSERT_TRUE(d.good) << d.error.message;
  ASSERT_EQ(d.request.tools.size(), 1U);
  EXPECT_EQ(d.request.tools[0].name, "f");
  EXPECT_EQ(d.request.tools[0].parameters, R"({"type":"object"})");
  EXPECT_EQ(d.request.tools[0].strict, true);
  EXPECT_EQ(d.request.tool_choice, tool_choice::named);
  EXPECT_EQ(d.request.chosen_tool, "f");
  EXPECT_EQ(d.request.format, answer_format::schema);
  EXPECT_EQ(d.request.schema_name, "s");
  EXPECT_EQ(d.request.schema, R"({"type":"object"})");
  EXPECT_EQ(d.request.schema_strict, true);
  EXPECT_EQ(decoded(with(R"("text":{"format":{"type":"json_object"}})")).request.format, answer_format::json);
  EXPECT_EQ(decoded(with(R"("tool_choice":"required")")).request.tool_choice, tool_choice::any);
}

TEST(responses_request, what_changes_no_answer_is_dropped_and_told) {
  const decoded d(with(R"("metadata":{"a":"b"},"store":true,"service_tier":"auto","truncation":"auto",
    "include":[],"prompt_cache_key":"k","prompt_cache_retention":"24h","stream_options":{},"max_tool_calls":3,
    "text":{"verbosity":"low"},"reasoning":{"summary":"auto"},"previous_response_id":null,"background":false,
    "top_logprobs":0)"));
  ASSERT_TRUE(d.good) << d.error.message;
  EXPECT_EQ(d.request.dropped,
            (std::vector<std::string>{"metadata", "store", "service_tier", "truncation", "include",
                                      "prompt_cache_key", "prompt_cache_retention", "stream_options",
                                      "max_tool_calls", "reasoning.summary", "text.verbosity"}));
}

TEST(responses_request, what_only_openai_can_do_is_refused_by_name) {
  const std::pair<std::string, std::string> bodies[] = {
      {with(R"("previous_response_id":"resp_1")"), "previous_response_id"},
      {with(R"("conversation":"conv_1")"), "conversation"},
      {with(R"("background":true)"), "background"},
      {with(R"("prompt":{"id":"p"})"), "prompt"},
      {with(R"("top_logprobs":1)"), "top_logprobs"},
      {with(R"("tools":[{"type":"web_search"}])"), "tools[0].type"},
      {with(R"("tools":[{"type":"custom","name":"x"}])"), "tools[0].type"},
      {with(R"("tool_choice":{"type":"allowed_tools","mode":"auto","tools":[]})"), "tool_choice.type"},
      {with(R"("seed":1)"), "seed"},
      {item(R"({"type":"item_reference","id":"x"})"), "input[0].type"},
      {item(R"({"id":"x"})"), "input[0].type"},
      {item(R"({"type":"web_search_call","id":"x","status":"completed"})"), "input[0].type"},
      {content(R"({"type":"input_image","file_id":"f"})"), "input[0].content[0].file_id"},
      {content(R"({"type":"input_file","file_id":"f"})"), "input[0].content[0].file_id"}};
  for (const auto& [body, param] : bodies) {
    const decoded d(body);
    EXPECT_FALSE(d.good) << body;
    EXPECT_EQ(d.error.status, 400);
    EXPECT_EQ(d.error.code, "unsupported_field") << body;
    EXPECT_EQ(d.error.param, param);
  }
}

TEST(responses_request, what_is_malformed_is_refused_by_name) {
  const std::pair<std::string, std::string> bodies[] = {
      {with(R"("max_output_tokens":"x")"), "max_output_tokens"},
      {with(R"("temperature":"x")"), "temperature"},
      {with(R"("instructions":[])"), "instructions"},
      {with(R"("text":{"format":{"type":"xml"}})"), "text.format.type"},
      {with(R"("tools":{})"), "tools"},
      {with(R"("tools":[{"type":"function"}])"), "tools[0].name"},
      {item("3"), "input[0]"},
      {item(R"({"role":"robot","content":"x"})"), "input[0].role"},
      {item(R"({"role":"user","content":[]})"), "input[0].content"},
      {item(R"({"role":"user"})"), "input[0].content"},
      {item(R"({"type":"function_call","call_id":"c","name":"f","arguments":"[]"})"), "input[0].arguments"},
      {item(R"({"type":"function_call_output","output":"x"})"), "input[0].call_id"},
      {content(R"({"type":"input_text"})"), "input[0].content[0].text"},
      {content(R"({"type":"input_image"})"), "input[0].content[0].image_url"},
      {content(R"({"type":"input_file","file_data":"https://x"})"), "input[0].content[0].file_data"}};
  for (const auto& [body, param] : bodies) {
    const decoded d(body);
    EXPECT_FALSE(d.good) << body;
    EXPECT_EQ(d.error.status, 400);
    EXPECT_EQ(d.error.code, "invalid_value") << body;
    EXPECT_EQ(d.error.param, param);
  }
}

// --- what Millrace itself reads

engine::request_facts facts_of(const std::string& body) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(responses_client().read_request(route_kind::responses, body, facts, error)) << error.message;
  return facts;
}

std::string refusal_of(const std::string& body) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_FALSE(responses_client().read_request(route_kind::responses, body, facts, error)) << body;
  return error.code;
}

TEST(responses_request, reads_what_it_needs) {
  const std::string body =
      R"({"model":"gpt","input":"abcd","instructions":"abcdefgh","stream":true,"temperature":0,
      "max_output_tokens":64,"stream_options":{"include_obfuscation":false}})";
  const auto facts = facts_of(body);
  EXPECT_EQ(facts.model, "gpt");
  EXPECT_TRUE(facts.stream && facts.include_usage && facts.zero_temperature);
  EXPECT_EQ(facts.max_output_tokens, 64);
  EXPECT_EQ(facts.input_tokens, reply_tokens + message_tokens + 3);
  // The same conversation goes on: the same question has another answer.
  EXPECT_FALSE(facts_of(R"({"model":"m","input":"a","temperature":0,"conversation":"c"})").zero_temperature);
  EXPECT_TRUE(facts_of(R"({"model":"m","temperature":0,"previous_response_id":"r"})").zero_temperature);
}

TEST(responses_request, reckons_pictures_by_the_piece) {
  const auto tokens = [](const std::string& part) {
    return facts_of(content(part)).input_tokens - reply_tokens - message_tokens;
  };
  const std::string data(100000, 'A');
  EXPECT_EQ(tokens(R"({"type":"input_image","image_url":"data:)" + data + "\"}"), image_tokens);
  EXPECT_EQ(tokens(R"({"type":"input_image","detail":"low","image_url":")" + data + "\"}"),
            low_detail_image_tokens);
  EXPECT_EQ(tokens(R"({"type":"input_file","file_data":")" + data + "\"}"), attachment_tokens);
  EXPECT_EQ(tokens(R"({"type":"input_text","text":"abcd"})"), 1);
}

TEST(responses_request, refuses_bad_bodies) {
  EXPECT_EQ(refusal_of("[]"), "invalid_json");
  EXPECT_EQ(refusal_of(R"({"model":"m","model":"n","input":"x"})"), "duplicate_key");
  EXPECT_EQ(refusal_of(R"({"model":"m"})"), "missing_required_parameter");
  EXPECT_EQ(refusal_of(R"({"model":"m","input":[]})"), "empty_array");
  EXPECT_EQ(refusal_of(R"({"model":"m","input":3})"), "invalid_type");
  EXPECT_EQ(refusal_of(R"({"model":"m","input":"x","background":true})"), "unsupported_field");
}

}  // namespace
}  // namespace millrace::http
