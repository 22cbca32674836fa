#include "engine/router.hpp"

#include <map>
#include <random>
#include <set>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/router_world.hpp"

namespace millrace::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct router_test : testing::Test, world {};

TEST_F(router_test, CostPutsTheCheapestFirst) {
  model(strategy::cost);
  target(3);
  target(1);
  target(2);
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
}

TEST_F(router_test, CostIsThePriceOfThisRequest) {
  model(strategy::cost);
  target(1).output_usd = 10;
  target(4).output_usd = 4;
  request.output_tokens = 100;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
  request.output_tokens = 10'000;
  EXPECT_THAT(plan(), ElementsAre(1, 0));
  request.input_tokens = 100'000;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
  request.input_tokens = 1000;
  request.output_tokens = -1;
  EXPECT_THAT(plan(), ElementsAre(1, 0)) << "512 tokens of output are assumed";
}

TEST_F(router_test, QualityPutsTheBestFirst) {
  model(strategy::quality);
  target(1, 0.2);
  target(2, 0.9);
  target(3, 0.7);
  EXPECT_THAT(plan(), ElementsAre(1, 0, 2)) << "then the cheapest";
}

TEST_F(router_test, SpeedPutsTheFastestFirst) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  measure(0, 3s);
  measure(1, 1s);
  measure(2, 2s);
  EXPECT_EQ(plan().front(), 1);
}

/// Eight targets: 0-4 cheap and dull, 5-6 good, 7 fast. Dearer and duller with the index.
struct router_plan_test : router_test {
  router_plan_test() {
    model();
    for (int i = 0; i < 8; ++i) target(1 + i, i == 5 ? 0.9 : i == 6 ? 0.8 : 0.5 - 0.01 * i);
    for (name_id i = 0; i < 8; ++i) measure(i, i == 7 ? duration(1s) : duration(2s) + i * 100ms);
  }
};

TEST_F(router_plan_test, CostPlanIsThreeCheapestTwoBestOneFastest) {
  request.strategy = strategy::cost;
  EXPECT_THAT(plan(), ElementsAre(0, 1, 2, 5, 6, 7, 3, 4));
}

TEST_F(router_plan_test, QualityPlanStartsWithTheBest) {
  request.strategy = strategy::quality;
  EXPECT_THAT(plan(), ElementsAre(5, 0, 1, 2, 6, 7, 3, 4));
}

TEST_F(router_plan_test, SpeedPlanStartsWithTheFastest) {
  request.strategy = strategy::speed;
  EXPECT_THAT(plan(), ElementsAre(7, 0, 1, 2, 5, 6, 3, 4));
}

TEST_F(router_plan_test, APlanMadeAfterFailuresGoesOnWhereItWas) {
  const std::vector<int> expected = {5, 0, 1, 2, 6, 7, 3, 4};
  request.strategy = strategy::quality;
  std::vector<name_id> tried;
  for (const int next : expected) {
    request.tried = tried;
    ASSERT_EQ(plan().front(), next);
    tried.push_back(static_cast<name_id>(next));
  }
}

TEST_F(router_plan_test, DeadTargetsAreNotAmongTheThreeCheapest) {
  views[0].breaker = breaker_state::open;
  views[1].breaker = breaker_state::half_open;
  EXPECT_THAT(plan(), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_THAT(names(out.open), ElementsAre(0, 1));
  EXPECT_EQ(out.first_choice, (candidate{0, 0})) << "what it would have been";
}

TEST_F(router_plan_test, AboveHeadroomStandsBehindAndIsNeverDropped) {
  views[0].used_fraction = 0.81;
  views[5].used_fraction = 0.99;
  views[1].used_fraction = 0.8;
  EXPECT_THAT(plan(), ElementsAre(1, 2, 3, 6, 7, 4, 0, 5));
}

TEST_F(router_test, HeadroomNeverPrefersAnotherModel) {
  model();
  target();
  model();
  target();
  c.models[0].fallback_models = {1};
  views[0].used_fraction = 1;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
}

TEST_F(router_test, UnmeasuredIsExploredByOneCallAtATime) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  measure(0, 2s);
  measure(1, 1s);
  EXPECT_EQ(plan().front(), 2);
  busy(2, 1);
  EXPECT_EQ(plan().front(), 1);
  stats[2].call_ended();
  measure(2, 5s);
  EXPECT_EQ(plan().front(), 1);
}

TEST_F(router_test, OldMeasuresAreExploredAgain) {
  model(strategy::speed);
  for (int i = 0; i < 2; ++i) target();
  measure(0, 5s);
  now += target_stats::forget_after + 1s;
  measure(1, 1s);
  request.now = now;
  EXPECT_EQ(plan().front(), 0);
}

TEST_F(router_test, NothingMeasuredSpreadsOverAll) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  std::map<int, int> calls;
  for (int i = 0; i < 30; ++i) {
    const int chosen = plan().front();
    ++calls[chosen];
    busy(static_cast<name_id>(chosen), 1);
  }
  EXPECT_EQ(calls[0], 10);
  EXPECT_EQ(calls[1], 10);
  EXPECT_EQ(calls[2], 10);
}

TEST_F(router_test, WeightedDrawsByWeight) {
  model(strategy::weighted);
  target(0, 0.5, 1);
  target(0, 0.5, 2);
  target(0, 0.5, 7);
  const unsigned seed = 12;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr int draws = 20000;
  std::map<int, double> first;
  std::map<int, double> second_after_last;
  for (int i = 0; i < draws; ++i) {
    request.random = random();
    const auto order = plan();
    ASSERT_EQ(order.size(), 3U);
    first[order[0]] += 1.0 / draws;
    if (order[0] == 2) second_after_last[order[1]] += 1;
  }
  EXPECT_NEAR(first[0], 0.1, 0.01);
  EXPECT_NEAR(first[1], 0.2, 0.01);
  EXPECT_NEAR(first[2], 0.7, 0.01);
  EXPECT_NEAR(second_after_last[1] / second_after_last[0], 2, 0.15);
}

TEST_F(router_test, WeightedIsFairForSequentialRandomNumbers) {
  model(strategy::weighted);
  target(0, 0.5, 1);
  target(0, 0.5, 1);
  double first = 0;
  for (int i = 0; i < 10000; ++i) {
    request.random = static_cast<std::uint64_t>(i);
    first += plan().front() == 0 ? 1e-4 : 0;
  }
  EXPECT_NEAR(first, 0.5, 0.02);
}

TEST_F(router_test, WeightZeroComesLast) {
  model(strategy::weighted);
  target(0, 0.5, 0);
  target(0, 0.5, 0.001);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    request.random = i;
    EXPECT_THAT(plan(), ElementsAre(1, 0));
  }
}

TEST_F(router_test, LeastBusyCountsCallsInFlightByWeight) {
  model(strategy::least_busy);
  target(0, 0.5, 1);
  target(0, 0.5, 4);
  target(0, 0.5, 2);
  busy(0, 2);
  busy(1, 4);
  busy(2, 3);
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
}

TEST_F(router_test, LeastBusyDrawsAmongEquals) {
  model(strategy::least_busy);
  target();
  target();
  std::set<int> seen;
  for (request.random = 0; request.random < 50; ++request.random) seen.insert(plan().front());
  EXPECT_EQ(seen.size(), 2U);
}

TEST_F(router_test, FallbacksFollowInOrderByTheirOwnStrategy) {
  model(strategy::cost);
  target(5);
  model(strategy::quality);
  target(1, 0.1);
  target(2, 0.9);
  model(strategy::cost);
  target(1);
  c.models[0].fallback_models = {2, 1};
  c.models[2].fallback_models = {0};
  request.strategy = strategy::speed;
  EXPECT_THAT(plan(), ElementsAre(0, 3, 2, 1));
}

TEST_F(router_test, FallbacksOfFallbacksAreNotFollowed) {
  for (int i = 0; i < 3; ++i) {
    model();
    target();
  }
  c.models[0].fallback_models = {1};
  c.models[1].fallback_models = {2};
  EXPECT_THAT(plan(), ElementsAre(0, 1));
}

TEST_F(router_test, ASharedTargetAppearsOnce) {
  model();
  target(1);
  target(2);
  model();
  target(1).name = 0;
  target(3);
  c.models[0].fallback_models = {1, 0, 1};
  EXPECT_THAT(plan(), ElementsAre(0, 1, 3));
}

TEST_F(router_test, PrivateRequestsSeePrivateProvidersOnly) {
  model();
  target(1);
  target(9).provider = 1;
  model();
  target(1);
  target(9).provider = 1;
  c.models[0].fallback_models = {1};
  request.private_only = true;
  views[3].breaker = breaker_state::open;
  views[2].breaker = breaker_state::open;
  EXPECT_THAT(plan(), ElementsAre(1));
  EXPECT_THAT(names(out.open), ElementsAre(3));
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
}

TEST_F(router_test, NothingPrivateIsNothingAtAll) {
  model();
  target();
  request.private_only = true;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_FALSE(out.first_choice);
}

TEST_F(router_test, TriedTargetsAreLeftOutOrComeLast) {
  model();
  target(1);
  target(2);
  model();
  target(1);
  c.models[0].fallback_models = {1};
  const std::vector<name_id> tried = {0};
  request.tried = tried;
  EXPECT_THAT(plan(), ElementsAre(1, 2));
  EXPECT_EQ(out.first_choice, (candidate{0, 0}));
  request.retry_tried = true;
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
}

TEST_F(router_test, OpenTriedTargetsAreReportedOnlyIfTheyMayBeRetried) {
  model();
  target();
  views[0].breaker = breaker_state::open;
  const std::vector<name_id> tried = {0};
  request.tried = tried;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_THAT(out.open, IsEmpty());
  request.retry_tried = true;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_EQ(out.open.size(), 1U);
}

TEST_F(router_test, AHeldProbeMakesAnOpenTargetACandidate) {
  model();
  target(1);
  target(2);
  views[0].breaker = breaker_state::half_open;
  views[0].probe = true;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
  EXPECT_THAT(out.open, IsEmpty());
}

TEST_F(router_test, UnusableTargetsAreCounted) {
  model();
  target(1);
  target(2);
  views[0].usable = false;
  views[0].breaker = breaker_state::open;
  EXPECT_THAT(plan(), ElementsAre(1));
  EXPECT_EQ(out.unusable, 1U);
  EXPECT_THAT(out.open, IsEmpty()) << "a probe without a key is no use";
}

TEST_F(router_test, PlansAreBoundedAndKeepTheBest) {
  model(strategy::cost);
  for (int i = 0; i < 100; ++i) target(100 - i);
  for (name_id i = 0; i < 50; ++i) views[i].breaker = breaker_state::open;
  const auto order = plan();
  EXPECT_EQ(order.size(), max_candidates);
  EXPECT_EQ(order.front(), 99);
  EXPECT_EQ(out.open.size(), max_candidates);
}

TEST_F(router_test, AWildcardModelIsOneTarget) {
  model();
  target().model.clear();
  EXPECT_THAT(plan(), ElementsAre(0));
}

TEST_F(router_test, APlanIsReplacedNotAppended) {
  model();
  target();
  views[0].usable = false;
  plan();
  views[0].usable = true;
  EXPECT_THAT(plan(), ElementsAre(0));
  EXPECT_EQ(out.unusable, 0U);
}

}  // namespace
}  // namespace millrace::engine
