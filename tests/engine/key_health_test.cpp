#include "engine/key_health.hpp"

#include <gtest/gtest.h>

#include "tests/engine/key_harness.hpp"

// What providers say about a key, seen through the key_machine that owns it: 429, 401, credit, limit headers;
// and reloads.
namespace millrace::engine {
namespace {

using namespace key_testing;

TEST(key_health, a_429_cools_one_target_and_never_shortens_a_cooldown) {
  harness h({.rpm = 6000});
  h.request(ask("b", 1));
  h.happens(key_event_kind::rate_limited, 20s);
  ASSERT_EQ(h.out.size(), 2U);  // both nodes hear of it
  ASSERT_EQ(h.out[0].notice.cooldowns.size(), 1U);
  EXPECT_EQ(h.out[0].notice.cooldowns[0].target, target);
  EXPECT_EQ(h.out[0].notice.cooldowns[0].remaining, 20s);
  h.happens(key_event_kind::rate_limited, 3s);
  EXPECT_EQ(h.key.notice(h.now).cooldowns[0].remaining, 20s);
  EXPECT_EQ(h.request(ask("a", 1)), 0);
  EXPECT_EQ(h.out[0].notice.next_permit, 20s);
  h.advance(key_machine::used_pause);
  EXPECT_EQ(h.key.next_wakeup(h.now), h.now + 20s - key_machine::used_pause);
  lease_request other = ask("b", 1);
  other.target = "openai/other";
  EXPECT_EQ(h.request(other), 1);
  EXPECT_EQ(h.advance(20s), 1);
  EXPECT_TRUE(h.key.notice(h.now).cooldowns.empty());
}

TEST(key_health, cooldowns_without_a_hint_double_until_a_call_goes_well) {
  harness h({.rpm = 6000});
  for (const auto expected : {5s, 10s, 20s, 40s, 60s, 60s}) {
    for (int together = 0; together < 5; ++together) h.happens(key_event_kind::rate_limited);
    EXPECT_EQ(h.key.notice(h.now).cooldowns[0].remaining, expected);
    h.advance(expected);
  }
  h.happens(key_event_kind::ok);
  h.happens(key_event_kind::rate_limited);
  EXPECT_EQ(h.key.notice(h.now).cooldowns[0].remaining, 5s);
}

TEST(key_health, quarantine_ends_with_a_probe_that_goes_well) {
  harness h({.rpm = 6000});
  h.request(ask("a", 1));
  h.happens(key_event_kind::unauthorized);
  EXPECT_EQ(h.key.notice(h.now).quarantine, quarantine_reason::unauthorized);
  EXPECT_EQ(h.key.notice(h.now).probe_in, 10min);
  h.happens(key_event_kind::ok);  // of a call that was in flight
  EXPECT_EQ(h.key.notice(h.now).quarantine, quarantine_reason::unauthorized);
  EXPECT_EQ(h.request(ask("a", 50)), 0);
  EXPECT_EQ(h.request(ask("b", 50)), 0);
  EXPECT_EQ(h.advance(10min - 1s), 0);
  EXPECT_EQ(h.key.next_wakeup(h.now), h.now + 1s);
  EXPECT_EQ(h.advance(1s), 1);
  EXPECT_TRUE(h.last().probe);
  EXPECT_EQ(h.advance(1s), 0);
  h.use(2, 1);
  EXPECT_EQ(h.advance(10s), 0);
  h.happens(key_event_kind::ok);
  EXPECT_EQ(h.key.notice(h.now).quarantine, quarantine_reason::none);
  EXPECT_EQ(h.granted("b"), 50);
}

TEST(key_health, a_probe_that_fails_waits_again_and_one_that_is_lost_is_repeated) {
  harness h({.rpm = 6000});
  h.happens(key_event_kind::no_credit);
  EXPECT_EQ(h.key.notice(h.now).quarantine, quarantine_reason::no_credit);
  h.request(ask("a", 1));
  h.request(ask("b", 1));
  h.request(ask("c", 1));
  EXPECT_EQ(h.advance(10min), 1);
  EXPECT_EQ(h.advance(1999ms), 0);
  EXPECT_EQ(h.advance(1ms), 1);  // unused for its life
  h.use_last();
  h.happens(key_event_kind::unauthorized, 0s, "b");
  EXPECT_EQ(h.key.notice(h.now).quarantine, quarantine_reason::unauthorized);
  EXPECT_EQ(h.advance(9min + 59s), 0);
  EXPECT_EQ(h.advance(1s), 1);
  h.give_back(h.last().lease, 1);
  EXPECT_EQ(h.request(ask("a", 1)), 1);  // handed back: free at once
}

TEST(key_health, a_reload_lifts_quarantine_keeps_windows_and_tells_the_nodes) {
  harness h({.rpm = 60});
  h.request(ask("a", 15));
  h.use_last(15);
  h.happens(key_event_kind::unauthorized);
  h.out.clear();
  h.key.reconfigure({.rpm = 20}, 1s, 1min, h.now, h.out);
  ASSERT_EQ(h.out.size(), 1U);
  EXPECT_EQ(h.out[0].notice.quarantine, quarantine_reason::none);
  EXPECT_EQ(h.used(&key_use::rpm), 15);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 15.0 / 20);
  h.out.clear();
  h.key.reconfigure({.rpm = 10}, 1s, 1min, h.now, h.out);
  EXPECT_EQ(h.request(ask("a", 1)), 0);
  EXPECT_EQ(h.advance(61s), 0);
  std::int64_t granted = 0;
  for (int i = 0; i < 28; ++i) granted += h.advance(250ms);
  EXPECT_EQ(granted, 1);
}

TEST(key_health, limits_that_a_reload_brings_count_what_went_before) {
  harness h({});
  h.request(ask("a", 50));
  h.use_last(50);
  h.key.reconfigure({.rpm = 50}, 500ms, 1min, h.now, h.out);
  EXPECT_EQ(h.request(ask("a", 1)), 0);
  EXPECT_EQ(h.used(&key_use::rpm), 50);
}

TEST(key_health, what_others_use_of_the_key_is_counted) {
  harness h({.rpm = 60});
  h.request(ask("a", 1));
  h.use_last(1);
  h.hint({.limit_requests = 60, .remaining_requests = 20});
  EXPECT_EQ(h.used(&key_use::rpm), 40);
  h.hint({.limit_requests = 60, .remaining_requests = 20});
  EXPECT_EQ(h.used(&key_use::rpm), 40);
  h.now += 61s;
  EXPECT_EQ(h.used(&key_use::rpm), 0);
}

TEST(key_health, who_waits_hears_that_others_used_up_the_key) {
  harness h({.rpm = 60});
  h.request(ask("a", 15));
  h.use_last(15);
  h.now += 40s;
  h.request(ask("a", 15));
  h.use_last(15);
  EXPECT_EQ(h.request(ask("a", 1)), 0);
  EXPECT_LT(h.out.at(0).notice.next_permit, 2s);
  h.hint({.limit_requests = 60, .remaining_requests = 0});
  ASSERT_EQ(h.out.size(), 1U) << "its own first fifteen have to leave the window first";
  EXPECT_GT(h.out[0].notice.next_permit, 20s);
  EXPECT_LT(h.out[0].notice.next_permit, 22s);
  h.hint({.limit_requests = 60, .remaining_requests = 0});
  EXPECT_EQ(h.out.size(), 0U) << "no news";
}

TEST(key_health, late_news_of_our_own_use_is_not_taken_for_somebody_else_s) {
  harness h({.rpm = 60});
  for (int i = 0; i < 4; ++i) {
    h.request(ask("a", 60));
    if (h.granted("a") > 0) h.use_last(h.granted("a"));
    h.withdraw();
    h.advance(14s);
  }
  const std::int64_t most = h.used(&key_use::rpm);
  h.now = start + 75s;  // what was used first is free again
  const std::int64_t used = h.used(&key_use::rpm);
  ASSERT_LT(used, most);
  h.hint({.limit_requests = 60, .remaining_requests = 60 - most});
  EXPECT_EQ(h.used(&key_use::rpm), used);
}

TEST(key_health, remembers_its_peak_for_half_a_minute_against_late_news) {
  harness h({.rpm = 100});
  const auto use_at = [&](duration t, std::int64_t permits) {
    h.now = start + t;
    ASSERT_EQ(h.request(ask("a", permits)), permits);
    h.use_last(permits);
  };
  use_at(0s, 20);
  use_at(31s, 1);
  use_at(60s, 10);
  use_at(60900ms, 1);
  h.now = start + 61500ms;
  const std::int64_t used = h.used(&key_use::rpm);
  ASSERT_EQ(used, 12);
  h.hint({.limit_requests = 100, .remaining_requests = 69});
  EXPECT_EQ(h.used(&key_use::rpm), used);
  h.hint({.limit_requests = 100, .remaining_requests = 60});
  EXPECT_EQ(h.used(&key_use::rpm), used + 9);
}

TEST(key_health, a_provider_s_limit_lowers_ours_and_lifts_it_only_to_what_is_configured) {
  harness h({.rpm = 100, .rpd = 5000});
  h.hint({.limit_requests = 40});
  EXPECT_EQ(h.request(ask("a", 100)), 10);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 10.0 / 40);
  h.hint({.limit_requests = 500, .remaining_requests = 480});
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 10.0 / 100);
  h.hint({.limit_requests = 200, .remaining_requests = 150, .reset_requests = 6h});
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 50.0 / 200) << "of the day, which is tighter than the minute";
  EXPECT_EQ(h.used(&key_use::rpd), 50);
  h.hint({.limit_tokens = 9000, .remaining_tokens = 8000});
  EXPECT_EQ(h.used(&key_use::tpm), 1000);
}

TEST(key_health, input_and_output_are_heeded_apart) {
  harness h({.tpm_input = 10'000, .tpm_output = 10'000});
  h.hint({.limit_apart = {-1, 2000}, .remaining_apart = {9000, 500}});
  EXPECT_EQ(h.used(&key_use::tpm_input), 1000);
  EXPECT_EQ(h.used(&key_use::tpm_output), 1500);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 1500.0 / 2000);
  h.hint({.limit_tokens = 100, .remaining_tokens = 0});
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 1500.0 / 2000) << "the sum is no limit of such a key";
}

TEST(key_health, a_provider_that_counts_apart_is_believed_whatever_is_configured) {
  harness h({.tpm = 10'000});
  h.hint({.limit_apart = {4000, 1000}, .remaining_apart = {3500, 1000}});
  EXPECT_EQ(h.used(&key_use::tpm), 0);
  EXPECT_EQ(h.key.notice(h.now).used_fraction, 500.0 / 4000);
}

}  // namespace
}  // namespace millrace::engine
