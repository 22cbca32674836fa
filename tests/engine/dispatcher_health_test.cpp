#include "engine/dispatcher_machine.hpp"

#include <gtest/gtest.h>

#include "dispatch_world.hpp"

/// Cooldowns, quarantine and breakers as the dispatcher heeds them.
namespace millrace::engine {
namespace {

using world = dispatch_world;

TEST(Dispatcher, ARateLimitedKeyCoolsForThatTargetOnly) {
  world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).model("n", {0}).build());
  w.acquire(1);
  w.grant("key/a/k1", 5);
  w.grant("key/a/k2", 5);
  ASSERT_NE(w.machine.status(w.now).keys[0].granted, 0U);
  w.sent(1);
  w.settle(1, attempt_outcome::rate_limited, 10s);
  ASSERT_NE(w.told("key/a/k1"), nullptr) << "told at once";
  ASSERT_EQ(w.told("key/a/k1")->events.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->events[0].kind, key_event_kind::rate_limited);
  EXPECT_EQ(w.told("key/a/k1")->events[0].target, "a/m");
  EXPECT_EQ(w.told("key/a/k1")->events[0].retry_after, 10s);
  for (ticket t = 2; t <= 4; ++t) {
    w.acquire(t);
    EXPECT_TRUE(w.granted(t, "key/a/k2"));
  }
  w.acquire(w.request(5, "n"));
  EXPECT_TRUE(w.granted(5, "key/a/k1"));
}

TEST(Dispatcher, WaitsForTheEndOfACooldownAndTellsOfTheSuccessAfterIt) {
  world w(one_key());
  w.acquire(1);
  w.grant("key/a/k1", 1);
  w.sent(1);
  w.settle(1, attempt_outcome::rate_limited, 5s);
  w.acquire(2);
  EXPECT_EQ(w.reply(2), nullptr);
  EXPECT_EQ(w.asked("key/a/k1"), nullptr);
  w.pass(4900ms);
  EXPECT_TRUE(w.asked("key/a/k1") == nullptr || w.asked("key/a/k1")->permits == 0);
  w.pass(200ms);
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 1);
  w.grant("key/a/k1", 1);
  ASSERT_TRUE(w.granted(2, "key/a/k1"));
  w.sent(2);
  w.settle(2);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  ASSERT_EQ(w.told("key/a/k1")->events.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->events[0].kind, key_event_kind::ok);
}

/// A call with this key was answered with a 429 that asks for so much time.
void cool(world& w, const std::string& key, duration retry_after) {
  constexpr ticket last = 1'000'000;
  w.acquire(last);
  w.grant(key, 1);
  ASSERT_TRUE(w.granted(last, key));
  w.sent(last);
  w.settle(last, attempt_outcome::rate_limited, retry_after);
}

TEST(Dispatcher, RefusesAtOnceWhenEveryCooldownOutlastsThePatience) {
  world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).build());
  cool(w, "key/a/k1", 60s);
  cool(w, "key/a/k2", 40s);
  w.acquire(1);
  ASSERT_TRUE(w.refused(1, verdict::no_permit));
  EXPECT_EQ(w.reply(1)->retry_after, 40s);
  EXPECT_EQ(w.reply(1)->waited, 0s);
  EXPECT_EQ(w.machine.status(w.now).lanes[1].depth, 0U);
  auto patient = w.request(2);
  patient.patience = 41s;
  w.acquire(patient);
  EXPECT_EQ(w.reply(2), nullptr);
  w.pass(9s);
  w.acquire(3);
  EXPECT_TRUE(w.refused(3, verdict::no_permit));
  w.pass(2s);
  w.acquire(4);
  EXPECT_EQ(w.reply(4), nullptr) << "29 s are worth waiting";
}

TEST(Dispatcher, WaitingRequestsAreRefusedOnceACooldownOutlastsThem) {
  world w(one_key());
  w.acquire(1);
  w.no_room("key/a/k1", 3s);
  auto patient = w.request(2);
  patient.patience = 100s;
  w.acquire(patient);
  key_notice n;
  n.key = "key/a/k1";
  n.cooldowns = {{"a/m", 50s}};
  w.notice(n);
  ASSERT_TRUE(w.refused(1, verdict::no_permit));
  EXPECT_EQ(w.reply(1)->retry_after, 50s);
  EXPECT_EQ(w.reply(2), nullptr);
}

TEST(Dispatcher, A429WithoutATimeIsNotWaitedForInVain) {
  world w(one_key());
  cool(w, "key/a/k1", 0s);
  auto hasty = w.request(1);
  hasty.patience = 3s;
  w.acquire(hasty);
  ASSERT_TRUE(w.refused(1, verdict::no_permit)) << "the first such cooldown takes 5 s";
  EXPECT_EQ(w.reply(1)->retry_after, 5s);
  w.acquire(2);
  EXPECT_EQ(w.reply(2), nullptr);
  key_notice n;
  n.key = "key/a/k1";
  n.cooldowns = {{"a/m", 40s}};  // its owner has counted more of them
  w.notice(n);
  ASSERT_TRUE(w.refused(2, verdict::no_permit));
  EXPECT_EQ(w.reply(2)->retry_after, 40s);
}

TEST(Dispatcher, WhoWasToldA429RestsLongerThanOthers) {
  world w(one_key());
  cool(w, "key/a/k1", 1s);
  auto told = w.request(1);
  told.rests = {{w.id("key/a/k1"), w.id("breaker/a/m"), w.now + 1500ms}};
  w.acquire(told);
  w.acquire(2);
  w.pass(1100ms);
  w.grant("key/a/k1", 2);
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
  EXPECT_EQ(w.reply(1), nullptr);
  w.pass(500ms);
  w.grant("key/a/k1", 1);
  w.pass(100ms);
  EXPECT_EQ(w.machine.status(w.now).lanes[1].depth, 0U) << "its own rest is over";
}

TEST(Dispatcher, AKeyThatMayNotBeAskedAgainLeavesTheOthers) {
  world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).build());
  auto told = w.request(1);
  told.rests = {{w.id("key/a/k1"), w.id("breaker/a/m"), time_point::max()}};
  w.acquire(told);
  w.grant("key/a/k1", 5);
  EXPECT_EQ(w.reply(1), nullptr);
  w.grant("key/a/k2", 1);
  EXPECT_TRUE(w.granted(1, "key/a/k2"));
  world alone(one_key());
  told.rests = {{alone.id("key/a/k1"), alone.id("breaker/a/m"), time_point::max()}};
  told.config_version = alone.config->version;
  alone.acquire(told);
  EXPECT_TRUE(alone.refused(1, verdict::no_candidate));
}

TEST(Dispatcher, ASpentDayIsNotWaitedFor) {
  world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).build());
  w.acquire(1);
  key_notice n;
  n.key = "key/a/k1";
  n.next_permit = n.spent_for = 2h;
  w.notice(n);
  EXPECT_EQ(w.reply(1), nullptr) << "the other key has room";
  n.key = "key/a/k2";
  n.next_permit = n.spent_for = 1h;
  w.notice(n);
  ASSERT_TRUE(w.refused(1, verdict::no_permit));
  EXPECT_EQ(w.reply(1)->retry_after, 1h);
  auto patient = w.request(2);
  patient.patience = 2h;
  w.acquire(patient);
  EXPECT_EQ(w.reply(2), nullptr);
  w.pass(1h);
  EXPECT_NE(w.asked("key/a/k2"), nullptr);
  n.next_permit = n.spent_for = {};
  w.notice(n);
  w.acquire(3);
  EXPECT_EQ(w.reply(3), nullptr) << "somebody gave permits back, or the limit is another one";
}

TEST(Dispatcher, AProbeThatIsDueInTimeIsWorthWaitingFor) {
  for (const duration probe_in : {10s, 45s}) {
    world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).build());
    cool(w, "key/a/k1", 60s);
    key_notice n;
    n.key = "key/a/k2";
    n.quarantine = quarantine_reason::unauthorized;
    n.probe_in = probe_in;
    w.notice(n);
    w.acquire(1);
    EXPECT_EQ(w.refused(1, verdict::no_permit), probe_in == 45s);
    w.pass(10s);
    EXPECT_EQ(w.asked("key/a/k2") != nullptr, probe_in == 10s);

    world v(two_providers());
    v.breaker("b/m", breaker_state::open, probe_in);
    cool(v, "key/a/k1", 60s);
    v.acquire(1);
    EXPECT_EQ(v.refused(1, verdict::no_permit), probe_in == 45s);
    v.pass(10s);
    EXPECT_EQ(v.out.probe_requests.size(), probe_in == 10s ? 1U : 0U);
  }
}

TEST(Dispatcher, NoProviderStopsAKeyForMoreThanADay) {
  world w(one_key());
  cool(w, "key/a/k1", 24h * 30);
  w.acquire(1);
  ASSERT_TRUE(w.refused(1, verdict::no_permit));
  EXPECT_EQ(w.reply(1)->retry_after, 24h);
}

TEST(Dispatcher, ARefusedKeyIsLeftAloneUntilItsProbe) {
  world w(config_builder().provider("a", {rpm(600), rpm(600)}).model("m", {0}).build());
  w.acquire(1);
  w.answer("key/a/k2");
  w.grant("key/a/k1", 5);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  w.sent(1);
  w.settle(1, attempt_outcome::unauthorized);
  EXPECT_EQ(w.told("key/a/k1")->events.at(0).kind, key_event_kind::unauthorized);
  ASSERT_EQ(w.told("key/a/k1")->returned.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->returned[0].permits, 4);
  auto again = w.request(1);
  again.first = false;
  again.tried_keys = {w.id("key/a/k1")};
  w.acquire(again);
  EXPECT_NE(w.asked("key/a/k2"), nullptr);
  w.grant("key/a/k2", 1);
  ASSERT_TRUE(w.granted(1, "key/a/k2"));
  w.sent(1);
  w.settle(1, attempt_outcome::no_credit);

  key_notice n;
  n.quarantine = quarantine_reason::unauthorized;
  n.probe_in = 60s;
  for (const char* key : {"key/a/k1", "key/a/k2"}) {
    n.key = key;
    w.notice(n);
  }
  w.acquire(2);
  ASSERT_TRUE(w.refused(2, verdict::keys_unusable));
  EXPECT_EQ(w.reply(2)->retry_after, 60s);

  w.pass(60s);
  w.acquire(3);
  w.acquire(4);
  EXPECT_EQ(w.machine.status(w.now).lanes[1].depth, 2U);
  w.grant("key/a/k1", 1, {100, 50}, true);
  ASSERT_TRUE(w.granted(3, "key/a/k1"));
  EXPECT_TRUE(w.reply(3)->probe);
  EXPECT_EQ(w.reply(4), nullptr);
  w.sent(3);
  w.settle(3);
  EXPECT_EQ(w.told("key/a/k1")->events.at(0).kind, key_event_kind::ok);
}

TEST(Dispatcher, TellsOnceThatAKeyIsQuarantinedAndOnceThatItIsNot) {
  using kind = health_change::kind;
  world w(one_key());
  w.acquire(1);
  w.grant("key/a/k1", 1);
  w.sent(1);
  w.settle(1, attempt_outcome::no_credit);
  EXPECT_TRUE(w.out.health_changes.empty()) << "its owner decides";
  w.answer("key/a/k1");  // said before the owner heard of it
  EXPECT_TRUE(w.out.health_changes.empty());
  key_notice n;
  n.key = "key/a/k1";
  n.quarantine = quarantine_reason::no_credit;
  n.probe_in = 60s;
  w.notice(n);
  ASSERT_EQ(w.out.health_changes.size(), 1U);
  EXPECT_EQ(w.out.health_changes[0].what, kind::key_quarantined);
  EXPECT_EQ(w.out.health_changes[0].name, w.id("key/a/k1"));
  EXPECT_EQ(w.out.health_changes[0].why, quarantine_reason::no_credit);
  w.notice(n);
  EXPECT_TRUE(w.out.health_changes.empty());
  w.answer("key/a/k1");
  ASSERT_EQ(w.out.health_changes.size(), 1U);
  EXPECT_EQ(w.out.health_changes[0].what, kind::key_quarantine_lifted);
}

TEST(Dispatcher, TellsOnceThatABreakerOpenedAndOnceThatItClosed) {
  using kind = health_change::kind;
  world w(two_providers());
  w.breaker("a/m", breaker_state::closed);
  EXPECT_TRUE(w.out.health_changes.empty());
  w.breaker("a/m", breaker_state::open, 60s);
  ASSERT_EQ(w.out.health_changes.size(), 1U);
  EXPECT_EQ(w.out.health_changes[0].what, kind::breaker_open);
  EXPECT_EQ(w.out.health_changes[0].name, w.id("breaker/a/m"));
  w.breaker("a/m", breaker_state::half_open);
  w.breaker("a/m", breaker_state::open, 60s);
  EXPECT_TRUE(w.out.health_changes.empty()) << "it is still not to be used";
  w.breaker("a/m", breaker_state::closed);
  ASSERT_EQ(w.out.health_changes.size(), 1U);
  EXPECT_EQ(w.out.health_changes[0].what, kind::breaker_closed);
}

TEST(Dispatcher, OpenBreakersArePassedOverAndProbedWhenTheirTimeHasCome) {
  world w(two_providers());
  w.breaker("a/m", breaker_state::open, 60s);
  w.acquire(1);
  EXPECT_EQ(w.asked("key/a/k1"), nullptr);
  EXPECT_NE(w.asked("key/b/k1"), nullptr);
  EXPECT_TRUE(w.out.probe_requests.empty());
  w.grant("key/b/k1", 3);
  ASSERT_TRUE(w.granted(1, "key/b/k1"));

  w.pass(59s);
  w.acquire(2);
  EXPECT_TRUE(w.out.probe_requests.empty());
  w.pass(1s);
  w.acquire(3);
  EXPECT_EQ(w.out.probe_requests, (std::vector<name_id>{w.id("breaker/a/m")}));
  w.grant("key/b/k1", 3);  // 2 and 3 are served by the other meanwhile
  EXPECT_TRUE(w.granted(2, "key/b/k1"));
  EXPECT_TRUE(w.granted(3, "key/b/k1"));
  w.out.clear();
  w.machine.on_probe_granted(w.id("breaker/a/m"), w.now, w.out);
  w.acquire(4);
  w.grant("key/a/k1", 2);
  ASSERT_TRUE(w.granted(4, "key/a/k1"));
  EXPECT_TRUE(w.reply(4)->probe);
  w.acquire(5);
  EXPECT_TRUE(w.granted(5, "key/b/k1")) << "one probe, not two";
  w.sent(4);
  w.pass(3s);
  EXPECT_EQ(w.outcomes("a/m"), nullptr) << "the probe is out, not unused";
  w.settle(4, attempt_outcome::timed_out);
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_TRUE(w.outcomes("a/m")->probe);
  EXPECT_EQ(w.outcomes("a/m")->failures, 1);
}

TEST(Dispatcher, SaysWhenAllBreakersAreOpenAndWhenToComeBack) {
  world w(two_providers());
  w.breaker("a/m", breaker_state::open, 60s);
  w.breaker("b/m", breaker_state::open, 45s);
  w.acquire(1);
  ASSERT_TRUE(w.refused(1, verdict::breakers_open));
  EXPECT_EQ(w.reply(1)->retry_after, 45s);
  w.pass(45s);
  w.acquire(2);
  EXPECT_EQ(w.out.probe_requests.size(), 1U);
  EXPECT_EQ(w.reply(2), nullptr) << "parked for the breaker's answer";
  w.out.clear();
  w.machine.on_probe_refused(w.id("breaker/b/m"), w.now, w.out);
  EXPECT_TRUE(w.refused(2, verdict::breakers_open));
}

TEST(Dispatcher, WaitingRequestsLearnThatABreakerOpened) {
  world w(two_providers());
  w.acquire(1);
  w.no_room("key/a/k1", 3s);
  w.no_room("key/b/k1", 3s);
  w.breaker("a/m", breaker_state::open, 60s);
  EXPECT_EQ(w.reply(1), nullptr);
  w.breaker("b/m", breaker_state::open, 60s);
  EXPECT_TRUE(w.refused(1, verdict::breakers_open));
}

TEST(Dispatcher, AnUnusedProbeGoesBack) {
  world w(two_providers());
  w.breaker("a/m", breaker_state::open, 1s);
  w.pass(1s);
  w.acquire(1);
  ASSERT_EQ(w.out.probe_requests.size(), 1U);
  w.cancel(1);
  w.machine.on_probe_granted(w.id("breaker/a/m"), w.now, w.out);
  w.pass(1900ms);
  EXPECT_EQ(w.outcomes("a/m"), nullptr);
  w.pass(200ms);
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_TRUE(w.outcomes("a/m")->probe_unused);
}

TEST(Dispatcher, FailuresAreToldAtOnceWithTheSuccessesHeldBack) {
  world w(one_key({}));
  w.acquire(1);
  w.grant("key/a/k1", 100);
  for (ticket t = 1; t <= 10; ++t) {
    if (t > 1) w.acquire(t);
    w.sent(t);
    w.settle(t);
    EXPECT_EQ(w.outcomes("a/m"), nullptr);
  }
  w.acquire(11);
  w.settle(11, attempt_outcome::failed);  // could not even connect
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_EQ(w.outcomes("a/m")->failures, 1);
  EXPECT_EQ(w.outcomes("a/m")->successes, 10);
  w.acquire(12);
  w.sent(12);
  w.settle(12);
  w.pass(1100ms);
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_EQ(w.outcomes("a/m")->successes, 1);
  w.acquire(13);
  w.grant("key/a/k1", 1);
  w.sent(13);
  w.settle(13, attempt_outcome::rate_limited);
  w.pass(2s);
  EXPECT_EQ(w.outcomes("a/m"), nullptr) << "a 429 is the key's affair";
}

}  // namespace
}  // namespace millrace::engine
