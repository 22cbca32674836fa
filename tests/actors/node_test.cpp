#include <algorithm>

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

using engine::attempt_outcome;
using engine::rpm;
using engine::verdict;

constexpr auto key_name = "key/p/k1";
constexpr auto target_name = "breaker/p/m";

engine::key_limits one_at_a_time() {
  engine::key_limits l;
  l.concurrency = 1;
  return l;
}

TEST(node, APermitComesFromTheKeyThatTheDirectoryNames) {
  node_world w(one_target({rpm(6000)}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  EXPECT_EQ(w.reply(1)->key, w.config->names->find(key_name));
  EXPECT_EQ(w.reply(1)->target, w.config->names->find(target_name));
  const auto view = w.status();
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(view->config, w.config);
  ASSERT_EQ(view->status.keys.size(), 1U);
  EXPECT_EQ(view->status.keys[0].granted, 1U);
}

TEST(node, AFreedPermitWakesTheOneThatWaits) {
  node_world w(one_target({one_at_a_time()}));
  w.acquire(1);
  w.acquire(2);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  ASSERT_EQ(w.reply(2), nullptr);
  w.sent(1);
  w.pass(200ms);
  EXPECT_EQ(w.reply(2), nullptr) << "the call is still under way";
  w.settle(1, attempt_outcome::ok);
  w.pass(1s);
  EXPECT_TRUE(w.granted(2));
}

TEST(node, TicksAloneServeThoseWhoWaitForAPacedKey) {
  node_world w(one_target({rpm(60)}));
  for (engine::ticket t = 1; t <= 90; ++t) w.acquire(t, 2min);
  for (int i = 0; i < 1200; ++i) {
    // Whoever gets a permit uses it at once, as the provider's window assumes.
    const auto before = w.replies.size();
    w.pass(100ms);
    for (auto n = before; n < w.replies.size(); ++n) w.call(w.replies[n].id, attempt_outcome::ok);
    if (w.replies.size() == 90) break;
    ASSERT_LE(w.replies.size(), i < 600 ? 60U : 90U) << "in " << (i + 1) * 100 << " ms";
  }
  ASSERT_EQ(w.replies.size(), 90U);
  for (const auto& r : w.replies) EXPECT_EQ(r.verdict, verdict::granted) << r.id;
}

TEST(node, PatienceEndsByItself) {
  node_world w(one_target({one_at_a_time()}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  w.sent(1);
  w.acquire(2, 3s);
  w.pass(2900ms);
  EXPECT_EQ(w.reply(2), nullptr);
  w.pass(200ms);
  EXPECT_TRUE(w.was(2, verdict::no_permit));
}

TEST(node, ACancelledRequestLeavesItsPermitToTheNext) {
  node_world w(one_target({one_at_a_time()}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  w.acquire(2);
  auto batch = std::make_shared<desk_batch>();
  batch->cancelled.push_back(1);
  w.send(w.dispatcher, batch);
  w.pass(1s);
  EXPECT_TRUE(w.granted(2));
}

TEST(node, FiveFailuresOpenTheBreakerAndOneProbeClosesIt) {
  node_world w(one_target({rpm(60000)}));
  for (engine::ticket t = 1; t <= 5; ++t) {
    w.acquire(t);
    w.pass(100ms);
    ASSERT_TRUE(w.granted(t));
    w.call(t, attempt_outcome::failed);
  }
  w.pass(50ms);
  EXPECT_EQ(w.status()->status.targets.at(0).breaker, engine::breaker_state::open);
  w.acquire(6, 1s);
  w.pass(1100ms);
  EXPECT_TRUE(w.was(6, verdict::breakers_open));
  // Open for a minute, spread by a fifth.
  w.pass(73s);
  w.acquire(7, 5s);
  w.acquire(8, 5s);
  w.pass(500ms);
  ASSERT_EQ(w.granted(7) + w.granted(8), 1) << "one probe";
  const engine::ticket probe = w.granted(7) ? 7 : 8;
  EXPECT_TRUE(w.reply(probe)->probe);
  w.call(probe, attempt_outcome::ok);
  w.pass(500ms);
  EXPECT_EQ(w.status()->status.targets.at(0).breaker, engine::breaker_state::closed);
  w.acquire(9);
  w.pass(500ms);
  ASSERT_TRUE(w.granted(9));
  EXPECT_FALSE(w.reply(9)->probe);
}

TEST(node, TheFirstRequestAfterTheOpenIntervalIsTheProbe) {
  node_world w(one_target({rpm(60000)}));
  for (engine::ticket t = 1; t <= 5; ++t) {
    w.acquire(t);
    w.pass(100ms);
    w.call(t, attempt_outcome::failed);
  }
  w.pass(73s);
  ASSERT_EQ(w.status()->status.targets.at(0).breaker, engine::breaker_state::open);
  w.acquire(6, 1s);
  w.pass(500ms);
  ASSERT_TRUE(w.granted(6));
  EXPECT_TRUE(w.reply(6)->probe);
}

TEST(node, AReloadLiftsAQuarantine) {
  node_world w(one_target({rpm(6000)}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  w.call(1, attempt_outcome::unauthorized);
  w.pass(100ms);
  w.acquire(2, 1s);
  w.pass(1100ms);
  ASSERT_TRUE(w.was(2, verdict::keys_unusable));
  w.reload();
  w.acquire(3, 1s);
  w.pass(1100ms);
  EXPECT_TRUE(w.granted(3));
}

TEST(node, AReloadGivesARunningKeyItsNewLimits) {
  node_world w(one_target({one_at_a_time()}));
  const auto before = w.find(key_name);
  w.acquire(1);
  w.pass(100ms);
  w.sent(1);
  w.acquire(2);
  w.pass(500ms);
  ASSERT_EQ(w.reply(2), nullptr);
  w.builder.c.providers[0].keys[0].limits.concurrency = 2;
  w.reload();
  w.pass(1s);
  EXPECT_TRUE(w.granted(2));
  EXPECT_EQ(w.find(key_name), before) << "its windows must survive";
}

TEST(node, AnUnknownNameHasNoHome) {
  node_world w(one_target({rpm(60)}));
  EXPECT_NE(w.find(key_name), nullptr);
  EXPECT_NE(w.find(target_name), nullptr);
  EXPECT_EQ(w.find("key/p/k2"), nullptr);
  EXPECT_EQ(w.find(""), nullptr);
}

TEST(node, ADroppedNameLivesAsLongAsItsConfigurationIsRemembered) {
  node_world w(one_target({rpm(60), rpm(60)}));
  const auto dropped = w.find("key/p/k2");
  ASSERT_NE(dropped, nullptr);
  w.builder.c.providers[0].keys.pop_back();
  for (std::size_t i = 1; i < engine::dispatcher_machine::max_snapshots; ++i) {
    w.reload();
    EXPECT_EQ(w.find("key/p/k2"), dropped) << i;
  }
  w.reload();
  EXPECT_EQ(w.find("key/p/k2"), nullptr);
  EXPECT_NE(w.find(key_name), nullptr);
  EXPECT_EQ(caf::actor_cast<caf::abstract_actor*>(dropped)->getf(caf::abstract_actor::is_terminated_flag),
            true);
}

TEST(node, AKeyThatDiesIsReplacedAndLookedUpAgain) {
  node_world w(one_target({rpm(6000)}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  w.call(1, attempt_outcome::ok);
  const auto dead = w.find(key_name);
  w.end(caf::actor_cast<caf::actor>(dead));
  w.pass(5s);  // what the dispatcher still held has expired
  const auto alive = w.find(key_name);
  ASSERT_NE(alive, nullptr);
  EXPECT_NE(alive, dead);
  w.acquire(2, 70s);
  w.pass(50s);
  EXPECT_EQ(w.reply(2), nullptr) << "nobody knows what the one before granted within the last minute";
  w.pass(15s);
  EXPECT_TRUE(w.granted(2));
}

TEST(node, ANewHomeLearnsWhichCallsAreInFlightAndWhoWaits) {
  node_world w(one_target({one_at_a_time()}));
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  w.sent(1);
  w.acquire(2);
  w.pass(100ms);
  w.end(caf::actor_cast<caf::actor>(w.find(key_name)));
  w.pass(10s);
  EXPECT_EQ(w.reply(2), nullptr) << "one at a time, whoever counts";
  w.settle(1, attempt_outcome::ok);
  w.pass(500ms);
  EXPECT_TRUE(w.granted(2));
}

TEST(node, ANameThatIsDroppedAndConfiguredAgainHasAPast) {
  node_world w(one_target({rpm(6000), rpm(6000)}));
  const auto second = w.builder.c.providers[0].keys.back();
  w.builder.c.providers[0].keys.pop_back();
  for (std::size_t i = 0; i < engine::dispatcher_machine::max_snapshots; ++i) w.reload();
  ASSERT_EQ(w.find("key/p/k2"), nullptr);
  w.builder.c.providers[0].keys = {second};
  w.reload();
  w.acquire(1, 70s);
  w.pass(50s);
  EXPECT_EQ(w.reply(1), nullptr);
  w.pass(15s);
  EXPECT_TRUE(w.granted(1));
}

TEST(node, ABreakerThatDiesIsReplacedAndToldOfFailuresAgain) {
  node_world w(one_target({rpm(60000)}));
  const auto fail = [&](engine::ticket t) {
    w.acquire(t);
    w.pass(100ms);
    ASSERT_TRUE(w.granted(t));
    w.call(t, attempt_outcome::failed);
  };
  fail(1);
  const auto dead = w.find(target_name);
  w.end(caf::actor_cast<caf::actor>(dead));
  const auto alive = w.find(target_name);
  ASSERT_NE(alive, nullptr);
  EXPECT_NE(alive, dead);
  for (engine::ticket t = 2; t <= 6; ++t) fail(t);
  w.pass(50ms);
  EXPECT_EQ(w.status()->status.targets.at(0).breaker, engine::breaker_state::open);
}

TEST(node, TheDirectoryTakesItsHomesWithIt) {
  node_world w(one_target({rpm(60)}));
  const auto key = w.find(key_name);
  caf::anon_send_exit(w.home, caf::exit_reason::user_shutdown);
  w.deliver();
  EXPECT_TRUE(caf::actor_cast<caf::abstract_actor*>(key)->getf(caf::abstract_actor::is_terminated_flag));
}

TEST(alarm, OneTickServesForEveryDueTimeThatIsNotBeforeIt) {
  const engine::time_point start(1h);
  alarm a;
  const auto far = a.arm(start + 24h);
  ASSERT_TRUE(far);
  // Due times move to and fro, as they do with every request: the far tick stays the only one of its kind.
  for (int i = 1; i <= 1000; ++i) {
    const auto near = a.arm(start + i * 1s);
    ASSERT_TRUE(near);
    EXPECT_FALSE(a.arm(start + i * 1s + 1ms));
    EXPECT_TRUE(a.rings(*near));
    EXPECT_FALSE(a.rings(*near));
    EXPECT_FALSE(a.arm(start + 24h));
  }
  EXPECT_TRUE(a.rings(*far));
  EXPECT_TRUE(a.arm(start + 25h));
  EXPECT_FALSE(a.arm(engine::time_point::max()));
}

TEST(alarm, AnothersTickIsIgnored) {
  alarm a;
  a.arm(engine::time_point(1h));
  EXPECT_FALSE(a.rings(tick{7}));
}

}  // namespace
}  // namespace millrace::actors
