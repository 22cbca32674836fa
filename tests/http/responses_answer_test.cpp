#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/responses_chat.hpp"
#include "tests/http/responses_events.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using kind = chat_delta::kind;

encode_options options() {
  encode_options o;
  o.model = "mine";
  o.now = 1700000000;
  return o;
}

json encoded(const chat_answer& answer) {
  std::string out;
  responses_chat().encode_answer(answer, options(), out);
  return json::parse(out);
}

chat_part part(part_kind kind, std::string_view text) {
  chat_part p;
  p.kind = kind;
  p.text = text;
  return p;
}

chat_answer full_answer() {
  chat_answer a;
  a.id = "chatcmpl-7";
  a.created = 1700000001;
  a.parts = {part(part_kind::thinking, R"("hm\n")"), part(part_kind::text, R"("he")"),
             part(part_kind::text, R"("llo")"), part(part_kind::refusal, R"("no")"),
             part(part_kind::tool_call, {})};
  a.parts[0].signature = R"("sig")";
  a.parts[4].id = "call_1";
  a.parts[4].name = "f";
  a.parts[4].arguments = R"({"a":"b"})";
  a.finish = finish_reason::tool_calls;
  a.used = {10, 5, 7, 2, 0, 3, true};
  return a;
}

TEST(responses_answer, is_a_whole_response) {
  const json a = encoded(full_answer());
  EXPECT_EQ(a["id"], "resp_7");
  EXPECT_EQ(a["object"], "response");
  EXPECT_EQ(a["created_at"], 1700000001);
  EXPECT_EQ(a["model"], "mine");
  EXPECT_EQ(a["status"], "completed");
  // What the SDKs' types require.
  for (const char* name : {"error", "incomplete_details", "instructions", "metadata", "parallel_tool_calls",
                           "temperature", "tool_choice", "tools", "top_p"}) {
    EXPECT_TRUE(a.contains(name)) << name;
  }
  EXPECT_EQ(a["output"], json::parse(R"([
    {"id":"rs_millrace_7_0","type":"reasoning","summary":[{"type":"summary_text","text":"hm\n"}],
     "encrypted_content":"millrace:t:sig","status":"completed"},
    {"id":"msg_7_1","type":"message","role":"assistant","status":"completed","content":[
      {"type":"output_text","text":"hello","annotations":[],"logprobs":[]},{"type":"refusal","refusal":"no"}]},
    {"id":"fc_7_2","type":"function_call","call_id":"call_1","name":"f","arguments":"{\"a\":\"b\"}",
     "status":"completed"}])"));
  EXPECT_EQ(a["usage"], json::parse(R"({"input_tokens":10,"output_tokens":5,"total_tokens":15,
    "input_tokens_details":{"cached_tokens":7,"cache_write_tokens":2},
    "output_tokens_details":{"reasoning_tokens":3}})"));
}

TEST(responses_answer, says_why_it_is_incomplete) {
  chat_answer a;
  a.parts = {part(part_kind::text, R"("x")")};
  a.finish = finish_reason::length;
  EXPECT_EQ(encoded(a)["status"], "incomplete");
  EXPECT_EQ(encoded(a)["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(encoded(a)["output"][0]["status"], "incomplete");
  a.finish = finish_reason::content_filter;
  EXPECT_EQ(encoded(a)["incomplete_details"]["reason"], "content_filter");
  a.finish = finish_reason::stop;
  EXPECT_EQ(encoded(a)["incomplete_details"], nullptr);
}

TEST(responses_answer, thoughts_come_back_as_they_went) {
  chat_answer a = full_answer();
  chat_part sealed;
  sealed.kind = part_kind::sealed_thinking;
  sealed.signature = R"("gemini#x")";
  a.parts.insert(a.parts.begin() + 1, sealed);
  const json items = encoded(a)["output"];
  const std::string body = json{{"model", "m"}, {"input", items}}.dump();
  chat_request r;
  engine::api_error error;
  ASSERT_TRUE(responses_chat().decode_request(body, r, error)) << error.message;
  ASSERT_EQ(r.messages.size(), 1U);
  const auto& parts = r.messages[0].parts;
  ASSERT_EQ(parts.size(), 5U);
  EXPECT_EQ(parts[0].kind, part_kind::thinking);
  EXPECT_EQ(parts[0].text, R"("hm\n")");
  EXPECT_EQ(parts[0].signature, R"("sig")");
  EXPECT_EQ(parts[1].kind, part_kind::sealed_thinking);
  EXPECT_EQ(parts[1].signature, R"("gemini#x")");
  EXPECT_EQ(parts[4].arguments, R"({"a":"b"})");
}

class responses_stream : public testing::Test {
 protected:
  void put(kind what, std::string_view text = {}, std::int64_t index = 0) {
    chat_delta d;
    d.what = what;
    d.text = text;
    d.index = index;
    sink_->put(d, out_);
  }
  void call(std::int64_t index, std::string_view id, std::string_view name) {
    chat_delta d;
    d.what = kind::tool_call;
    d.index = index;
    d.id = id;
    d.name = name;
    sink_->put(d, out_);
  }
  void start(std::string_view id) {
    chat_delta d;
    d.what = kind::start;
    d.id = id;
    sink_->put(d, out_);
  }
  void end(finish_reason why) {
    chat_delta d;
    d.what = kind::finish;
    d.finish = why;
    sink_->put(d, out_);
    d.what = kind::usage;
    d.used = {10, 5, 7, 0, 0, 3, true};
    sink_->put(d, out_);
    put(kind::done);
  }

  std::unique_ptr<delta_sink> sink_ = responses_chat().encode_stream(options(), true);
  std::string out_;
};

TEST_F(responses_stream, tells_every_item_as_the_sdk_wants_it) {
  start("chatcmpl-7");
  put(kind::thinking, R"("h")");
  put(kind::thinking, R"("m\n")");
  put(kind::signature, R"("sig")");
  put(kind::sealed_thinking, R"("s")");
  put(kind::text, R"("he\n")");
  put(kind::text, R"("llo")");
  put(kind::refusal, R"("no")");
  // Pieces of parallel calls may come in turns.
  call(0, "call_1", "f");
  call(3, "", "g");
  put(kind::tool_arguments, R"("{\"a\"")", 0);
  put(kind::tool_arguments, R"("{}")", 3);
  put(kind::tool_arguments, R"(":1}")", 0);
  end(finish_reason::tool_calls);
  const auto events = response_events(out_);
  EXPECT_EQ(events[0]["type"], "response.created");
  EXPECT_EQ(events[0]["response"]["status"], "in_progress");
  EXPECT_EQ(events[1]["type"], "response.in_progress");
  const json last = events.back();
  EXPECT_EQ(last["type"], "response.completed");
  EXPECT_EQ(last["response"]["usage"]["output_tokens"], 5);
  const json output = last["response"]["output"];
  EXPECT_EQ(accumulated(events), output);
  ASSERT_EQ(output.size(), 5U);
  EXPECT_EQ(output[0]["summary"][0]["text"], "hm\n");
  EXPECT_EQ(output[1]["encrypted_content"], "millrace:s:s");
  EXPECT_EQ(output[2]["content"][0]["text"], "he\nllo");
  EXPECT_EQ(output[2]["content"][1]["refusal"], "no");
  EXPECT_EQ(output[3]["arguments"], R"({"a":1})");
  EXPECT_EQ(output[4]["arguments"], "{}");
  EXPECT_EQ(out_.find("[DONE]"), std::string::npos);
}

TEST_F(responses_stream, halves_of_a_character_come_together) {
  put(kind::text, R"("\ud83d")");
  put(kind::text, R"("\ude00")");
  end(finish_reason::stop);
  const json last = json::parse(out_.substr(out_.rfind("data: ") + 6));
  EXPECT_EQ(last["response"]["output"][0]["content"][0]["text"], "\xF0\x9F\x98\x80");
}

TEST_F(responses_stream, an_answer_that_was_cut_is_incomplete) {
  start("");
  put(kind::text, R"("a")");
  end(finish_reason::length);
  const auto events = response_events(out_);
  EXPECT_EQ(events.back()["type"], "response.incomplete");
  EXPECT_EQ(events.back()["response"]["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(accumulated(events), events.back()["response"]["output"]);
  EXPECT_EQ(events.back()["response"]["output"][0]["status"], "incomplete");
}

TEST_F(responses_stream, calls_without_arguments_have_none) {
  call(0, "c", "f");
  end(finish_reason::tool_calls);
  const auto events = response_events(out_);
  EXPECT_EQ(events.back()["response"]["output"][0]["arguments"], "{}");
  EXPECT_EQ(events.back()["response"]["id"], "resp_1700000000");
}

TEST_F(responses_stream, gives_up_above_its_bound) {
  const std::string text = '"' + std::string(1U << 20, 'x') + '"';
  for (std::size_t i = 0; i < max_response_bytes >> 20; ++i) {
    EXPECT_FALSE(sink_->overflowed());
    put(kind::text, text);
  }
  EXPECT_TRUE(sink_->overflowed());
  const std::size_t before = out_.size();
  put(kind::done);
  EXPECT_EQ(out_.size(), before);
}

}  // namespace
}  // namespace millrace::http
