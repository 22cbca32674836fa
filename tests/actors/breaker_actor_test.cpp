#include "actors/breaker_actor.hpp"

#include "actors_world.hpp"
#include "listener.hpp"

namespace millrace::actors {
namespace {

struct breaker_actor_test : testing::Test {
  actors_world w;
  breaker_actor home =
      w.system.spawn(breaker, std::string("breaker/p/m"), breaker_settings{}, mailbox_depths_ptr{});
  listener a{w};
  listener b{w};

  void TearDown() override { w.end(home); }
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

TEST_F(breaker_actor_test, OneNodeGetsTheProbeBeforeTheStateAndTheOthersHearTheStateBeforeTheirAnswer) {
  say(a, outcomes("a", 0, 5));
  a.heard.clear();
  say(b, probe_request{"b"});
  EXPECT_EQ(b.heard, (words{"open", "refused"}));
  b.heard.clear();
  w.pass(73s);
  say(b, probe_request{"b"});
  say(a, probe_request{"a"});
  EXPECT_EQ(b.heard, (words{"granted", "half-open"}));
  EXPECT_EQ(a.heard, (words{"half-open", "refused"}));
  say(b, outcomes("b", 1, 0, true));
  EXPECT_EQ(a.heard.back(), "closed");
  EXPECT_EQ(b.heard.back(), "closed");
}

TEST_F(breaker_actor_test, ANodeThatRestartsHearsAtItsNewPlaceOnly) {
  say(a, outcomes("a", 1, 0));
  say(b, outcomes("a", 0, 5));
  EXPECT_TRUE(a.heard.empty());
  EXPECT_EQ(b.heard, words{"open"});
}

TEST_F(breaker_actor_test, NodesBeyondTheLimitCountButHearNothingUntilOthersLeft) {
  for (std::size_t i = 0; i < known_nodes::max_nodes; ++i) say(a, outcomes(std::to_string(i), 1, 0));
  say(b, outcomes("b", 0, 5));
  say(b, probe_request{"b"});
  EXPECT_EQ(a.heard.size(), known_nodes::max_nodes);
  EXPECT_TRUE(b.heard.empty());
  w.end(a.handle);
  w.pass(73s);
  say(b, probe_request{"b"});
  EXPECT_EQ(b.heard, (words{"granted", "half-open"}));
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
