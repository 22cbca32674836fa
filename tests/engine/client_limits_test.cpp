#include "engine/client_limits.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace millrace::engine {
namespace {

const time_point start{1000s};

std::vector<client_config> clients(std::int64_t rpm, std::int64_t tpm) {
  client_config limited;
  limited.id = 1;
  limited.rpm = rpm;
  limited.tpm = tpm;
  client_config free;
  free.id = 2;
  return {limited, free};
}

TEST(client_limits, lets_a_client_use_its_whole_limit_at_once_and_then_refuses) {
  client_limits limits;
  limits.reconfigure(clients(3, unlimited));
  for (int left : {2, 1, 0}) {
    const client_charge c = limits.charge(1, 10, start);
    EXPECT_TRUE(c.allowed);
    EXPECT_EQ(c.windows.requests.limit, 3);
    EXPECT_EQ(c.windows.requests.remaining, left);
    EXPECT_EQ(c.windows.tokens.limit, -1);
  }
  const client_charge refused = limits.charge(1, 10, start + 20s);
  EXPECT_FALSE(refused.allowed);
  EXPECT_FALSE(refused.too_large);
  EXPECT_EQ(refused.retry_after, 40s);
  EXPECT_EQ(refused.windows.requests.reset, 40s);
}

TEST(client_limits, never_lets_anybody_wait_longer_than_a_minute) {
  for (const duration into_slot : {0ms, 1ms, 250ms, 499ms}) {
    client_limits limits;
    limits.reconfigure(clients(2, 100));
    time_point now = start + into_slot;
    for (int minute = 0; minute < 3; ++minute, now += 60s) {
      EXPECT_TRUE(limits.charge(1, 40, now).allowed);
      EXPECT_TRUE(limits.charge(1, 60, now).allowed) << "a minute later nothing is used any more";
      limits.settle(1, 60, 60, now, now);
      EXPECT_EQ(limits.charge(1, 1, now).retry_after, 60s);
      EXPECT_EQ(limits.windows(1, now).tokens.reset, 60s);
      EXPECT_FALSE(limits.charge(1, 1, now + 60s - 1ns).allowed);
    }
  }
}

TEST(client_limits, promises_a_time_at_which_the_same_request_passes) {
  for (const unsigned seed : {11U, 12U, 13U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    client_limits limits;
    limits.reconfigure(clients(50, 1000));
    time_point now = start;
    int refusals = 0;
    for (int i = 0; i < 3000; ++i) {
      now += std::chrono::milliseconds(random() % 1500);
      const auto tokens = static_cast<std::int64_t>(random() % 100);
      const client_charge c = limits.charge(1, tokens, now);
      if (c.allowed) continue;
      ++refusals;
      ASSERT_GT(c.retry_after, 0s);
      client_limits early = limits;
      EXPECT_FALSE(early.charge(1, tokens, now + c.retry_after - 1ns).allowed);
      now += c.retry_after;
      EXPECT_TRUE(limits.charge(1, tokens, now).allowed);
    }
    EXPECT_GT(refusals, 100);
  }
}

TEST(client_limits, counts_nothing_that_it_refuses) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  EXPECT_TRUE(limits.charge(1, 90, start).allowed);
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(limits.charge(1, 20, start).allowed);
  const client_windows w = limits.windows(1, start);
  EXPECT_EQ(w.requests.remaining, 9);
  EXPECT_EQ(w.tokens.remaining, 10);
}

TEST(client_limits, tells_apart_what_can_never_pass) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  const client_charge c = limits.charge(1, 101, start);
  EXPECT_FALSE(c.allowed);
  EXPECT_TRUE(c.too_large);
  EXPECT_EQ(c.retry_after, 0s);
}

TEST(client_limits, puts_in_the_difference_once_the_real_usage_is_known) {
  client_limits limits;
  limits.reconfigure(clients(unlimited, 100));
  limits.charge(1, 80, start);
  limits.settle(1, 80, 30, start, start + 5s);
  EXPECT_EQ(limits.windows(1, start + 5s).tokens.remaining, 70);
  limits.charge(1, 10, start + 6s);
  limits.settle(1, 10, 60, start + 6s, start + 10s);
  EXPECT_EQ(limits.windows(1, start + 10s).tokens.remaining, 10);
  limits.settle(1, 1000, 1, start - 120s, start + 11s);
  EXPECT_EQ(limits.windows(1, start + 11s).tokens.remaining, 10);
}

TEST(client_limits, leaves_clients_without_limits_alone) {
  client_limits limits;
  limits.reconfigure(clients(1, 1));
  for (name_id client : {name_id{2}, name_id{77}}) {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(limits.charge(client, 1'000'000, start).allowed);
    EXPECT_EQ(limits.windows(client, start).requests.limit, -1);
  }
}

TEST(client_limits, keeps_windows_across_a_reload) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  for (int i = 0; i < 6; ++i) limits.charge(1, 10, start);
  limits.reconfigure(clients(8, 50));
  client_windows w = limits.windows(1, start);
  EXPECT_EQ(w.requests.remaining, 2);
  EXPECT_EQ(w.tokens.remaining, 0);
  EXPECT_FALSE(limits.charge(1, 1, start).allowed);
  limits.reconfigure(clients(unlimited, unlimited));
  EXPECT_TRUE(limits.charge(1, 1000, start).allowed);
}

TEST(client_limits, never_lets_more_than_the_limit_into_any_minute) {
  for (const unsigned seed : {21U, 22U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    client_limits limits;
    limits.reconfigure(clients(40, unlimited));
    std::deque<time_point> passed;
    time_point now = start;
    for (int i = 0; i < 20000; ++i) {
      now += std::chrono::milliseconds(random() % 200);
      if (!limits.charge(1, 0, now).allowed) continue;
      passed.push_back(now);
      while (passed.front() <= now - 60s) passed.pop_front();
      ASSERT_LE(passed.size(), 40U);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
