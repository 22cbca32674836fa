#include "http/dialects/openai_chat.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/dialects/chat_collector.hpp"

/// OpenAI's conversations on their way to and from other dialects.
namespace millrace::http {
namespace {

using nlohmann::json;

chat_request decoded(const std::string& body) {
  chat_request r;
  engine::api_error error;
  EXPECT_TRUE(openai_chat().decode_request(body, r, error)) << error.message << "\n" << body;
  return r;
}

engine::api_error refused(const std::string& body) {
  chat_request r;
  engine::api_error error;
  EXPECT_FALSE(openai_chat().decode_request(body, r, error)) << body;
  EXPECT_EQ(error.status, 400);
  return error;
}

/// What an OpenAI provider would get of a request that was taken apart.
json encoded(const std::string& body, std::vector<std::string>* dropped = nullptr, bool newest_names = true) {
  const chat_request r = decoded(body);
  encode_options options;
  options.model = "theirs";
  options.newest_names = newest_names;
  std::string out;
  std::vector<std::string> left_out;
  engine::api_error error;
  EXPECT_TRUE(openai_chat().encode_request(r, options, out, left_out, error)) << error.message;
  if (dropped) *dropped = left_out;
  return json::parse(out);
}

/// A request with everything that other dialects can say, too.
const std::string rich = R"({"model":"theirs","messages":[
  {"role":"system","content":"Be \"brief\"\u002e"},
  {"role":"user","content":[{"type":"text","text":"look"},
    {"type":"image_url","image_url":{"url":"data:image/png;base64,aGk=","detail":"low"}},
    {"type":"image_url","image_url":{"url":"https://h/x.png"}},
    {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}},
    {"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]},
  {"role":"assistant","content":"calling","tool_calls":[
    {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},
    {"id":"c2","type":"function","function":{"name":"g","arguments":"{}"}}]},
  {"role":"tool","tool_call_id":"c1","content":"one"},
  {"role":"tool","tool_call_id":"c2","content":"two"},
  {"role":"user","content":"go on"}],
  "tools":[{"type":"function","function":{"name":"f","description":"does","parameters":{"type":"object","additionalProperties":false},"strict":true}},
    {"type":"function","function":{"name":"g"}}],
  "tool_choice":{"type":"function","function":{"name":"f"}},"parallel_tool_calls":false,
  "response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{"type":"object","additionalProperties":false},"strict":true}},
  "max_completion_tokens":77,"temperature":0.50,"top_p":0.9,"presence_penalty":1,"frequency_penalty":-1,"seed":7,
  "stop":["a","b"],"reasoning_effort":"low","user":"u","stream":true,"stream_options":{"include_usage":true}})";

TEST(openai_chat, what_is_taken_apart_and_put_together_again_is_the_same) {
  EXPECT_EQ(encoded(rich), json::parse(rich));
}

TEST(openai_chat, other_servers_get_the_older_name_of_the_output_limit) {
  const json out = encoded(rich, nullptr, false);
  EXPECT_EQ(out["max_tokens"], 77);
  EXPECT_FALSE(out.contains("max_completion_tokens"));
}

TEST(openai_chat, hints_are_dropped_and_told) {
  const auto r =
      decoded(R"({"model":"m","messages":[{"role":"user","content":"x","name":"bob"}],"metadata":{"a":"b"},
    "store":true,"service_tier":"auto","prompt_cache_key":"k","user":null})");
  EXPECT_EQ(r.dropped, (std::vector<std::string>{"metadata", "store", "service_tier", "prompt_cache_key",
                                                 "messages.name"}));
}

TEST(openai_chat, what_only_this_dialect_can_say_is_refused_by_name) {
  const auto with = [](const std::string& members) {
    return R"({"model":"m","messages":[{"role":"user","content":"x"}],)" + members + "}";
  };
  const std::pair<const char*, const char*> cases[] = {
      {R"("logit_bias":{"1":2})", "logit_bias"},
      {R"("modalities":["text","audio"])", "modalities"},
      {R"("functions":[])", "functions"},
      {R"("web_search_options":{})", "web_search_options"},
      {R"("tools":[{"type":"custom","custom":{"name":"x"}}])", "tools[0].type"},
      {R"("tool_choice":{"type":"allowed_tools"})", "tool_choice.type"},
      {R"("temperature":"hot")", "temperature"},
      {R"("max_tokens":-1)", "max_tokens"},
      {R"("stop":[1])", "stop"},
      {R"("response_format":{"type":"xml"})", "response_format.type"},
  };
  for (const auto& [members, field] : cases) EXPECT_EQ(refused(with(members)).param, field);
  EXPECT_EQ(refused(R"({"model":"m","messages":[]})").param, "messages");
  const auto message = [](const std::string& m) { return R"({"model":"m","messages":[)" + m + "]}"; };
  const std::pair<const char*, const char*> messages[] = {
      {R"({"role":"oracle","content":"x"})", "messages[0].role"},
      {R"({"role":"user"})", "messages[0].content"},
      {R"({"role":"user","content":"x","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]})",
       "messages[0].role"},
      {R"({"role":"system","content":"x","refusal":"no"})", "messages[0].role"},
      {R"({"role":"user","content":[{"type":"text"}]})", "messages[0].content[0].text"},
      {R"({"role":"user","content":[{"type":"video"}]})", "messages[0].content[0].type"},
      {R"({"role":"user","content":[{"type":"file","file":{"file_id":"f"}}]})",
       "messages[0].content[0].file.file_id"},
      {R"({"role":"tool","content":"x"})", "messages[0].tool_call_id"},
      {R"({"role":"assistant","tool_calls":[{"id":"c","function":{"name":"f","arguments":"[]"}}]})",
       "messages[0].tool_calls[0].function.arguments"},
      {R"({"role":"assistant","audio":{"id":"a"}})", "messages[0].audio"},
  };
  for (const auto& [m, field] : messages) EXPECT_EQ(refused(message(m)).param, field) << m;
}

TEST(openai_chat, images_in_tool_results_follow_in_a_message_of_the_user) {
  chat_request r;
  chat_part result;
  result.kind = part_kind::tool_result;
  result.id = "c1";
  result.result.resize(2);
  result.result[0].text = R"("seen")";
  result.result[1].kind = part_kind::image;
  result.result[1].media_type = "image/png";
  result.result[1].data = "aGk=";
  result.failed = true;
  r.messages.push_back({chat_role::user, {result}});
  std::string out;
  std::vector<std::string> dropped;
  engine::api_error error;
  ASSERT_TRUE(openai_chat().encode_request(r, {.model = "m"}, out, dropped, error));
  EXPECT_EQ(json::parse(out)["messages"],
            json::parse(R"([{"role":"tool","tool_call_id":"c1","content":"seen"},
    {"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,aGk="}}]}])"));
  EXPECT_EQ(dropped, std::vector<std::string>{"is_error"});
}

TEST(openai_chat, data_that_is_no_base64_stays_one_string) {
  const std::string data = R"(AA","detail":"high\)";
  chat_request r;
  chat_part image;
  image.kind = part_kind::image;
  image.media_type = "image/png";
  image.data = data;
  chat_part audio;
  audio.kind = part_kind::audio;
  audio.media_type = "audio/wav";
  audio.data = data;
  r.messages.push_back({chat_role::user, {image, audio}});
  std::string out;
  std::vector<std::string> dropped;
  engine::api_error error;
  ASSERT_TRUE(openai_chat().encode_request(r, {.model = "m"}, out, dropped, error));
  const json content = json::parse(out)["messages"][0]["content"];
  EXPECT_EQ(content[0]["image_url"], json({{"url", "data:image/png;base64," + data}}));
  EXPECT_EQ(content[1]["input_audio"], json({{"data", data}, {"format", "wav"}}));
}

const std::string plain_answer = R"({"id":"chatcmpl-1","object":"chat.completion","created":12,"model":"mine",
  "choices":[{"index":0,"message":{"role":"assistant","content":"hi \ud83d\ude00","refusal":null,
  "reasoning_content":"hm","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]},
  "logprobs":null,"finish_reason":"tool_calls"}],
  "usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":4},
  "completion_tokens_details":{"reasoning_tokens":2}}})";

TEST(openai_chat, what_its_answers_could_not_tell_another_client_is_refused_by_that_clients_name) {
  const auto refused = [](auto&& change) {
    chat_request r;
    r.messages.push_back({chat_role::user, {}});
    r.messages[0].parts.emplace_back().text = R"("x")";
    change(r);
    std::string out;
    std::vector<std::string> dropped;
    engine::api_error error;
    EXPECT_FALSE(openai_chat().encode_request(r, {.model = "m"}, out, dropped, error));
    return error.param;
  };
  EXPECT_EQ(refused([](chat_request& r) { r.choices = 2; }), "generationConfig.candidateCount");
  EXPECT_EQ(refused([](chat_request& r) { r.logprobs = true; }), "generationConfig.responseLogprobs");
  EXPECT_EQ(refused([](chat_request& r) { r.top_logprobs = 2; }), "generationConfig.responseLogprobs");
}

TEST(openai_chat, a_demanded_call_that_ends_with_stop_is_a_call) {
  std::string text = plain_answer;
  text.replace(text.find(R"("tool_calls"})"), 12, R"("stop")");
  chat_answer a;
  ASSERT_TRUE(openai_chat().decode_answer(text, a));
  EXPECT_EQ(a.finish, finish_reason::tool_calls);
  std::vector<finish_reason> ends;
  const auto source = openai_chat().decode_stream();
  source->feed(
      "data: "
      "{\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{"
      "\"name\":\"f\",\"arguments\":\"{}\"}}]}}]}\n\n"
      "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
      [&](const chat_delta& d) {
        if (d.what == chat_delta::kind::finish) ends.push_back(d.finish);
      });
  EXPECT_EQ(ends, std::vector<finish_reason>{finish_reason::tool_calls});
}

TEST(openai_chat, a_thinking_budget_becomes_an_effort) {
  for (const auto& [tokens, effort] :
       {std::pair(1024, "low"), std::pair(8000, "medium"), std::pair(32000, "high")}) {
    chat_request r;
    r.messages.push_back({chat_role::user, {}});
    r.messages[0].parts.emplace_back().text = R"("x")";
    r.thinking = thinking_mode::on;
    r.thinking_tokens = tokens;
    std::string out;
    std::vector<std::string> dropped;
    engine::api_error error;
    ASSERT_TRUE(openai_chat().encode_request(r, {.model = "m"}, out, dropped, error));
    EXPECT_EQ(json::parse(out)["reasoning_effort"], effort);
  }
}

TEST(openai_chat, thinking_that_cannot_be_switched_off_is_told) {
  const auto left_out = [](std::string_view effort, bool thinks) {
    chat_request r;
    r.messages.push_back({chat_role::user, {}});
    r.messages[0].parts.emplace_back().text = R"("x")";
    r.thinking = thinking_mode::off;
    r.effort = effort;
    std::string out;
    std::vector<std::string> dropped;
    engine::api_error error;
    EXPECT_TRUE(openai_chat().encode_request(r, {.model = "m", .thinks = thinks}, out, dropped, error));
    EXPECT_EQ(json::parse(out).value("reasoning_effort", ""), effort);
    return dropped;
  };
  EXPECT_EQ(left_out("", true), std::vector<std::string>{"thinking"});
  EXPECT_EQ(left_out("low", true), std::vector<std::string>{"thinking"});
  EXPECT_TRUE(left_out("none", true).empty()) << "it is sent";
  EXPECT_TRUE(left_out("", false).empty());
}

TEST(openai_chat, an_answer_taken_apart_and_put_together_again_is_the_same) {
  chat_answer a;
  ASSERT_TRUE(openai_chat().decode_answer(plain_answer, a));
  EXPECT_EQ(a.used.cached_tokens, 4);
  std::string out;
  openai_chat().encode_answer(a, {.model = "mine"}, out);
  EXPECT_EQ(json::parse(out), json::parse(plain_answer));
}

TEST(openai_chat, what_is_no_answer_is_refused) {
  chat_answer a;
  for (const char* body :
       {"", "[]", "{}", R"({"choices":[]})", R"({"choices":[{"message":"x"}]})", "{\"choices\":[{"})
    EXPECT_FALSE(openai_chat().decode_answer(body, a)) << body;
}

const std::string stream =
    R"(data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}

: ping

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"hi \ud83d"}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"\ude00"}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"f","arguments":""}}]}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\""}}]}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}

data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}

data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":2}}}

data: [DONE]

)";

/// The whole answer that a stream tells, fed in pieces of `step` bytes.
std::string collected(const std::string& text, std::size_t step) {
  chat_collector c;
  const auto source = openai_chat().decode_stream();
  for (std::size_t i = 0; i < text.size(); i += step) {
    EXPECT_TRUE(source->feed(std::string_view(text).substr(i, step), [&](const chat_delta& d) { c.put(d); }));
  }
  const chat_answer* a = c.answer();
  if (!a) return {};
  std::string out;
  openai_chat().encode_answer(*a, {.model = "mine", .now = 12}, out);
  return out;
}

TEST(openai_chat, a_stream_tells_the_same_as_the_whole_answer_wherever_it_is_cut) {
  for (const std::size_t step : {1U, 2U, 7U, 64U, 100000U})
    EXPECT_EQ(json::parse(collected(stream, step)), json::parse(plain_answer)) << step;
}

TEST(openai_chat, a_stream_written_again_tells_the_same) {
  std::string again;
  const auto source = openai_chat().decode_stream();
  const auto sink = openai_chat().encode_stream({.model = "mine", .now = 12}, true);
  ASSERT_TRUE(source->feed(stream, [&](const chat_delta& d) { sink->put(d, again); }));
  EXPECT_EQ(json::parse(collected(again, 5)), json::parse(plain_answer));
  EXPECT_TRUE(again.ends_with("data: [DONE]\n\n"));
}

TEST(openai_chat, usage_is_told_in_a_stream_only_where_it_was_asked_for) {
  std::string again;
  const auto source = openai_chat().decode_stream();
  const auto sink = openai_chat().encode_stream({.model = "mine"}, false);
  ASSERT_TRUE(source->feed(stream, [&](const chat_delta& d) { sink->put(d, again); }));
  EXPECT_EQ(again.find("usage"), std::string::npos);
}

TEST(openai_chat, a_cut_stream_is_no_answer) {
  EXPECT_EQ(collected(stream.substr(0, stream.find("data: [DONE]")), 9), "");
}

TEST(openai_chat, an_error_event_ends_the_stream) {
  const auto source = openai_chat().decode_stream();
  std::string message;
  int status = 0;
  ASSERT_TRUE(source->feed("data: {\"error\":{\"message\":\"slow down\",\"type\":\"rate_limit_error\"}}\n\n",
                           [&](const chat_delta& d) {
                             ASSERT_EQ(d.what, chat_delta::kind::error);
                             message = d.message;
                             status = d.status;
                           }));
  EXPECT_EQ(message, "slow down");
  EXPECT_EQ(status, 429);
  EXPECT_FALSE(openai_chat().decode_stream()->feed("data: <html>\n\n", [](const chat_delta&) {}));
}

TEST(openai_chat, an_error_body_says_what_is_wrong) {
  EXPECT_EQ(openai_chat().decode_error(R"({"error":{"message":"no such model","code":"x"}})"),
            "no such model");
  EXPECT_EQ(openai_chat().decode_error(R"({"object":"error","message":"vLLM says"})"), "vLLM says");
  EXPECT_EQ(openai_chat().decode_error("<html>"), "");
}

}  // namespace
}  // namespace millrace::http
