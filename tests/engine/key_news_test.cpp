#include <gtest/gtest.h>

#include <map>

#include "tests/engine/key_harness.hpp"

namespace millrace::engine {
namespace {

using namespace key_testing;

/// Follows what one node hears while only time passes.
struct listener {
  harness& h;
  std::string node;
  double heard = 0;
  int notices = 0;
  time_point last = time_point::min();

  /// Lets the key do what it wants to do, and takes in what it says; false when it wants nothing any more.
  bool follow(duration d) {
    const time_point end = h.now + d;
    while (h.key.next_wakeup(h.now) <= end) {
      h.advance(std::max<duration>(h.key.next_wakeup(h.now) - h.now, {}));
      take();
    }
    h.now = end;
    return h.key.next_wakeup(h.now) != time_point::max();
  }
  void take() {
    for (const auto& o : h.out) {
      if (o.node != node) continue;
      ++notices;
      heard = o.notice.used_fraction;
      last = h.now;
    }
  }
};

/// Uses one permit a second, as long as there are any, while `other` listens.
void use_up(harness& h, int seconds, listener& other) {
  for (int i = 0; i < seconds; ++i) {
    const bool granted = h.request(ask("a", 1)) == 1;
    other.take();
    if (granted) h.use_last();
    other.take();
    h.withdraw();
    other.take();
    other.follow(1s);
  }
}

TEST(key_news, a_node_that_does_not_use_a_key_hears_that_it_has_room_again) {
  harness h({.rpm = 40});
  listener a{h, "a"};
  use_up(h, 60, a);
  h.request(ask("a", 1));
  h.use_last();
  h.withdraw();
  a.take();
  ASSERT_GT(a.heard, 0.8);
  a.notices = 0;
  while (a.heard > 0.8 && h.now < start + 100s) a.follow(250ms);
  EXPECT_LE(h.key.notice(h.now).used_fraction, 0.8);
  EXPECT_GT(h.key.notice(h.now).used_fraction, 0.7) << "told when it became true";
  a.follow(100s);
  EXPECT_EQ(a.heard, 0);
  EXPECT_LE(a.notices, 1 / key_machine::used_step + 1);
  EXPECT_EQ(h.key.next_wakeup(h.now), time_point::max()) << "everybody knows";
}

TEST(key_news, tokens_and_days_are_limits_like_any_other) {
  for (const auto& [limits, span] : {std::pair<key_limits, duration>{{.tpm = 1000}, 60s},
                                     std::pair<key_limits, duration>{{.rpd = 10}, 24h}}) {
    harness h(limits);
    listener a{h, "a"};
    ASSERT_GE(h.request(ask("a", 2, {50, 50})), 1);
    a.take();
    ASSERT_GE(a.heard, 0.2);
    h.use_last(2);
    h.withdraw();
    a.take();
    a.follow(span - 1s);
    const int before = a.notices;
    EXPECT_GE(a.heard, 0.2);
    EXPECT_LE(before, 3) << "no news, no words";
    EXPECT_FALSE(a.follow(8min));
    EXPECT_EQ(a.heard, 0);
  }
}

TEST(key_news, calls_that_ended_are_room_again_where_only_concurrency_is_limited) {
  harness h({.concurrency = 10});
  ASSERT_EQ(h.request(ask("a", 10)), 10);
  listener a{h, "a"};
  a.take();
  ASSERT_EQ(a.heard, 1);
  h.use_last(10);
  a.follow(5s);
  EXPECT_EQ(a.heard, 1);
  a.notices = 0;
  for (int i = 0; i < 9; ++i) {
    h.finish(1);
    a.take();
  }
  EXPECT_LE(a.notices, 1) << "not for every call";
  a.follow(key_machine::used_pause);
  EXPECT_EQ(a.heard, 0.1);
  EXPECT_LE(a.notices, 2);
  h.finish(1);
  a.take();
  EXPECT_FALSE(a.follow(key_machine::used_pause));
  EXPECT_EQ(a.heard, 0);
}

TEST(key_news, leases_of_silent_nodes_end_where_only_concurrency_is_limited) {
  harness h({.concurrency = 4});
  ASSERT_EQ(h.request(ask("a", 4)), 4);
  listener a{h, "a"};
  a.take();
  EXPECT_FALSE(a.follow(key_machine::lease_life + key_machine::lease_memory + 1s));
  EXPECT_EQ(a.heard, 0);
}

TEST(key_news, the_calls_of_a_node_that_is_gone_are_room_again) {
  harness h({.concurrency = 10});
  ASSERT_EQ(h.request(ask("a", 10)), 10);
  const lease_grant granted = h.last();
  listener b{h, "b"};
  h.request(demand("b", 0, 0));
  b.take();
  h.use(granted.lease, 10, granted.tokens);
  b.take();
  b.follow(10s);
  ASSERT_EQ(b.heard, 1);
  h.key.forget_node("a", h.now);
  b.follow(key_machine::used_pause);
  EXPECT_EQ(b.heard, 0);
}

TEST(key_news, a_rise_is_news_only_for_nodes_that_use_the_key) {
  harness h({.rpm = 100});
  h.request(ask("b", 1));
  listener b{h, "b"};
  use_up(h, 10, b);
  EXPECT_GT(b.heard, 0.05);
  b.follow(70s);
  b.notices = 0;
  use_up(h, 10, b);
  EXPECT_EQ(b.notices, 0) << "it has not used the key for long";
}

TEST(key_news, a_node_that_a_new_home_does_not_know_is_told) {
  harness h({.rpm = 100});
  listener a{h, "a"};
  h.finish(0, {0, 1});  // it held 0.9 for true before
  a.take();
  EXPECT_EQ(a.notices, 1);
  EXPECT_EQ(a.heard, 0);
}

}  // namespace
}  // namespace millrace::engine
