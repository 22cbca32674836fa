#include <utility>

#include "http/edge.hpp"

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "engine/log.hpp"
#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string get_hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";

/// POST /guarded, which refuses by the head alone who has no `x-pass`.
class edge_body_test : public edge_test {
 protected:
  void add_guarded() {
    on(
        "POST", "/guarded",
        [this](const edge_request& r, engine::yield) {
          ++handled;
          return text(std::string(r.body));
        },
        [this](const edge_request& r) -> std::optional<engine::answer> {
          ++asked;
          if (!r.body.empty()) ++seen_bodies;
          if (r.has_header("x-pass")) return std::nullopt;
          auto a = text("no pass");
          a.status = 401;
          return a;
        });
  }
  static std::string head(const std::string& fields) {
    return "POST /guarded HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  }

  std::atomic<int> asked = 0, handled = 0, seen_bodies = 0;
};

TEST_F(edge_body_test, a_route_may_refuse_by_the_head_before_the_body_is_read) {
  add_guarded();
  start();
  for (const auto* fields : {"Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n",
                             "Content-Length: 5\r\nExpect: 100-continue\r\n"}) {
    raw_client c(port);
    c.send(head(fields));
    const auto answer = c.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 ")) << fields;
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(answer, EndsWith("no pass"));
    c.shutdown();
    EXPECT_EQ(c.read_all(), "");
  }
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(server->statistics().requests, 3) << "counted as if the handler had refused";
}

TEST_F(edge_body_test, who_is_refused_while_sending_still_sees_why) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("Content-Length: 3000000\r\n"));
  c.send(std::string(3'000'000, 'x'));
  c.shutdown();
  bool reset = true;
  EXPECT_THAT(c.read_all(&reset), StartsWith("HTTP/1.1 401 "));
  EXPECT_FALSE(reset);
  EXPECT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 0; }));
}

TEST_F(edge_body_test, who_is_admitted_is_asked_for_the_body_and_served) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("x-pass: 1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(c.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("abc");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
  c.send(head("x-pass: 1\r\nContent-Length: 200000\r\n") + std::string(100'000, 'x'));
  c.send(std::string(100'000, 'x'));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(handled, 2);
  EXPECT_EQ(seen_bodies, 0);
}

TEST_F(edge_body_test, a_body_that_came_with_the_head_is_the_handlers_alone) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("Content-Length: 3\r\n") + "abc");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
  c.send(head("Transfer-Encoding: chunked\r\n") + "3\r\ndef\r\n0\r\n\r\n");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\ndef"));
  c.send(head(""));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(asked, 0);
}

TEST_F(edge_body_test, a_body_is_awaited_no_longer_than_its_client_would_wait) {
  routes.push_back(
      {"POST",
       "/due",
       [](const edge_request&, engine::yield) { return text("in time"); },
       {},
       {[](const edge_request& r) { return r.received + (r.has_header("x-hurry") ? 200ms : 1h); },
        [](const edge_request& r) {
          auto a = text("too late");
          a.status = r.upload >= 200ms && r.body.empty() ? 504 : 500;
          return a;
        }}});
  start();
  const std::string head = "POST /due HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n";
  raw_client paused(port), drips(port), patient(port);
  patient.send(head + "\r\n1\r\nx\r\n");
  paused.send(head + "x-hurry: 1\r\n\r\n1\r\nx\r\n");
  drips.send(head + "x-hurry: 1\r\n\r\n1\r\nx\r\n");
  while (drips.silent(10)) drips.send("1\r\nx\r\n");
  for (auto* c : {&paused, &drips}) {
    const auto answer = c->read_all();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 504 "));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(answer, EndsWith("too late"));
  }
  patient.send("0\r\n\r\n");
  EXPECT_THAT(patient.read_answer(), EndsWith("in time"));
  patient.send(head + "x-hurry: 1\r\n\r\n0\r\n\r\n");
  EXPECT_THAT(patient.read_answer(), EndsWith("in time"));
  EXPECT_EQ(server->statistics().requests, 4);
  EXPECT_TRUE(watch.lines().empty()) << "the route reports";
}

/// When a request came, as its handler is told.
struct told_times {
  engine::time_point received;
  engine::duration upload{};
};

class edge_arrival_test : public edge_test {
 protected:
  void add_timed() {
    on("POST", "/timed", [this](const edge_request& r, engine::yield) {
      told = {r.received, r.upload};
      return text("timed");
    });
  }
  /// The threads have done what they were given before.
  void settle() {
    pool.on_each([](size_t) {});
  }
  told_times told;
};

TEST_F(edge_arrival_test, a_request_begins_with_its_heads_first_byte) {
  add_timed();
  start();
  raw_client c(port);
  c.send(get_hello + "POST /tim");
  c.read_answer();
  settle();
  const auto begun = engine::clock::now();
  c.send("ed HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_THAT(c.read_answer(), EndsWith("timed"));
  EXPECT_LE(told.received, begun);
  EXPECT_GE(told.received + told.upload, begun);
}

TEST_F(edge_arrival_test, the_time_that_a_body_takes_is_the_clients) {
  add_timed();
  start();
  raw_client c(port);
  const auto before = engine::clock::now();
  c.send("POST /timed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
  ASSERT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 1; }));
  const auto begun = engine::clock::now();
  c.send("bc");
  EXPECT_THAT(c.read_answer(), EndsWith("timed"));
  EXPECT_GE(told.received, before);
  EXPECT_LE(told.received, begun);
  EXPECT_GE(told.received + told.upload, begun);
}

TEST_F(edge_arrival_test, what_comes_at_once_takes_no_time_to_upload) {
  add_timed();
  start();
  raw_client c(port);
  c.send("POST /timed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
  ASSERT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 1; }));
  c.send("bc");
  c.read_answer();
  const auto before = engine::clock::now();
  c.send("POST /timed HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  c.read_answer();
  EXPECT_GE(told.received, before) << "and nothing is left of the request before";
  EXPECT_EQ(told.upload, engine::duration::zero());
}

TEST_F(edge_body_test, who_leaves_before_the_body_is_whole_is_reported_as_gone) {
  start();
  std::size_t expected = 0;
  for (const auto leave : {&raw_client::close, &raw_client::reset, &raw_client::shutdown}) {
    raw_client c(port);
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 3\r\n\r\na");
    ASSERT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 1; }));
    (c.*leave)();
    ++expected;
    ASSERT_TRUE(eventually([&] { return watch.lines().size() == expected; }));
    const auto line = watch.lines().back();
    EXPECT_EQ(line.status, 499);
    EXPECT_EQ(line.code, "client_gone");
    EXPECT_EQ(line.id, "mine");
    EXPECT_EQ(line.route, "/echo");
    EXPECT_TRUE(line.client_gone);
    ASSERT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 0; }));
  }
  EXPECT_EQ(server->statistics().gone, 3);
  EXPECT_EQ(server->statistics().requests, 0);
}

/// GET /big, whose answer no kernel takes at once.
class edge_loss_test : public edge_test {
 protected:
  void add_big() {
    on("GET", "/big", [](const edge_request&, engine::yield) {
      auto answer = text(std::string(64 << 20, 'x'));
      answer.headers.emplace_back("x-request-id", "mine");
      return answer;
    });
  }
  /// What the log has, each line once it was written.
  std::string logged() {
    log.flush();
    std::string all(1 << 16, '\0');
    const auto n = pread(fileno(file.get()), all.data(), all.size(), 0);
    all.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return all;
  }

  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{std::tmpfile(), &std::fclose};
  engine::logging log{{"info", true}, fileno(file.get())};
  const std::string get_big = "GET /big HTTP/1.1\r\nHost: a\r\n\r\n";
};

TEST_F(edge_loss_test, a_plain_answer_that_nobody_takes_is_counted_as_stalled) {
  limits.write_stall = 200ms;
  add_big();
  start();
  raw_client c(port, 4096);
  c.send(get_big);
  ASSERT_TRUE(eventually([&] { return server->statistics().stalled == 1; }));
  ASSERT_TRUE(eventually([&] { return server->statistics().open == 0; }));
  EXPECT_EQ(server->statistics().gone, 0);
  EXPECT_THAT(logged(), HasSubstr(R"("event":"answer_not_taken","request_id":"mine","status":200,)"
                                  R"("bytes":67108864,"why":"stalled"})"));
}

TEST_F(edge_loss_test, an_answer_that_was_taken_is_no_loss) {
  on("GET", "/events", [](const edge_request&, engine::yield) {
    engine::answer a;
    a.stream = std::make_unique<piece_stream>(std::vector<std::string>{"a"});
    return a;
  });
  start();
  raw_client c(port);
  c.send(get_hello + "GET /events HTTP/1.0\r\n\r\n");
  c.read_all();
  ASSERT_TRUE(eventually([&] { return server->statistics().open == 0; }));
  EXPECT_EQ(logged(), "");
}

TEST_F(edge_loss_test, a_client_that_leaves_its_plain_answer_is_counted_as_gone) {
  add_big();
  start();
  std::int64_t expected = 0;
  for (const auto leave : {&raw_client::close, &raw_client::reset}) {
    raw_client c(port, 4096);
    c.send(get_big);
    c.read_until("xxxx");
    (c.*leave)();
    ASSERT_TRUE(eventually([&] { return server->statistics().open == 0; }));
    EXPECT_EQ(server->statistics().gone, ++expected) << "once, however it is found";
  }
  EXPECT_THAT(logged(), HasSubstr(R"("why":"client_gone"})"));
  EXPECT_EQ(server->statistics().stalled, 0);
}

class edge_half_sent_test : public edge_test {
 protected:
  /// A client whose request on /echo lacks two bytes of its body.
  std::unique_ptr<raw_client> half() {
    auto c = std::make_unique<raw_client>(port);
    c->send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na");
    EXPECT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 1; }));
    return c;
  }
};

TEST_F(edge_half_sent_test, draining_does_not_wait_for_those_who_send_no_more) {
  limits.half_sent_grace = 100ms;
  limits.body_progress = config.header_timeout = 1h;
  start();
  raw_client head(port);
  head.send("POST /ec");
  const auto body = half();
  server->stop_accepting();
  for (auto* c : {&head, body.get()}) {
    const auto answer = c->read_all();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
    EXPECT_THAT(answer, HasSubstr("\"drain_timeout\""));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  }
  EXPECT_EQ(refused(refusal::drain_timeout), 2);
  ASSERT_EQ(watch.lines().size(), 2U);
  EXPECT_EQ(watch.lines()[0].code, "drain_timeout");
  EXPECT_EQ(watch.lines()[0].status, 503);
}

TEST_F(edge_half_sent_test, draining_lets_a_request_come_in_that_goes_on) {
  limits.half_sent_grace = 1h;
  start();
  const auto c = half();
  server->stop_accepting();
  c->send("bc");
  EXPECT_THAT(c->read_all(), EndsWith("\r\n\r\nabc"));
}

TEST_F(edge_half_sent_test, at_the_drains_end_a_client_that_still_sends_is_told_why) {
  limits.half_sent_grace = limits.body_progress = 1h;
  start();
  const auto c = half();
  EXPECT_TRUE(server->drain(engine::clock::now()));
  bool reset = true;
  const auto answer = c->read_all(&reset);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("\"drain_timeout\""));
  EXPECT_FALSE(reset);
}

TEST_F(edge_half_sent_test, at_the_drains_end_who_has_sent_half_a_head_is_told_why) {
  limits.half_sent_grace = config.header_timeout = 1h;
  start();
  raw_client c(port);
  c.send(get_hello + "GET /hel");
  c.read_answer();
  pool.on_each([](size_t) {});  // what is left of the input was looked at
  EXPECT_TRUE(server->drain(engine::clock::now()));
  bool reset = true;
  const auto answer = c.read_all(&reset);
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("\"drain_timeout\""));
  EXPECT_FALSE(reset);
  ASSERT_EQ(watch.lines().size(), 1U);
  EXPECT_EQ(watch.lines()[0].code, "drain_timeout");
  EXPECT_EQ(watch.lines()[0].status, 503);
}

TEST_F(edge_half_sent_test, at_the_drains_end_who_has_sent_nothing_hears_nothing) {
  limits.newcomer_grace = 1h;
  start();
  raw_client c(port);
  ASSERT_TRUE(eventually([&] { return server->statistics().open == 1; }));
  EXPECT_TRUE(server->drain(engine::clock::now()));
  EXPECT_EQ(c.read_all(), "");
  EXPECT_TRUE(watch.lines().empty());
}

TEST_F(edge_half_sent_test, a_drain_may_be_hurried) {
  limits.half_sent_grace = limits.body_progress = 1h;
  start();
  const auto c = half();
  std::thread draining([&] { EXPECT_TRUE(server->drain(engine::clock::now() + 1h)); });
  server->hurry();
  draining.join();
  EXPECT_THAT(c->read_all(), StartsWith("HTTP/1.1 503 "));
}

}  // namespace
}  // namespace millrace::http
