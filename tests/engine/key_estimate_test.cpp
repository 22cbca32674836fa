#include <gtest/gtest.h>

#include "tests/engine/key_harness.hpp"

namespace millrace::engine {
namespace {

using namespace key_testing;

/// What a node that asks for one is told, and how long it takes.
struct outcome {
  double told = 0;
  double real = 0;
};

outcome ask_and_wait(harness& h, token_count head = {}, duration longest = 200s) {
  outcome o;
  std::int64_t granted = h.request(ask("a", 1, head));
  if (granted > 0) return o;
  o.told = seconds_of(h.out.back().notice.next_permit);
  const time_point asked = h.now;
  while (granted == 0 && h.now < asked + longest)
    granted = h.advance(std::max<duration>(h.key.next_wakeup(h.now) - h.now, 1ms));
  o.real = seconds_of(h.now - asked);
  return o;
}

/// Within a tenth, and rather long than short.
void expect_honest(const outcome& o) {
  EXPECT_GE(o.told, o.real * 0.95 - 0.3) << "really " << o.real;
  EXPECT_LE(o.told, o.real * 1.1 + 0.3) << "really " << o.real;
}

/// `permits` in the next `d`, as fast as the key grants them.
void use_for(harness& h, std::int64_t permits, duration d, token_count head = {}) {
  const time_point end = h.now + d;
  while (permits > 0 && h.now < end) {
    const std::int64_t granted = h.request(ask("a", permits, head));
    if (granted > 0) h.use_last(granted);
    permits -= granted;
    h.withdraw();
    h.advance(100ms);
  }
  h.advance(end - h.now);
}

TEST(key_estimate, what_others_use_is_heeded_in_what_is_told) {
  for (const int remaining : {0, 1, 5, 20}) {
    for (const duration before : {1s, 20s, 45s}) {
      SCOPED_TRACE(testing::Message() << remaining << " left after " << seconds_of(before));
      harness h({.rpm = 100});
      use_for(h, 6, before);
      h.hint({.limit_requests = 100, .remaining_requests = remaining});
      for (int i = 0; i < 30; ++i) {
        const outcome o = ask_and_wait(h);
        expect_honest(o);
        h.use_last();
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

TEST(key_estimate, tokens_are_told_as_honestly) {
  harness h({.tpm = 10'000});
  use_for(h, 30, 30s, {50, 50});
  h.hint({.limit_tokens = 10'000, .remaining_tokens = 500});
  for (int i = 0; i < 10; ++i) {
    expect_honest(ask_and_wait(h, {300, 200}));
    h.use_last();
  }
}

TEST(key_estimate, a_reset_says_when_what_others_used_is_free_again) {
  harness h({.rpm = 100});
  use_for(h, 6, 2s);
  h.hint({.limit_requests = 100, .remaining_requests = 0, .reset_requests = 10s});
  EXPECT_EQ(h.used(&key_use::rpm), 100);
  const outcome o = ask_and_wait(h);
  expect_honest(o);
  EXPECT_GT(o.real, 9);
  EXPECT_LE(o.real, 10.6);
  h.use_last();
  EXPECT_EQ(h.used(&key_use::rpm), 7) << "our own stay for the whole window";
}

TEST(key_estimate, nothing_is_free_before_its_reset) {
  for (const duration since : {0ms, 30ms, 100ms, 190ms, 240ms}) {
    harness h({.rpm = 100});
    h.advance(since);
    h.hint({.limit_requests = 100, .remaining_requests = 0, .reset_requests = 10s});
    h.advance(10s - 1ms);
    EXPECT_EQ(h.used(&key_use::rpm), 100);
    h.advance(300ms);
    EXPECT_EQ(h.used(&key_use::rpm), 0);
  }
}

TEST(key_estimate, a_reset_longer_than_the_window_changes_nothing) {
  harness h({.rpm = 100});
  h.hint({.limit_requests = 100, .remaining_requests = 40, .reset_requests = 100s});
  h.advance(60s);
  EXPECT_EQ(h.used(&key_use::rpm), 60);
  h.advance(1s);
  EXPECT_EQ(h.used(&key_use::rpm), 0);
}

TEST(key_estimate, others_who_go_on_using_the_key_are_counted_again) {
  harness h({.tpm_input = 1000, .tpm_output = 1000});
  for (int i = 0; i < 5; ++i) {
    h.hint({.remaining_apart = {400, 300}, .reset_input = 2s, .reset_output = 3s});
    EXPECT_EQ(h.used(&key_use::tpm_input), 600);
    EXPECT_EQ(h.used(&key_use::tpm_output), 700);
    h.advance(2s + 250ms);  // windows forget in steps
    EXPECT_EQ(h.used(&key_use::tpm_input), 0);
    h.advance(1s);
    EXPECT_EQ(h.used(&key_use::tpm_output), 0);
  }
}

TEST(key_estimate, a_limit_that_a_reload_adds_or_lowers_is_told_as_what_it_comes_to) {
  for (const std::int64_t before : {unlimited, std::int64_t{6000}, std::int64_t{600}}) {
    for (const std::int64_t debt : {0, 5000}) {
      SCOPED_TRACE(testing::Message() << before << ", debt " << debt);
      harness h({.rpm = before, .tpm = before});
      use_for(h, 140, 2s, {1, 1});
      h.finish(0, {.input = debt, .output = 0});
      h.key.reconfigure({.rpm = 60, .tpm = 10'000}, 500ms, 10min, h.now, h.out);
      const outcome o = ask_and_wait(h, {1, 1});
      expect_honest(o);
      EXPECT_GT(o.real, 55);
      EXPECT_LT(o.real, 70);
    }
  }
}

TEST(key_estimate, a_debt_is_no_larger_under_a_lower_limit) {
  harness h({.tpm = 100'000});
  for (int i = 0; i < 8; ++i) h.finish(0, {.input = 20'000, .output = 0});
  h.key.reconfigure({.tpm = 1000}, 500ms, 10min, h.now, h.out);
  const outcome o = ask_and_wait(h, {1, 1});
  expect_honest(o);
  EXPECT_LT(o.real, 62);
}

TEST(key_estimate, those_who_wait_hear_how_far_apart_permits_come_after_a_burst) {
  for (const std::int64_t rpm : {30, 60, 600}) {
    SCOPED_TRACE(rpm);
    harness h({.rpm = rpm});
    ASSERT_EQ(h.request(ask("a", rpm)), rpm / 4);
    h.use_last(rpm / 4);
    const std::int64_t waiting = 8;
    ASSERT_EQ(h.request(ask("a", waiting)), 0);
    const key_notice told = h.out.back().notice;
    const double all = seconds_of(told.next_permit + told.apart * waiting);
    const time_point asked = h.now;
    std::int64_t granted = 0;
    while (granted < waiting) {
      std::int64_t more = h.advance(std::max<duration>(h.key.next_wakeup(h.now) - h.now, 1ms));
      for (; more > 0; more = h.granted("a")) {  // what is told may bring about the next grant
        granted += more;
        h.use_last(more);
      }
    }
    ask_and_wait(h);
    expect_honest({all, seconds_of(h.now - asked)});
  }
}

}  // namespace
}  // namespace millrace::engine
