#include <sys/resource.h>
#include <unistd.h>

#include <gmock/gmock.h>

#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

using ::testing::HasSubstr;
using exchange_ptr = std::unique_ptr<engine::upstream_exchange>;

class upstream_client_test : public upstream_test {
 protected:
  exchange_ptr connected(const engine::provider_config& p, engine::yield y) {
    exchange_ptr e;
    EXPECT_EQ(client().connect(p, in(10s), false, gone, e, y), upstream_failure::none);
    return e;
  }
};

TEST_F(upstream_client_test, writes_exactly_the_request_and_reads_the_answer) {
  std::string seen;
  auto s = serve([&](peer& p) {
    seen = p.read_request();
    p.write("HTTP/1.1 418 Teapot\r\nX-Some-Header:  Value \r\ncontent-length: 5\r\n\r\nhello");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    const call c = exchange(provider(s.port()), y, post(R"({"a":1})", "/v1/chat?b=c"));
    EXPECT_EQ(c.send, upstream_failure::none);
    EXPECT_EQ(c.read, upstream_failure::none);
    EXPECT_EQ(c.head.status, 418);
    EXPECT_EQ(c.head.header("x-some-header"), "Value");
    EXPECT_EQ(c.body, "hello");
  });
  EXPECT_EQ(seen,
            "POST /v1/chat?b=c HTTP/1.1\r\nhost: 127.0.0.1:" + std::to_string(s.port()) +
                "\r\ncontent-type: application/json\r\naccept-encoding: gzip\r\ncontent-length: 7\r\n\r\n"
                R"({"a":1})");
}

TEST_F(upstream_client_test, reuses_the_connection_that_was_used_last) {
  std::vector<int> order;
  auto s = serve([&](peer& p) {
    while (!p.read_request().empty()) {
      order.push_back(p.number());
      p.write(ok_answer);
    }
  });
  run([&](engine::yield y) {
    const auto p = provider(s.port());
    call a;
    call b;
    auto first = connected(p, y);
    auto second = connected(p, y);
    ASSERT_EQ(second->send(post(), in(10s), b.head, y), upstream_failure::none);
    read_all(*second, b, y);
    ASSERT_EQ(first->send(post(), in(10s), a.head, y), upstream_failure::none);
    read_all(*first, a, y);
    EXPECT_EQ(client().counters().idle, 2);
    EXPECT_EQ(exchange(p, y).body, "ok");
    EXPECT_EQ(exchange(p, y, post(), true).body, "ok") << "fresh";
  });
  EXPECT_EQ(order, (std::vector<int>{2, 1, 1, 3}));
  EXPECT_EQ(client().counters().created, 3);
  EXPECT_EQ(client().counters().reused, 1);
}

TEST_F(upstream_client_test, does_not_keep_what_the_provider_or_the_framing_forbids) {
  const std::vector<std::string> answers = {
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n",
  };
  for (const auto& answer : answers) {
    auto s = serve([&](peer& p) {
      p.read_request();
      p.write(answer);
      p.wait_closed();
    });
    run([&](engine::yield y) { EXPECT_EQ(exchange(provider(s.port()), y).body, "ok") << answer; });
    EXPECT_EQ(client().counters().open, 0) << answer;
  }
}

TEST_F(upstream_client_test, a_reused_connection_that_fails_without_an_answer_is_stale) {
  for (const bool by_reset : {false, true}) {
    auto s = serve([&](peer& p) {
      p.read_request();
      p.write(ok_answer);
      p.read_request();
      if (by_reset) p.reset();
    });
    run([&](engine::yield y) {
      EXPECT_EQ(exchange(provider(s.port()), y).body, "ok");
      const call second = exchange(provider(s.port()), y);
      EXPECT_EQ(second.send, upstream_failure::reset);
      EXPECT_TRUE(second.stale);
    });
  }
}

TEST_F(upstream_client_test, where_one_kept_connection_died_the_others_are_not_tried) {
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.read_request();
    p.reset();
  });
  run([&](engine::yield y) {
    int answered = 0;
    for (int i = 0; i < 3; ++i) {
      engine::start_coroutine(io, [&](engine::yield inner) {
        EXPECT_EQ(exchange(provider(s.port()), inner).body, "ok");
        ++answered;
      });
    }
    wait_until([&] { return answered == 3; }, y);
    EXPECT_EQ(client().counters().idle, 3);
    EXPECT_TRUE(exchange(provider(s.port()), y).stale);
    EXPECT_EQ(client().counters().idle, 0);
    EXPECT_EQ(exchange(provider(s.port()), y).body, "ok");
  });
}

TEST_F(upstream_client_test, nothing_else_is_stale) {
  auto fresh = serve([](peer& p) { p.read_request(); });
  auto partial = serve([](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.read_request();
    p.write("HTTP/1.1 20");
  });
  run([&](engine::yield y) {
    const call first_use = exchange(provider(fresh.port()), y);
    EXPECT_EQ(first_use.send, upstream_failure::reset);
    EXPECT_FALSE(first_use.stale) << "a fresh connection";
    exchange(provider(partial.port()), y);
    const call cut_head = exchange(provider(partial.port()), y);
    EXPECT_EQ(cut_head.send, upstream_failure::reset);
    EXPECT_FALSE(cut_head.stale) << "part of an answer had come";
  });
}

TEST_F(upstream_client_test, an_idle_connection_that_the_provider_closed_is_not_used) {
  int closed = 0;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.close();
    ++closed;
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port()), y).body, "ok");
    wait_until([&] { return closed == 1; }, y);
    settle(y);
    const call c = exchange(provider(s.port()), y);
    EXPECT_EQ(c.send, upstream_failure::none);
    EXPECT_EQ(c.body, "ok");
  });
  EXPECT_EQ(s.accepted(), 2);
  EXPECT_EQ(client().counters().reused, 0);
}

TEST_F(upstream_client_test, an_idle_connection_that_spoke_unasked_is_not_used) {
  bool said = false;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.read_request();
    p.write(ok_answer);
    p.pause(1ms);
    said = p.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    exchange(provider(s.port()), y);
    exchange(provider(s.port()), y);
    EXPECT_EQ(client().counters().reused, 1);
    wait_until([&] { return said; }, y);
    settle(y);
    exchange_ptr e;
    client().connect(provider(s.port()), in(10s), false, gone, e, y);
  });
  EXPECT_EQ(client().counters().reused, 1);
  EXPECT_EQ(client().counters().created, 2);
}

TEST_F(upstream_client_test, idle_connections_are_closed_after_their_time) {
  options.idle_timeout = 20ms;
  bool closed = false;
  auto s = serve([&](peer& p) {
    answer_all(p);
    closed = true;
  });
  run([&](engine::yield y) {
    exchange(provider(s.port()), y);
    wait_until([&] { return closed; }, y);
  });
  EXPECT_EQ(client().counters().idle, 0);
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_client_test, a_shorter_time_named_by_the_provider_counts) {
  auto s = serve([](peer& p) {
    while (!p.read_request().empty()) {
      p.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 0\r\n\r\n");
    }
  });
  run([&](engine::yield y) {
    exchange(provider(s.port()), y);
    settle(y, 510ms);
    exchange(provider(s.port()), y);
  });
  EXPECT_EQ(client().counters().reused, 0);
  EXPECT_EQ(client().counters().created, 2);
}

TEST_F(upstream_client_test, idle_connections_are_bounded_per_host_and_in_all) {
  options.max_idle_per_host = 2;
  options.max_idle = 3;
  std::vector<int> closed;
  auto a = serve([&](peer& p) {
    answer_all(p);
    closed.push_back(p.number());
  });
  auto b = serve(answer_all);
  run([&](engine::yield y) {
    std::vector<exchange_ptr> open;
    for (int i = 0; i < 3; ++i) open.push_back(connected(provider(a.port()), y));
    for (int i = 0; i < 2; ++i) open.push_back(connected(provider(b.port()), y));
    for (auto& e : open) {
      call c;
      ASSERT_EQ(e->send(post(), in(10s), c.head, y), upstream_failure::none);
      read_all(*e, c, y);
    }
    EXPECT_EQ(client().counters().idle, 3);
    EXPECT_EQ(client().counters().open, 3);
    wait_until([&] { return closed.size() == 2; }, y);
  });
  EXPECT_EQ(closed, (std::vector<int>{1, 2})) << "the oldest go";
}

TEST_F(upstream_client_test, leaving_a_body_unread_closes_the_connection) {
  bool closed = false;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nsome");
    p.wait_closed();
    closed = true;
  });
  run([&](engine::yield y) {
    auto e = connected(provider(s.port()), y);
    engine::upstream_head head;
    ASSERT_EQ(e->send(post(), in(10s), head, y), upstream_failure::none);
    e.reset();
    wait_until([&] { return closed; }, y);
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_client_test, passes_over_interim_answers) {
  auto s = serve([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\nOther: y\r\n\r\n");
    p.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    const call c = exchange(provider(s.port()), y);
    EXPECT_EQ(c.head.status, 200);
    EXPECT_EQ(c.head.headers.size(), 1U);
    EXPECT_EQ(c.body, "ok");
  });
}

TEST_F(upstream_client_test, passes_redirects_on_and_follows_none) {
  auto s = serve([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n");
    EXPECT_EQ(p.read_request(), "");
  });
  run([&](engine::yield y) {
    const call c = exchange(provider(s.port()), y);
    EXPECT_EQ(c.head.status, 307);
    EXPECT_EQ(c.head.header("location"), "/elsewhere");
  });
}

TEST_F(upstream_client_test, answers_without_a_body_keep_the_connection) {
  auto s = serve([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 204 No Content\r\n\r\n");
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Encoding: gzip\r\n\r\n");
    answer_all(p);
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port()), y).head.status, 204);
    const call head =
        exchange(provider(s.port()), y, {.method = "HEAD", .target = "/", .headers = {}, .body = {}});
    EXPECT_EQ(head.read, upstream_failure::none);
    EXPECT_EQ(head.body, "");
    EXPECT_EQ(exchange(provider(s.port()), y).body, "ok");
  });
  EXPECT_EQ(s.accepted(), 1);
}

TEST_F(upstream_client_test, refuses_what_is_not_http) {
  const std::vector<std::string> answers = {
      "SSH-2.0-OpenSSH_9.2\r\n\r\n",
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
      "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
      "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok",
  };
  for (const auto& answer : answers) {
    auto s = serve([&](peer& p) {
      p.read_request();
      p.write(answer);
      p.wait_closed();
    });
    run([&](engine::yield y) {
      EXPECT_EQ(exchange(provider(s.port()), y).send, upstream_failure::protocol) << answer;
    });
    EXPECT_EQ(client().counters().open, 0);
  }
}

TEST_F(upstream_client_test, bounds_the_head) {
  const std::string almost = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: " + std::string(60000, 'x');
  for (const bool tooLong : {false, true}) {
    auto s = serve([&](peer& p) {
      p.read_request();
      p.write(almost);
      p.write(tooLong ? std::string(10000, 'y') : "\r\n\r\n");
      p.wait_closed();
    });
    run([&](engine::yield y) {
      const call c = exchange(provider(s.port()), y);
      EXPECT_EQ(c.send, tooLong ? upstream_failure::head_too_large : upstream_failure::none);
    });
  }
  auto endless = serve([](peer& p) {
    p.read_request();
    while (p.write("HTTP/1.1 102 Processing\r\nX: some text that makes it longer\r\n\r\n")) {
    }
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(endless.port()), y).send, upstream_failure::head_too_large);
  });
}

TEST_F(upstream_client_test, never_writes_line_breaks_into_a_head) {
  auto s = serve([](peer& p) { EXPECT_EQ(p.read_some(), ""); });
  run([&](engine::yield y) {
    auto r = post();
    r.headers.emplace_back("x-name", "a\r\nevil: 1");
    EXPECT_EQ(exchange(provider(s.port()), y, r).send, upstream_failure::protocol);
    EXPECT_EQ(exchange(provider(s.port()), y, post("", "/a HTTP/1.1\r\n")).send, upstream_failure::protocol);
  });
}

TEST_F(upstream_client_test, reads_an_answer_that_comes_before_the_request_was_taken) {
  auto s = serve([](peer& p) {
    p.read_some();
    p.write("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    const std::string body(8 << 20, 'x');
    const call c = exchange(provider(s.port()), y, post(body));
    EXPECT_EQ(c.head.status, 413);
    EXPECT_EQ(c.body, "big");
  });
}

TEST_F(upstream_client_test, idle_connections_make_room_where_files_have_run_out) {
  auto before = serve(answer_all);
  auto after = serve(answer_all);
  run([&](engine::yield y) {
    for (int i = 0; i < 4; ++i) exchange(provider(before.port()), y, post(), true);
    ASSERT_EQ(client().counters().idle, 4);
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const int next = dup(0);
    close(next);
    const rlimit none_left{static_cast<rlim_t>(next), limit.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none_left);
    const auto c = exchange(provider(after.port()), y);
    setrlimit(RLIMIT_NOFILE, &limit);
    EXPECT_EQ(c.body, "ok");
    EXPECT_EQ(client().counters().idle, 1);
  });
}

}  // namespace millrace::http
