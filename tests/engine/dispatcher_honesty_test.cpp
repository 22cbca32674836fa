#include <gtest/gtest.h>

#include "tests/engine/dispatch_world.hpp"

namespace millrace::engine {
namespace {

using world = dispatch_world;

key_notice quarantined(const std::string& key, duration probe_in) {
  key_notice n;
  n.key = key;
  n.quarantine = quarantine_reason::unauthorized;
  n.probe_in = probe_in;
  n.next_permit = probe_in;
  return n;
}

/// Two keys; the first is quarantined, the second has plenty.
struct one_of_two : world {
  one_of_two() : world(config_builder().provider("a", {rpm(6000), rpm(6000)}).model("m", {0}).build()) {
    notice(quarantined("key/a/k1", 100ms));
    acquire(1);
    grant("key/a/k2", 50);
  }
};

TEST(Dispatcher, OneRequestProbesAQuarantinedKeyAlthoughAnotherHasRoom) {
  one_of_two w;
  w.acquire(2);
  ASSERT_TRUE(w.granted(2, "key/a/k2")) << "no probe is due";
  w.pass(100ms);
  w.acquire(3);
  ASSERT_EQ(w.reply(3), nullptr);
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 1);
  EXPECT_EQ(w.asked("key/a/k1")->permits, 1);
  w.acquire(4);
  EXPECT_TRUE(w.granted(4, "key/a/k2")) << "one is enough";
  w.grant("key/a/k1", 1, {1000, 1000}, true);
  ASSERT_TRUE(w.granted(3, "key/a/k1"));
  EXPECT_TRUE(w.reply(3)->probe);
  w.notice(quarantined("key/a/k1", 2s));
  w.acquire(5);
  EXPECT_TRUE(w.granted(5, "key/a/k2"));
  w.sent(3);
  w.settle(3);
  w.pass(20ms);
  key_notice healed;
  healed.key = "key/a/k1";
  w.notice(healed);
  EXPECT_NE(w.asked("key/a/k1"), nullptr) << "it takes part again";
}

TEST(Dispatcher, WhoStopsToBeAProbeGoesOnWhereTheKeyRefusesOrIsSilent) {
  for (const bool silent : {true, false}) {
    SCOPED_TRACE(silent);
    one_of_two w;
    w.pass(100ms);
    w.acquire(3);
    ASSERT_EQ(w.reply(3), nullptr);
    if (silent) {
      w.pass(200ms);
    } else {
      w.notice(quarantined("key/a/k1", 60s));
    }
    EXPECT_TRUE(w.granted(3, "key/a/k2"));
    if (!silent) {
      ASSERT_NE(w.asked("key/a/k1"), nullptr);
      EXPECT_EQ(w.asked("key/a/k1")->permits, 0) << "nobody wants it any more";
    }
    w.acquire(4);
    EXPECT_TRUE(w.granted(4, "key/a/k2")) << "not everybody stops";
  }
}

TEST(Dispatcher, AProbeThatNobodyTakesGoesBack) {
  one_of_two w;
  w.pass(100ms);
  w.acquire(3);
  w.cancel(3);
  w.grant("key/a/k1", 1, {1000, 1000}, true);
  const auto lease = w.last_lease();
  w.pass(2s);
  bool returned = false;
  for (const auto& [name, r] : w.out.lease_reports) {
    for (const auto& back : r.returned) returned = returned || back.lease == lease;
  }
  EXPECT_TRUE(returned);
}

TEST(Dispatcher, TellsClientsWhenARestedKeyHasRoomNotWhenItHasRested) {
  world w(one_key());
  w.acquire(1);
  w.grant("key/a/k1", 1);
  w.sent(1);
  w.settle(1, attempt_outcome::rate_limited, 3s);
  w.no_room("key/a/k1", 47s);
  auto hasty = w.request(2);
  hasty.patience = 1s;
  w.acquire(hasty);
  ASSERT_TRUE(w.refused(2, verdict::no_permit));
  EXPECT_EQ(w.reply(2)->retry_after, 47s);
  auto patient = w.request(3);
  patient.patience = 5s;
  w.acquire(patient);
  EXPECT_EQ(w.reply(3), nullptr) << "the queue is there for windows";
  w.pass(3s);
  EXPECT_NE(w.asked("key/a/k1"), nullptr) << "looked at again when it has rested";
}

TEST(Dispatcher, ARestingKeyThatIsBackBeforeTheOthersHaveRoomIsWhatClientsAreTold) {
  world w(config_builder().provider("a", {rpm(60), rpm(60)}).model("m", {0}).build());
  w.acquire(1);
  w.grant("key/a/k1", 1);
  w.sent(1);
  w.settle(1, attempt_outcome::rate_limited, 4s);
  w.no_room("key/a/k1", {});
  auto hasty = w.request(2);
  hasty.patience = 1s;
  w.acquire(hasty);
  w.no_room("key/a/k2", 50s);
  w.pass(1s);
  ASSERT_TRUE(w.refused(2, verdict::no_permit));
  EXPECT_EQ(w.reply(2)->retry_after, 3s);
}

TEST(Dispatcher, TheWaitThatIsToldFollowsThePaceTheKeySpeaksOf) {
  world w(one_key(rpm(30)));
  for (ticket t = 1; t <= 8; ++t) w.acquire(t);
  key_notice n;
  n.key = "key/a/k1";
  n.next_permit = 2s;
  n.apart = 2500ms;
  w.notice(n);
  auto hasty = w.request(9);
  hasty.patience = 100ms;
  w.acquire(hasty);
  w.pass(100ms);
  ASSERT_TRUE(w.refused(9, verdict::no_permit));
  EXPECT_GE(w.reply(9)->retry_after, 1900ms + 8 * 2500ms);
  EXPECT_LE(w.reply(9)->retry_after, 1900ms + 9 * 2500ms);
}

/// Grants ticket 1 as the probe of a half-open breaker.
struct probing : world {
  probing() : world(one_key()) {
    acquire(9);
    grant("key/a/k1", 5);
    sent(9);
    settle(9);
    breaker("a/m", breaker_state::half_open);
    acquire(1);
    out.clear();
    machine.on_probe_granted(id("breaker/a/m"), now, out);
  }
};

/// Of ticket 1, whose caller gave it up after that time without an answer.
settlement given_up(duration after, attempt_outcome how = attempt_outcome::out_of_time) {
  settlement s;
  s.id = 1;
  s.outcome = how;
  s.total = after;
  return s;
}

TEST(Dispatcher, AProbeThatWasGivenUpAfterALongSilenceFailed) {
  for (const auto how : {attempt_outcome::out_of_time, attempt_outcome::cancelled}) {
    probing w;
    ASSERT_TRUE(w.granted(1, "key/a/k1"));
    w.sent(1);
    w.settle(given_up(60s, how));
    ASSERT_NE(w.outcomes("a/m"), nullptr);
    EXPECT_TRUE(w.outcomes("a/m")->probe);
    EXPECT_EQ(w.outcomes("a/m")->failures, 1);
    EXPECT_FALSE(w.outcomes("a/m")->probe_unused);
  }
}

/// The same, of a target that is known to take 100 ms.
struct probing_a_known_one : world {
  probing_a_known_one() : world(one_key(rpm(6000))) {
    acquire(100);
    grant("key/a/k1", 60);
    for (ticket t = 100; t < 130; ++t) {
      if (t > 100) acquire(t);
      sent(t);
      settlement s;
      s.id = t;
      s.outcome = attempt_outcome::ok;
      s.usage_known = true;
      s.first_byte = s.total = 100ms;
      settle(s);
    }
    breaker("a/m", breaker_state::half_open);
    acquire(1);
    out.clear();
    machine.on_probe_granted(id("breaker/a/m"), now, out);
    sent(1);
  }
};

TEST(Dispatcher, SilenceIsLongWhereItIsLongerThanUsual) {
  for (const duration waited : {150ms, 250ms}) {
    probing_a_known_one w;
    w.settle(given_up(waited));
    ASSERT_NE(w.outcomes("a/m"), nullptr);
    EXPECT_EQ(w.outcomes("a/m")->failures, waited == 250ms ? 1 : 0);
  }
}

TEST(Dispatcher, WhoHasLittleTimeDoesNotDecideWhetherATargetIsWell) {
  probing_a_known_one w;
  w.settle(given_up(60ms));
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_TRUE(w.outcomes("a/m")->probe_unused) << "it heard nothing, and would not have heard a healthy one";
  w.pass(1s);
  auto hasty = w.request(2);
  hasty.patience = 60ms;
  w.acquire(hasty);
  EXPECT_TRUE(w.refused(2, verdict::breakers_open));
  w.acquire(3);
  EXPECT_EQ(w.out.probe_requests.size(), 1U) << "one with time for it comes first";
  w.cancel(3);
  w.out.clear();
  w.machine.on_probe_refused(w.id("breaker/a/m"), w.now, w.out);
  w.pass(2s);
  hasty.id = 4;
  w.acquire(hasty);
  EXPECT_EQ(w.out.probe_requests.size(), 1U) << "where nobody else comes anyone is better than none";
}

TEST(Dispatcher, WhoGotTheProbeMayUseItHoweverLittleTimeItHas) {
  probing_a_known_one w;
  w.settle(given_up(60ms));
  w.breaker("a/m", breaker_state::open, 1s);
  w.pass(2s);
  auto hasty = w.request(2);
  hasty.patience = 60ms;
  w.acquire(hasty);
  ASSERT_EQ(w.out.probe_requests.size(), 1U);
  w.out.clear();
  w.machine.on_probe_granted(w.id("breaker/a/m"), w.now, w.out);
  EXPECT_EQ(w.reply(2), nullptr);
  w.breaker("a/m", breaker_state::half_open, 60s);  // as the breaker says that a probe is out
  EXPECT_EQ(w.reply(2), nullptr);
  w.grant("key/a/k1", 1);
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
}

TEST(Dispatcher, AProbeThatWasNeverHeardIsRepeatedAtOnce) {
  probing w;
  w.sent(1);
  auto stale = given_up(1ms, attempt_outcome::cancelled);
  stale.billed_nothing = true;
  w.settle(stale);
  EXPECT_TRUE(w.outcomes("a/m")->probe_unused);
  w.acquire(2);
  EXPECT_EQ(w.reply(2), nullptr);
  EXPECT_EQ(w.out.probe_requests.size(), 1U);
}

TEST(Dispatcher, NobodyIsSentToATargetWhoseBreakerIsAboutToOpen) {
  world w(one_key(rpm(6000)));
  w.acquire(1);
  w.grant("key/a/k1", 20);
  for (ticket t = 1; t <= 5; ++t) {
    if (t > 1) w.acquire(t);
    ASSERT_TRUE(w.granted(t, "key/a/k1") || t == 1);
    w.sent(t);
    w.settle(t, attempt_outcome::failed);
  }
  w.acquire(6);
  EXPECT_EQ(w.reply(6), nullptr) << "permits are in hand, but the fifth has failed";
  EXPECT_EQ(w.out.probe_requests.size(), 1U);
  w.breaker("a/m", breaker_state::closed);
  EXPECT_TRUE(w.granted(6, "key/a/k1")) << "other nodes fare better";
}

TEST(Dispatcher, AProbeWhoseTimeEndedAfterTheProviderSpokeWentWell) {
  probing w;
  w.sent(1);
  settlement s;
  s.id = 1;
  s.outcome = attempt_outcome::out_of_time;
  s.first_token = 100ms;
  w.settle(s);
  ASSERT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_EQ(w.outcomes("a/m")->failures, 0);
  EXPECT_GT(w.outcomes("a/m")->successes, 0);
}

TEST(Dispatcher, ACallThatIsNoProbeAndRanOutOfTimeIsNobodysFault) {
  world w(one_key());
  w.acquire(1);
  w.grant("key/a/k1", 5);
  w.sent(1);
  w.settle(1, attempt_outcome::out_of_time);
  w.pass(2s);
  EXPECT_EQ(w.outcomes("a/m"), nullptr);
}

TEST(Dispatcher, CountsConsecutiveFailuresBeforeTheBreakerOpens) {
  world w(one_key(rpm(6000)));
  w.acquire(9);
  w.grant("key/a/k1", 50);
  ticket t = 10;
  const auto call = [&](attempt_outcome o) {
    w.acquire(++t);
    w.sent(t);
    w.settle(t, o);
    return w.machine.status(w.now).targets.at(0).consecutive_failures;
  };
  EXPECT_EQ(call(attempt_outcome::failed), 1);
  EXPECT_EQ(call(attempt_outcome::timed_out), 2);
  EXPECT_EQ(call(attempt_outcome::ok), 0);
  EXPECT_EQ(call(attempt_outcome::failed), 1);
  w.breaker("a/m", breaker_state::closed);
  EXPECT_EQ(w.machine.status(w.now).targets.at(0).consecutive_failures, 5) << "what its breaker says counts";
}

}  // namespace
}  // namespace millrace::engine
