#include "http/tls_context.hpp"
#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

using exchange_ptr = std::unique_ptr<engine::upstream_exchange>;

/// Deadlines and cancellations, in every phase of a call.
class upstream_wait_test : public upstream_test {
 protected:
  /// A provider whose name is looked up; the lookup never answers.
  void lose_lookups(std::function<void()> asked) {
    options.lookup = [this, asked](const std::string&, std::function<void(const address_list&)> done) {
      lost_.push_back(std::move(done));
      if (asked) boost::asio::post(io, asked);
    };
  }

 private:
  std::vector<std::function<void(const address_list&)>> lost_;
};

TEST_F(upstream_wait_test, connecting_ends_at_its_deadline_in_every_phase) {
  lose_lookups({});
  deaf_server deaf(io);
  auto mute = serve([](peer& p) { p.wait_closed(); });
  run([&](engine::yield y) {
    exchange_ptr e;
    EXPECT_EQ(client().connect(provider(80, "slow.test"), in(20ms), false, gone, e, y),
              upstream_failure::timeout);
    EXPECT_EQ(client().connect(provider(deaf.port()), in(20ms), false, gone, e, y),
              upstream_failure::timeout);
    const auto tls = provider(mute.port(), "127.0.0.1", true);
    EXPECT_EQ(client().connect(tls, in(20ms), false, gone, e, y), upstream_failure::timeout);
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_wait_test, refused_is_a_connect_failure) {
  std::uint16_t port = 0;
  {
    test_server nobody(io, answer_all);
    port = nobody.port();
    nobody.stop();
  }
  run([&](engine::yield y) { EXPECT_EQ(exchange(provider(port), y).connect, upstream_failure::connect); });
}

TEST_F(upstream_wait_test, writing_and_the_head_end_at_their_deadline) {
  auto s = serve([](peer& p) {
    while (p.socket().is_open()) p.pause(5ms);
  });
  run([&](engine::yield y) {
    const std::string body(64 << 20, 'x');
    for (const std::string_view b : {std::string_view("{}"), std::string_view(body)}) {
      exchange_ptr e;
      engine::upstream_head head;
      ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
      EXPECT_EQ(e->send(post(b), in(20ms), head, y), upstream_failure::timeout);
      EXPECT_FALSE(e->stale());
    }
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_wait_test, a_silent_body_ends_at_its_deadline) {
  auto s = serve([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    exchange_ptr e;
    engine::upstream_head head;
    std::string out;
    ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
    ASSERT_EQ(e->send(post(), in(30s), head, y), upstream_failure::none);
    ASSERT_EQ(e->read(out, in(30s), y), upstream_failure::none);
    EXPECT_EQ(out, "some");
    EXPECT_EQ(e->read(out, in(20ms), y), upstream_failure::timeout) << "earlier than the deadline before it";
    EXPECT_EQ(e->read(out, in(20ms), y), upstream_failure::timeout) << "dead from now on";
  });
}

TEST_F(upstream_wait_test, an_old_deadline_does_not_end_a_later_wait) {
  auto s = serve([](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.read_request();
    p.pause(600ms);
    p.write(ok_answer);
    p.wait_closed();
  });
  run([&](engine::yield y) {
    for (const auto patience : {engine::duration(500ms), engine::duration(10s)}) {
      exchange_ptr e;
      call c;
      ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
      EXPECT_EQ(e->send(post(), in(patience), c.head, y), upstream_failure::none);
      read_all(*e, c, y);
      EXPECT_EQ(c.body, "ok");
    }
  });
  EXPECT_EQ(s.accepted(), 1);
}

TEST_F(upstream_wait_test, cancelling_ends_a_lookup) {
  lose_lookups([this] { gone.cancel(); });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(80, "slow.test"), y).connect, upstream_failure::cancelled);
    EXPECT_EQ(exchange(provider(80, "slow.test"), y).connect, upstream_failure::cancelled)
        << "from the start";
  });
}

TEST_F(upstream_wait_test, cancelling_ends_a_connect) {
  deaf_server deaf(io);
  run([&](engine::yield y) {
    boost::asio::post(io, [this] { gone.cancel(); });
    EXPECT_EQ(exchange(provider(deaf.port()), y).connect, upstream_failure::cancelled);
  });
}

TEST_F(upstream_wait_test, cancelling_ends_a_handshake) {
  auto s = serve([this](peer& p) {
    EXPECT_NE(p.read_some(), "");
    gone.cancel();
    p.wait_closed();
  });
  run([&](engine::yield y) {
    const auto p = provider(s.port(), "127.0.0.1", true);
    EXPECT_EQ(exchange(p, y).connect, upstream_failure::cancelled);
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_wait_test, cancelling_ends_writing_and_waiting_for_the_head) {
  const std::string body(64 << 20, 'x');
  for (const std::string_view b : {std::string_view("{}"), std::string_view(body)}) {
    engine::cancellation mine;
    bool closed = false;
    auto s = serve([&](peer& p) {
      EXPECT_NE(p.read_some(), "");
      mine.cancel();
      p.wait_closed();
      closed = true;
    });
    run([&](engine::yield y) {
      exchange_ptr e;
      engine::upstream_head head;
      ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, mine, e, y), upstream_failure::none);
      EXPECT_EQ(e->send(post(b), in(10s), head, y), upstream_failure::cancelled);
      EXPECT_FALSE(e->stale());
      wait_until([&] { return closed; }, y);
    });
    EXPECT_EQ(client().counters().open, 0);
  }
}

TEST_F(upstream_wait_test, cancelling_ends_reading) {
  bool reading = false;
  bool closed = false;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n");
    while (!reading) p.pause(1ms);
    gone.cancel();
    p.wait_closed();
    closed = true;
  });
  run([&](engine::yield y) {
    exchange_ptr e;
    engine::upstream_head head;
    std::string out;
    ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
    ASSERT_EQ(e->send(post(), in(10s), head, y), upstream_failure::none);
    ASSERT_EQ(e->read(out, in(10s), y), upstream_failure::none);
    reading = true;
    EXPECT_EQ(e->read(out, in(10s), y), upstream_failure::cancelled);
    wait_until([&] { return closed; }, y);
  });
}

}  // namespace millrace::http
