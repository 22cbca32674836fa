#include "engine/dispatcher_machine.hpp"

#include <gtest/gtest.h>

#include "dispatch_world.hpp"

namespace millrace::engine {
namespace {

using world = dispatch_world;

TEST(Dispatcher, AsksTheKeyThenGrantsThenReportsUseAndEnd) {
  world w(one_key());
  w.acquire(1);
  EXPECT_TRUE(w.out.replies.empty());
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 1);
  EXPECT_EQ(w.asked("key/a/k1")->head, (token_count{100, 50}));
  EXPECT_EQ(w.asked("key/a/k1")->target, "a/m");
  EXPECT_EQ(w.asked("key/a/k1")->node, "n1");

  w.pass(5ms);
  w.grant("key/a/k1", 1);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_EQ(w.reply(1)->waited, 5ms);
  EXPECT_EQ(w.reply(1)->reserved, (token_count{100, 50}));
  EXPECT_EQ(w.reply(1)->target, w.id("breaker/a/m"));
  EXPECT_FALSE(w.reply(1)->fallback);
  EXPECT_GT(w.reply(1)->valid_for, 1s);
  EXPECT_LT(w.reply(1)->valid_for, 2s);

  w.pass(100ms);
  w.sent(1);
  w.pass(20ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  ASSERT_EQ(w.told("key/a/k1")->used.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->used[0].lease, w.last_lease());
  EXPECT_EQ(w.told("key/a/k1")->used[0].permits, 1);
  EXPECT_EQ(w.told("key/a/k1")->used[0].age, 10ms);

  settlement s;
  s.id = 1;
  s.usage_known = true;
  s.used = {100, 90};  // 40 more than reserved
  w.settle(s);
  w.pass(20ms);
  EXPECT_EQ(w.told("key/a/k1")->finished, 1);
  EXPECT_EQ(w.told("key/a/k1")->debt.total(), 40);
  EXPECT_EQ(w.machine.status(w.now).open_tickets, 0U);
}

TEST(Dispatcher, SteadyTrafficIsServedFromTheBookWithoutAskingAnybody) {
  world w(one_key({}));  // no limits: large chunks
  w.acquire(1);
  ASSERT_GT(w.asked("key/a/k1")->permits, 100);
  w.grant("key/a/k1", w.asked("key/a/k1")->permits);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  int asked = 0;
  for (ticket t = 2; t <= 400; ++t) {
    w.acquire(t);
    ASSERT_TRUE(w.granted(t, "key/a/k1")) << t;
    asked += w.asked("key/a/k1") != nullptr ? 1 : 0;
  }
  EXPECT_EQ(asked, 0);
  for (ticket t = 401; t <= 600; ++t) {
    w.acquire(t);
    ASSERT_TRUE(w.granted(t, "key/a/k1")) << t;
    asked += w.asked("key/a/k1") != nullptr ? 1 : 0;
  }
  EXPECT_EQ(asked, 1) << "refilled in advance, once";
}

TEST(Dispatcher, ReportsAreBatched) {
  world w(one_key({}));
  w.acquire(1);
  w.grant("key/a/k1", 1000);
  size_t reports = 0;
  for (ticket t = 2; t <= 500; ++t) {
    w.acquire(t);
    w.sent(t);
    reports += w.out.lease_reports.size();
    w.settle(t);
    reports += w.out.lease_reports.size() + w.out.breaker_reports.size();
  }
  EXPECT_LE(reports, 10U);
  w.pass(20ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  EXPECT_EQ(w.told("key/a/k1")->used.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->used[0].permits, 499);
  EXPECT_EQ(w.told("key/a/k1")->finished, 499);
}

TEST(Dispatcher, UsesToldTogetherCountFromTheLatest) {
  world w(one_key({}));
  w.acquire(1);
  w.grant("key/a/k1", 1000);
  w.acquire(2);
  w.sent(1);
  w.pass(8ms);
  w.sent(2);
  w.pass(2ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  ASSERT_EQ(w.told("key/a/k1")->used.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->used[0].permits, 2);
  EXPECT_EQ(w.told("key/a/k1")->used[0].age, 2ms);
}

TEST(Dispatcher, WaitsForThePreferredTargetUntilItsKeySaysNo) {
  world w(two_providers());
  w.acquire(1);
  EXPECT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/b/k1"), nullptr);
  EXPECT_TRUE(w.out.replies.empty());
  w.no_room("key/a/k1", 3s);
  ASSERT_NE(w.asked("key/b/k1"), nullptr);
  w.grant("key/b/k1", 1);
  ASSERT_TRUE(w.granted(1, "key/b/k1"));
  EXPECT_TRUE(w.reply(1)->fallback);
  ASSERT_NE(w.asked("key/a/k1"), nullptr) << "what nobody waits for any more is withdrawn";
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 0);
}

TEST(Dispatcher, ASilentKeyHoldsUpNoRequestThatHasAnotherWay) {
  world w(two_providers());
  w.acquire(1);
  w.pass(150ms);
  EXPECT_EQ(w.asked("key/b/k1"), nullptr);
  w.pass(100ms);
  EXPECT_NE(w.asked("key/b/k1"), nullptr);
  w.grant("key/b/k1", 1);
  EXPECT_TRUE(w.granted(1, "key/b/k1"));
}

TEST(Dispatcher, TokensOfSeveralLeasesServeOneRequest) {
  world w(one_key(tpm(100000)));
  auto r = w.request(1);
  r.input_tokens = 900;
  r.max_output_tokens = 100;
  w.acquire(r);
  EXPECT_EQ(w.asked("key/a/k1")->head.total(), 1000);
  w.grant("key/a/k1", 1, {600, 0});
  EXPECT_EQ(w.reply(1), nullptr);
  w.grant("key/a/k1", 1, {0, 450});
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  w.sent(1);
  w.pass(20ms);
  std::int64_t permits = 0;
  std::int64_t tokens = 0;
  for (const auto& u : w.told("key/a/k1")->used) {
    permits += u.permits;
    tokens += u.tokens.total();
  }
  EXPECT_EQ(permits, 1);
  EXPECT_EQ(tokens, 1000);
}

TEST(Dispatcher, ThreeKeysAreUsedEvenly) {
  world w(config_builder().provider("a", {rpm(20), rpm(20), rpm(20)}).model("m", {0}).build());
  for (ticket t = 1; t <= 9; ++t) w.acquire(t);
  EXPECT_EQ(w.machine.status(w.now).keys[2].waiting, 9);
  for (const char* key : {"key/a/k1", "key/a/k2", "key/a/k3"}) w.grant(key, 3);
  for (const auto& k : w.machine.status(w.now).keys) EXPECT_EQ(k.granted, 3U);
  // With permits of all in hand the least used goes first, equals in turn.
  world v(config_builder().provider("a", {rpm(6000), rpm(6000), rpm(6000)}).model("m", {0}).build());
  v.acquire(1);
  v.no_room("key/a/k1", {}, 0.5);
  for (const char* key : {"key/a/k1", "key/a/k2", "key/a/k3"}) v.grant(key, 90);
  for (ticket t = 2; t <= 21; ++t) v.acquire(t);
  const auto keys = v.machine.status(v.now).keys;
  EXPECT_LE(keys[0].granted, 1U);
  EXPECT_NEAR(static_cast<double>(keys[1].granted), 10, 1);
  EXPECT_NEAR(static_cast<double>(keys[2].granted), 10, 1);
}

TEST(Dispatcher, CancelledRequestsLeaveNothingBehind) {
  world w(one_key());
  w.acquire(1);
  w.cancel(1);
  EXPECT_TRUE(w.out.replies.empty());
  EXPECT_EQ(w.machine.status(w.now).open_tickets, 0U);
  w.acquire(2);
  w.acquire(3);
  w.grant("key/a/k1", 1);
  ASSERT_TRUE(w.granted(2, "key/a/k1"));
  w.cancel(2);
  EXPECT_TRUE(w.granted(3, "key/a/k1")) << "the permit given back serves the next";
  w.settle(2, attempt_outcome::unused);  // a second time does nothing
  w.sent(3);
  w.cancel(3);
  EXPECT_EQ(w.machine.status(w.now).open_tickets, 1U);
  w.settle(3);
  EXPECT_EQ(w.machine.status(w.now).open_tickets, 0U);
}

TEST(Dispatcher, UnusedPermitsGoBackWhenTrafficEndsAndBeforeTheLeaseDoes) {
  world w(one_key(rpm(6000)));
  w.acquire(1);
  w.grant("key/a/k1", 10);
  w.sent(1);
  w.pass(900ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  EXPECT_TRUE(w.told("key/a/k1")->returned.empty());
  w.pass(200ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  ASSERT_EQ(w.told("key/a/k1")->returned.size(), 1U);
  EXPECT_EQ(w.told("key/a/k1")->returned[0].permits, 9);

  // With traffic they are kept, but not for longer than there is time to connect.
  w.acquire(2);
  w.grant("key/a/k1", 20);
  std::int64_t returned = 0;
  for (ticket t = 3; t <= 8; ++t) {
    w.pass(300ms);
    if (const auto* r = w.told("key/a/k1")) {
      for (const auto& back : r->returned) returned += back.permits;
    }
    w.acquire(t);
    if (const auto* r = w.reply(t)) {
      EXPECT_GE(r->valid_for, 200ms);
    }
  }
  EXPECT_EQ(returned, 14);
}

TEST(Dispatcher, AskedTooMuchIsTooLargeButAGuessNeverIs) {
  world w(config_builder().provider("a", {tpm(1000)}).provider("b", {tpm(300)}).model("m", {0, 1}).build());
  auto r = w.request(1);
  r.input_tokens = 800;
  r.max_output_tokens = 201;
  w.acquire(r);
  EXPECT_TRUE(w.refused(1, verdict::too_large));
  r.max_output_tokens = -1;
  w.acquire(r);
  EXPECT_EQ(w.reply(1), nullptr);
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->head.total(), 1000);
  EXPECT_EQ(w.asked("key/b/k1"), nullptr);
}

TEST(Dispatcher, SaysWhenNothingIsLeftToTry) {
  world w(one_key());
  auto r = w.request(1);
  r.tried = {w.id("breaker/a/m")};
  w.acquire(r);
  EXPECT_TRUE(w.refused(1, verdict::no_candidate));
  r.retry_tried = true;
  w.acquire(r);
  EXPECT_EQ(w.reply(1), nullptr);
  r = w.request(2);
  r.tried_keys = {w.id("key/a/k1")};
  w.acquire(r);
  EXPECT_TRUE(w.refused(2, verdict::no_candidate));
  r = w.request(3);
  r.private_only = true;
  w.acquire(r);
  EXPECT_TRUE(w.refused(3, verdict::no_candidate));
}

TEST(Dispatcher, RequestsInFlightPlanWithTheirOwnConfiguration) {
  config_builder b;
  b.provider("a", {rpm(60)}).model("old", {0}).model("m", {0});
  world w(b.build());
  auto before = w.request(1, "old");
  b.c.models.erase(b.c.models.begin());
  w.apply(b.build());
  w.acquire(before);
  w.grant("key/a/k1", 1);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_EQ(w.reply(1)->model, 0U);
  EXPECT_EQ(w.reply(1)->target, w.id("breaker/a/old"));
  auto after = w.request(2, "old");
  w.acquire(after);
  EXPECT_TRUE(w.refused(2, verdict::no_candidate));
  for (size_t i = 0; i < dispatcher_machine::max_snapshots; ++i) w.apply(b.build());
  before.id = 3;
  w.acquire(before);
  EXPECT_TRUE(w.refused(3, verdict::no_candidate)) << "the newest one stands for those forgotten";
}

TEST(Dispatcher, ARemovedKeyServesThoseWhoCameBefore) {
  config_builder b;
  b.provider("a", {rpm(60), rpm(60)}).model("m", {0});
  auto& keys = b.c.providers[0].keys;
  const key_config added = keys.back();
  keys.pop_back();
  world w(b.build());
  auto pausing = w.request(2);  // asks again after the reload
  w.acquire(1);
  w.answer("key/a/k1");
  keys[0] = added;
  w.apply(b.build());
  EXPECT_EQ(w.reply(1), nullptr) << "it waits for the key that it came for";
  w.acquire(3);
  w.grant("key/a/k1", 1);
  EXPECT_TRUE(w.granted(1, "key/a/k1"));
  w.acquire(pausing);
  w.grant("key/a/k1", 2);
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
  EXPECT_EQ(w.reply(3), nullptr) << "the key is no longer there for those who come now";
  w.grant("key/a/k2", 1);
  EXPECT_TRUE(w.granted(3, "key/a/k2"));
  EXPECT_EQ(w.machine.status(w.now).keys.size(), 1U);
}

TEST(Dispatcher, AForgottenKeyIsAskedNoMore) {
  config_builder b;
  b.provider("a", {rpm(60), rpm(60)}).model("m", {0});
  world w(b.build());
  w.acquire(1);
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  w.answer("key/a/k2");
  b.c.providers[0].keys.erase(b.c.providers[0].keys.begin());
  for (size_t i = 0; i < dispatcher_machine::max_snapshots; ++i) w.apply(b.build());
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->permits, 0);
  ASSERT_NE(w.asked("key/a/k2"), nullptr);
  EXPECT_EQ(w.asked("key/a/k2")->waiting, 1);
  w.grant("key/a/k1", 1);  // was on its way
  EXPECT_EQ(w.reply(1), nullptr);
  w.pass(20ms);
  EXPECT_EQ(w.told("key/a/k1")->returned.at(0).permits, 1);
}

TEST(Dispatcher, TheClientsOwnLimitsComeFirst) {
  world w(config_builder().provider("a", {key_limits{}}).model("m", {0}).client("c", 2, 1000).build());
  const auto ask = [&](ticket t, bool first = true) {
    auto r = w.request(t);
    r.client = w.id("client/c");
    r.first = first;
    w.acquire(r);
  };
  ask(1);
  w.grant("key/a/k1", 100);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_EQ(w.reply(1)->client_requests.limit, 2);
  EXPECT_EQ(w.reply(1)->client_requests.remaining, 1);
  EXPECT_EQ(w.reply(1)->client_tokens.remaining, 850);
  w.settle(1, attempt_outcome::failed);
  ask(1, false);  // the second attempt is no second request
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  w.sent(1);
  settlement s;
  s.id = 1;
  s.usage_known = true;
  s.used = {100, 400};
  w.settle(s);
  ask(2);
  ASSERT_TRUE(w.granted(2, "key/a/k1"));
  EXPECT_EQ(w.reply(2)->client_tokens.remaining, 350);
  ask(3);
  ASSERT_TRUE(w.refused(3, verdict::client_limited));
  EXPECT_GT(w.reply(3)->retry_after, 50s);
  EXPECT_EQ(w.reply(3)->client_requests.remaining, 0);
}

TEST(Dispatcher, AClientIsChargedForWhatItMayHaveCost) {
  struct outcome_of {
    attempt_outcome outcome;
    duration first_token;
    std::int64_t left;
  };
  for (const auto& [outcome, first_token, left] : {
           outcome_of{attempt_outcome::ok, 0s, 850},
           outcome_of{attempt_outcome::rate_limited, 0s, 1000},
           outcome_of{attempt_outcome::failed, 0s, 1000},
           outcome_of{attempt_outcome::failed, 1s, 850},  // cut after its first content
           outcome_of{attempt_outcome::timed_out, 1s, 850},
           outcome_of{attempt_outcome::cancelled, 1s, 850},
       }) {
    SCOPED_TRACE(static_cast<int>(outcome));
    world w(config_builder()
                .provider("a", {key_limits{}, key_limits{}})
                .model("m", {0})
                .client("c", 9, 1000)
                .build());
    const auto ask = [&](ticket t, std::int64_t output) {
      auto r = w.request(t);
      r.client = w.id("client/c");
      r.max_output_tokens = output;
      w.acquire(r);
    };
    ask(1, 50);
    w.grant("key/a/k1", 100);
    ASSERT_TRUE(w.granted(1, "key/a/k1"));
    ASSERT_EQ(w.reply(1)->client_tokens.remaining, 850);
    w.sent(1);
    settlement s;
    s.id = 1;
    s.outcome = outcome;
    s.first_token = first_token;
    w.settle(s);
    w.grant("key/a/k2", 100);  // k1 may have to rest
    ask(2, 0);
    ASSERT_NE(w.reply(2), nullptr);
    EXPECT_EQ(w.reply(2)->client_tokens.remaining, left - 100);
  }
}

}  // namespace
}  // namespace millrace::engine
