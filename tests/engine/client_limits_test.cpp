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
    const client_charge c = limits.charge(1, 0, 10, start);
    EXPECT_TRUE(c.allowed);
    EXPECT_EQ(c.windows.requests.limit, 3);
    EXPECT_EQ(c.windows.requests.remaining, left);
    EXPECT_EQ(c.windows.tokens.limit, -1);
  }
  const client_charge refused = limits.charge(1, 0, 10, start + 20s);
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
      EXPECT_TRUE(limits.charge(1, 0, 40, now).allowed);
      EXPECT_TRUE(limits.charge(1, 0, 60, now).allowed) << "a minute later nothing is used any more";
      limits.settle(1, 60, 60, now, now);
      EXPECT_EQ(limits.charge(1, 0, 1, now).retry_after, 60s);
      EXPECT_EQ(limits.windows(1, now).tokens.reset, 60s);
      EXPECT_FALSE(limits.charge(1, 0, 1, now + 60s - 1ns).allowed);
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
      const client_charge c = limits.charge(1, 0, tokens, now);
      if (c.allowed) continue;
      ++refusals;
      ASSERT_GT(c.retry_after, 0s);
      client_limits early = limits;
      EXPECT_FALSE(early.charge(1, 0, tokens, now + c.retry_after - 1ns).allowed);
      now += c.retry_after;
      EXPECT_TRUE(limits.charge(1, 0, tokens, now).allowed);
    }
    EXPECT_GT(refusals, 100);
  }
}

TEST(client_limits, counts_nothing_that_it_refuses) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  EXPECT_TRUE(limits.charge(1, 0, 90, start).allowed);
  for (int i = 0; i < 50; ++i) EXPECT_FALSE(limits.charge(1, 0, 20, start).allowed);
  const client_windows w = limits.windows(1, start);
  EXPECT_EQ(w.requests.remaining, 9);
  EXPECT_EQ(w.tokens.remaining, 10);
}

TEST(client_limits, tells_apart_what_can_never_pass) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  const client_charge c = limits.charge(1, 0, 101, start);
  EXPECT_FALSE(c.allowed);
  EXPECT_TRUE(c.too_large);
  EXPECT_EQ(c.retry_after, 0s);
}

TEST(client_limits, puts_in_the_difference_once_the_real_usage_is_known) {
  client_limits limits;
  limits.reconfigure(clients(unlimited, 100));
  limits.charge(1, 0, 80, start);
  limits.settle(1, 80, 30, start, start + 5s);
  EXPECT_EQ(limits.windows(1, start + 5s).tokens.remaining, 70);
  limits.charge(1, 0, 10, start + 6s);
  limits.settle(1, 10, 60, start + 6s, start + 10s);
  EXPECT_EQ(limits.windows(1, start + 10s).tokens.remaining, 10);
  limits.settle(1, 1000, 1, start - 120s, start + 11s);
  EXPECT_EQ(limits.windows(1, start + 11s).tokens.remaining, 10);
}

TEST(client_limits, leaves_clients_without_limits_alone) {
  client_limits limits;
  limits.reconfigure(clients(1, 1));
  for (name_id client : {name_id{2}, name_id{77}}) {
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(limits.charge(client, 0, 1'000'000, start).allowed);
    EXPECT_EQ(limits.windows(client, start).requests.limit, -1);
  }
}

TEST(client_limits, keeps_windows_across_a_reload) {
  client_limits limits;
  limits.reconfigure(clients(10, 100));
  for (int i = 0; i < 6; ++i) limits.charge(1, 0, 10, start);
  limits.reconfigure(clients(8, 50));
  client_windows w = limits.windows(1, start);
  EXPECT_EQ(w.requests.remaining, 2);
  EXPECT_EQ(w.tokens.remaining, 0);
  EXPECT_FALSE(limits.charge(1, 0, 1, start).allowed);
  limits.reconfigure(clients(unlimited, unlimited));
  EXPECT_TRUE(limits.charge(1, 0, 1000, start).allowed);
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
      if (!limits.charge(1, 0, 0, now).allowed) continue;
      passed.push_back(now);
      while (passed.front() <= now - 60s) passed.pop_front();
      ASSERT_LE(passed.size(), 40U);
    }
  }
}

std::vector<client_config> clients_by_hour_and_route(std::int64_t rpm, std::int64_t rph,
                                                     std::int64_t route_rpm) {
  auto all = clients(rpm, unlimited);
  all[0].rph = rph;
  all[0].route_rpm = route_rpm;
  return all;
}

TEST(client_limits, an_hour_is_a_window_beside_the_minute) {
  client_limits limits;
  limits.reconfigure(clients_by_hour_and_route(unlimited, 100, unlimited));
  time_point now = start;
  for (int i = 0; i < 100; ++i, now += 10s) EXPECT_TRUE(limits.charge(1, 0, 0, now).allowed);
  const client_charge refused = limits.charge(1, 0, 0, now);
  EXPECT_FALSE(refused.allowed);
  EXPECT_EQ(refused.windows.requests.limit, 100);
  EXPECT_EQ(refused.windows.requests.remaining, 0);
  EXPECT_GT(refused.retry_after, 2500s);
  EXPECT_LE(refused.retry_after, 2630s) << "an hour after the first, and a slot of half a minute";
  EXPECT_TRUE(limits.charge(1, 0, 0, now + refused.retry_after).allowed);
}

TEST(client_limits, each_route_has_a_minute_of_its_own) {
  client_limits limits;
  limits.reconfigure(clients_by_hour_and_route(7, unlimited, 5));
  for (int i = 0; i < 5; ++i) EXPECT_TRUE(limits.charge(1, 3, 0, start).allowed);
  EXPECT_FALSE(limits.charge(1, 3, 0, start).allowed);
  const client_charge other = limits.charge(1, 4, 0, start);
  EXPECT_TRUE(other.allowed);
  EXPECT_EQ(other.windows.requests.limit, 7) << "all routes together have less left than this one";
  EXPECT_EQ(other.windows.requests.remaining, 1);
  EXPECT_TRUE(limits.charge(1, 5, 0, start).allowed);
  EXPECT_FALSE(limits.charge(1, 6, 0, start).allowed);
  EXPECT_TRUE(limits.charge(1, 3, 0, start + 60s).allowed);
  limits.reconfigure(clients_by_hour_and_route(unlimited, unlimited, 1));
  EXPECT_FALSE(limits.charge(1, 3, 0, start + 61s).allowed) << "a reload keeps what was used";
}

TEST(client_limits, none_of_several_limits_is_ever_exceeded) {
  std::mt19937_64 random(31);
  client_limits limits;
  limits.reconfigure(clients_by_hour_and_route(40, 400, 15));
  std::deque<std::pair<time_point, int>> passed;
  time_point now = start;
  for (int i = 0; i < 30'000; ++i) {
    now += std::chrono::milliseconds(random() % 1000);
    const int route = static_cast<int>(random() % 4);
    if (!limits.charge(1, static_cast<std::uint8_t>(route), 0, now).allowed) continue;
    passed.emplace_back(now, route);
    while (passed.front().first <= now - 3600s) passed.pop_front();
    ASSERT_LE(passed.size(), 400U);
    int minute = 0;
    int same = 0;
    for (auto p = passed.rbegin(); p != passed.rend() && p->first > now - 60s; ++p) {
      ++minute;
      same += p->second == route ? 1 : 0;
    }
    ASSERT_LE(minute, 40);
    ASSERT_LE(same, 15);
  }
}

}  // namespace
}  // namespace millrace::engine
