#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/dialects/anthropic_chat.hpp"
#include "http/sse.hpp"
#include "tests/http/delta_line.hpp"

namespace millrace::http {
namespace {

using json = nlohmann::json;
using kind = chat_delta::kind;

const std::string recorded =
    R"(event: message_start
data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","id":"msg_1","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":2}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm."}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: content_block_start
data: {"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"SEAL"}}

event: content_block_stop
data: {"type":"content_block_stop","index":1}

event: content_block_start
data: {"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Okay\ud83d"}}

event: content_block_delta
data: {"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"\ude00."}}

event: content_block_stop
data: {"type":"content_block_stop","index":2}

event: content_block_start
data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}

event: content_block_delta
data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":3}

event: content_block_start
data: {"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}

event: content_block_delta
data: {"type":"content_block_delta","index":4,"delta":{"type":"input_json_delta","partial_json":""}}

event: content_block_stop
data: {"type":"content_block_stop","index":4}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":89,"output_tokens_details":{"thinking_tokens":30}}}

event: message_stop
data: {"type":"message_stop"}

)";

struct reading {
  bool ok = true;
  std::vector<std::string> deltas;
};

reading read(const std::string& stream, std::size_t piece = std::string::npos) {
  reading r;
  const auto source = anthropic_chat().decode_stream();
  for (std::size_t at = 0; at < stream.size() && r.ok; at += std::min(piece, stream.size())) {
    // A copy of its own, so that a view kept too long is seen.
    const std::string bytes = stream.substr(at, piece);
    r.ok = source->feed(bytes, [&](const chat_delta& d) { r.deltas.push_back(line_of(d)); });
  }
  return r;
}

const std::vector<std::string> expected = {
    "start msg_1",
    "usage 15/5 2/0",
    R"(thinking "Hm.")",
    R"(signature "EqQB")",
    R"(sealed "SEAL")",
    R"(text "Okay\ud83d")",
    R"(text "\ude00.")",
    "call 0 toolu_1 f",
    R"(arguments 0 "{\"a\":")",
    R"(arguments 0 "1}")",
    "call 1 toolu_2 g",
    R"(arguments 1 "{}")",
    "usage 15/5 89/30",
    "finish " + std::to_string(static_cast<int>(finish_reason::tool_calls)) + " ",
    "done"};

TEST(anthropic_stream, is_read_however_it_is_cut) {
  for (const std::size_t piece :
       {std::string::npos, std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{100}}) {
    const reading r = read(recorded, piece);
    EXPECT_TRUE(r.ok);
    EXPECT_EQ(r.deltas, expected) << piece;
  }
  std::string crlf;
  for (const char c : recorded) crlf += c == '\n' ? std::string("\r\n") : std::string(1, c);
  EXPECT_EQ(read(crlf, 3).deltas, expected);
}

TEST(anthropic_stream, ends_with_an_error_event) {
  const reading r = read(
      "event: error\ndata: "
      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n" +
      recorded);
  EXPECT_TRUE(r.ok);
  EXPECT_EQ(r.deltas, std::vector<std::string>{"error 529 Overloaded"});
}

TEST(anthropic_stream, tells_refusals_and_stop_sequences) {
  const reading refusal = read(
      R"(data: {"type":"message_delta","delta":{"stop_reason":"refusal","stop_details":{"type":"refusal","explanation":"No."}},"usage":{"output_tokens":1}})"
      "\n\n");
  EXPECT_EQ(refusal.deltas,
            (std::vector<std::string>{
                "usage 0/0 1/0", "refusal \"No.\"",
                "finish " + std::to_string(static_cast<int>(finish_reason::content_filter)) + " "}));
  const reading stop = read(
      R"(data: {"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"E"},"usage":{"output_tokens":1}})"
      "\n\n");
  EXPECT_EQ(stop.deltas.back(), "finish " + std::to_string(static_cast<int>(finish_reason::stop)) + " \"E\"");
}

TEST(anthropic_stream, of_another_shape_is_given_up) {
  EXPECT_FALSE(read("data: [DONE]\n\n").ok);
  EXPECT_FALSE(read("data: {\"type\":\"message_start\"}\n\n").ok);
  // Pieces for a block that is not open.
  EXPECT_FALSE(
      read(R"(data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}})"
           "\n\n")
          .ok);
  EXPECT_TRUE(read(": comment\n\ndata: {\"type\":\"news\"}\n\n").ok);
  EXPECT_FALSE(read("data: " + std::string(max_sse_event_bytes, 'x')).ok);
}

// --- the other way

std::string replayed(const std::string& stream) {
  encode_options options;
  options.model = "mine";
  const auto source = anthropic_chat().decode_stream();
  const auto sink = anthropic_chat().encode_stream(options, true);
  std::string out;
  EXPECT_TRUE(source->feed(stream, [&](const chat_delta& d) { sink->put(d, out); }));
  return out;
}

TEST(anthropic_stream, is_written_in_order) {
  // The other parser takes no half of a surrogate pair.
  std::string stream = recorded;
  for (const char* half : {"\\ud83d", "\\ude00"}) stream.erase(stream.find(half), 6);
  const std::string written = replayed(stream);
  EXPECT_EQ(read(written).deltas.size(), expected.size());
  std::vector<std::string> types;
  sse_splitter splitter;
  sse_event event;
  std::string joined;
  splitter.feed(written);
  json last;
  while (splitter.next(event) == sse_splitter::result::event) {
    const json payload = json::parse(sse_payload(event, joined));
    EXPECT_EQ(payload["type"], event.name);
    types.emplace_back(event.name);
    if (payload["type"] == "message_start") {
      EXPECT_EQ(payload["message"]["model"], "mine");
      EXPECT_EQ(payload["message"]["id"], "msg_1");
    }
    if (payload["type"] == "message_delta") last = payload;
  }
  const std::vector<std::string> order = {
      "message_start",       "content_block_start", "content_block_delta", "content_block_delta",
      "content_block_stop",  "content_block_start", "content_block_stop",  "content_block_start",
      "content_block_delta", "content_block_delta", "content_block_stop",  "content_block_start",
      "content_block_delta", "content_block_delta", "content_block_stop",  "content_block_start",
      "content_block_delta", "content_block_stop",  "message_delta",       "message_stop"};
  EXPECT_EQ(types, order);
  EXPECT_EQ(last["delta"]["stop_reason"], "tool_use");
  EXPECT_EQ(last["usage"],
            json::parse(R"({"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,
                                           "output_tokens":89,"output_tokens_details":{"thinking_tokens":30}})"));
}

TEST(anthropic_stream, more_calls_than_it_can_follow_are_a_failure_and_not_left_out) {
  const auto sink = anthropic_chat().encode_stream({}, false);
  std::string out;
  chat_delta d;
  d.what = kind::tool_call;
  d.name = "f";
  for (; d.index < 10'000 && !sink->overflowed(); ++d.index) sink->put(d, out);
  EXPECT_EQ(d.index, 1025);
}

TEST(anthropic_stream, waits_for_late_usage_and_ends_only_when_done) {
  encode_options options;
  options.model = "m";
  const auto sink = anthropic_chat().encode_stream(options, false);
  std::string out;
  chat_delta d;
  d.what = kind::text;
  d.text = "\"a\"";
  sink->put(d, out);
  EXPECT_EQ(out.find("event: message_start"), 0U);
  d = {};
  d.what = kind::finish;
  d.finish = finish_reason::length;
  sink->put(d, out);
  EXPECT_EQ(out.find("message_delta"), std::string::npos);
  d = {};
  d.what = kind::usage;
  d.used.input_tokens = 3;
  d.used.output_tokens = 4;
  sink->put(d, out);
  d = {};
  d.what = kind::done;
  sink->put(d, out);
  EXPECT_NE(
      out.find(R"("delta":{"stop_reason":"max_tokens","stop_sequence":null},"usage":{"input_tokens":3)"),
      std::string::npos);
  const std::string end = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
  EXPECT_EQ(out.substr(out.size() - end.size()), end);
}

}  // namespace
}  // namespace millrace::http
