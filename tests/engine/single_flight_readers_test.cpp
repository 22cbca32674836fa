#include <gtest/gtest.h>

#include "single_flight_world.hpp"

/// Streams that are too long to keep, and readers who are slow.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(SingleFlight, AStreamTooLongToKeepCanNoLongerBeJoinedButEverybodyGetsAllOfIt) {
  single_flight_world w;
  auto& leader = w.ask({.stream = true});
  w.feed("pc");
  auto& slow = w.ask({.stream = true});
  auto& fast = w.ask({.stream = true});
  slow.paused = true;
  const std::string block(400'000, 'c');
  for (int i = 0; i < 6; ++i) w.feed(block);
  const auto& late = w.ask({.stream = true});
  EXPECT_EQ(w.upstream.calls.size(), 2U);
  EXPECT_EQ(late.status, 0);
  // The provider is held back until the slowest has caught up.
  EXPECT_FALSE(w.upstream.calls[0]->pieces.empty());
  w.wake(slow);
  w.settle();
  w.feed("d");
  w.finish();
  const std::string all = "pc" + block + block + block + block + block + block + "d";
  EXPECT_EQ(leader.got.size(), all.size());
  EXPECT_EQ(slow.got, all);
  EXPECT_EQ(fast.got, all);
  w.leave(*w.clients.back());
  EXPECT_EQ(w.answers.transcripts().taken(), 0);
}

TEST(SingleFlight, WhoReadsNothingHoldsUpTheOthersForASecondAtMost) {
  single_flight_world w;
  auto& leader = w.ask({.stream = true});
  w.feed("pc");
  auto& slow = w.ask({.stream = true});
  const auto& fast = w.ask({.stream = true});
  const std::string block(400'000, 'c');
  const auto after_a_second = [&w] {
    w.time.time += longest_wait_for_slow;
    w.thread.ring(w.time.time);
    w.settle();
  };
  slow.paused = leader.paused = true;
  for (int i = 0; i < 6; ++i) w.feed(block);
  EXPECT_FALSE(w.upstream.calls[0]->pieces.empty()) << "held back";
  w.wake(leader);
  after_a_second();
  EXPECT_TRUE(w.upstream.calls[0]->pieces.empty());
  w.feed("d");
  w.finish();
  const std::string all = "pc" + block + block + block + block + block + block + "d";
  EXPECT_EQ(leader.got, all);
  EXPECT_EQ(fast.got, all);
  EXPECT_FALSE(leader.broken || fast.broken);
  w.wake(slow);
  w.settle();
  EXPECT_TRUE(slow.over && slow.broken);
  EXPECT_TRUE(slow.got.starts_with("pcc") && slow.got.ends_with("event:slow_reader")) << slow.got.size();
  EXPECT_EQ(w.answers.transcripts().taken(), 0);
}

TEST(SingleFlight, WithoutMemoryForTranscriptsEverybodyWhoIsThereGetsEveryByte) {
  single_flight_world w;
  auto& budget = w.answers.transcripts();
  std::int64_t all = 0;
  while (budget.take(1 << 20)) all += 1 << 20;
  const auto& leader = w.ask({.stream = true});
  const auto& follower = w.ask({.stream = true});
  const std::string content = "p" + std::string(100, 'c');
  w.feed(content);
  w.feed("c");
  w.feed("d");
  w.finish();
  EXPECT_EQ(leader.got, content + "cd");
  EXPECT_EQ(follower.got, leader.got);
  EXPECT_EQ(budget.taken(), all);
}

TEST(SingleFlight, WhoIsLeftBehindIsCalledSlowInTheLogWhetherOrNotHeReadsIt) {
  for (const bool leads : {false, true}) {
    single_flight_world w;
    auto& leader = w.ask({.stream = true});
    w.feed("pc");
    auto& follower = w.ask({.stream = true});
    auto& slow = leads ? leader : follower;
    slow.paused = true;
    for (int i = 0; i < 6; ++i) w.feed(std::string(400'000, 'c'));
    w.time.time += longest_wait_for_slow;
    w.thread.ring(w.time.time);
    w.settle();
    w.leave(slow);
    w.feed("d");
    w.finish();
    ASSERT_EQ(w.watch.requests.size(), 2U);
    const auto& [first, second] = std::tie(w.watch.requests[0], w.watch.requests[1]);
    const auto& of_slow = (first.cache == "coalesced") != leads ? first : second;
    const auto& of_other = &of_slow == &first ? second : first;
    EXPECT_EQ(of_slow.code, "slow_reader");
    EXPECT_EQ(of_other.code, "");
  }
}

TEST(SingleFlight, WhereAllReadSlowlyTheProviderWaitsAndNobodyIsCut) {
  single_flight_world w;
  auto& leader = w.ask({.stream = true});
  w.feed("pc");
  auto& other = w.ask({.stream = true});
  leader.paused = other.paused = true;
  const std::string block(400'000, 'c');
  for (int i = 0; i < 6; ++i) w.feed(block);
  for (int i = 0; i < 3; ++i) {
    w.time.time += longest_wait_for_slow;
    w.thread.ring(w.time.time);
    w.settle();
  }
  EXPECT_FALSE(w.upstream.calls[0]->pieces.empty());
  w.wake(leader);
  w.wake(other);
  w.settle();
  w.feed("d");
  w.finish();
  EXPECT_FALSE(leader.broken || other.broken);
  EXPECT_EQ(other.got, leader.got);
  EXPECT_EQ(leader.got.size(), 6 * block.size() + 3);
}

TEST(SingleFlight, WhoWantsALongStreamInOnePieceAsksForItself) {
  single_flight_world w;
  w.ask({.stream = true});
  w.feed("pc");
  const auto& plain = w.ask();
  w.feed(std::string(2 << 20, 'c'));
  ASSERT_EQ(w.upstream.calls.size(), 2U);
  w.feed("{own}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(plain.got, "{own}");
}

}  // namespace
}  // namespace millrace::engine
