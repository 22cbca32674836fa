#include "engine/dispatcher_machine.hpp"

#include <map>

#include <gtest/gtest.h>

#include "dispatch_world.hpp"

/// Who waits, how long, and in what order those who wait are served.
namespace millrace::engine {
namespace {

using world = dispatch_world;

TEST(Dispatcher, RefusesWhenPatienceEndsWithAnHonestRetryAfter) {
  world w(one_key(rpm(60)));
  for (ticket t = 1; t <= 5; ++t) {
    auto r = w.request(t);
    r.patience = t == 5 ? 1s : 30s;
    w.acquire(r);
  }
  w.no_room("key/a/k1", 3s);
  w.pass(999ms);
  EXPECT_TRUE(w.out.replies.empty());
  w.pass(1ms);
  ASSERT_TRUE(w.refused(5, verdict::no_permit));
  EXPECT_EQ(w.reply(5)->waited, 1s);
  // The first permit comes in 2 s, then one a second, and four others are waiting.
  EXPECT_NEAR(std::chrono::duration<double>(w.reply(5)->retry_after).count(), 6, 0.01);
  EXPECT_EQ(w.machine.status(w.now).lanes[1].depth, 4U);
}

/// Where calls have to end first, how long they take is what is known.
TEST(Dispatcher, WhoWaitsForCallsToEndHearsHowLongTheyTake) {
  key_limits limits;
  limits.concurrency = 2;
  world w(one_key(limits));
  w.acquire(1);
  w.grant("key/a/k1", 2);
  w.sent(1);
  w.pass(4s);
  settlement s;
  s.id = 1;
  s.total = 4s;
  s.usage_known = true;
  w.settle(s);
  for (ticket t = 2; t <= 7; ++t) {
    auto r = w.request(t);
    r.patience = t == 7 ? 1s : 30s;
    w.acquire(r);
    if (t <= 3) w.grant("key/a/k1", 1);
    if (t <= 3) w.sent(t);
  }
  w.no_room("key/a/k1", 1s);
  w.pass(1s);
  ASSERT_TRUE(w.refused(7, verdict::no_permit));
  // Two calls of 4 s at a time: one ends every 2 s, and three others are waiting.
  EXPECT_NEAR(std::chrono::duration<double>(w.reply(7)->retry_after).count(), 8, 0.01);
}

TEST(Dispatcher, AFullQueueRefusesAtOnce) {
  config_builder b;
  b.c.queue.max_waiting = 2;
  world w(b.provider("a", {rpm(60)}).model("m", {0}).build());
  w.acquire(1);
  w.no_room("key/a/k1", 3s);
  w.acquire(2);
  w.acquire(3);
  ASSERT_TRUE(w.refused(3, verdict::queue_full));
  EXPECT_GT(w.reply(3)->retry_after, 0s);
  w.grant("key/a/k1", 2);
  EXPECT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
}

TEST(Dispatcher, ToAskAKeyForTheFirstTimeIsNotToWait) {
  const auto build = [](std::int64_t waiting, duration patience) {
    config_builder b;
    b.c.queue.max_waiting = waiting;
    b.c.queue.max_wait = patience;
    return b.provider("a", {rpm(60)}).model("m", {0}).build();
  };
  world room(build(0, 30s));
  for (ticket t = 1; t <= 3; ++t) {
    room.acquire(t);
    ASSERT_EQ(room.reply(t), nullptr);
  }
  room.grant("key/a/k1", 2);
  EXPECT_TRUE(room.granted(1, "key/a/k1"));
  EXPECT_TRUE(room.granted(2, "key/a/k1"));
  room.no_room("key/a/k1", 3s);
  EXPECT_TRUE(room.refused(3, verdict::queue_full)) << "now it would wait";

  world one(build(1, 30s));
  for (ticket t = 1; t <= 3; ++t) one.acquire(t);
  one.no_room("key/a/k1", 3s);
  EXPECT_EQ(one.reply(1), nullptr) << "one may";
  EXPECT_TRUE(one.refused(2, verdict::queue_full));
  EXPECT_TRUE(one.refused(3, verdict::queue_full));

  world hurry(build(10, 0s));
  auto r = hurry.request(1);
  r.patience = 0s;
  hurry.acquire(r);
  EXPECT_EQ(hurry.reply(1), nullptr);
  hurry.grant("key/a/k1", 1);
  EXPECT_TRUE(hurry.granted(1, "key/a/k1"));
}

TEST(Dispatcher, WhoWasRefusedBeyondTheBoundIsNotAskedForAnyMore) {
  config_builder b;
  b.c.queue.max_waiting = 1;
  world w(b.provider("a", {tpm(60'000)}).model("m", {0}).build());
  auto small = w.request(1);
  small.input_tokens = 1500;
  std::int64_t head = 0;
  const auto note = [&] {
    if (const auto* asked = w.asked("key/a/k1")) head = asked->head.input;
  };
  w.acquire(small);
  note();
  auto large = w.request(2);
  large.input_tokens = 50'000;
  large.queue = static_cast<std::uint8_t>(queue_class::priority);
  w.acquire(large);
  note();
  w.no_room("key/a/k1", 30s);
  note();
  ASSERT_TRUE(w.refused(2, verdict::queue_full));
  EXPECT_EQ(head, 1500);
}

TEST(Dispatcher, WhoCameBeforeAnythingWasLearnedPaysForItsTurnAsOthersDo) {
  world w(one_key(rpm(6000)));
  const auto ask = [&](ticket t, queue_class lane) {
    auto r = w.request(t);
    r.input_tokens = 10;
    r.max_output_tokens = -1;
    r.queue = static_cast<std::uint8_t>(lane);
    w.acquire(r);
  };
  for (ticket t = 1; t <= 40; ++t) ask(t, t <= 10 ? queue_class::priority : queue_class::batch);
  ticket next = 100;
  int batch = 0;
  for (int n = 0; n < 140; ++n) {
    w.grant("key/a/k1", 1);
    ASSERT_EQ(w.out.replies.size(), 1U);
    settlement s;
    s.id = w.out.replies[0].id;
    s.outcome = attempt_outcome::ok;
    s.usage_known = true;
    s.used = {10, 5};
    s.first_byte = s.total = 1ms;
    const bool is_batch = s.id > 10 && s.id <= 40;
    if (n >= 30 && is_batch) ++batch;
    w.sent(s.id);
    w.settle(s);
    if (!is_batch) ask(next++, queue_class::priority);
  }
  EXPECT_NEAR(batch, 10, 1) << "a tenth of the others', though they came when 512 tokens were expected";
}

TEST(Dispatcher, TellsAtWhichPlacesRequestsBeganToWait) {
  world w(one_key());
  const auto joined = [&](queue_class q) {
    return w.machine.status(w.now).lanes[static_cast<size_t>(q)].joined;
  };
  w.acquire(1);
  w.no_room("key/a/k1", 3s);
  w.acquire(2);
  auto other = w.request(3);
  other.queue = static_cast<std::uint8_t>(queue_class::batch);
  w.acquire(other);
  w.acquire(4);
  EXPECT_EQ(joined(queue_class::standard).sum, 1U + 2U + 3U);
  EXPECT_EQ(joined(queue_class::batch).sum, 1U);
  EXPECT_EQ(joined(queue_class::priority).sum, 0U);
  w.cancel(1);
  w.acquire(5);
  EXPECT_EQ(joined(queue_class::standard).sum, 1U + 2U + 3U + 3U);
  w.grant("key/a/k1", 5);
  w.acquire(6);
  EXPECT_EQ(joined(queue_class::standard).sum, 9U) << "it did not have to wait";
}

TEST(Dispatcher, AsManyWaitAsAreConfiguredWhateverIsInFlight) {
  constexpr ticket most = queue_config::most_waiting;
  config_builder b;
  b.c.queue.max_waiting = queue_config::most_waiting;
  key_limits limits;
  limits.concurrency = 1'000'000;
  world w(b.provider("a", {limits}).model("m", {0}).build());
  ticket t = 1;
  w.acquire(t);
  w.grant("key/a/k1", 1000, {1'000'000, 1'000'000});
  for (; t < 1000; ++t) {
    w.acquire(t + 1);
    ASSERT_TRUE(w.granted(t + 1, "key/a/k1"));
  }
  w.no_room("key/a/k1", 10s);
  for (ticket waiting = 0; waiting < most; ++waiting) {
    w.acquire(++t);
    ASSERT_TRUE(w.out.replies.empty()) << t;
  }
  EXPECT_EQ(w.machine.status(w.now).lanes[1].depth, most);
  w.acquire(++t);
  EXPECT_TRUE(w.refused(t, verdict::queue_full));
}

TEST(Dispatcher, NewcomersDoNotOvertakeThoseWhoWait) {
  world w(one_key(tpm(100000)));
  auto big = w.request(1);
  big.input_tokens = 50000;
  w.acquire(big);
  w.grant("key/a/k1", 5, {10000, 10000});  // too little for the one that waits
  w.acquire(2);
  EXPECT_EQ(w.reply(2), nullptr);
  w.grant("key/a/k1", 1, {50000, 50});
  EXPECT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
}

TEST(Dispatcher, WhenTheFirstGivesUpTheKeyHearsWhatTheNextNeeds) {
  world w(one_key(tpm(100000)));
  auto big = w.request(1);
  big.input_tokens = 50000;
  big.patience = 2s;
  w.acquire(big);
  w.acquire(2);
  w.no_room("key/a/k1", 20s);
  w.pass(1s);
  w.pass(1s);
  ASSERT_TRUE(w.refused(1, verdict::no_permit));
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->head.total(), 150);
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 1);
}

TEST(Dispatcher, ABackloggedModelDoesNotDelayAnother) {
  world w(config_builder()
              .provider("a", {rpm(60)})
              .provider("b", {key_limits{}})
              .model("m", {0})
              .model("n", {1})
              .build());
  for (ticket t = 1; t <= 500; ++t) w.acquire(t);
  w.no_room("key/a/k1", 60s);
  w.acquire(w.request(1000, "n"));
  w.grant("key/b/k1", 100);
  ASSERT_TRUE(w.granted(1000, "key/b/k1"));
  w.acquire(w.request(1001, "n"));
  EXPECT_TRUE(w.granted(1001, "key/b/k1"));
}

TEST(Dispatcher, ClassesShareTrickledPermitsByWeight) {
  world w(one_key(rpm(600)));
  std::map<ticket, size_t> lane_of;
  std::array<int, 3> served{};
  ticket last = 0;
  const auto add = [&](size_t lane) {
    auto r = w.request(++last);
    r.queue = static_cast<std::uint8_t>(lane);
    r.patience = 1000s;
    lane_of[last] = lane;
    w.acquire(r);
  };
  for (size_t lane = 0; lane < 3; ++lane) {
    for (int i = 0; i < 5; ++i) add(lane);
  }
  for (int i = 0; i < 1600; ++i) {
    w.pass(100ms);
    w.grant("key/a/k1", 1);
    ASSERT_EQ(w.out.replies.size(), 1U);
    const ticket t = w.out.replies[0].id;
    const size_t lane = lane_of.at(t);
    ++served[lane];
    w.sent(t);
    w.settle(t);
    w.no_room("key/a/k1", 100ms);
    add(lane);
  }
  EXPECT_NEAR(served[0], 1000, 50);
  EXPECT_NEAR(served[1], 500, 25);
  EXPECT_NEAR(served[2], 100, 5);
}

}  // namespace
}  // namespace millrace::engine
