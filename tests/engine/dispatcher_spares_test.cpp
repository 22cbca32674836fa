#include <algorithm>

#include <gtest/gtest.h>

#include "dispatch_world.hpp"

namespace millrace::engine {
namespace {

/// A dispatcher with `permits` of its one key in hand.
struct plenty : dispatch_world {
  explicit plenty(std::int64_t permits = 200, std::int64_t client_rpm = unlimited)
      : dispatch_world(config_builder()
                           .provider("a", {key_limits{}})
                           .model("m", {0})
                           .client("c", client_rpm, unlimited)
                           .build()) {
    acquire(1);
    grant("key/a/k1", permits);
  }
};

acquire_request with_spares(const dispatch_world& w, ticket t) {
  acquire_request r = w.request(t);
  r.client = w.id("client/c");
  r.spares = 8;
  r.first_spare = 1000;
  return r;
}

std::size_t spares_in(const effects& out) {
  return static_cast<std::size_t>(
      std::count_if(out.replies.begin(), out.replies.end(), [](const acquire_reply& r) { return r.spare; }));
}

TEST(DispatcherSpares, ComeWithAGrantAndServeLikeOne) {
  plenty w;
  w.acquire(with_spares(w, 2));
  ASSERT_EQ(spares_in(w.out), 8U);
  const acquire_reply spare = *w.reply(1000);
  EXPECT_EQ(spare.target, w.id("breaker/a/m"));
  EXPECT_EQ(spare.key, w.id("key/a/k1"));
  EXPECT_EQ(spare.spare_class.client, w.id("client/c"));
  EXPECT_GT(spare.valid_for, 250ms);

  w.sent(1000);
  w.pass(20ms);
  ASSERT_NE(w.told("key/a/k1"), nullptr);
  EXPECT_EQ(w.told("key/a/k1")->used.at(0).permits, 1);
  EXPECT_EQ(w.machine.status(w.now).targets[0].in_flight, 3)
      << "requests 1 and 2 and the spare, not those unused";
  w.settle(1000);
  EXPECT_EQ(w.machine.status(w.now).targets[0].in_flight, 2);
}

TEST(DispatcherSpares, UnusedOnesAreInHandAgain) {
  plenty w;
  const auto before = w.machine.status(w.now).keys[0].permits_in_hand;
  w.acquire(with_spares(w, 2));
  for (ticket t = 1000; t < 1008; ++t) w.settle(t, attempt_outcome::unused);
  EXPECT_EQ(w.machine.status(w.now).keys[0].permits_in_hand, before - 1);
  EXPECT_EQ(w.machine.status(w.now).open_tickets, 2U);
}

TEST(DispatcherSpares, AreNotGivenWhereAnotherWouldMissThem) {
  plenty scarce(7);
  scarce.acquire(with_spares(scarce, 2));
  EXPECT_EQ(spares_in(scarce.out), 0U);

  plenty tried;
  auto again = with_spares(tried, 2);
  again.first = false;
  tried.acquire(again);
  EXPECT_EQ(spares_in(tried.out), 0U);

  plenty limited(200, 1000);
  limited.acquire(with_spares(limited, 2));
  EXPECT_TRUE(limited.granted(2, "key/a/k1"));
  EXPECT_EQ(spares_in(limited.out), 0U) << "a limited client is counted request by request";
}

TEST(DispatcherSpares, AreCalledBackWhenThingsChange) {
  plenty w;
  w.acquire(with_spares(w, 2));
  EXPECT_FALSE(w.out.revoke_spares);
  w.sent(2);
  w.settle(2, attempt_outcome::failed);
  EXPECT_TRUE(w.out.revoke_spares);

  plenty opened;
  opened.acquire(with_spares(opened, 2));
  opened.breaker("a/m", breaker_state::open, 60s);
  EXPECT_TRUE(opened.out.revoke_spares);

  plenty reloaded;
  reloaded.acquire(with_spares(reloaded, 2));
  reloaded.apply(reloaded.config);
  EXPECT_TRUE(reloaded.out.revoke_spares);
}

TEST(DispatcherSpares, NothingIsCalledBackWhenNothingIsOut) {
  plenty w;
  w.sent(1);
  w.settle(1, attempt_outcome::failed);
  EXPECT_FALSE(w.out.revoke_spares);
}

}  // namespace
}  // namespace millrace::engine
