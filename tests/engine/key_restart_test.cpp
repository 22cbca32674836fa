#include <deque>
#include <random>

#include <gtest/gtest.h>

#include "tests/engine/key_harness.hpp"

/// A key's home that goes on where an earlier one ended.
namespace millrace::engine {
namespace {

using namespace key_testing;

/// The home of the node's next start: everything begins anew, but for what is handed on.
struct restarted : harness {
  restarted(const key_limits& limits, key_use use) : harness(limits, {.use = std::move(use)}) {}
};

/// As after a stop in good order.
key_use all_of(harness& h) {
  key_use u = h.key.export_use(h.now);
  for (window_use* w : {&u.rpm, &u.tpm, &u.tpm_input, &u.tpm_output, &u.rpd}) w->soon = 0;
  return u;
}

TEST(key_restart, a_home_goes_on_with_the_windows_of_the_one_before) {
  const key_limits limits{.rpm = 40, .tpm = 4000, .rpd = 100};
  harness h(limits);
  ASSERT_EQ(h.request(ask("a", 10, {.input = 10, .output = 20})), 10);
  h.use_last(10);
  h.finish(0, {.input = 0, .output = 7});
  h.advance(20s);
  restarted next(limits, all_of(h));
  EXPECT_EQ(next.used(&key_use::rpm), 10);
  EXPECT_EQ(next.used(&key_use::tpm), 307);
  EXPECT_EQ(next.used(&key_use::rpd), 10);
  next.advance(40s);
  EXPECT_EQ(next.used(&key_use::rpm), 10) << "the margin is not over yet";
  next.advance(1s);
  EXPECT_EQ(next.used(&key_use::rpm), 0);
  EXPECT_EQ(next.used(&key_use::rpd), 10);
  next.advance(24h - 61s);
  EXPECT_EQ(next.used(&key_use::rpd), 10);
  next.advance(7min);
  EXPECT_EQ(next.used(&key_use::rpd), 0);
}

TEST(key_restart, input_and_output_are_handed_on_apart) {
  const key_limits limits{.tpm_input = 4000, .tpm_output = 400};
  harness h(limits);
  ASSERT_EQ(h.request(ask("a", 2, {.input = 100, .output = 20})), 2);
  restarted next(limits, all_of(h));
  EXPECT_EQ(next.used(&key_use::tpm_input), 200);
  EXPECT_EQ(next.used(&key_use::tpm_output), 40);
}

TEST(key_restart, permits_that_nodes_held_count_as_used_just_now) {
  harness h({.rpm = 40});
  ASSERT_EQ(h.request(ask("a", 5)), 5);
  const key_use use = all_of(h);
  ASSERT_EQ(use.rpm.uses.size(), 1U);
  EXPECT_LE(use.rpm.uses[0].age, 0s);
  restarted next({.rpm = 40}, use);
  next.advance(60s);
  EXPECT_EQ(next.used(&key_use::rpm), 5);
  next.advance(1s);
  EXPECT_EQ(next.used(&key_use::rpm), 0);
}

TEST(key_restart, cooldowns_go_on_and_a_quarantine_does_not) {
  harness h({});
  h.happens(key_event_kind::rate_limited, 10min);
  h.happens(key_event_kind::unauthorized);
  h.advance(4min);
  restarted next({}, all_of(h));
  EXPECT_EQ(next.request(ask("a", 1)), 0);
  const key_notice n = next.key.notice(next.now);
  EXPECT_EQ(n.cooldowns, (std::vector<cooldown>{{target, 6min}}));
  EXPECT_EQ(n.quarantine, quarantine_reason::none);
  EXPECT_EQ(next.advance(6min - 1ms), 0);
  EXPECT_EQ(next.advance(1ms), 1);
}

TEST(key_restart, no_cooldown_that_is_handed_on_lasts_longer_than_a_day) {
  key_use use;
  use.cooldowns = {{target, 24h * 30}, {"p/past", -1s}};
  restarted h({}, use);
  EXPECT_EQ(h.key.notice(h.now).cooldowns, (std::vector<cooldown>{{target, 24h}}));
}

TEST(key_restart, many_restarts_stay_within_the_limit_and_do_not_stand_still) {
  key_use use;
  std::int64_t sum = 0;
  for (int i = 0; i < 10; ++i) {
    restarted h({.rpm = 40, .rpd = 35}, use);
    sum += h.request(ask("a", 40));
    for (int step = 0; step < 6; ++step) sum += h.advance(500ms);
    use = all_of(h);
  }
  EXPECT_GE(sum, 20);
  EXPECT_LE(sum, 35);
}

TEST(key_restart, what_has_no_limit_hands_nothing_on) {
  harness h({});
  ASSERT_EQ(h.request(ask("a", 5)), 5);
  EXPECT_EQ(h.key.export_use(h.now).rpm, window_use{});
  EXPECT_EQ(h.key.export_use(h.now).rpd, window_use{});
}

TEST(key_restart, a_change_is_told_by_grants_and_reports_alone) {
  harness h({.rpm = 40});
  EXPECT_EQ(h.key.export_use(h.now).changes, 0U);
  h.request(ask("a", 1));
  const auto granted = h.key.export_use(h.now).changes;
  EXPECT_GT(granted, 0U);
  h.advance(10s);
  EXPECT_EQ(h.key.export_use(h.now).changes, granted);
  h.finish(1);
  EXPECT_GT(h.key.export_use(h.now).changes, granted);
}

TEST(key_restart, what_went_unheard_is_counted_as_far_as_the_limit) {
  key_use use;
  use.rpm = {{{10s, 35}}, 12};
  use.rpd = {{{10s, 5}}, 12};
  restarted h({.rpm = 40, .rpd = 100}, use);
  EXPECT_EQ(h.used(&key_use::rpm), 40);
  EXPECT_EQ(h.used(&key_use::rpd), 17);
  EXPECT_EQ(h.advance(50s), 0);
  EXPECT_EQ(h.used(&key_use::rpm), 40);
  h.advance(1s);
  EXPECT_EQ(h.used(&key_use::rpm), 5);
}

TEST(key_restart, a_day_without_a_minute_is_guessed) {
  harness h({.rpd = 1000});
  EXPECT_EQ(h.key.export_use(h.now).rpd.soon, 21);
  harness small({.rpd = 4});
  EXPECT_EQ(small.key.export_use(small.now).rpd.soon, 1);
}

/// Whenever a home ends without a word: what it granted since it was last asked is no more than it foretold.
TEST(key_restart, soon_bounds_what_is_granted_unheard) {
  for (unsigned seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
    };
    const std::int64_t rpm = 1 + below(300);
    harness h({.rpm = rpm, .tpm = 100 * rpm, .rpd = 20 * rpm});
    std::deque<std::pair<time_point, lease_grant>> unused;
    for (int round = 0; round < 60; ++round) {
      const key_use asked = h.key.export_use(h.now);
      std::int64_t permits = 0;
      std::int64_t tokens = 0;
      const auto note = [&] {
        for (const auto& o : h.out) {
          if (!o.grant) continue;
          permits += o.grant->permits;
          tokens += o.grant->tokens.total();
          unused.emplace_back(h.now, *o.grant);
        }
      };
      duration left = key_use::unheard;
      while (left > 0s) {
        const duration step = std::min<duration>(left, std::chrono::milliseconds(below(700)));
        left -= step + 1ms;
        h.advance(step);
        note();
        h.request(
            ask("a", 1 + below(rpm), {.input = 1 + below(below(8) == 0 ? 100 * rpm : 90), .output = 0}));
        note();
        while (!unused.empty() && h.now - unused.front().first >= key_machine::lease_life) unused.pop_front();
        if (unused.empty() || below(2) != 0) continue;
        const lease_grant g = unused.front().second;
        unused.pop_front();
        if (below(2) == 0) {
          h.use(g.lease, 1, g.tokens, 10ms);
        } else {
          // What comes back was counted, here or by whom it was told.
          h.give_back(g.lease, g.permits, g.tokens);
          permits -= g.permits;
          tokens -= g.tokens.total();
        }
        note();
      }
      EXPECT_LE(permits, asked.rpm.soon);
      EXPECT_LE(permits, asked.rpd.soon);
      EXPECT_LE(tokens, asked.tpm.soon);
      if (below(4) == 0) h.advance(std::chrono::seconds(below(below(4) == 0 ? 400 : 90)));
    }
  }
}

}  // namespace
}  // namespace millrace::engine
