#include "bench/answer_parser.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace millrace::bench {
namespace {

using state = answer_parser::state;

struct reader {
  std::vector<std::string> events;
  answer_parser parser{[this](std::string_view data) { events.emplace_back(data); }};
  state feed(const std::string& bytes, size_t step) {
    state s = state::head;
    for (size_t at = 0; at < bytes.size(); at += step)
      s = parser.feed(std::string_view(bytes).substr(at, step));
    return s;
  }
};

TEST(AnswerParser, ReadsAStreamHoweverItsBytesAreCut) {
  const std::string bytes =
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
      "Transfer-Encoding: chunked\r\n\r\n"
      "a\r\ndata: one\n\r\nd;x=y\r\n\ndata: two\r\n\r\r\n1\r\n\n\r\n1e\r\n: comment\n\ndata: "
      "[DONE]\n\n...\n\n\r\n0\r\nt: 1\r\n\r\n";
  for (size_t step = 1; step <= bytes.size(); ++step) {
    reader r;
    EXPECT_EQ(r.feed(bytes, step), state::done) << step;
    EXPECT_EQ(r.events, (std::vector<std::string>{"one", "two", "[DONE]"})) << step;
    EXPECT_TRUE(r.parser.saw_done());
    EXPECT_TRUE(r.parser.keep_alive());
    EXPECT_EQ(r.parser.status(), 200);
    EXPECT_EQ(r.parser.feed("H"), state::bad) << "nothing may follow";
  }
}

TEST(AnswerParser, KnowsWhenAnAnswerIsWhole) {
  reader length;
  EXPECT_EQ(
      length.feed("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 3\r\nconnection: close\r\n\r\nab", 7),
      state::body);
  EXPECT_EQ(length.parser.end(), state::bad) << "cut";
  length.parser.reset();
  EXPECT_EQ(
      length.feed("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 3\r\nconnection: close\r\n\r\nabc", 7),
      state::done);
  EXPECT_EQ(length.parser.status(), 429);
  EXPECT_FALSE(length.parser.keep_alive());

  reader close;
  EXPECT_EQ(close.feed("HTTP/1.0 200 OK\r\n\r\nwhatever", 3), state::body);
  EXPECT_EQ(close.parser.end(), state::done);
  EXPECT_FALSE(close.parser.keep_alive());

  reader cut;
  EXPECT_EQ(cut.feed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n", 5), state::body);
  EXPECT_EQ(cut.parser.end(), state::bad);

  reader empty;
  EXPECT_EQ(empty.feed("HTTP/1.1 204 No Content\r\n\r\n", 100), state::done);
  reader junk;
  EXPECT_EQ(junk.feed("SSH-2.0-OpenSSH\r\n\r\n", 100), state::bad);
}

}  // namespace
}  // namespace millrace::bench
