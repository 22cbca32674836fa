#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/dialects/closed_schema.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/openai_answer.hpp"
#include "tests/http/delta_line.hpp"

/// What servers do that speak OpenAI's API otherwise than OpenAI, and what OpenAI takes from other dialects.
namespace millrace::http {
namespace {

using nlohmann::json;
using state = engine::stream_reader::state;

std::string call(const std::string& index, const std::string& id, const std::string& name,
                 const std::string& arguments) {
  return "{" + (index.empty() ? "" : "\"index\":" + index + ",") +
         (id.empty() ? "" : "\"id\":\"" + id + "\",") + R"("type":"function","function":{)" +
         (name.empty() ? "" : "\"name\":\"" + name + "\",") + "\"arguments\":" + arguments + "}}";
}

std::string chunk(const std::string& delta, const std::string& finish = "null") {
  return R"(data: {"id":"x","choices":[{"index":0,"delta":)" + delta + R"(,"finish_reason":)" + finish +
         "}]}\n\n";
}

std::string calls(const std::vector<std::string>& all) {
  std::string out;
  for (const auto& c : all) out += chunk(R"({"tool_calls":[)" + c + "]}");
  return out;
}

std::vector<std::string> told(const std::string& stream) {
  std::vector<std::string> out;
  const auto source = openai_chat().decode_stream();
  const auto note = [&out](const chat_delta& d) {
    if (d.what != chat_delta::kind::start) out.push_back(line_of(d));
  };
  source->feed(stream, note);
  source->end(note);
  return out;
}

TEST(openai_servers, parallel_calls_are_told_apart_however_they_are_numbered) {
  const std::vector<std::string> expected = {"call 0 c1 f", R"(arguments 0 "{\"a\":1}")", "call 1 c2 g",
                                             R"(arguments 1 "{\"b\":2}")"};
  const std::string a = R"("{\"a\":1}")";
  const std::string b = R"("{\"b\":2}")";
  EXPECT_EQ(told(calls({call("0", "c1", "f", a), call("1", "c2", "g", b)})), expected);
  EXPECT_EQ(told(calls({call("1", "c1", "f", a), call("2", "c2", "g", b)})), expected) << "from 1";
  EXPECT_EQ(told(calls({call("0", "c1", "f", a), call("0", "c2", "g", b)})), expected) << "Ollama";
  EXPECT_EQ(told(calls({call("", "c1", "f", a), call("", "c2", "g", b)})), expected) << "no index";
  EXPECT_EQ(told(calls({call("\"0\"", "c1", "f", a), call("\"1\"", "c2", "g", b)})), expected) << "texts";
  EXPECT_EQ(told(calls({call("0", "c1", "f", R"({"a":1})"), call("1", "c2", "g", R"({"b":2})")})), expected)
      << "objects";
}

TEST(openai_servers, pieces_go_to_their_call) {
  const std::vector<std::string> expected = {"call 0 c1 f", R"(arguments 0 "{\"a\"")",
                                             R"(arguments 0 ":1}")"};
  const std::string first = R"("{\"a\"")";
  const std::string rest = "\":1}\"";
  EXPECT_EQ(told(calls({call("0", "c1", "f", first), call("0", "", "", rest)})), expected);
  EXPECT_EQ(told(calls({call("0", "c1", "f", first), call("0", "c1", "f", rest)})), expected) << "said again";
  EXPECT_EQ(told(calls({call("", "c1", "f", first), call("", "", "", rest)})), expected);
  EXPECT_EQ(told(calls({call("0", "c", "f", "\"{}\""), call("1", "c", "g", "\"{}\"")})).at(2), "call 1 c_1 g")
      << "an id is of one call";
  EXPECT_EQ(told(calls({call("0", "c1", "f", first), call("0", "c9", "", rest)})), expected)
      << "a new id each time";
  EXPECT_EQ(told(calls({call("0", "c1", "", "\"\""), call("0", "", "f", first), call("0", "", "", rest)})),
            expected)
      << "the name comes later";
  EXPECT_EQ(told(calls({call("0", "c1", "f", first), call("7", "", "", rest)})).back(),
            "error 0 The provider sent arguments of a call without a name.");
}

TEST(openai_servers, calls_of_one_index_do_not_become_one_in_a_kept_answer) {
  const auto kept = [](const std::string& second) {
    const std::string stream = chunk(R"({"role":"assistant"})") +
                               calls({call("0", "c1", "f", "\"{}\""), second}) +
                               chunk("{}", "\"tool_calls\"") + "data: [DONE]\n\n";
    std::string out;
    engine::usage used;
    return openai().collect_answer(engine::route_kind::chat, stream, "m", out, used);
  };
  EXPECT_TRUE(kept(call("1", "c2", "g", "\"{}\"")));
  EXPECT_FALSE(kept(call("0", "c2", "f", "\"{}\"")));
  EXPECT_FALSE(kept(call("0", "", "g", "\"{}\"")));
  EXPECT_TRUE(kept(call("0", "c1", "f", "\"\""))) << "said again";
}

TEST(openai_servers, more_calls_than_can_be_followed_are_a_failure) {
  std::string stream;
  for (int i = 0; i < 1025; ++i)
    stream += calls({call(std::to_string(i), "c" + std::to_string(i), "f", "\"\"")});
  EXPECT_TRUE(told(stream).back().starts_with("error 0 The provider's answer calls more tools"));
}

TEST(openai_servers, content_may_be_a_list_of_parts) {
  const std::string parts =
      R"([{"type":"thinking","thinking":[{"type":"text","text":"Hm"}]},{"type":"text","text":"Hello"}])";
  EXPECT_EQ(told(chunk("{\"content\":" + parts + "}")),
            (std::vector<std::string>{"thinking \"Hm\"", "text \"Hello\""}));
  const std::string whole =
      R"({"choices":[{"message":{"role":"assistant","content":)" + parts + R"(},"finish_reason":"stop"}]})";
  chat_answer a;
  ASSERT_TRUE(openai_chat().decode_answer(whole, a));
  ASSERT_EQ(a.parts.size(), 2U);
  EXPECT_EQ(a.parts[0].kind, part_kind::thinking);
  EXPECT_EQ(a.parts[1].text, "\"Hello\"");
}

TEST(openai_servers, an_answer_that_says_it_failed_is_none) {
  const std::string hello = chunk(R"({"content":"Hel"})");
  const std::string done = "data: [DONE]\n\n";
  const std::string failures[] = {
      "data: {\"object\":\"error\",\"message\":\"engine "
      "died\",\"type\":\"InternalServerError\",\"code\":500}\n\n",
      "event: error\ndata: {\"message\":\"engine died\"}\n\n", chunk("{}", "\"error\""),
      chunk("{}", "\"insufficient_system_resource\"")};
  for (const std::string& failure : failures) {
    EXPECT_TRUE(told(hello + failure + done).back().starts_with("error ")) << failure;
    std::string out;
    engine::usage used;
    const auto reader = openai().read_stream(engine::route_kind::chat, "m", true);
    EXPECT_EQ(reader->feed(hello + failure + done, out), state::failed) << failure;
    EXPECT_EQ(out, hello) << "the client is told by an event of its own";
    EXPECT_FALSE(openai().collect_answer(engine::route_kind::chat, hello + failure + done, "m", out, used));
  }
  std::string out;
  engine::usage used;
  const std::string plain =
      R"({"choices":[{"message":{"content":"Hel"},"finish_reason" : "error"}],"usage":{"prompt_tokens":3,"completion_tokens":1}})";
  EXPECT_FALSE(openai().rewrite_answer(engine::route_kind::chat, plain, "m", out, used));
  EXPECT_EQ(used.input_tokens, 3) << "it was told, and is paid";
  for (
      const char* good :
      {R"({"choices":[{"message":{"content":"\"finish_reason\":\"error\""},"finish_reason":"stop"}]})",
       R"({"metadata":{"finish_reason":"error"},"choices":[{"message":{"x":{"finish_reason":"abort"}},"finish_reason":"stop"}]})"})
    EXPECT_TRUE(openai().rewrite_answer(engine::route_kind::chat, good, "m", out, used)) << good;
  EXPECT_FALSE(openai().rewrite_answer(engine::route_kind::chat, R"({"object":"error","message":"x"})", "m",
                                       out, used));
}

TEST(openai_servers, what_a_failed_answer_used_is_read_behind_its_end) {
  const std::string stream =
      chunk(R"({"content":"Hel"})") + chunk("{}", "\"error\"") +
      "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":20}}\n\n"
      "data: [DONE]\n\n";
  for (const size_t step : {size_t{1}, stream.size()}) {
    const auto reader = openai().read_stream(engine::route_kind::chat, "m", true);
    std::string out;
    for (size_t at = 0; at < stream.size(); at += step)
      reader->feed(std::string_view(stream).substr(at, step), out);
    EXPECT_EQ(reader->feed("", out), state::failed);
    EXPECT_EQ(out, chunk(R"({"content":"Hel"})"));
    EXPECT_EQ(reader->seen_usage().input_tokens, 100);
  }
  const auto all = told(stream);
  ASSERT_GE(all.size(), 2U);
  EXPECT_EQ(all[all.size() - 2], "usage 100/0 20/0");
  EXPECT_TRUE(all.back().starts_with("error 0 The provider ended its answer")) << all.back();
  const auto first = openai().read_stream(engine::route_kind::chat, "m", true);
  std::string out;
  EXPECT_EQ(first->feed(chunk("{}", "\"error\""), out), state::preamble)
      << "another target may still be asked";
}

engine::usage usage_of(const std::string& literal) {
  engine::usage used;
  json_scanner scanner(literal);
  read_openai_usage(scanner, used);
  return used;
}

TEST(openai_servers, what_is_used_is_counted_whatever_it_is_called) {
  const auto xai = usage_of(
      R"({"prompt_tokens":32,"completion_tokens":14,"total_tokens":356,"completion_tokens_details":{"reasoning_tokens":310}})");
  EXPECT_EQ(xai.output_tokens, 324);
  EXPECT_EQ(xai.reasoning_tokens, 310);
  const auto own = usage_of(
      R"({"prompt_tokens":32,"completion_tokens":324,"total_tokens":356,"completion_tokens_details":{"reasoning_tokens":310}})");
  EXPECT_EQ(own.output_tokens, 324);
  const auto deepseek =
      usage_of(R"({"prompt_tokens":100,"completion_tokens":20,"prompt_cache_hit_tokens":64})");
  EXPECT_EQ(deepseek.cached_tokens, 64);
}

TEST(openai_servers, counts_that_do_not_add_up_stay_as_they_are) {
  EXPECT_EQ(usage_of(R"({"completion_tokens":20,"reasoning_tokens":11,"total_tokens":30})").output_tokens,
            20);
}

TEST(openai_servers, counts_that_nobody_can_have_used_are_none) {
  const auto huge = usage_of(
      R"({"prompt_tokens":9223372036854775807,"completion_tokens":1000000001,"total_tokens":1000000000,"reasoning_tokens":1})");
  EXPECT_FALSE(huge.known) << "so what was sent and heard is reckoned";
  EXPECT_EQ(huge.input_tokens, 0);
  EXPECT_EQ(huge.output_tokens, 0);
  EXPECT_EQ(usage_of(R"({"prompt_tokens":1000000000})").input_tokens, 1'000'000'000);
}

TEST(openai_servers, a_last_line_without_an_empty_one_counts_where_the_body_ends_well) {
  const std::string stream = chunk(R"({"content":"a"})", "\"stop\"") + "data: [DONE]\n";
  EXPECT_EQ(told(stream).back(), "done");
  std::string out;
  const auto reader = openai().read_stream(engine::route_kind::chat, "m", true);
  EXPECT_EQ(reader->feed(stream, out), state::content);
  EXPECT_EQ(reader->end(out), state::done);
  EXPECT_EQ(out, stream + "\n");
  const auto cut = openai().read_stream(engine::route_kind::chat, "m", true);
  cut->feed(stream.substr(0, stream.size() - 1), out);
  EXPECT_EQ(cut->end(out), state::content) << "a piece of a line is none";
  engine::usage used;
  const std::string whole = chunk(R"({"role":"assistant","content":"a"})", "\"stop\"") + "data: [DONE]\n";
  EXPECT_TRUE(openai().collect_answer(engine::route_kind::chat, whole, "m", out, used))
      << "what is told can be kept";
  std::string cr = whole;
  for (char& c : cr)
    if (c == '\n') c = '\r';
  EXPECT_TRUE(openai().collect_answer(engine::route_kind::chat, cr, "m", out, used));
}

// --- requests

json encoded(const chat_request& r, std::vector<std::string>& dropped, bool stream_usage = true) {
  std::string out;
  engine::api_error error;
  EXPECT_TRUE(
      openai_chat().encode_request(r, {.model = "m", .stream_usage = stream_usage}, out, dropped, error));
  return json::parse(out);
}

chat_request asking(json_literal text) {
  chat_request r;
  r.messages.push_back({chat_role::user, {}});
  r.messages[0].parts.emplace_back().text = text;
  return r;
}

TEST(openai_servers, strictness_is_asked_for_only_where_the_schema_can_have_it) {
  const std::string closed =
      R"({"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false})";
  const std::string optional =
      R"({"type":"object","properties":{"a":{"type":"string"}},"additionalProperties":false})";
  EXPECT_TRUE(takes_strictly(closed));
  EXPECT_FALSE(takes_strictly(optional));
  EXPECT_FALSE(takes_strictly(R"({"type":"object","properties":{"a":{"type":"string"}},"required":["a"]})"));
  EXPECT_FALSE(takes_strictly(R"({"anyOf":[)" + optional + "]}"));
  const auto around = [](const std::string& inner, const std::string& more = "") {
    return R"({"type":"object","properties":{"properties":)" + inner +
           R"(},"required":["properties"],"additionalProperties":false)" + more + "}";
  };
  EXPECT_TRUE(
      takes_strictly(around(R"({"anyOf":[)" + closed + R"(,{"type":"null"}],"default":{"type":"object"}})")));
  EXPECT_FALSE(takes_strictly(around(R"({"anyOf":[)" + optional + "]}")));
  EXPECT_FALSE(takes_strictly(around(R"({"type":["object","null"]})"))) << "open";
  EXPECT_FALSE(takes_strictly(around(R"({"type":"string"})", R"(,"anyOf":[])")));
  chat_request r = asking(R"("x")");
  r.format = answer_format::schema;
  r.schema = optional;
  r.schema_strict = true;
  std::vector<std::string> dropped;
  EXPECT_EQ(encoded(r, dropped)["response_format"]["json_schema"]["strict"], false);
  EXPECT_EQ(dropped, std::vector<std::string>{"strict"});
  r.schema = closed;
  dropped.clear();
  EXPECT_EQ(encoded(r, dropped)["response_format"]["json_schema"]["strict"], true);
  EXPECT_TRUE(dropped.empty());
}

TEST(openai_servers, json_mode_comes_with_the_word_that_it_needs) {
  std::vector<std::string> dropped;
  chat_request r = asking(R"("a list")");
  r.format = answer_format::json;
  EXPECT_EQ(encoded(r, dropped)["messages"].size(), 2U);
  EXPECT_NE(encoded(r, dropped)["messages"][0]["content"].get<std::string>().find("JSON"), std::string::npos);
  r.messages[0].parts[0].text = R"("a list in Json")";
  EXPECT_EQ(encoded(r, dropped)["messages"].size(), 1U);
}

TEST(openai_servers, long_ids_are_shortened_alike_for_calls_and_results) {
  const std::string id = "toolu_" + std::string(60, 'x');
  const std::string other = "toolu_" + std::string(59, 'x') + "y";
  chat_request r = asking(R"("x")");
  chat_message& calls = r.messages.emplace_back();
  calls.role = chat_role::assistant;
  for (int i = 0; i < 2; ++i) {
    chat_part& c = calls.parts.emplace_back();
    c.kind = part_kind::tool_call;
    c.name = "f";
    c.arguments = "{}";
  }
  calls.parts[0].id = id;
  calls.parts[1].id = other;
  chat_part& result = r.messages.emplace_back().parts.emplace_back();
  result.kind = part_kind::tool_result;
  result.id = other;
  std::vector<std::string> dropped;
  const json m = encoded(r, dropped)["messages"];
  const std::string first = m[1]["tool_calls"][0]["id"];
  const std::string second = m[1]["tool_calls"][1]["id"];
  EXPECT_EQ(first.size(), 40U);
  EXPECT_NE(first, second);
  EXPECT_EQ(m[2]["tool_call_id"], second);
}

TEST(openai_servers, who_refuses_to_be_asked_for_usage_is_not_asked) {
  std::vector<std::string> dropped;
  chat_request r = asking(R"("x")");
  r.stream = true;
  EXPECT_TRUE(encoded(r, dropped).contains("stream_options"));
  EXPECT_FALSE(encoded(r, dropped, false).contains("stream_options"));
}

}  // namespace
}  // namespace millrace::http
