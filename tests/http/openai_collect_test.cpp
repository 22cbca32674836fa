#include "http/openai_collect.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/delta_merge.hpp"
#include "http/openai.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;
using nlohmann::json;

std::string event(const std::string& payload) {
  return "data: " + payload + "\n\n";
}

std::string chunk(const std::string& choices, const std::string& more = "") {
  return event(
      R"({"id":"c1","object":"chat.completion.chunk","created":1,"model":"theirs","system_fingerprint":"fp","obfuscation":"aBc","choices":[)" +
      choices + "]" + more + "}");
}

std::string delta(const std::string& members, int index = 0) {
  return chunk(R"({"index":)" + std::to_string(index) + R"(,"delta":{)" + members +
               R"(},"logprobs":null,"finish_reason":null})");
}

std::string finish(const std::string& reason = "stop", int index = 0) {
  return chunk(R"({"index":)" + std::to_string(index) + R"(,"delta":{},"logprobs":null,"finish_reason":")" +
               reason + "\"}");
}

const std::string role = delta(R"("role":"assistant","content":"","refusal":null)");
const std::string usage = chunk(
    "",
    R"(,"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3}})");
const std::string done = "data: [DONE]\n\n";

bool refused(const std::string& stream, route_kind route = route_kind::chat) {
  std::string out = "left over";
  engine::usage used;
  used.known = true;
  const bool whole = openai().collect_answer(route, stream, "mine", out, used);
  EXPECT_TRUE(whole || (out.empty() && !used.known)) << out;
  return !whole;
}

json collected(const std::string& stream, route_kind route = route_kind::chat) {
  std::string out = "left over";
  engine::usage used;
  EXPECT_TRUE(openai().collect_answer(route, stream, "mine", out, used)) << stream;
  return json::parse(out, nullptr, false);
}

json message(const std::string& deltas) {
  return collected(deltas + finish() + done)["choices"][0]["message"];
}

TEST(openai_collect, is_the_plain_answer) {
  const std::string stream =
      role + delta(R"("content":"Hel")") + delta(R"("content":"lo")") + finish() + usage + done;
  EXPECT_EQ(
      collected(stream),
      json::parse(
          R"({"id":"c1","object":"chat.completion","created":1,"model":"mine","system_fingerprint":"fp","choices":[{"index":0,"message":{"role":"assistant","content":"Hello","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3}}})"));
  std::string out;
  engine::usage used;
  ASSERT_TRUE(openai().collect_answer(route_kind::chat, stream, "a \"b\"", out, used));
  EXPECT_EQ(json::parse(out)["model"], "a \"b\"");
  EXPECT_TRUE(used.known);
  EXPECT_EQ(used.input_tokens, 9);
  EXPECT_EQ(used.output_tokens, 4);
  EXPECT_EQ(used.cached_tokens, 3);
}

TEST(openai_collect, any_framing_is_the_same_stream) {
  const std::string stream = role + delta(R"("content":"Hello")") + finish() + usage + done;
  const json plain = collected(stream);
  const auto each_line = [&](const std::string& from, const std::string& to) {
    std::string out;
    for (size_t at = 0; at < stream.size();) {
      const bool hit = stream.compare(at, from.size(), from) == 0;
      out += hit ? to : stream.substr(at, 1);
      at += hit ? from.size() : 1;
    }
    return out;
  };
  EXPECT_EQ(collected(each_line("\n", "\r\n")), plain);
  EXPECT_EQ(collected(each_line("\n", "\r")), plain);
  EXPECT_EQ(collected(each_line("data: ", "data:")), plain);
  EXPECT_EQ(collected(each_line("data: ", ": ping\n\nid: 7\nevent: message\ndata: ")), plain);
  EXPECT_EQ(collected(each_line(",\"choices\"", ",\ndata: \"choices\"")), plain);
  EXPECT_EQ(collected("\xEF\xBB\xBF: hello\n\n\n\ndata:\n\n" + stream + "data: what follows is ignored\n\n"),
            plain);
}

TEST(openai_collect, tool_calls_grow_at_their_place) {
  const auto call = [](const std::string& list) { return delta("\"tool_calls\":[" + list + "]"); };
  const json expected = json::parse(
      R"({"role":"assistant","content":null,"tool_calls":[{"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}},{"id":"b","type":"function","function":{"name":"g","arguments":"{}"}}]})");
  const std::string first = delta(R"("role":"assistant","content":null)");
  EXPECT_EQ(
      message(first +
              call(R"({"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}})") +
              call(R"({"index":0,"function":{"arguments":"{\"x\""}})") +
              call(R"({"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{"}})") +
              call(R"({"index":0,"function":{"arguments":":1}"}},{"index":1,"function":{"arguments":"}"}})")),
      expected);
  // Names again in every piece, places out of order.
  EXPECT_EQ(
      message(first +
              call(R"({"function":{"name":"g","arguments":"{"},"index":1,"id":"b","type":"function"})") +
              call(R"({"index":0,"id":"","function":{"name":null,"arguments":"{\"x\":"}})") +
              call(R"({"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"}"}})") +
              call(R"({"index":0,"id":"a","type":"function","function":{"name":"f","arguments":"1}"}})")),
      expected);
}

TEST(openai_collect, pieces_without_a_place_are_not_guessed_at) {
  const std::string one = delta(R"("tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}])");
  const std::string other = delta(R"("tool_calls":[{"id":"b","function":{"name":"f","arguments":"{}"}}])");
  EXPECT_EQ(message(one)["tool_calls"].size(), 1U);
  EXPECT_TRUE(refused(one + other + finish() + done));
  EXPECT_TRUE(refused(delta(R"("content":"a")") + delta(R"("content":{"b":1})") + finish() + done));
  EXPECT_TRUE(refused(delta(R"("tool_calls":[{"index":0,"id":"a"}])") + other + finish() + done));
}

TEST(openai_collect, whatever_a_delta_holds_is_merged) {
  const std::string deltas =
      delta(R"("reasoning_content":"a","x":{"y":{"z":"1","n":1},"type":"t"},"f":false,"empty":[])") +
      delta(R"("reasoning_content":null,"x":{"y":{"z":"2","n":2,"m":null},"type":"t"},"f":true,"late":[1])") +
      delta(R"("refusal":"no","late":[],"x":{})");
  EXPECT_EQ(
      message(deltas),
      json::parse(
          R"({"role":"assistant","content":null,"refusal":"no","reasoning_content":"a","empty":[],"late":[1],"x":{"y":{"z":"12","n":2,"m":null},"type":"t"},"f":true})"));
}

TEST(openai_collect, texts_are_joined_as_they_are_escaped) {
  EXPECT_EQ(message(delta(R"("content":"\u00e9\ud83d")") + delta(R"("c\u006fntent":"\ude00\"")"))["content"],
            "é😀\"");
}

TEST(openai_collect, choices_are_told_apart_and_ordered) {
  const json answer = collected(
      delta(R"("role":"assistant","content":"b")", 1) + delta(R"("role":"assistant","content":"a")", 0) +
      chunk(R"({"index":1,"delta":{"content":"B"}},{"index":0,"delta":{"content":"A"},"finish_reason":""})") +
      finish("length", 1) + finish("stop", 0) + done);
  ASSERT_EQ(answer["choices"].size(), 2U);
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "aA");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["choices"][1]["message"]["content"], "bB");
  EXPECT_EQ(answer["choices"][1]["index"], 1);
  EXPECT_EQ(answer["choices"][1]["finish_reason"], "length");
}

TEST(openai_collect, logprobs_append) {
  const auto token = [](const std::string& t) {
    return chunk(R"({"index":0,"delta":{"content":")" + t + R"("},"logprobs":{"content":[{"token":")" + t +
                 R"(","logprob":-1,"bytes":[1],"top_logprobs":[]}],"refusal":null},"finish_reason":null})");
  };
  const json choice = collected(role + token("a") + token("b") + finish() + done)["choices"][0];
  EXPECT_EQ(choice["message"]["content"], "ab");
  EXPECT_EQ(
      choice["logprobs"],
      json::parse(
          R"({"content":[{"token":"a","logprob":-1,"bytes":[1],"top_logprobs":[]},{"token":"b","logprob":-1,"bytes":[1],"top_logprobs":[]}],"refusal":null})"));
}

TEST(openai_collect, completions) {
  const auto piece = [](const std::string& choice, const std::string& more = "") {
    return event(R"({"id":"c","object":"text_completion","created":1,"model":"theirs","choices":[)" + choice +
                 "]" + more + "}");
  };
  const std::string stream =
      piece(R"({"text":"a","index":0,"logprobs":{"tokens":["a"],"text_offset":[0]},"finish_reason":null})") +
      piece(
          R"({"text":"b","index":0,"logprobs":{"tokens":["b"],"text_offset":[1]},"finish_reason":"length"})") +
      piece("", R"(,"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3})") + done;
  EXPECT_EQ(
      collected(stream, route_kind::completions),
      json::parse(
          R"({"id":"c","object":"text_completion","created":1,"model":"mine","choices":[{"text":"ab","index":0,"logprobs":{"tokens":["a","b"],"text_offset":[0,1]},"finish_reason":"length"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})"));
  EXPECT_TRUE(refused(stream, route_kind::chat));
  EXPECT_TRUE(refused(stream, route_kind::embeddings));
  EXPECT_TRUE(refused(role + finish() + done, route_kind::completions));
}

TEST(openai_collect, a_cut_stream_is_refused_wherever_it_is_cut) {
  const std::string stream = role + delta(R"("content":"Hello")") + finish() + usage + "data: [DONE]\r\n\r\n";
  const size_t last_line = stream.size() - 4;  // that it has a blank one behind it is not asked for
  for (size_t end = 0; end <= last_line; ++end) ASSERT_TRUE(refused(stream.substr(0, end))) << end;
  EXPECT_FALSE(refused(stream));
  EXPECT_TRUE(refused(stream.substr(0, stream.find("data: [DONE]"))));
}

TEST(openai_collect, what_did_not_end_well_is_refused) {
  EXPECT_TRUE(refused(role + delta(R"("content":"x")") + done)) << "no finish reason";
  EXPECT_TRUE(refused(role + delta(R"("content":"x")", 1) + finish() + done)) << "one choice has none";
  EXPECT_TRUE(refused(usage + done)) << "no choice";
  EXPECT_TRUE(refused(done));
  for (const std::string& bad : std::vector<std::string>{
           event(R"({"error":{"message":"x"}})"), event(R"({"error":"x","choices":[]})"),
           "event: error\n" + event(R"({"message":"x"})"), event("x"), event("[]"), event("{}x"),
           event("{\"a\":}"), event("{\"a\":\"\xff\"}"), event(R"({"choices":{}})"),
           event(R"({"choices":[1]})"), chunk(R"({"index":-1,"delta":{}})"),
           chunk(R"({"index":0,"delta":[]})"), chunk(R"({"index":0,"message":{"content":"x"}})")}) {
    EXPECT_TRUE(refused(role + bad + finish() + done)) << bad;
  }
  EXPECT_FALSE(refused(role + event(R"({"error":null,"choices":[]})") + finish() + done));
}

TEST(openai_collect, bounds_hold) {
  std::string many;
  for (size_t i = 0; i <= max_merged_parts; ++i) many += delta(R"("k)" + std::to_string(i) + R"(":1)");
  EXPECT_TRUE(refused(many + finish() + done));
  many.clear();
  for (size_t i = 0; i <= max_merged_parts; ++i)
    many += delta(R"("tool_calls":[{"index":)" + std::to_string(i) + "}]");
  EXPECT_TRUE(refused(many + finish() + done));
  many.clear();
  for (size_t i = 0; i <= max_merged_parts; ++i) many += finish("stop", static_cast<int>(i));
  EXPECT_TRUE(refused(many + done));
  std::string deep = "1";
  for (int i = 0; i < max_merge_depth; ++i) deep = "{\"a\":" + deep + "}";
  EXPECT_TRUE(refused(delta("\"x\":" + deep) + finish() + done));
}

}  // namespace
}  // namespace millrace::http
