#include <utility>

#include "http/edge.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <future>
#include <stdexcept>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/http/corpus.hpp"
#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string get_hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string get_wait = "GET /wait HTTP/1.1\r\nHost: a\r\n\r\n";

class edge_limits_test : public edge_test {
 protected:
  /// GET /wait, which ends when its client is gone.
  void add_wait() {
    on("GET", "/wait", [this](const edge_request& r, engine::yield y) {
      ++waiting;
      wait_until_gone(r.gone, y);
      ++cancelled;
      return text(r.gone.cancelled_for(engine::cancel_cause::stopping) ? "the node stops" : "too late");
    });
  }

  std::atomic<int> waiting = 0, cancelled = 0;
};

/// Each bad request gets exactly one answer, and what follows it on the connection is not served.
TEST_F(edge_limits_test, refuses_the_smuggling_corpus_and_closes) {
  start();
  const auto check = [&](const bad_request_case& c, const std::string& head) {
    SCOPED_TRACE(c.name);
    raw_client client(port);
    client.send(head + c.bytes + get_hello);
    client.shutdown();
    const auto answer = client.read_all();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + std::to_string(c.status) + " "));
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_EQ(answer.find("HTTP/1.1 ", 1), std::string::npos);
  };
  for (const auto& c : bad_heads()) check(c, "");
  config.max_body_bytes = 1 << 20;
  server->set_config(config);
  pool.on_each([](size_t) {});
  for (const auto& c : bad_chunks()) {
    check(c, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  }
}

TEST_F(edge_limits_test, a_refused_client_that_keeps_sending_sees_the_answer) {
  config.max_body_bytes = 1000;
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n");
  c.send(std::string(3'000'000, 'x'));
  c.shutdown();
  bool reset = true;
  EXPECT_THAT(c.read_all(&reset), StartsWith("HTTP/1.1 413 "));
  EXPECT_FALSE(reset);
}

TEST_F(edge_limits_test, a_body_too_large_is_refused_before_it_is_sent) {
  config.max_body_bytes = 10;
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 11\r\n\r\n");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 413 "));
  EXPECT_EQ(refused(refusal::request_too_large), 1);
}

TEST_F(edge_limits_test, bodies_together_are_bounded) {
  limits.bodies_bytes = 2000;  // 1,000 per thread
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + std::string(1000, 'x'));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + std::string(1001, 'x'));
  const auto answer = c.read_all();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 0; }));
}

TEST_F(edge_limits_test, reports_each_refusal_once_and_never_the_raw_path) {
  config.max_body_bytes = 10;
  on("GET", "/throw",
     [](const edge_request&, engine::yield) -> engine::answer { throw std::runtime_error("secret"); });
  start();
  const auto ask = [&](const std::string& bytes) {
    const auto before = watch.lines().size();
    raw_client c(port);
    c.send(bytes);
    const auto answer = c.read_answer();
    if (watch.lines().size() != before + 1) return std::string("not one line");
    const auto line = watch.lines().back();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 " + std::to_string(line.status) + " "));
    EXPECT_THAT(answer, HasSubstr("x-request-id: " + line.id + "\r\n"));
    EXPECT_THAT(answer, HasSubstr("\"" + line.code + "\""));
    return std::to_string(line.status) + " " + line.method + " " + line.route;
  };
  EXPECT_EQ(ask("GET /secret HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\n\r\n"), "404 GET ");
  EXPECT_EQ(watch.lines().back().id, "mine");
  EXPECT_EQ(ask("PUT /hello HTTP/1.1\r\nHost: a\r\n\r\n"), "405 PUT ");
  EXPECT_EQ(ask("GET /hello HTTP/1.1\r\n\r\n"), "400 GET ");
  EXPECT_EQ(ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n"), "413 POST /echo");
  EXPECT_EQ(ask("GET /throw HTTP/1.1\r\nHost: a\r\n\r\n"), "500 GET /throw");
  config.max_connections = 0;
  server->set_config(config);
  pool.on_each([](size_t) {});
  EXPECT_EQ(ask(""), "503  ");
}

TEST_F(edge_limits_test, what_a_handler_answers_is_not_reported_by_the_edge) {
  start();
  raw_client c(port);
  c.send(get_hello);
  c.read_answer();
  c.send("OPTIONS /hello HTTP/1.1\r\nHost: a\r\n\r\n");
  c.read_until("\r\n\r\n");
  EXPECT_TRUE(watch.lines().empty());
}

TEST_F(edge_limits_test, a_head_that_drips_is_cut_at_its_deadline) {
  config.header_timeout = 200ms;
  start();
  raw_client c(port);
  c.send("GET /hello HTTP/1.1\r\nX: ");
  while (c.silent(10)) c.send("a");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 408 "));
  raw_client silent(port);
  silent.send("GET /hel");
  EXPECT_THAT(silent.read_all(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(edge_limits_test, an_idle_connection_is_closed_without_a_word) {
  config.idle_timeout = 200ms;
  start();
  raw_client c(port);
  c.send(get_hello);
  EXPECT_THAT(c.read_answer(), EndsWith("hello"));
  EXPECT_EQ(c.read_all(), "");
  raw_client fresh(port);
  EXPECT_EQ(fresh.read_all(), "");
}

TEST_F(edge_limits_test, a_body_must_make_progress) {
  limits.body_progress = 200ms;
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 408 "));
  ASSERT_EQ(watch.lines().size(), 1U);
  const auto line = watch.lines()[0];
  EXPECT_GE(line.total, limits.body_progress) << "its time begins with its first byte";
  EXPECT_LE(line.overhead, line.total - limits.body_progress) << "what the client took is not ours";
}

TEST_F(edge_limits_test, a_body_must_keep_an_average_rate) {
  limits.body_grace = 200ms;
  limits.body_bytes_per_second = 1LL << 30;
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
  while (c.silent(10)) c.send("1\r\nx\r\n");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 408 "));
}

TEST_F(edge_limits_test, connections_beyond_the_bound_are_told_so) {
  config.max_connections = 2;
  limits.lingering_refusals = 1;
  limits.linger = 30s;
  start();
  raw_client a(port), b(port);
  a.send(get_hello);
  a.read_answer();
  b.send(get_hello);
  b.read_answer();
  raw_client c(port);
  const auto answer = c.read_until("}");
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 503 "));
  EXPECT_THAT(answer, HasSubstr("Retry-After: 1\r\n"));
  EXPECT_THAT(answer, EndsWith("{\"code\":\"overloaded\",\"path\":\"\"}"));
  raw_client d(port);
  EXPECT_EQ(d.read_all(), "");
  EXPECT_EQ(refused(refusal::overloaded), 2);
  a.close();
  ASSERT_TRUE(eventually([&] { return server->statistics().open == 2; }));
  raw_client e(port);  // `c` is there still, and takes nobody's place
  e.send(get_hello);
  EXPECT_THAT(e.read_answer(), EndsWith("hello"));
}

TEST_F(edge_limits_test, a_vanished_client_cancels_its_request) {
  add_wait();
  start();
  int expected = 0;
  for (const auto leave : {&raw_client::close, &raw_client::reset, &raw_client::shutdown}) {
    raw_client c(port);
    c.send(get_wait);
    ++expected;
    ASSERT_TRUE(eventually([&] { return waiting == expected; }));
    const auto left = engine::clock::now();
    (c.*leave)();
    ASSERT_TRUE(eventually([&] { return cancelled == expected; }));
    // By design at once; the bound is loose, for busy machines, and only tells it from a timer of seconds.
    EXPECT_LT(engine::clock::now() - left, 2s);
  }
  EXPECT_TRUE(eventually([&] { return server->statistics().open == 0; }));
  EXPECT_EQ(server->statistics().gone, 3);
}

TEST_F(edge_limits_test, pipelined_requests_are_bounded_and_do_not_hide_a_hang_up) {
  limits.read_ahead_bytes = 1;  // raised to one head, about 40 KiB
  add_wait();
  start();
  raw_client c(port);
  c.send(get_wait);
  ASSERT_TRUE(eventually([&] { return waiting == 1; }));
  std::string ahead;
  while (ahead.size() < 100'000) ahead += get_hello;
  c.send(ahead);
  EXPECT_EQ(cancelled, 0);
  c.shutdown();
  EXPECT_TRUE(eventually([&] { return cancelled == 1; }));
  EXPECT_TRUE(eventually([&] { return server->statistics().open == 0; }));
}

/// Gives pieces without end and counts them.
class endless_stream : public engine::answer_stream {
 public:
  endless_stream(std::atomic<int>& reads, std::atomic<int>& abandoned)
      : reads_(reads), abandoned_(abandoned) {}
  bool read(std::string& out, engine::yield) override {
    ++reads_;
    out.append(10'000, 'x');
    return true;
  }
  void abandon() override { ++abandoned_; }

 private:
  std::atomic<int>& reads_;
  std::atomic<int>& abandoned_;
};

TEST_F(edge_limits_test, a_slow_reader_slows_its_stream_and_is_cut_at_last) {
  std::atomic<int> reads = 0, abandoned = 0;
  limits.write_stall = 300ms;
  on("GET", "/endless", [&](const edge_request&, engine::yield) {
    engine::answer a;
    a.stream = std::make_unique<endless_stream>(reads, abandoned);
    return a;
  });
  start();
  raw_client c(port, 4096);
  c.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return abandoned == 1; }));
  EXPECT_GT(reads, 0);
  EXPECT_LT(reads, 500);  // 5 MB: what the kernel's buffers hold at most, far from endless
  EXPECT_EQ(server->statistics().stalled, 1);
  bool reset = false;
  EXPECT_THAT(c.read_all(&reset), Not(EndsWith("0\r\n\r\n")));
  EXPECT_TRUE(reset);
}

TEST_F(edge_limits_test, a_reader_that_leaves_ends_its_stream) {
  std::atomic<int> reads = 0, abandoned = 0;
  on("GET", "/endless", [&](const edge_request&, engine::yield) {
    engine::answer a;
    a.stream = std::make_unique<endless_stream>(reads, abandoned);
    return a;
  });
  start();
  raw_client c(port, 4096);
  c.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n");
  c.read_until("xxxx");
  c.close();
  EXPECT_TRUE(eventually([&] { return abandoned == 1 && server->statistics().open == 0; }));
}

TEST_F(edge_limits_test, draining_closes_idle_connections_and_lets_requests_finish) {
  std::atomic<bool> finish = false;
  add_wait();
  on("GET", "/slow", [&](const edge_request& r, engine::yield y) {
    ++waiting;
    while (!finish) boost::asio::post(pool.context(r.thread), y);
    return text("done");
  });
  start();
  raw_client idle(port), busy(port);
  idle.send(get_hello);
  idle.read_answer();
  busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n");
  ASSERT_TRUE(eventually([&] { return waiting == 1; }));
  server->stop_accepting();
  EXPECT_EQ(idle.read_all(), "");
  finish = true;
  EXPECT_TRUE(server->drain(engine::clock::now() + 10s));
  const auto answer = busy.read_all();
  EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(answer, EndsWith("done"));
  EXPECT_EQ(server->statistics().open, 0);
}

TEST_F(edge_limits_test, draining_serves_the_requests_of_those_who_came_before_it) {
  limits.newcomer_grace = 30s;
  start();
  raw_client late(port);
  ASSERT_TRUE(eventually([&] { return server->statistics().open == 1; }));
  std::promise<void> release;
  const auto released = release.get_future().share();
  for (size_t i = 0; i < pool.size(); ++i) pool.post(i, [=] { released.wait(); });
  raw_client fresh(port);
  fresh.send(get_hello);
  std::thread stopping([&] { server->stop_accepting(); });
  release.set_value();
  stopping.join();
  EXPECT_THAT(fresh.read_all(), EndsWith("hello"));
  late.send(get_hello);
  EXPECT_THAT(late.read_all(), EndsWith("hello"));
}

TEST_F(edge_limits_test, draining_serves_all_who_wait_to_be_accepted) {
  limits.newcomer_grace = 30s;
  start();
  std::promise<void> release;
  const auto released = release.get_future().share();
  for (size_t i = 0; i < pool.size(); ++i) pool.post(i, [=] { released.wait(); });
  std::vector<std::unique_ptr<raw_client>> clients;
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<raw_client>(port));
    clients.back()->send(get_hello);
  }
  std::promise<void> begun;
  std::thread stopping([&] {
    begun.set_value();
    server->stop_accepting();
  });
  begun.get_future().wait();
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();  // that it comes before the acceptor's own turn
  release.set_value();
  stopping.join();
  for (auto& c : clients) EXPECT_THAT(c->read_all(), EndsWith("hello"));
  EXPECT_EQ(server->statistics().accepted, 200);
}

TEST_F(edge_limits_test, draining_cancels_what_is_left_at_the_deadline) {
  add_wait();
  start();
  std::vector<std::unique_ptr<raw_client>> clients;
  for (int i = 0; i < 20; ++i) {
    clients.push_back(std::make_unique<raw_client>(port));
    clients.back()->send(get_wait);
  }
  raw_client idle(port);
  idle.send(get_hello);
  idle.read_answer();
  ASSERT_TRUE(eventually([&] { return waiting == 20; }));
  EXPECT_TRUE(server->drain(engine::clock::now()));
  EXPECT_EQ(cancelled, 20);
  EXPECT_EQ(server->statistics().open, 0);
  bool reset = false;
  EXPECT_THAT(clients[0]->read_all(&reset), EndsWith("the node stops"));
  EXPECT_FALSE(reset);
  EXPECT_EQ(idle.read_all(), "");
}

/// Says something, and what it says last once its request is given up.
class last_words_stream : public engine::answer_stream {
 public:
  explicit last_words_stream(engine::cancellation& gone) : gone_(gone) {}
  bool read(std::string& out, engine::yield y) override {
    if (turn_++ == 0) out = "first";
    if (turn_ == 2) {
      wait_until_gone(gone_, y);
      out = "last";
    }
    return turn_ <= 2;
  }
  bool broken() const override { return true; }

 private:
  engine::cancellation& gone_;
  int turn_ = 0;
};

TEST_F(edge_limits_test, a_stream_that_is_cut_at_the_drain_s_end_says_so) {
  on("GET", "/stream", [&](const edge_request& r, engine::yield) {
    engine::answer a;
    a.stream = std::make_unique<last_words_stream>(r.gone);
    return a;
  });
  start();
  raw_client c(port);
  c.send("GET /stream HTTP/1.1\r\nHost: a\r\n\r\n");
  c.read_until("first");
  EXPECT_TRUE(server->drain(engine::clock::now()));
  bool reset = false;
  EXPECT_THAT(c.read_all(&reset), EndsWith("4\r\nlast\r\n0\r\n\r\n"));
  EXPECT_FALSE(reset);
}

}  // namespace
}  // namespace millrace::http
