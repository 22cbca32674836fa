#include "engine/retry_policy.hpp"

#include <queue>
#include <random>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "engine/breaker_machine.hpp"

namespace millrace::engine {
namespace {

const retry_config defaults;

// --- backoff
// ---------------------------------------------------------------------------------------------------

TEST(backoff, IsFullJitterUnderADoublingCeiling) {
  EXPECT_EQ(backoff_delay(defaults, 0, 0.0, 0s), 0s);
  EXPECT_EQ(backoff_delay(defaults, 0, 0.5, 0s), 125ms);
  EXPECT_EQ(backoff_delay(defaults, 1, 0.5, 0s), 250ms);
  EXPECT_EQ(backoff_delay(defaults, 3, 0.5, 0s), 1s);
}

TEST(backoff, NeverExceedsTheCap) {
  EXPECT_EQ(backoff_delay(defaults, 6, 0.5, 0s), 5s);
  EXPECT_EQ(backoff_delay(defaults, 1'000'000, 0.5, 0s), 5s);
  EXPECT_EQ(backoff_delay(defaults, -3, 0.5, 0s), 125ms);
}

TEST(backoff, RetryAfterIsAFloorWithJitterOnTop) {
  EXPECT_EQ(backoff_delay(defaults, 0, 0.0, 7s), 7s);
  EXPECT_EQ(backoff_delay(defaults, 0, 0.5, 7s), 7125ms);
  EXPECT_EQ(backoff_delay(defaults, 0, 0.5, 60s), 60125ms) << "the cap is no reason to come back too early";
}

// --- budget
// ----------------------------------------------------------------------------------------------------

int take_all(retry_budget& b, time_point now, double ratio = 0.1) {
  int taken = 0;
  while (b.try_retry(now, ratio)) ++taken;
  return taken;
}

TEST(retry_budget, AnIdleNodeMayRetryALittle) {
  retry_budget b;
  EXPECT_EQ(take_all(b, time_point(1000s)), retry_budget::min_retries);
}

TEST(retry_budget, TheMinimumIsNotAddedToTheShare) {
  retry_budget b;
  for (int i = 0; i < 1000; ++i) b.request(time_point(1000s));
  EXPECT_EQ(take_all(b, time_point(1000s)), 100);
}

TEST(retry_budget, RatioIsWhatIsConfiguredNow) {
  retry_budget b;
  for (int i = 0; i < 1000; ++i) b.request(time_point(1000s));
  EXPECT_EQ(take_all(b, time_point(1000s), 0.1), 100);
  EXPECT_EQ(take_all(b, time_point(1000s), 0.5), 400);
  EXPECT_EQ(take_all(b, time_point(1000s), -1), 0);
}

TEST(retry_budget, RequestsAndRetriesLeaveTheWindow) {
  retry_budget b;
  time_point now(1000s);
  for (int i = 0; i < 1000; ++i) b.request(now);
  take_all(b, now);
  now += retry_budget::window - retry_budget::slot_length;
  EXPECT_EQ(b.in_window(now).requests, 1000);
  EXPECT_EQ(b.in_window(now).retries, 100);
  EXPECT_FALSE(b.try_retry(now, 0.1));
  now += retry_budget::slot_length;
  EXPECT_EQ(b.in_window(now).requests, 0);
  EXPECT_EQ(take_all(b, now), retry_budget::min_retries);
}

TEST(retry_budget, AFullSlotStopsCountingInsteadOfSpilling) {
  retry_budget b;
  const time_point now(1000s);
  for (int i = 0; i < (1 << 20) + 10; ++i) b.request(now);
  EXPECT_EQ(b.in_window(now).requests, (1 << 20) - 1);
  EXPECT_EQ(b.in_window(now).retries, 0);
}

TEST(retry_budget, ThreadsTogetherStayWithinTheBound) {
  retry_budget b;
  const time_point now(1000s);
  std::vector<int> taken(4);
  std::vector<std::thread> threads;
  for (int& mine : taken) {
    threads.emplace_back([&b, &mine, now] {
      for (int i = 0; i < 5000; ++i) {
        b.request(now);
        if (b.try_retry(now, 0.1)) ++mine;
      }
    });
  }
  for (auto& t : threads) t.join();
  EXPECT_EQ(b.in_window(now).requests, 20000);
  EXPECT_EQ(b.in_window(now).retries, taken[0] + taken[1] + taken[2] + taken[3]);
  EXPECT_LE(b.in_window(now).retries, 2000);
  EXPECT_GE(b.in_window(now).retries + take_all(b, now), 2000);
}

// --- decision
// --------------------------------------------------------------------------------------------------

struct decide_retry_test : testing::Test {
  retry_budget budget;
  time_point now{1000s};
  retry_question q;

  decide_retry_test() {
    q.outcome = attempt_outcome::failed;
    q.attempts_made = 1;
    q.time_left = 60s;
  }
  std::optional<duration> decide() { return decide_retry(q, defaults, 0.5, budget, now); }
};

TEST_F(decide_retry_test, ATransientFailureIsRetriedAfterABackoff) {
  EXPECT_EQ(decide(), 125ms);
  q.attempts_made = 2;
  q.outcome = attempt_outcome::timed_out;
  EXPECT_EQ(decide(), 250ms);
  EXPECT_EQ(budget.in_window(now).retries, 2);
}

TEST_F(decide_retry_test, AttemptsAreBounded) {
  q.attempts_made = 3;
  EXPECT_EQ(decide(), std::nullopt);
  EXPECT_EQ(budget.in_window(now).retries, 0);
}

TEST_F(decide_retry_test, AttemptsAreBoundedWhateverTheConfiguration) {
  retry_config many = defaults;
  many.attempts = 1000;
  q.attempts_made = max_calls_per_request;
  EXPECT_EQ(decide_retry(q, many, 0.5, budget, now), std::nullopt);
  q.attempts_made = max_calls_per_request - 1;
  EXPECT_NE(decide_retry(q, many, 0.5, budget, now), std::nullopt);
}

TEST_F(decide_retry_test, TheNodesBudgetBounds) {
  take_all(budget, now);
  EXPECT_EQ(decide(), std::nullopt);
}

TEST_F(decide_retry_test, NothingFollowsAnAnswerAnEndOrARefusedKey) {
  for (const auto o : {attempt_outcome::ok, attempt_outcome::out_of_time, attempt_outcome::cancelled,
                       attempt_outcome::unauthorized, attempt_outcome::no_credit}) {
    q.outcome = o;
    EXPECT_EQ(decide(), std::nullopt);
  }
  EXPECT_EQ(budget.in_window(now).retries, 0);
}

TEST_F(decide_retry_test, NeverWithoutClientOrTime) {
  const retry_question good = q;
  q.client_gone = true;
  EXPECT_EQ(decide(), std::nullopt);
  q = good;
  q.time_left = 0s;
  EXPECT_EQ(decide(), std::nullopt);
}

TEST_F(decide_retry_test, NoRetryThatCouldNotFinish) {
  q.time_left = 125ms;
  EXPECT_EQ(decide(), std::nullopt);
  EXPECT_EQ(budget.in_window(now).retries, 0) << "what is not made costs nothing";
  q.time_left = 126ms;
  EXPECT_EQ(decide(), 125ms);
}

TEST_F(decide_retry_test, NobodyWaitsLongerThanHeHasPatienceFor) {
  q.patience = 30s;
  q.retry_after = 30s;
  EXPECT_GE(decide(), 30s);
  q.retry_after = 30s + 1ms;
  EXPECT_EQ(decide(), std::nullopt);
  EXPECT_EQ(budget.in_window(now).retries, 1) << "what is not made is not counted";
}

TEST_F(decide_retry_test, ARateLimitedKeyIsUsedAfterItsCooldown) {
  q.outcome = attempt_outcome::rate_limited;
  q.retry_after = 20s;
  EXPECT_EQ(decide(), 20125ms);
  q.time_left = 20s;
  EXPECT_EQ(decide(), std::nullopt);
}

// --- MEASURES R8
// -----------------------------------------------------------------------------------------------

struct totals {
  int requests = 0;
  int calls = 0;
};

/// Clients send `rate` requests/s for `length` to one target, dead from `dies` on. Returns what happened from
/// then on.
totals simulate(int rate, duration length, duration dies, bool with_breaker, unsigned seed) {
  struct event {
    time_point at;
    int attempt;
    bool operator>(const event& o) const { return at > o.at; }
  };
  std::mt19937 random(seed);
  std::uniform_real_distribution<double> random01(0, 1);
  std::priority_queue<event, std::vector<event>, std::greater<>> events;
  const time_point start(1000s);
  for (time_point t = start; t < start + length; t += duration(1s) / rate) events.push({t, 0});
  retry_budget budget;
  breaker_machine breaker("breaker/p/m", breaker_config{});
  totals sum;
  while (!events.empty()) {
    const auto [now, attempt] = events.top();
    events.pop();
    const bool dead = now >= start + dies;
    if (attempt == 0) {
      budget.request(now);
      sum.requests += dead ? 1 : 0;
    }
    if (with_breaker && breaker.state(now) != breaker_state::closed && !breaker.request_probe("n1", now))
      continue;
    const bool probe = breaker.state(now) == breaker_state::half_open;
    sum.calls += dead ? 1 : 0;
    if (!dead) continue;
    breaker.report({"n1", 0, 1, probe}, now, random01(random));
    retry_question q;
    q.outcome = attempt_outcome::failed;
    q.attempts_made = attempt + 1;
    q.time_left = 30s;
    const auto next = decide_retry(q, defaults, random01(random), budget, now);
    if (next) events.push({now + *next, attempt + 1});
  }
  return sum;
}

TEST(retry_amplification, ADeadUpstreamIsCalledAtMostATenthMoreOften) {
  for (const unsigned seed : {1U, 2U, 3U}) {
    SCOPED_TRACE(seed);
    const totals t = simulate(1000, 60s, 0s, false, seed);
    EXPECT_EQ(t.requests, 60000);
    EXPECT_LE(t.calls * 10, t.requests * 11);
    EXPECT_GE(t.calls * 100, t.requests * 109) << "the budget is there to be used";
  }
}

TEST(retry_amplification, HoldsWhenAHealthyUpstreamDies) {
  const totals t = simulate(1000, 120s, 60s, false, 7);
  EXPECT_EQ(t.requests, 60000);
  EXPECT_LE(t.calls * 10, t.requests * 11);
}

TEST(retry_amplification, HoldsAtModerateLoad) {
  for (const int rate : {10, 20, 100}) {
    const totals t = simulate(rate, 60s, 0s, false, 11);
    // The first requests after idleness have no traffic behind them yet: the minimum is theirs, once.
    EXPECT_LE(t.calls, t.requests * 1.1 + retry_budget::min_retries) << rate << " requests/s";
  }
}

TEST(retry_amplification, WithTheBreakerHardlyAnythingReachesADeadUpstream) {
  const totals t = simulate(1000, 60s, 0s, true, 5);
  EXPECT_LE(t.calls, 7) << "five failures and a probe";
}

TEST(RetryBudget, WhatIsOverdrawnIsMissingLater) {
  retry_budget budget;
  const time_point now{1h};
  for (int i = 0; i < 1000; ++i) budget.request(now);
  for (int i = 0; i < 99; ++i) EXPECT_TRUE(budget.try_retry(now, 0.1));
  for (int i = 0; i < 3; ++i) budget.overdraw(now);
  EXPECT_EQ(budget.in_window(now).retries, 102);
  EXPECT_FALSE(budget.try_retry(now, 0.1));
  for (int i = 0; i < 20; ++i) budget.request(now);
  EXPECT_FALSE(budget.try_retry(now, 0.1)) << "as many as overdrawn are still missing";
  for (int i = 0; i < 10; ++i) budget.request(now);
  EXPECT_TRUE(budget.try_retry(now, 0.1));
}

}  // namespace
}  // namespace millrace::engine
