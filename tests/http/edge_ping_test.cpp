#include <utility>

#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <boost/asio/post.hpp>

#include "http/edge.hpp"
#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;

const std::string ping = ": ping\n\n";
const std::string ping_chunk = "8\r\n" + ping + "\r\n";

std::string get(const std::string& path, const std::string& version = "1.1") {
  return "GET " + path + " HTTP/" + version + "\r\nHost: a\r\n\r\n";
}

std::string without(std::string text, const std::string& part) {
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part)) text.erase(at, part.size());
  return text;
}

/// Comments sent to clients while their streams are silent.
class edge_ping_test : public edge_test {
 protected:
  /// Gives piece after piece as the test allows them, and is silent in between.
  class held_stream : public engine::answer_stream {
   public:
    held_stream(edge_ping_test& test, const edge_request& r, std::vector<std::string> pieces)
        : test_(test), context_(test.pool.context(r.thread)), gone_(r.gone), pieces_(std::move(pieces)) {}
    bool read(std::string& out, engine::yield y) override {
      while (given_ == test_.allowed && !gone_.cancelled()) boost::asio::post(context_, y);
      if (given_ == pieces_.size() || gone_.cancelled()) return false;
      out += pieces_[given_++];
      return true;
    }
    void abandon() override { ++test_.abandoned; }

   private:
    edge_ping_test& test_;
    boost::asio::io_context& context_;
    engine::cancellation& gone_;
    std::vector<std::string> pieces_;
    size_t given_ = 0;
  };

  void SetUp() override {
    edge_test::SetUp();
    config.ping_interval = 50ms;
  }

  void add_stream(const char* path, std::vector<std::string> pieces,
                  const char* type = "text/event-stream; charset=utf-8", bool comments = true) {
    on("GET", path, [this, pieces, type, comments](const edge_request& r, engine::yield) {
      engine::answer a;
      a.comments = comments;
      a.content_type = type;
      a.stream = std::make_unique<held_stream>(*this, r, pieces);
      return a;
    });
  }

  /// Returns when a stream of its own got a few comments, and so every other one should have.
  void wait_for_pings(const std::string& path, int count = 4) {
    raw_client c(port);
    c.send(get(path));
    for (int i = 0; i < count; ++i) c.read_until(ping);
  }

  std::atomic<size_t> allowed = 1;
  std::atomic<int> abandoned = 0;
};

const std::vector<std::string> two_events = {"data: a\n\n", "data: b\n\n"};
const std::string two_chunks = "9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n";

TEST_F(edge_ping_test, a_silent_stream_gets_comments_between_its_events) {
  add_stream("/s", two_events);
  start();
  raw_client c(port);
  c.send(get("/s"));
  c.read_until("\r\n\r\n");
  auto body = c.read_until(ping_chunk);
  body += c.read_until(ping_chunk);
  EXPECT_EQ(body, "9\r\ndata: a\n\n\r\n" + ping_chunk + ping_chunk);
  allowed = 3;
  body += c.read_until("0\r\n\r\n");
  EXPECT_EQ(without(body, ping_chunk), two_chunks);
  c.send(get("/hello"));
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nhello")) << "the connection is as good as any";
}

TEST_F(edge_ping_test, an_old_client_gets_them_without_chunks) {
  add_stream("/s", two_events);
  start();
  raw_client c(port);
  c.send(get("/s", "1.0"));
  c.read_until("\r\n\r\n");
  auto body = c.read_until(ping);
  EXPECT_EQ(body, "data: a\n\n" + ping);
  allowed = 3;
  body += c.read_all();
  EXPECT_EQ(without(body, ping), "data: a\n\ndata: b\n\n");
}

TEST_F(edge_ping_test, readers_that_know_no_comments_get_empty_lines) {
  add_stream("/s", two_events, "text/event-stream", false);
  start();
  raw_client c(port);
  c.send(get("/s", "1.0"));
  c.read_until("\r\n\r\n");
  auto body = c.read_until("data: a\n\n\n\n");
  allowed = 3;
  body += c.read_all();
  EXPECT_THAT(body, Not(HasSubstr("ping")));
  EXPECT_THAT(body, HasSubstr("\ndata: b\n\n"));
}

TEST_F(edge_ping_test, one_that_keeps_sending_gets_none) {
  config.ping_interval = 1h;
  add_stream("/s", two_events);
  start();
  raw_client c(port);
  allowed = 3;
  c.send(get("/s"));
  c.read_until("\r\n\r\n");
  EXPECT_EQ(c.read_until("0\r\n\r\n"), two_chunks);
}

TEST_F(edge_ping_test, zero_turns_them_off) {
  config.ping_interval = 0s;
  add_stream("/s", two_events);
  start();
  raw_client c(port);
  c.send(get("/s"));
  c.read_until("data: a\n\n\r\n");
  config.ping_interval = 50ms;
  server->set_config(config);
  pool.on_each([](size_t) {});
  wait_for_pings("/s");
  EXPECT_TRUE(c.silent(0));
  allowed = 3;
  EXPECT_EQ(c.read_until("0\r\n\r\n"), "9\r\ndata: b\n\n\r\n0\r\n\r\n");
}

TEST_F(edge_ping_test, only_event_streams_get_them) {
  add_stream("/s", two_events);
  add_stream("/json", two_events, "application/x-ndjson");
  on("GET", "/plain", [this](const edge_request& r, engine::yield y) {
    while (allowed == 1) boost::asio::post(pool.context(r.thread), y);
    auto a = text("plain");
    a.content_type = "text/event-stream";
    return a;
  });
  start();
  raw_client json(port), plain(port);
  json.send(get("/json"));
  json.read_until("data: a\n\n\r\n");
  plain.send(get("/plain"));
  wait_for_pings("/s");
  allowed = 3;
  EXPECT_EQ(json.read_until("0\r\n\r\n"), "9\r\ndata: b\n\n\r\n0\r\n\r\n");
  EXPECT_THAT(plain.read_answer(), Not(HasSubstr("ping")));
}

TEST_F(edge_ping_test, a_reader_with_untaken_bytes_gets_none_until_it_took_them) {
  const std::string much(100'000, 'x');
  add_stream("/s", two_events);
  add_stream("/much", {much, "end"});
  start();
  raw_client c(port, 4096);
  c.send(get("/much"));
  wait_for_pings("/s", 20);
  c.read_until("x\r\n");
  allowed = 3;
  const auto rest = c.read_until("0\r\n\r\n");
  EXPECT_EQ(without(rest, ping_chunk), "3\r\nend\r\n0\r\n\r\n");
  EXPECT_LT(rest.size(), 10 * ping_chunk.size()) << "what it could not take was not kept for it";
}

TEST_F(edge_ping_test, a_reader_that_takes_nothing_is_cut_though_its_stream_is_silent) {
  limits.write_stall = 200ms;
  add_stream("/much", {std::string(100'000, 'x')});
  start();
  raw_client c(port, 4096);
  c.send(get("/much"));
  ASSERT_TRUE(eventually([&] { return abandoned == 1; }));
  EXPECT_EQ(server->statistics().stalled, 1);
  EXPECT_EQ(server->statistics().gone, 0);
  bool reset = false;
  EXPECT_THAT(c.read_all(&reset), Not(HasSubstr("ping")));
  EXPECT_TRUE(reset);
  EXPECT_TRUE(eventually([&] { return server->statistics().open == 0; }));
}

/// A waiting stream has given its input's memory back.
TEST_F(edge_ping_test, what_comes_in_during_a_silent_stream_is_served_after_it) {
  add_stream("/s", two_events);
  start();
  raw_client c(port);
  c.send(get("/s"));
  c.read_until(ping);
  const std::string body(20'000, 'b');
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n");
  c.read_until(ping);
  c.send(body);
  c.send(get("/hello"));
  c.read_until(ping);
  allowed = 3;
  c.read_until("\r\n0\r\n\r\n");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\n" + body));
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nhello"));
}

TEST_F(edge_ping_test, a_stream_gives_its_requests_body_back) {
  on("POST", "/s", [this](const edge_request& r, engine::yield) {
    engine::answer a;
    a.content_type = "text/event-stream";
    a.stream = std::make_unique<held_stream>(*this, r, two_events);
    return a;
  });
  start();
  raw_client c(port);
  c.send("POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 20000\r\n\r\n" + std::string(20'000, 'b'));
  c.read_until(ping);
  EXPECT_EQ(server->statistics().bodies_bytes, 0);
}

TEST_F(edge_ping_test, clients_that_leave_silent_streams_leave_nothing_behind) {
  add_stream("/s", two_events);
  start();
  for (const auto leave : {&raw_client::close, &raw_client::reset, &raw_client::shutdown}) {
    raw_client c(port);
    c.send(get("/s"));
    c.read_until(ping);
    (c.*leave)();
    EXPECT_TRUE(eventually([&] { return server->statistics().open == 0; }));
  }
  EXPECT_EQ(abandoned, 3);
}

}  // namespace
}  // namespace millrace::http
