#include "engine/key_machine.hpp"

#include <gtest/gtest.h>

#include "tests/engine/key_harness.hpp"

/// A key's home that follows another one, whose books are lost.
namespace millrace::engine {
namespace {

using namespace key_testing;

const key_machine::origin after_another{.first_lease = 1000, .others_until = start + 2s};

TEST(key_succession, waits_until_what_others_may_have_used_has_left_the_window) {
  harness h({.rpm = 60}, after_another);
  EXPECT_EQ(h.request(ask("a", 30)), 0);
  EXPECT_EQ(h.used(&key_use::rpm), 60);
  ASSERT_EQ(h.out.size(), 1U);
  EXPECT_GE(h.out[0].notice.next_permit, 62s);
  // Used at the end of an old lease, and half a second late at the provider.
  const duration over = 2s + 60s + 500ms;
  std::int64_t sum = 0;
  while (h.now < start + over) {
    const time_point next = h.key.next_wakeup(h.now);
    ASSERT_GT(next, h.now) << "no spinning";
    if (next >= start + over) break;
    sum += h.advance(next - h.now);
  }
  EXPECT_EQ(sum, 0);
  h.now = start + over;
  EXPECT_GT(h.advance(250ms), 0);
  EXPECT_GE(h.last().lease, 1000U);
}

TEST(key_succession, tokens_and_the_day_are_waited_for_too) {
  harness tokens({.tpm = 6000}, after_another);
  EXPECT_EQ(tokens.request(ask("a", 1, {.input = 10, .output = 10})), 0);
  EXPECT_EQ(tokens.advance(62s), 0);
  EXPECT_EQ(tokens.advance(1s), 1);
  harness day({.rpd = 1000}, after_another);
  EXPECT_EQ(day.request(ask("a", 1)), 0);
  EXPECT_EQ(day.advance(24h), 0);
  EXPECT_EQ(day.advance(10min), 1);
}

TEST(key_succession, without_a_limit_only_old_leases_are_waited_for) {
  harness h({}, after_another);
  EXPECT_EQ(h.request(ask("a", 5)), 0);
  EXPECT_EQ(h.key.next_wakeup(h.now), start + 2s);
  EXPECT_EQ(h.advance(1999ms), 0);
  EXPECT_EQ(h.advance(1ms), 5);
}

TEST(key_succession, calls_in_flight_that_nodes_tell_of_count) {
  harness h({.concurrency = 2}, after_another);
  h.request(ask("a", 2));
  h.use(0, 2);
  EXPECT_EQ(h.advance(3s), 0);
  h.finish(1);
  EXPECT_EQ(h.granted("a"), 1);
}

TEST(key_succession, a_raised_limit_opens_nothing_meanwhile) {
  harness h({.rpm = 60}, after_another);
  h.out.clear();
  h.key.reconfigure({.rpm = 600, .tpm = 6000}, 500ms, 10min, h.now, h.out);
  EXPECT_EQ(h.used(&key_use::rpm), 600);
  EXPECT_EQ(h.used(&key_use::tpm), 6000);
  h.now = start + 63s;
  EXPECT_EQ(h.used(&key_use::rpm), 0);
  h.key.reconfigure({.rpm = 6000}, 500ms, 10min, h.now, h.out);
  EXPECT_EQ(h.used(&key_use::rpm), 0) << "that is over";
}

TEST(key_succession, what_ended_long_ago_is_not_waited_for) {
  harness h({.rpm = 60}, {.first_lease = 1, .others_until = start - 61s});
  EXPECT_EQ(h.request(ask("a", 60)), 15);
}

TEST(key_succession, a_report_about_an_old_lease_frees_nothing) {
  harness h({.rpm = 60}, after_another);
  h.give_back(1, 60);
  EXPECT_EQ(h.used(&key_use::rpm), 60);
}

}  // namespace
}  // namespace millrace::engine
