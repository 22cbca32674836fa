#include "http/openai_stream.hpp"
#include "http/event_reader.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/openai.hpp"
#include "http/sse.hpp"
#include "tests/http/json_maker.hpp"

namespace millrace::http {
namespace {

using state = engine::stream_reader::state;

std::unique_ptr<engine::stream_reader> reader(bool wants_usage = false) {
  return openai().read_stream(engine::route_kind::chat, "mine", wants_usage);
}

/// What a client gets of a stream that comes in one piece.
std::string passed(const std::string& stream, bool wants_usage = false) {
  std::string out;
  reader(wants_usage)->feed(stream, out);
  return out;
}

state state_after(const std::string& stream) {
  std::string out;
  return reader()->feed(stream, out);
}

std::string event(const std::string& json) {
  return "data: " + json + "\n\n";
}

std::string chunk(const std::string& choice, const std::string& more = "") {
  return R"({"id":"c1","object":"chat.completion.chunk","created":1,"model":"theirs","choices":[)" + choice +
         "]" + more + "}";
}

const std::string role =
    R"({"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null})";
const std::string usage =
    R"("usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3},"completion_tokens_details":{"reasoning_tokens":2}})";

TEST(openai_stream, replaces_only_the_model) {
  EXPECT_EQ(passed(event(R"({ "x":{"model":"theirs"}, "model" : "theirs" ,"s":"model"})")),
            event(R"({ "x":{"model":"theirs"}, "model" : "mine" ,"s":"model"})"));
  EXPECT_EQ(passed("event: message\nid:7\ndata:{\"model\":null}\nretry: 1\n\n"),
            "event: message\nid:7\ndata:{\"model\":\"mine\"}\nretry: 1\n\n");
  EXPECT_EQ(passed(event(R"({"mo\u0064el":"theirs"})")), event(R"({"mo\u0064el":"mine"})"));
}

TEST(openai_stream, passes_comments_and_unknown_fields) {
  const std::string stream = ": ping\n\n\n: two\nid: 1\n\n";
  EXPECT_EQ(passed(stream), stream);
}

TEST(openai_stream, edits_payloads_spread_over_lines) {
  EXPECT_EQ(
      passed("data: {\"a\":1,\r\ndata:\"model\":\r\n: in between\r\ndata:  \"theirs\"\r\ndata: , "
             "\"usage\"\r\ndata::null}\r\n\r\n"),
      "data: {\"a\":1,\r\ndata:\"model\":\r\n: in between\r\ndata:  \"mine\"\r\ndata: \r\ndata:}\r\n\r\n");
}

TEST(openai_stream, the_usage_chunk_is_for_those_who_asked) {
  const std::string last = event(chunk("", "," + usage));
  const std::string mine = std::string(last).replace(last.find("theirs"), 6, "mine");
  for (const bool wants : {false, true}) {
    auto r = reader(wants);
    std::string out;
    r->feed(event(chunk(R"({"delta":{"content":"x"}})")), out);
    out.clear();
    r->feed(last + "data: [DONE]\n\n", out);
    EXPECT_EQ(out, (wants ? mine : "") + "data: [DONE]\n\n");
    EXPECT_TRUE(r->seen_usage().known);
    EXPECT_EQ(r->seen_usage().input_tokens, 9);
    EXPECT_EQ(r->seen_usage().output_tokens, 4);
    EXPECT_EQ(r->seen_usage().cached_tokens, 3);
    EXPECT_EQ(r->seen_usage().reasoning_tokens, 2);
  }
}

TEST(openai_stream, chunks_that_say_more_than_usage_stay) {
  const std::string beside = event(R"({"choices":[{"index":0,"delta":{"content":"x"}}],)" + usage + "}");
  EXPECT_EQ(passed(beside), beside);
  const std::string filter = event(R"({"choices":[],"prompt_filter_results":[1]})");
  EXPECT_EQ(passed(filter), filter);
}

TEST(openai_stream, usage_null_is_there_only_for_those_who_asked) {
  const auto becomes = [](const std::string& json, const std::string& expected) {
    EXPECT_EQ(passed(event(json)), event(expected));
    EXPECT_EQ(passed(event(json), true), event(json));
  };
  becomes(R"({"a":1,"usage":null})", R"({"a":1})");
  becomes(R"({"a":1 , "usage" : null , "b":2})", R"({"a":1 , "b":2})");
  becomes(R"({ "usage":null, "b":2})", R"({ "b":2})");
  becomes(R"({ "usage":null })", R"({  })");
  becomes(R"({"a":{"usage":null}})", R"({"a":{"usage":null}})");
}

TEST(openai_stream, content_starts_where_a_client_would_miss_something) {
  const auto after = [](const std::string& choice) { return state_after(event(chunk(choice))); };
  EXPECT_EQ(state_after(": ping\n\n"), state::preamble);
  EXPECT_EQ(after(""), state::preamble);
  EXPECT_EQ(after(role), state::preamble);
  EXPECT_EQ(
      after(R"({"delta":{"role":"assistant","tool_calls":[ ],"audio":{}},"finish_reason":"","text":""})"),
      state::preamble);
  for (const char* choice :
       {R"({"delta":{"content":"x"}})", R"({"delta":{"content":" "}})", R"({"delta":{"refusal":"no"}})",
        R"({"delta":{"tool_calls":[{"index":0}]}})", R"({"delta":{"function_call":{"name":"f"}}})",
        R"({"delta":{"reasoning_content":"hm"}})", R"({"delta":{"reasoning":"hm"}})",
        R"({"delta":{"audio":{"id":"a"}}})", R"({"delta":{},"finish_reason":"stop"})",
        R"({"text":"x","index":0})"}) {
    EXPECT_EQ(after(choice), state::content) << choice;
    EXPECT_EQ(after(role + "," + choice), state::content) << choice;
  }
}

TEST(openai_stream, content_is_not_taken_back) {
  auto r = reader();
  std::string out;
  EXPECT_EQ(r->feed(event(chunk(R"({"delta":{"content":"x"}})")), out), state::content);
  EXPECT_EQ(r->feed(event(chunk(role)), out), state::content);
}

TEST(openai_stream, ends_at_its_marker) {
  auto r = reader();
  std::string out;
  r->feed(event(chunk(R"({"delta":{"content":"x"}})")), out);
  out.clear();
  EXPECT_EQ(r->feed("data:[DONE] \r\n\r\ndata: junk\n\n", out), state::done);
  EXPECT_EQ(r->feed("data: more\n\n", out), state::done);
  EXPECT_EQ(out, "data:[DONE] \r\n\r\n");
  EXPECT_EQ(state_after("data: [DONE]\n"), state::preamble);
}

TEST(openai_stream, a_marker_with_nothing_before_it_ends_no_answer) {
  EXPECT_EQ(state_after("data: [DONE]\n\n"), state::failed);
  EXPECT_EQ(state_after(event(chunk(role)) + "data: [DONE]\n\n"), state::failed);
  EXPECT_EQ(state_after(event(chunk(R"({"delta":{},"finish_reason":"stop"})")) + "data: [DONE]\n\n"),
            state::done);
}

TEST(openai_stream, an_error_event_is_a_failure_and_is_not_passed) {
  const struct {
    const char* events;
    const char* message;
    int status;
  } cases[] = {
      {"data: {\"error\":{\"message\":\"slow "
       "\\u0064own\",\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\"}}\n\n",
       "slow down", 429},
      {"event: error\ndata: {\"error\":{\"message\":\"oops\",\"type\":\"server_error\",\"code\":null}}\n\n",
       "oops", 500},
      {"data: {\"error\":{\"message\":\"no route\",\"code\":503}}\n\n", "no route", 503},
      {"data: "
       "{\"error\":{\"message\":\"pay\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}"
       "\n\n",
       "pay", 402},
      {"data: {\"error\":\"plain\"}\n\n", "plain", 0},
      {"event: error\ndata: {\"message\":\"bare\",\"type\":\"overloaded_error\"}\n\n", "bare", 503},
      {"event: error\ndata: not json\n\n", "not json", 0},
      {"data: {\"error\":{}}\n\n", "{}", 0},
  };
  for (const auto& c : cases) {
    auto r = reader();
    std::string out;
    EXPECT_EQ(r->feed(event(chunk(role)) + c.events + "data: [DONE]\n\n", out), state::failed) << c.events;
    EXPECT_EQ(r->failure(), c.message);
    EXPECT_EQ(r->failure_status(), c.status) << c.events;
    EXPECT_EQ(out, passed(event(chunk(role))));
    EXPECT_EQ(r->feed(event(chunk(role)), out), state::failed);
  }
  EXPECT_EQ(state_after(event(R"({"error":null,"choices":[]})")), state::preamble);
}

TEST(openai_stream, what_is_not_the_dialect_is_a_failure) {
  for (const char* data : {"{", "[]", "12", "<html>", "{\"a\":1} x", "{\"a\":1}{}", "{\"choices\":[}"}) {
    EXPECT_EQ(state_after(event(data)), state::failed) << data;
  }
  auto r = reader();
  std::string out;
  EXPECT_EQ(r->feed("data: " + std::string(max_sse_event_bytes, 'x'), out), state::failed);
  EXPECT_FALSE(r->failure().empty());
  EXPECT_TRUE(out.empty());
}

TEST(openai_stream, a_long_failure_is_cut) {
  auto r = reader();
  std::string out;
  r->feed(event(R"({"error":{"message":")" + std::string(100000, 'x') + "\"}}"), out);
  EXPECT_EQ(r->failure().size(), max_failure_bytes);
}

TEST(openai_stream, every_split_gives_the_same_answer) {
  const std::string stream =
      "\xEF\xBB\xBF: hello\n\n" + event(chunk(role, ",\"usage\":null")) + ": ping\r\n\r\n" +
      "data: " + chunk(R"({"index":0,"delta":{"content":"h\u00e9\n\n"}})", R"(,"usage":null)") + "\r\n\r\n" +
      "data:" + chunk(R"({"delta":{},"finish_reason":"stop"})") + "\r\r" + event(chunk("", "," + usage)) +
      "data: [DONE]\r\n\r\n";
  const std::string whole = passed(stream);
  EXPECT_EQ(whole.find("theirs"), std::string::npos);
  EXPECT_EQ(whole.find("usage"), std::string::npos);
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    auto r = reader();
    std::string out;
    r->feed(std::string_view(stream).substr(0, cut), out);
    ASSERT_EQ(r->feed(std::string_view(stream).substr(cut), out), state::done);
    ASSERT_EQ(out, whole) << "cut at " << cut;
    ASSERT_TRUE(r->seen_usage().known);
  }
  auto r = reader();
  std::string out;
  for (const char c : stream) r->feed(std::string_view(&c, 1), out);
  EXPECT_EQ(out, whole);
}

// Random chunks in random framing: what comes out is what went in with the model replaced, byte for byte.
TEST(openai_stream, every_other_byte_is_the_providers) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    std::string pattern;
    for (int i = 0; i < 5; ++i) {
      std::string json =
          maker.space() +
          maker.object_with({"\"model\":@MODEL@", "\"choices\":[{\"delta\":" + maker.value(2) + "}]"});
      // A payload with line ends in it becomes several data lines.
      const std::string end = maker.below(2) ? "\n" : "\r\n";
      std::string lines = "data: ";
      for (const char c : json) {
        if (c == '\n') {
          lines += end + (maker.below(2) ? "data: " : "data:");
        } else if (c != '\r') {
          lines += c;
        }
      }
      pattern += (maker.below(3) ? "" : ": ping" + end) + lines + end + end;
    }
    const auto filled = [&](const std::string& model) {
      std::string text = pattern;
      for (size_t at = text.find("@MODEL@"); at != std::string::npos; at = text.find("@MODEL@"))
        text.replace(at, 7, model);
      return text;
    };
    const std::string stream = filled(R"("th\u0065irs")");
    ASSERT_EQ(passed(stream), filled("\"mine\"")) << stream;
  }
}

}  // namespace
}  // namespace millrace::http
