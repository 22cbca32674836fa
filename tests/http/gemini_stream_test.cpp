#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/gemini_chat.hpp"
#include "http/dialects/gemini_signature.hpp"
#include "http/json_scan.hpp"
#include "tests/http/delta_line.hpp"

namespace millrace::http {
namespace {

using nlohmann::json;
using kind = chat_delta::kind;

std::vector<std::string> read(std::string_view stream, size_t piece, bool fine = true) {
  const auto source = gemini_chat().decode_stream();
  std::vector<std::string> told;
  bool good = true;
  for (size_t at = 0; at < stream.size() && good; at += piece)
    good = source->feed(stream.substr(at, piece), [&](const chat_delta& d) { told.push_back(line_of(d)); });
  EXPECT_EQ(good, fine);
  source->end([&](const chat_delta& d) { told.push_back(line_of(d)); });
  return told;
}

const std::string recorded =
    "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Let me "
    "see\",\"thought\":true}],\"role\":\"model\"},\"index\":0}],"
    "\"usageMetadata\":{\"promptTokenCount\":9,\"totalTokenCount\":9},\"modelVersion\":\"gemini-2.5-flash\","
    "\"responseId\":\"r1\"}\r\n\r\n"
    "data: "
    "{\"candidates\":[{\"content\":{\"parts\":[{\"functionCall\":{\"name\":\"f\",\"args\":{\"q\":"
    "\"\\\"x\\\"\"}},"
    "\"thoughtSignature\":\"QUJD\"},{\"functionCall\":{\"id\":\"z\",\"name\":\"g\",\"args\":{}}}],\"role\":"
    "\"model\"},\"index\":0}],"
    "\"responseId\":\"r1\"}\r\n\r\n"
    "data: "
    "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\"}],\"role\":\"model\"},\"finishReason\":"
    "\"STOP\",\"index\":0}],"
    "\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":4,\"thoughtsTokenCount\":2,"
    "\"totalTokenCount\":15},"
    "\"responseId\":\"r1\"}\r\n\r\n";

TEST(gemini_stream_source, reads_a_stream_however_it_is_cut) {
  const std::vector<std::string> expected = {
      "start r1",
      "thinking \"Let me see\"",
      "usage 9/0 0/0",
      "signature \"gemini#QUJD\"",
      "call 0 call_r1_0 f",
      R"(arguments 0 "{\"q\":\"\\\"x\\\"\"}")",
      "call 1 z g",
      "arguments 1 \"{}\"",
      "usage 9/0 6/2",
      "finish " + std::to_string(static_cast<int>(finish_reason::tool_calls)) + " ",
      "done"};
  for (const size_t piece : {size_t{1}, size_t{7}, size_t{64}, recorded.size()})
    EXPECT_EQ(read(recorded, piece), expected) << piece;
}

TEST(gemini_stream_source, a_signature_behind_the_text_is_a_thought_of_its_own) {
  const auto told = read(
      "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n"
      "data: "
      "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"\",\"thoughtSignature\":\"QQ==\"}]},"
      "\"finishReason\":\"MAX_TOKENS\"}]}\n\n",
      1000);
  EXPECT_EQ(told, (std::vector<std::string>{
                      "start ", "text \"a\"", "sealed \"gemini#QQ==\"",
                      "finish " + std::to_string(static_cast<int>(finish_reason::length)) + " ", "done"}));
}

TEST(gemini_stream_source, without_a_reason_there_is_no_end) {
  const auto told = read(recorded.substr(0, recorded.rfind("data:")), 1000);
  EXPECT_EQ(told.back(), "arguments 1 \"{}\"");
}

TEST(gemini_stream_source, a_blocked_prompt_is_an_end) {
  const auto told =
      read("data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"},\"responseId\":\"b\"}\n\n", 1000);
  EXPECT_EQ(told,
            (std::vector<std::string>{
                "start b", "finish " + std::to_string(static_cast<int>(finish_reason::content_filter)) + " ",
                "done"}));
}

TEST(gemini_stream_source, errors_as_events_and_as_plain_json) {
  const std::string error = R"({"error":{"code":503,"message":"Overloaded","status":"UNAVAILABLE"}})";
  for (const std::string& stream : {"data: " + error + "\n\n", error + "\r\n\r\n", "[" + error + "]\n\n"})
    EXPECT_EQ(read(stream, 5), std::vector<std::string>{"error 503 Overloaded"}) << stream;
}

TEST(gemini_stream_source, comments_pass_and_nonsense_ends_it) {
  EXPECT_TRUE(read(": ping\n\n", 1000).empty());
  EXPECT_TRUE(read("data: nonsense\n\ndata: {}\n\n", 1000, false).empty());
}

TEST(gemini_stream_source, a_reason_to_finish_is_not_the_end) {
  const auto chunk = [](const std::string& text) {
    return "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"" + text +
           "\"}]},\"finishReason\":\"STOP\"}]}\n\n";
  };
  const auto told =
      read(chunk("Hel") + chunk("lo") +
               "data: {\"usageMetadata\":{\"promptTokenCount\":9,\"candidatesTokenCount\":50}}\n\n",
           1000);
  EXPECT_EQ(told, (std::vector<std::string>{
                      "start ", "text \"Hel\"", "text \"lo\"", "usage 9/0 50/0",
                      "finish " + std::to_string(static_cast<int>(finish_reason::stop)) + " ", "done"}));
}

/// The events that a sink writes, parsed.
class written {
 public:
  written() {
    encode_options options;
    options.model = "mine";
    sink_ = gemini_chat().encode_stream(options, false);
  }
  written& put(const chat_delta& d) {
    sink_->put(d, text_);
    return *this;
  }
  written& text(kind what, json_literal literal, std::int64_t index = 0) {
    chat_delta d;
    d.what = what;
    d.text = literal;
    d.index = index;
    return put(d);
  }
  written& call(std::int64_t index, std::string_view id, std::string_view name) {
    chat_delta d;
    d.what = kind::tool_call;
    d.index = index;
    d.id = id;
    d.name = name;
    return put(d);
  }
  written& end(finish_reason reason) {
    chat_delta d;
    d.what = kind::finish;
    d.finish = reason;
    put(d);
    d = {};
    d.what = kind::usage;
    d.used = {7, 5, 0, 0, 0, 2, true};
    put(d);
    d = {};
    d.what = kind::done;
    return put(d);
  }
  std::vector<json> events() const {
    std::vector<json> all;
    constexpr std::string_view prefix = "data: ";
    for (size_t at = 0; at < text_.size();) {
      const size_t next = text_.find("\r\n\r\n", at);
      EXPECT_EQ(text_.compare(at, prefix.size(), prefix), 0);
      all.push_back(json::parse(text_.substr(at + prefix.size(), next - at - prefix.size())));
      at = next + 4;
    }
    return all;
  }

 private:
  std::unique_ptr<delta_sink> sink_;
  std::string text_;
};

TEST(gemini_stream_sink, tells_texts_at_once_and_calls_whole_at_the_end) {
  written w;
  chat_delta start;
  start.what = kind::start;
  start.id = "id1";
  w.put(start).text(kind::thinking, "\"hm\"").text(kind::signature, "\"sig\"").text(kind::text, "\"A\"");
  w.call(0, "c0", "f").text(kind::tool_arguments, R"("{\"a\"")").text(kind::tool_arguments, "\":1}\"");
  w.call(1, "c1", "g").text(kind::tool_arguments, "\"\"", 1).end(finish_reason::tool_calls);
  const auto events = w.events();
  ASSERT_EQ(events.size(), 4U);
  const auto parts = [&](size_t i) { return events[i]["candidates"][0]["content"]["parts"]; };
  EXPECT_EQ(parts(0), json::parse(R"([{"text":"hm","thought":true}])"));
  EXPECT_EQ(parts(1)[0]["thoughtSignature"].dump(), wrap_for_gemini_client("\"sig\""));
  EXPECT_EQ(parts(2), json::parse(R"([{"text":"A"}])"));
  EXPECT_EQ(
      parts(3),
      json::parse(
          R"([{"functionCall":{"id":"c0","name":"f","args":{"a":1}}},{"functionCall":{"id":"c1","name":"g","args":{}}}])"));
  EXPECT_FALSE(events[2]["candidates"][0].contains("finishReason"));
  EXPECT_EQ(events[3]["candidates"][0]["finishReason"], "STOP");
  EXPECT_EQ(events[3]["usageMetadata"], json::parse(R"({"promptTokenCount":7,"candidatesTokenCount":3,
      "thoughtsTokenCount":2,"totalTokenCount":12})"));
  for (const json& e : events) {
    EXPECT_EQ(e["modelVersion"], "mine");
    EXPECT_EQ(e["responseId"], "id1");
    EXPECT_EQ(e["candidates"][0]["content"]["role"], "model");
  }
}

TEST(gemini_stream_sink, halves_of_a_character_wait_for_each_other) {
  written w;
  w.text(kind::text, R"("a\ud83d")").text(kind::text, R"("\ude00b")").text(kind::text, R"("\\ud83d")");
  const auto events = w.events();
  ASSERT_EQ(events.size(), 3U);
  EXPECT_EQ(events[0]["candidates"][0]["content"]["parts"][0]["text"], "a");
  EXPECT_EQ(events[1]["candidates"][0]["content"]["parts"][0]["text"], "\U0001F600b");
  EXPECT_EQ(events[2]["candidates"][0]["content"]["parts"][0]["text"], "\\ud83d");
}

TEST(gemini_stream_sink, broken_arguments_call_nothing) {
  written w;
  w.call(0, "c0", "f").text(kind::tool_arguments, R"("{\"a\":")").end(finish_reason::tool_calls);
  const auto events = w.events();
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0]["candidates"][0]["finishReason"], "MALFORMED_FUNCTION_CALL");
  EXPECT_EQ(events[0]["candidates"][0]["content"]["parts"], json::parse(R"([{"text":""}])"));
}

TEST(gemini_stream, what_others_have_no_word_for_leaves_a_note) {
  const auto chunk = [](const std::string& part, const std::string& more) {
    return "data: {\"candidates\":[{\"content\":{\"parts\":[" + part + "]}" + more + "}]}\r\n\r\n";
  };
  const auto told = read(chunk(R"({"text":"Here:"})", "") +
                             chunk(R"({"inlineData":{"mimeType":"audio/wav","data":"AAAA"}})", "") +
                             chunk(R"({"codeExecutionResult":{"output":"1"}})", R"(,"finishReason":"STOP")"),
                         1000);
  ASSERT_EQ(told.size(), 6U);
  EXPECT_EQ(told[1], "text \"Here:\"");
  EXPECT_NE(told[2].find("[Data of type audio/wav is left out here"), std::string::npos) << told[2];
  EXPECT_NE(told[3].find("[A file or code is left out here"), std::string::npos) << told[3];
  EXPECT_EQ(told[5], "done");
}

}  // namespace
}  // namespace millrace::http
