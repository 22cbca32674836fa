#include "engine/key_machine.hpp"

#include <gtest/gtest.h>

#include <map>

#include "tests/engine/key_harness.hpp"

namespace millrace::engine {
namespace {

using namespace key_testing;

TEST(key_machine, an_idle_key_grants_a_quarter_of_its_limit_at_once) {
  for (const std::int64_t rpm : {4, 20, 60, 600, 10'000, 10'000'000}) {
    SCOPED_TRACE(rpm);
    harness h({.rpm = rpm});
    EXPECT_EQ(h.request(ask("a", rpm)), rpm / 4);
  }
}

TEST(key_machine, an_idle_minute_restores_the_burst) {
  harness h({.rpm = 60});
  EXPECT_EQ(h.request(ask("a", 60)), 15);
  h.use_last(15);
  h.withdraw();
  EXPECT_EQ(h.advance(61s), 0);
  EXPECT_EQ(h.request(ask("a", 60)), 15);
}

TEST(key_machine, demand_that_cannot_be_served_is_answered_with_an_honest_time) {
  harness h({.rpm = 60});
  h.request(ask("a", 15));
  h.use_last(15);
  EXPECT_EQ(h.request(ask("a", 1)), 0);
  ASSERT_EQ(h.out.size(), 1U);
  EXPECT_FALSE(h.out[0].grant);
  EXPECT_EQ(h.out[0].notice.key, "key/openai/k1");
  const duration wait = h.out[0].notice.next_permit;
  EXPECT_GT(wait, 500ms);
  EXPECT_LT(wait, 1500ms);
  duration waited{};
  while (h.granted("a") == 0 && waited < 10s) {
    const duration step = h.key.next_wakeup(h.now) - h.now;
    ASSERT_GT(step, 0s);
    waited += step;
    h.advance(step);
  }
  EXPECT_LT(waited, wait + 300ms);
  EXPECT_GT(waited, wait - 300ms);
}

TEST(key_machine, counts_a_lease_at_its_end_until_the_use_is_reported) {
  harness h({.rpm = 4});
  ASSERT_EQ(h.request(ask("a", 1)), 1);
  const lease_grant silent = h.last();
  EXPECT_EQ(silent.life, 2s);
  EXPECT_EQ(h.used(&key_use::rpm), 1);
  h.now = start + 62s;
  EXPECT_EQ(h.used(&key_use::rpm), 1);
  h.now = start + 62750ms;
  EXPECT_EQ(h.used(&key_use::rpm), 0);

  harness reported({.rpm = 4});
  reported.request(ask("a", 1));
  reported.now += 1s;
  reported.use_last(1, 1s);
  reported.now = start + 60749ms;
  EXPECT_EQ(reported.used(&key_use::rpm), 1);
  reported.now = start + 60750ms;
  EXPECT_EQ(reported.used(&key_use::rpm), 0);
}

TEST(key_machine, never_believes_in_a_use_before_the_grant_or_after_its_life) {
  harness h({.rpm = 100});
  h.request(ask("a", 1));
  h.now += 1s;
  h.use_last(1, 1h);
  h.now = start + 60749ms;
  EXPECT_EQ(h.used(&key_use::rpm), 1);
}

TEST(key_machine, counts_a_use_at_its_age_before_the_report) {
  harness h({.rpm = 100});
  h.request(ask("a", 1));
  h.now += 1500ms;
  h.use_last(1, 500ms);
  h.now = start + 61749ms;
  EXPECT_EQ(h.used(&key_use::rpm), 1);
  h.now = start + 61750ms;
  EXPECT_EQ(h.used(&key_use::rpm), 0);
}

TEST(key_machine, counts_what_a_node_used_beyond_its_lease) {
  harness h({.rpm = 100, .tpm = 1000});
  h.request(ask("a", 1, {.input = 10, .output = 10}));
  h.use(h.last().lease, 3, {.input = 25, .output = 5});
  EXPECT_EQ(h.used(&key_use::rpm), 3);
  EXPECT_EQ(h.used(&key_use::tpm), 30);
}

TEST(key_machine, a_burst_that_was_not_reported_yet_is_not_granted_twice) {
  harness h({.rpm = 60});
  EXPECT_EQ(h.request(ask("a", 60)), 15);
  std::int64_t more = 0;
  for (int i = 0; i < 20; ++i) more += h.advance(100ms);
  EXPECT_LE(more, 2);
}

TEST(key_machine, takes_back_from_one_lease_only) {
  harness h({.rpm = 100});
  h.request(ask("a", 5));
  const lease_grant first = h.last();
  h.request(ask("a", 5));
  h.give_back(first.lease, 99);
  EXPECT_EQ(h.used(&key_use::rpm), 5);
}

TEST(key_machine, takes_back_what_was_not_used) {
  harness h({.rpm = 100, .tpm = 10000});
  h.request(ask("a", 5, {.input = 100, .output = 50}));
  const lease_grant g = h.last();
  EXPECT_EQ(h.used(&key_use::tpm), 750);
  h.give_back(g.lease, 3, {.input = 300, .output = 150});
  EXPECT_EQ(h.used(&key_use::rpm), 2);
  EXPECT_EQ(h.used(&key_use::tpm), 300);
  h.give_back(g.lease, 99, {.input = 9999, .output = 9999});
  EXPECT_EQ(h.used(&key_use::rpm), 0);
  h.give_back(g.lease, 5, {.input = 500, .output = 250});
  h.give_back(777, 5);
  EXPECT_EQ(h.used(&key_use::rpm), 0);
}

TEST(key_machine, late_and_unknown_reports_are_counted_once) {
  harness h({.rpm = 100});
  h.request(ask("a", 4));
  const lease_grant g = h.last();
  h.advance(5s);
  h.use(g.lease, 2);
  EXPECT_EQ(h.used(&key_use::rpm), 4);
  h.advance(20s);
  h.use(g.lease, 2);
  h.use(4711, 3);
  EXPECT_EQ(h.used(&key_use::rpm), 4);
  h.now = start + 63s;
  EXPECT_EQ(h.used(&key_use::rpm), 0);
}

TEST(key_machine, concurrency_counts_leases_and_calls_until_they_finish) {
  harness h({.concurrency = 3});
  ASSERT_EQ(h.request(ask("a", 2)), 2);
  h.use_last(2);
  EXPECT_EQ(h.request(ask("a", 5)), 1);
  const lease_grant one = h.last();
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 1);
  EXPECT_EQ(h.advance(1s), 0);
  h.finish(1);
  EXPECT_EQ(h.granted("a"), 1);
  h.give_back(one.lease, 1);
  EXPECT_EQ(h.granted("a"), 1);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 1);
  h.finish(99);
  EXPECT_EQ(h.key.notice(h.now).in_flight, 0);
}

TEST(key_machine, a_silent_lease_blocks_concurrency_only_while_it_is_remembered) {
  harness h({.concurrency = 1});
  ASSERT_EQ(h.request(ask("a", 1)), 1);
  EXPECT_EQ(h.request(ask("b", 1)), 0);
  h.advance(key_machine::used_pause);
  EXPECT_EQ(h.key.next_wakeup(h.now), start + 12s);
  EXPECT_EQ(h.advance(start + 12s - h.now), 1);
}

TEST(key_machine, a_lost_node_frees_its_calls_but_not_its_windows) {
  harness h({.rpm = 100, .concurrency = 2});
  ASSERT_EQ(h.request(ask("a", 2)), 2);
  h.use_last(1);
  EXPECT_EQ(h.request(ask("b", 2)), 0);
  h.key.forget_node("a", h.now);
  EXPECT_LE(h.key.next_wakeup(h.now), h.now);
  EXPECT_EQ(h.advance(0s), 2);
  EXPECT_EQ(h.used(&key_use::rpm), 4);
}

TEST(key_machine, reserves_tokens_and_counts_debt) {
  harness h({.tpm = 10000});
  ASSERT_EQ(h.request(ask("a", 1, {.input = 1000, .output = 500})), 1);
  EXPECT_EQ(h.last().tokens, (token_count{.input = 1000, .output = 500}));
  h.use_last();
  h.finish(1, {.input = 0, .output = 700});
  EXPECT_EQ(h.used(&key_use::tpm), 2200);
}

TEST(key_machine, input_and_output_limits_are_apart) {
  harness h({.tpm_input = 4000, .tpm_output = 40000});
  EXPECT_EQ(h.request(ask("a", 2, {.input = 500, .output = 10})), 2);
  EXPECT_EQ(h.request(ask("a", 1, {.input = 900, .output = 10})), 0);
  h.now += 100ms;
  EXPECT_EQ(h.request(ask("a", 1, {.input = 1, .output = 9000})), 1);
  EXPECT_EQ(h.used(&key_use::tpm_input), 1001);
  EXPECT_EQ(h.used(&key_use::tpm_output), 9020);
}

TEST(key_machine, a_demand_above_a_quarter_of_the_limit_is_still_served) {
  harness h({.tpm = 10000});
  EXPECT_EQ(h.request(ask("a", 1, {.input = 4000, .output = 4000})), 1);
  h.use_last();
  EXPECT_EQ(h.request(ask("a", 1, {.input = 4000, .output = 4000})), 0);
  std::int64_t granted = 0;
  while (granted == 0 && h.now < start + 70s) granted += h.advance(h.key.next_wakeup(h.now) - h.now);
  EXPECT_EQ(granted, 1);
  EXPECT_GE(h.now, start + 60s);
  EXPECT_LE(h.now, start + 61500ms);
}

TEST(key_machine, an_idle_key_serves_a_demand_above_a_quarter_of_its_limit_at_once) {
  const token_count small{.input = 50, .output = 50};
  const token_count large{.input = 5000, .output = 4500};
  harness h({.tpm = 10000});
  ASSERT_EQ(h.request(ask("a", 1, small)), 1);
  h.use_last();
  h.advance(120s);
  EXPECT_EQ(h.request(ask("a", 1, large)), 1);
  h.use_last();
  EXPECT_EQ(h.used(&key_use::tpm), 9500);
  EXPECT_EQ(h.request(ask("a", 1, large)), 0);
  const duration told = h.out.back().notice.next_permit;
  const time_point asked = h.now;
  std::int64_t granted = 0;
  while (granted == 0 && h.now < asked + 70s) granted += h.advance(h.key.next_wakeup(h.now) - h.now);
  EXPECT_EQ(granted, 1);
  EXPECT_NEAR(seconds_of(h.now - asked), seconds_of(told), 1);
}

TEST(key_machine, a_large_demand_leaves_the_rest_of_the_limit_to_small_ones) {
  harness h({.tpm = 10000});
  ASSERT_EQ(h.request(ask("a", 1, {.input = 3000, .output = 3000})), 1);
  h.use_last();
  const token_count small{.input = 100, .output = 100};
  const time_point before = h.now;
  duration longest{};
  for (int i = 0; i < 20; ++i) {
    const time_point asked = h.now;
    std::int64_t granted = h.request(ask("a", 1, small));
    while (granted == 0 && h.now < before + 90s) granted += h.advance(h.key.next_wakeup(h.now) - h.now);
    ASSERT_EQ(granted, 1);
    h.use_last();
    longest = std::max(longest, h.now - asked);
  }
  EXPECT_LT(h.now, before + 61s) << "the large demand is still in the window";
  EXPECT_LT(longest, 5s);
}

TEST(key_machine, a_demand_larger_than_any_before_waits_until_that_was_kept) {
  const token_count large{.input = 3000, .output = 3000};
  harness h({.tpm = 10000});
  ASSERT_LE(h.key.export_use(h.now).tpm.soon, 3001);
  EXPECT_EQ(h.request(ask("a", 1, large)), 0);
  EXPECT_EQ(h.out.back().notice.next_permit, 2s);
  EXPECT_GE(h.key.export_use(h.now).tpm.soon, 6000);
  EXPECT_EQ(h.advance(1s), 0);
  h.used(&key_use::tpm);
  EXPECT_EQ(h.advance(1s), 1);
}

TEST(key_machine, a_demand_that_no_limit_ever_allows_does_not_wait) {
  harness h({.tpm = 1000});
  EXPECT_EQ(h.request(ask("a", 1, {.input = 800, .output = 300})), 0);
  EXPECT_EQ(h.out.size(), 1U);
  EXPECT_EQ(h.key.next_wakeup(h.now), time_point::max());
}

TEST(key_machine, a_withdrawn_demand_is_not_served) {
  harness h({.rpm = 4});
  h.request(ask("a", 3));
  h.withdraw();
  EXPECT_EQ(h.advance(60s), 0);
  h.advance(10s);
  EXPECT_EQ(h.key.next_wakeup(h.now), time_point::max());
}

TEST(key_machine, the_day_is_a_limit_of_its_own_and_not_paced) {
  harness h({.rpd = 100});
  EXPECT_EQ(h.request(ask("a", 80)), 80);
  h.use_last(80);
  EXPECT_EQ(h.request(ask("a", 80)), 20);
  h.use_last(20);
  h.advance(key_machine::used_pause);
  // Nobody looks again before there can be room.
  EXPECT_GE(h.key.next_wakeup(h.now), start + 24h);
  EXPECT_EQ(h.advance(23h), 0);
  EXPECT_EQ(h.advance(67min - key_machine::used_pause), 80 - 20);
}

TEST(key_machine, tells_all_nodes_that_the_day_is_spent_and_for_how_long) {
  harness h({.rpd = 3});
  ASSERT_EQ(h.request(ask("b", 1)), 1);
  h.give_back(h.last().lease, 1);
  ASSERT_EQ(h.request(ask("a", 2)), 2);
  h.use_last(2);
  ASSERT_EQ(h.request(ask("a", 1)), 1);
  EXPECT_EQ(h.key.notice(h.now).spent_for, 0s) << "it may come back";
  h.use_last(1);
  ASSERT_EQ(h.out.size(), 2U);
  for (const auto& o : h.out) {
    EXPECT_GE(o.notice.spent_for, 24h);
    EXPECT_LE(o.notice.spent_for, 24h + 7min);
  }
  h.advance(25h);
  EXPECT_EQ(h.key.notice(h.now).spent_for, 0s);
}

TEST(key_machine, every_spent_day_is_told) {
  harness h({.rpd = 1});
  h.request(ask("b", 1));
  h.give_back(h.last().lease, 1);
  for (int day = 0; day < 3; ++day) {
    ASSERT_EQ(h.request(ask("a", 1)), 1);
    h.use_last(1);
    ASSERT_EQ(h.out.size(), 2U) << day;
    for (const auto& o : h.out) EXPECT_GE(o.notice.spent_for, 24h);
    h.advance(25h);
  }
}

TEST(key_machine, a_demand_above_what_the_provider_says_its_limit_is_holds_nobody_up) {
  harness h({.tpm = 10000});
  ASSERT_EQ(h.request(ask("a", 1, {.input = 9000, .output = 0})), 1);
  h.use_last();
  EXPECT_EQ(h.request(ask("a", 1, {.input = 9000, .output = 0})), 0);
  limit_hint lower;
  lower.limit_tokens = 5000;
  h.hint(lower);
  h.advance(61s);
  EXPECT_EQ(h.request(ask("b", 1, {.input = 100, .output = 0})), 1);
}

TEST(key_machine, without_limits_it_grants_generously) {
  harness h({});
  EXPECT_EQ(h.request(ask("a", 500, {.input = 100000, .output = 100000})), 500);
  EXPECT_EQ(h.request(ask("a", 1'000'000)), 10000);
  h.withdraw();
  h.now += key_machine::min_wakeup;
  EXPECT_EQ(h.request(demand("b", 1'000'000, 1)), 10000);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 0);
}

TEST(key_machine, stock_is_a_second_s_worth_and_only_of_plenty) {
  harness h({.rpm = 6000});
  lease_request r = demand("a", 1000, 3);
  EXPECT_EQ(h.request(r), 103);
  r.node = "b";
  EXPECT_EQ(h.request(r), 53);
  harness busy({.rpm = 60});
  busy.request(ask("a", 10));
  EXPECT_EQ(busy.request(demand("b", 5, 0)), 0);
  EXPECT_EQ(busy.request(demand("b", 5, 2)), 2);
}

TEST(key_machine, stock_leaves_half_of_the_calls_to_those_who_wait) {
  harness h({.concurrency = 10});
  EXPECT_EQ(h.request(demand("a", 10, 1)), 5);
  EXPECT_EQ(h.request(demand("b", 10, 1)), 1);
}

TEST(key_machine, nodes_take_turns) {
  harness h({.rpm = 600});
  h.request(ask("a", 100000));
  std::map<std::string, std::int64_t> got;
  for (const char* node : {"b", "c"}) h.request(ask(node, 100000));
  for (int i = 0; i < 20000; ++i) {
    h.advance(5ms);
    for (const auto& o : h.out) {
      if (o.grant) got[o.node] += o.grant->permits;
    }
  }
  for (const char* node : {"b", "c"})
    EXPECT_NEAR(static_cast<double>(got[node]), static_cast<double>(got["a"]), 3);
  EXPECT_GT(got["a"], 200);
}

TEST(key_machine, a_large_head_is_not_overtaken_for_ever) {
  harness h({.tpm = 60000});
  h.request(ask("greedy", 100000, {.input = 100, .output = 0}));
  h.request(ask("large", 1, {.input = 14000, .output = 0}));
  std::int64_t large = 0;
  for (int i = 0; i < 200 * 30 && large == 0; ++i) {
    h.advance(5ms);
    large = h.granted("large");
  }
  EXPECT_EQ(large, 1);
}

TEST(key_machine, remembers_a_bounded_number_of_nodes) {
  harness h({.rpm = 1'000'000});
  for (size_t i = 0; i < key_machine::max_nodes + 50; ++i) {
    h.now += 1ms;
    const std::string node = "n" + std::to_string(i);
    ASSERT_EQ(h.request(ask(node, 1)), 1);
    h.give_back(h.last().lease, 1);
  }
  h.out.clear();
  h.key.reconfigure({.rpm = 1'000'000}, 500ms, 10min, h.now, h.out);
  EXPECT_EQ(h.out.size(), key_machine::max_nodes) << "each that is known is told";
  harness full({.rpm = 1'000'000});
  for (size_t i = 0; i < key_machine::max_nodes; ++i) full.request(ask("n" + std::to_string(i), 1));
  EXPECT_EQ(full.request(ask("one too many", 1)), 0);
  EXPECT_TRUE(full.out.empty());
}

}  // namespace
}  // namespace millrace::engine
