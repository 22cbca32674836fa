#include "http/openai_replay.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/openai.hpp"
#include "http/sse.hpp"
#include "tests/http/json_maker.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;
using nlohmann::json;

std::string replayed(const std::string& answer, bool wants_usage = false,
                     route_kind route = route_kind::chat) {
  std::string out = "left over";
  EXPECT_TRUE(openai().replay_stream(route, answer, wants_usage, out)) << answer;
  return out;
}

/// The chunks of a stream; the marker at its end is checked.
std::vector<json> chunks(const std::string& stream) {
  std::vector<json> out;
  sse_splitter splitter;
  sse_event event;
  std::string joined;
  bool done = false;
  splitter.feed(stream);
  while (splitter.next(event) == sse_splitter::result::event) {
    EXPECT_FALSE(done);
    EXPECT_EQ(event.data.size(), 1U);
    const std::string_view payload = sse_payload(event, joined);
    done = payload == "[DONE]";
    if (!done) out.push_back(json::parse(payload));
  }
  EXPECT_TRUE(done) << stream;
  return out;
}

std::string chat_answer(const std::string& choices) {
  return R"({"id":"chatcmpl-1","object":"chat.completion","created":1700000000,"model":"mine","choices":[)" +
         choices +
         R"(],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}},"service_tier":"default","system_fingerprint":"fp_1"})";
}

const std::string text_choice =
    R"({"index":0,"message":{"role":"assistant","content":"Hi \"you\"\n","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"})";

const std::string calls_choice =
    R"({"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"call_2","type":"function","function":{"name":"g","arguments":""}}]},"logprobs":null,"finish_reason":"tool_calls"})";

struct fixture {
  const char* name;
  route_kind route;
  std::string answer;
};

std::vector<fixture> fixtures() {
  const auto chat = [](const char* name, const std::string& choices) {
    return fixture{name, route_kind::chat, chat_answer(choices)};
  };
  return {
      chat("text", text_choice),
      chat("parallel tool calls", calls_choice),
      chat(
          "text and a tool call",
          R"({"index":0,"message":{"role":"assistant","content":"Look:","tool_calls":[{"id":"c","type":"custom","custom":{"name":"x","input":"y"}}]},"finish_reason":"tool_calls"})"),
      chat(
          "function call",
          R"({"index":0,"message":{"role":"assistant","content":null,"function_call":{"name":"f","arguments":"{}"}},"finish_reason":"function_call"})"),
      chat(
          "refusal",
          R"({"index":0,"message":{"role":"assistant","content":null,"refusal":"No, I can't."},"logprobs":{"content":null,"refusal":[{"token":"No","logprob":-0.1,"bytes":[78],"top_logprobs":[]}]},"finish_reason":"stop"})"),
      chat(
          "logprobs",
          R"({"index":0,"message":{"role":"assistant","content":"ab","refusal":null},"logprobs":{"content":[{"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[{"token":"a","logprob":-0.5,"bytes":null}]},{"token":"b","logprob":0,"bytes":null,"top_logprobs":[]}],"refusal":null},"finish_reason":"length"})"),
      chat(
          "several choices",
          text_choice +
              R"(,{"index":1,"message":{"role":"assistant","content":"Two"},"finish_reason":"length"},{"index":4,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"1"}}]},"logprobs":null,"finish_reason":"tool_calls"})"),
      chat(
          "empty content",
          R"({"index":0,"message":{"role":"assistant","content":""},"logprobs":null,"finish_reason":"content_filter"})"),
      chat(
          "unicode",
          R"({"index":0,"message":{"role":"assistant","content":"é中😀\ud83d\ude00\u0000\u00e9 \ud83d"},"finish_reason":"stop"})"),
      chat(
          "reasoning and what nobody knows",
          R"({"index":0,"message":{"role":"assistant","reasoning_content":"Hm.","content":"Yes","annotations":[{"type":"url_citation","url_citation":{"url":"u","start_index":1}}],"audio":{"id":"a","data":"AAAA","expires_at":5,"transcript":"t"},"reasoning_details":[{"type":"reasoning.text","text":"Hm.","format":"f","index":0}],"flag":true,"n":1.50},"content_filter_results":{"hate":{"filtered":false}},"matched_stop":"x","finish_reason":"stop"})"),
      {"extra members", route_kind::chat,
       R"({"choices":[{"message":{"role":"assistant","content":"x"},"index":0,"finish_reason":"stop"}],"provider":"p","citations":["a","b"],"model":"mine","id":"1","object":"chat.completion","created":2,"system_fingerprint":null})"},
      {"pretty printed", route_kind::chat,
       "{\r\n  \"id\": \"1\",\n  \"object\": \"chat.completion\", \"model\": \"mine\", \"x\": {\n\"y\": "
       "[\n]},\n "
       "\"choices\": [\n {\n \"index\": 0,\n \"message\": {\n\t\"role\": \"assistant\",\r \"content\": "
       "\"a\\nb\", "
       "\"z\": {\n \"k\" : [ 1 ,\n 2 ] } },\n \"finish_reason\": \"stop\" } ] }\n"},
      {"completion", route_kind::completions,
       R"({"id":"cmpl-1","object":"text_completion","created":1,"model":"mine","choices":[{"text":" one","index":0,"logprobs":{"tokens":[" one"],"token_logprobs":[-0.2],"top_logprobs":[{" one":-0.2}],"text_offset":[0]},"finish_reason":"length"},{"text":"","index":1,"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}})"},
  };
}

TEST(openai_replay, is_what_the_provider_would_have_streamed) {
  const std::string head =
      R"(data: {"object":"chat.completion.chunk","id":"chatcmpl-1","created":1700000000,"model":"mine","service_tier":"default","system_fingerprint":"fp_1","choices":[)";
  EXPECT_EQ(
      replayed(chat_answer(text_choice)),
      head +
          R"({"index":0,"delta":{"role":"assistant","content":"","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":null}]})" +
          "\n\n" + head +
          R"({"index":0,"delta":{"content":"Hi \"you\"\n"},"logprobs":null,"finish_reason":null}]})" +
          "\n\n" + head + R"({"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]})" +
          "\n\ndata: [DONE]\n\n");
}

TEST(openai_replay, tool_calls_come_one_by_one_with_their_place) {
  const auto all = chunks(replayed(chat_answer(calls_choice)));
  ASSERT_EQ(all.size(), 4U);
  EXPECT_EQ(all[0]["choices"][0]["delta"], json::parse(R"({"role":"assistant","content":null})"));
  EXPECT_EQ(
      all[1]["choices"][0]["delta"],
      json::parse(
          R"({"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]})"));
  EXPECT_EQ(all[2]["choices"][0]["delta"]["tool_calls"][0]["index"], 1);
  EXPECT_EQ(all[3]["choices"][0]["delta"], json::object());
  EXPECT_EQ(all[3]["choices"][0]["finish_reason"], "tool_calls");
}

TEST(openai_replay, usage_is_for_those_who_asked) {
  const auto without = chunks(replayed(chat_answer(text_choice)));
  for (const auto& chunk : without) EXPECT_FALSE(chunk.contains("usage"));
  const auto with = chunks(replayed(chat_answer(text_choice), true));
  ASSERT_EQ(with.size(), without.size() + 1);
  for (size_t i = 0; i < without.size(); ++i) EXPECT_TRUE(with[i].at("usage").is_null());
  EXPECT_EQ(with.back()["choices"], json::array());
  EXPECT_EQ(with.back()["usage"]["total_tokens"], 13);
  EXPECT_EQ(with.back()["id"], "chatcmpl-1");
}

TEST(openai_replay, a_replay_put_together_is_the_answer) {
  for (const auto& f : fixtures()) {
    for (const bool wants_usage : {false, true}) {
      SCOPED_TRACE(f.name);
      const std::string stream = replayed(f.answer, wants_usage, f.route);
      std::string out;
      engine::usage used;
      ASSERT_TRUE(openai().collect_answer(f.route, stream, "mine", out, used)) << stream;
      // Lone surrogates are beyond the other parser; here they only have to be the same text.
      const auto meaning = [](std::string text) {
        for (size_t at = text.find(" \\ud83d\""); at != std::string::npos; at = text.find(" \\ud83d\""))
          text.replace(at, 7, "lone");
        return json::parse(text);
      };
      json expected = meaning(f.answer);
      if (!wants_usage) expected.erase("usage");
      EXPECT_EQ(meaning(out), expected) << stream;
      EXPECT_EQ(used.known, expected.contains("usage"));
      std::string again;
      ASSERT_TRUE(openai().collect_answer(f.route, replayed(out, wants_usage, f.route), "mine", again, used));
      EXPECT_EQ(meaning(again), expected);
    }
  }
}

TEST(openai_replay, passes_the_reader_of_streams) {
  for (const auto& f : fixtures()) {
    for (const bool wants_usage : {false, true}) {
      SCOPED_TRACE(f.name);
      const std::string stream = replayed(f.answer, wants_usage, f.route);
      const auto reader = openai().read_stream(f.route, "mine", wants_usage);
      std::string out;
      EXPECT_EQ(reader->feed(stream, out), engine::stream_reader::state::done);
      EXPECT_EQ(out, stream);
      const bool told = wants_usage && f.answer.find("\"usage\"") != std::string::npos;
      EXPECT_EQ(reader->seen_usage().known, told);
      if (told && f.route == route_kind::chat) {
        EXPECT_EQ(reader->seen_usage().input_tokens, 9);
        EXPECT_EQ(reader->seen_usage().output_tokens, 4);
        EXPECT_EQ(reader->seen_usage().cached_tokens, 3);
        EXPECT_EQ(reader->seen_usage().reasoning_tokens, 2);
      }
    }
  }
}

TEST(openai_replay, refuses_what_is_no_such_answer) {
  const auto refused = [](const std::string& answer, route_kind route = route_kind::chat) {
    std::string out = "left over";
    EXPECT_FALSE(openai().replay_stream(route, answer, true, out)) << answer;
    EXPECT_EQ(out, "");
  };
  for (const char* answer :
       {"", "null", "[]", "{}", "{", R"({"choices":[]})", R"({"choices":null})", R"({"choices":{}})",
        R"({"choices":[1]})", R"({"choices":[{"index":0,"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"message":{"content":"x"}}]})",
        R"({"choices":[{"index":0,"message":{"content":"x"},"finish_reason":null}]})",
        R"({"choices":[{"index":0,"message":"x","finish_reason":"stop"}]})",
        R"({"choices":[{"index":-1,"message":{},"finish_reason":"stop"}]})",
        R"({"choices":[{"index":"0","message":{},"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"message":{"tool_calls":{"a":1}},"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"message":{"tool_calls":[1]},"finish_reason":"stop"}]})",
        R"({"choices":[{"index":0,"text":"x","finish_reason":"stop"}]})"}) {
    refused(answer);
  }
  refused(chat_answer(text_choice + "," + text_choice));
  refused(chat_answer(text_choice) + "x");
  refused("{\"error\":{\"message\":\"x\"}," + chat_answer(text_choice).substr(1));
  refused(chat_answer(R"({"index":0,"message":{"content":"a)"
                      "\n"
                      R"(b"},"finish_reason":"stop"})"));
  refused(chat_answer("{\"index\":0,\"message\":{\"content\":\"\xff\"},\"finish_reason\":\"stop\"}"));
  refused(chat_answer(text_choice), route_kind::embeddings);
  refused(chat_answer(text_choice), route_kind::completions);
}

TEST(openai_replay, random_answers_come_back) {
  for (unsigned seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    std::vector<std::string> choices;
    for (size_t i = 0; i <= maker.below(3); ++i) {
      const std::string message =
          maker.object_with({R"("role":"assistant")", "\"content\":" + maker.value(0)});
      choices.push_back(maker.object_with(
          {"\"index\":" + std::to_string(i), "\"message\":" + message, R"("finish_reason":"stop")"}));
    }
    std::string list;
    for (const auto& c : choices) list += (list.empty() ? "" : ",") + c;
    const std::string answer = maker.object_with(
        {R"("object":"chat.completion")", R"("model":"mine")", "\"choices\":[" + list + "]"});
    const std::string stream = replayed(answer);
    std::string out;
    engine::usage used;
    ASSERT_TRUE(openai().collect_answer(route_kind::chat, stream, "mine", out, used)) << answer;
    ASSERT_EQ(json::parse(out), json::parse(answer)) << stream;
  }
}

}  // namespace
}  // namespace millrace::http
