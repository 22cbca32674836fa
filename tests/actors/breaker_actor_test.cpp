#include "actors/breaker_actor.hpp"

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

/// A dispatcher that only listens.
struct listener {
  dispatcher_actor handle;
  std::vector<std::string> heard;  ///< in order: states and answers
};

struct breaker_actor_test : testing::Test {
  actors_world w;
  breaker_actor home = w.system.spawn(breaker, std::string("breaker/p/m"), breaker_settings{});
  listener a;
  listener b;

  void SetUp() override {
    listen(a);
    listen(b);
  }
  void TearDown() override {
    caf::anon_send_exit(a.handle, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(b.handle, caf::exit_reason::user_shutdown);
    w.end(home);
  }
  void listen(listener& l) {
    l.handle = w.system.spawn([&l](dispatcher_actor::pointer) -> dispatcher_actor::behavior_type {
      return {
          [](const desk_batch_ptr&) {},
          [](const join_desk&) {},
          [](const key_grant&) {},
          [](const engine::key_notice&) {},
          [&l](const engine::breaker_notice& n) {
            EXPECT_EQ(n.target, "breaker/p/m");
            l.heard.push_back(n.state == engine::breaker_state::open     ? "open"
                              : n.state == engine::breaker_state::closed ? "closed"
                                                                         : "half-open");
          },
          [&l](const probe_answer& answer) { l.heard.push_back(answer.granted ? "granted" : "refused"); },
          [](const engine::config_ptr&) {},
          [](const tick&) {},
      };
    });
  }
  template <class Message>
  void say(const listener& from, Message message) {
    caf::send_as(from.handle, home, std::move(message));
    w.deliver();
  }
  static engine::breaker_report outcomes(const std::string& node, int good, int bad, bool probe = false) {
    engine::breaker_report r;
    r.node = node;
    r.successes = good;
    r.failures = bad;
    r.probe = probe;
    return r;
  }
};

using words = std::vector<std::string>;

TEST_F(breaker_actor_test, EveryNodeThatReportedHearsWhenItOpens) {
  say(a, outcomes("a", 1, 0));
  say(b, outcomes("b", 0, 4));
  EXPECT_TRUE(a.heard.empty());
  say(a, outcomes("a", 0, 1));
  EXPECT_EQ(a.heard, words{"open"});
  EXPECT_EQ(b.heard, words{"open"});
}

TEST_F(breaker_actor_test, OneNodeGetsTheProbeAndTheStateComesBeforeTheAnswer) {
  say(a, outcomes("a", 0, 5));
  a.heard.clear();
  say(b, probe_request{"b"});
  EXPECT_EQ(b.heard, (words{"open", "refused"}));
  b.heard.clear();
  w.pass(73s);
  say(b, probe_request{"b"});
  say(a, probe_request{"a"});
  EXPECT_EQ(b.heard, (words{"half-open", "granted"}));
  EXPECT_EQ(a.heard, (words{"half-open", "refused"}));
  say(b, outcomes("b", 1, 0, true));
  EXPECT_EQ(a.heard.back(), "closed");
  EXPECT_EQ(b.heard.back(), "closed");
}

TEST_F(breaker_actor_test, NewThresholdsCount) {
  breaker_settings changed;
  changed.config.consecutive_failures = 2;
  w.send(home, changed);
  say(a, outcomes("a", 0, 2));
  EXPECT_EQ(a.heard, words{"open"});
}

}  // namespace
}  // namespace millrace::actors
