#include <future>

#include "http/connect_race.hpp"
#include "http/resolver.hpp"
#include "tests/http/slow_names.hpp"
#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

namespace {

address_list addresses(std::initializer_list<const char*> texts) {
  address_list out;
  for (const char* t : texts) out.push_back(boost::asio::ip::make_address(t));
  return out;
}

}  // namespace

class upstream_resolver_test : public upstream_test {
 protected:
  void SetUp() override {
    options.lookup = [this](const std::string& host, std::function<void(const address_list&)> done) {
      asked.push_back(host);
      boost::asio::post(io, [this, done] { done(known); });
    };
  }

  bool has_ipv6() {
    try {
      test_server probe(io, answer_all, "::1");
      return true;
    } catch (const boost::system::system_error&) {
      return false;
    }
  }

  address_list known = addresses({"127.0.0.1"});
  std::vector<std::string> asked;
};

TEST_F(upstream_resolver_test, a_name_is_asked_for_once_and_remembered) {
  auto s = serve(answer_all);
  int done = 0;
  for (int i = 0; i < 3; ++i) {
    engine::start_coroutine(io, [&](engine::yield y) {
      EXPECT_EQ(exchange(provider(s.port(), "api.test"), y).body, "ok");
      ++done;
    });
  }
  run([&](engine::yield y) {
    wait_until([&] { return done == 3; }, y);
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y, post(), true).body, "ok");
  });
  EXPECT_EQ(asked, (std::vector<std::string>{"api.test"}));
}

TEST_F(upstream_resolver_test, a_failure_is_told_and_not_remembered) {
  auto s = serve(answer_all);
  const address_list good = std::exchange(known, {});
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y).connect, upstream_failure::resolve);
    known = good;
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y).body, "ok");
  });
}

TEST_F(upstream_resolver_test, a_lookup_outlives_those_who_gave_up) {
  std::function<void(const address_list&)> answer;
  options.lookup = [&](const std::string&, std::function<void(const address_list&)> done) {
    answer = std::move(done);
  };
  auto s = serve(answer_all);
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    EXPECT_EQ(client().connect(provider(s.port(), "api.test"), in(5ms), false, gone, e, y),
              upstream_failure::timeout);
    answer(known);
    answer = nullptr;
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y).body, "ok") << "from the answer that came late";
  });
}

class upstream_slow_names_test : public upstream_test {
 protected:
  void SetUp() override {
    options.lookup = [names = std::make_shared<name_lookups>(service.lookup())](
                         const std::string& host, std::function<void(const address_list&)> done) {
      names->find(host, std::move(done));
    };
    service.let_go("good.test");
  }

  slow_names service;
};

TEST_F(upstream_slow_names_test, who_leaves_disturbs_nobody) {
  auto s = serve(answer_all);
  bool left = false;
  bool served = false;
  engine::start_coroutine(io, [&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    EXPECT_EQ(client().connect(provider(s.port(), "slow.test"), in(10s), false, gone, e, y),
              upstream_failure::cancelled);
    left = true;
  });
  engine::start_coroutine(io, [&](engine::yield y) {
    engine::cancellation mine;
    std::unique_ptr<engine::upstream_exchange> e;
    EXPECT_EQ(client().connect(provider(s.port(), "slow.test"), in(10s), false, mine, e, y),
              upstream_failure::none);
    served = true;
  });
  run([&](engine::yield y) {
    service.wait_asked(1);
    gone.cancel();
    wait_until([&] { return left; }, y);
    EXPECT_FALSE(served);
    service.let_go("slow.test");
    wait_until([&] { return served; }, y);
  });
  EXPECT_EQ(service.wait_asked(1), (std::vector<std::string>{"slow.test"}));
}

TEST_F(upstream_slow_names_test, a_dead_name_costs_its_own_deadline_and_nobody_elses) {
  auto s = serve(answer_all);
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    EXPECT_EQ(client().connect(provider(s.port(), "dead.test"), in(5ms), false, gone, e, y),
              upstream_failure::timeout);
    EXPECT_EQ(exchange(provider(s.port(), "good.test"), y).body, "ok");
  });
  service.let_go("dead.test");
}

TEST_F(upstream_slow_names_test, a_lookup_may_end_after_all_who_asked_are_gone) {
  std::promise<void> ended;
  const auto find = options.lookup;
  options.lookup = [&](const std::string& host, std::function<void(const address_list&)> done) {
    find(host, [&ended, done = std::move(done)](const address_list& found) {
      done(found);
      ended.set_value();
    });
  };
  {
    boost::asio::io_context other;
    upstream_client own(other, options);
    engine::start_coroutine(other, [&](engine::yield y) {
      std::unique_ptr<engine::upstream_exchange> e;
      EXPECT_EQ(own.connect(provider(80, "slow.test"), in(5ms), false, gone, e, y),
                upstream_failure::timeout);
    });
    other.run();
  }
  service.let_go("slow.test");
  ended.get_future().wait();
}

TEST_F(upstream_resolver_test, the_systems_resolver_knows_localhost) {
  options.lookup = nullptr;
  auto s = serve(answer_all);
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "localhost"), y).body, "ok");
    EXPECT_EQ(exchange(provider(s.port(), "does-not-exist.invalid"), y).connect, upstream_failure::resolve);
  });
}

TEST_F(upstream_resolver_test, speaks_ipv6) {
  if (!has_ipv6()) GTEST_SKIP() << "no ::1 here";
  std::string request;
  auto s = serve(
      [&](peer& p) {
        request = p.read_request();
        p.write(ok_answer);
        p.wait_closed();
      },
      "::1");
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "[::1]"), y).body, "ok");
    EXPECT_NE(request.find("host: [::1]:" + std::to_string(s.port())), std::string::npos);
    EXPECT_EQ(exchange(provider(s.port(), "::1"), y, post(), true).body, "ok");
  });
  EXPECT_TRUE(asked.empty()) << "literals are not looked up";
}

TEST_F(upstream_resolver_test, tries_every_address_and_remembers_which_one_worked) {
  known = addresses({"127.0.0.3", "::1", "127.0.0.2", "127.0.0.1"});
  auto s = serve(answer_all, "127.0.0.2");
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y).body, "ok");
    test_server late(
        io, [](peer&) { ADD_FAILURE() << "the first of the list"; }, "127.0.0.3", s.port());
    EXPECT_EQ(exchange(provider(s.port(), "api.test"), y, post(), true).body, "ok");
    late.stop();
    known.pop_back();
  });
  known = addresses({"127.0.0.3"});
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "dead.test"), y).connect, upstream_failure::connect);
  });
}

TEST_F(upstream_resolver_test, an_address_that_does_not_answer_holds_nobody_up) {
  auto s = serve(answer_all, "127.0.0.1");
  deaf_server deaf(io, "127.0.0.2", s.port());
  known = addresses({"127.0.0.2", "127.0.0.1"});
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    EXPECT_EQ(client().connect(provider(s.port(), "api.test"), in(10s), false, gone, e, y),
              upstream_failure::none);
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST(connect_race_test, families_take_turns) {
  EXPECT_EQ(alternate_families(addresses({"::1", "::2", "::3", "1.1.1.1", "2.2.2.2"})),
            addresses({"::1", "1.1.1.1", "::2", "2.2.2.2", "::3"}));
  EXPECT_EQ(alternate_families(addresses({"1.1.1.1", "2.2.2.2", "::1"})),
            addresses({"1.1.1.1", "::1", "2.2.2.2"}));
  EXPECT_EQ(alternate_families({}), address_list{});
}

}  // namespace millrace::http
