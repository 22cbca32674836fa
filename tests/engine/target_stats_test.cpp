#include "engine/target_stats.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

struct target_stats_test : testing::Test {
  target_stats stats;
  time_point now{1000s};

  void streamed(duration first, duration total, std::int64_t tokens) {
    stats.record({first, total, tokens}, now);
  }
};

TEST_F(target_stats_test, KnowsNothingAtFirst) {
  EXPECT_FALSE(stats.measured(now));
  EXPECT_EQ(stats.p95_output_tokens(), 512);
  EXPECT_EQ(stats.expected_seconds(1000), 0);
  EXPECT_EQ(stats.tokens_per_second(), 0);
}

TEST_F(target_stats_test, ExpectsFirstTokenPlusGeneration) {
  streamed(500ms, 2500ms, 100);
  EXPECT_DOUBLE_EQ(stats.first_token_seconds(), 0.5);
  EXPECT_DOUBLE_EQ(stats.tokens_per_second(), 50);
  EXPECT_DOUBLE_EQ(stats.expected_seconds(200), 4.5);
  EXPECT_DOUBLE_EQ(stats.expected_seconds(0), 0.5);
}

TEST_F(target_stats_test, LearnsHowLongCallsStaySilent) {
  for (int i = 1; i < 20; ++i) streamed(100ms, 1s, 10);
  EXPECT_EQ(stats.p95_first_token(), 0s) << "too few";
  streamed(100ms, 1s, 10);
  EXPECT_GE(stats.p95_first_token(), 100ms);
  EXPECT_LE(stats.p95_first_token(), 120ms) << "rounded up by at most a fifth";
  EXPECT_EQ(stats.p95_first_byte(), 0s) << "of plain answers nothing is known";
  for (int i = 0; i < 36; ++i) stats.record({0s, 2s, 10, 2s}, now);
  EXPECT_GE(stats.p95_first_byte(), 2s);
  EXPECT_LE(stats.p95_first_byte(), 2400ms);
  EXPECT_LE(stats.p95_first_token(), 120ms);
}

TEST_F(target_stats_test, TheSlowestTwentiethIsBeyondTheP95) {
  for (int i = 0; i < 20 * 16 + 4; ++i) streamed(i % 25 == 0 ? 5s : 100ms, 6s, 10);
  EXPECT_LE(stats.p95_first_token(), 120ms);
  for (int i = 0; i < 20 * 16; ++i) streamed(i % 10 == 0 ? 5s : 100ms, 6s, 10);
  EXPECT_GE(stats.p95_first_token(), 5s);
}

TEST_F(target_stats_test, SilenceOfLongAgoWeighsLess) {
  for (int i = 0; i < 320; ++i) streamed(5s, 6s, 10);
  now += 2h;
  for (int i = 0; i < 36; ++i) streamed(100ms, 1s, 10);
  EXPECT_LE(stats.p95_first_token(), 120ms);
}

TEST_F(target_stats_test, CallsThatAreNotStreamedCount) {
  streamed(0ms, 2s, 100);
  EXPECT_DOUBLE_EQ(stats.expected_seconds(200), 4);
  EXPECT_EQ(stats.first_token_seconds(), 0);
}

TEST_F(target_stats_test, CallsThatAreNotStreamedWaitForTheirFirstTokenToo) {
  streamed(1s, 2s, 100);
  streamed(0ms, 3s, 200);
  EXPECT_DOUBLE_EQ(stats.tokens_per_second(), 100);
}

TEST_F(target_stats_test, WithoutOutputTheWholeCallIsTheMeasure) {
  streamed(0ms, 100ms, 0);
  streamed(0ms, 300ms, 0);
  EXPECT_DOUBLE_EQ(stats.expected_seconds(512), 0.2);
  EXPECT_EQ(stats.p95_output_tokens(), 512);
}

TEST_F(target_stats_test, AFirstTokenThatIsAlsoTheLastDividesNothingByZero) {
  streamed(300ms, 300ms, 50);
  EXPECT_DOUBLE_EQ(stats.expected_seconds(1000), 0.3);
  EXPECT_EQ(stats.tokens_per_second(), 0);
}

TEST_F(target_stats_test, ASampleCountsHalfAfterTheHalfLife) {
  streamed(1s, 1s, 0);
  now += target_stats::half_life;
  streamed(4s, 4s, 0);
  // Weights 1/2 and 1.
  EXPECT_DOUBLE_EQ(stats.expected_seconds(100), (0.5 * 1 + 1 * 4) / 1.5)
      << "of whole calls, as no output was counted";
  EXPECT_DOUBLE_EQ(stats.first_token_seconds(), 3);
}

TEST_F(target_stats_test, FollowsAChangeOfSpeed) {
  for (int i = 0; i < 600; ++i, now += 1s) streamed(200ms, 1s, 80);
  for (int i = 0; i < 300; ++i, now += 1s) streamed(800ms, 4s, 80);
  EXPECT_NEAR(stats.first_token_seconds(), 0.8, 0.03);
  EXPECT_NEAR(stats.tokens_per_second(), 25, 1);
}

TEST_F(target_stats_test, ForgetsWhatIsOld) {
  streamed(1s, 2s, 10);
  EXPECT_TRUE(stats.measured(now + target_stats::forget_after));
  EXPECT_FALSE(stats.measured(now + target_stats::forget_after + 1ns));
}

TEST_F(target_stats_test, TimeDoesNotGoBack) {
  streamed(1s, 2s, 10);
  stats.record({1s, 2s, 10}, now - 1h);
  EXPECT_TRUE(stats.measured(now));
  EXPECT_DOUBLE_EQ(stats.expected_seconds(10), 2);
}

TEST_F(target_stats_test, CountsCallsInFlight) {
  stats.call_started();
  stats.call_started();
  stats.call_ended();
  EXPECT_EQ(stats.in_flight(), 1);
  stats.call_ended();
  stats.call_ended();
  EXPECT_EQ(stats.in_flight(), 0);
}

TEST_F(target_stats_test, LearnsOutputOnlyFromEnoughSamples) {
  for (int i = 1; i < target_stats::learned_after; ++i) streamed(0s, 1s, 10);
  EXPECT_EQ(stats.p95_output_tokens(), 512);
  streamed(0s, 1s, 10);
  EXPECT_GE(stats.p95_output_tokens(), 10);
  EXPECT_LE(stats.p95_output_tokens(), 12);
}

TEST_F(target_stats_test, PercentileIsNeverTooLowAndAtMostAFifthTooHigh) {
  const unsigned seed = 99;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  for (const double spread : {0.1, 0.5, 1.0, 1.5}) {
    target_stats s;
    std::lognormal_distribution<double> outputs(std::log(300.0), spread);
    std::vector<std::int64_t> seen;
    for (int i = 0; i < 1000; ++i) {
      const std::int64_t tokens = std::max<std::int64_t>(1, std::llround(outputs(random)));
      seen.push_back(tokens);
      s.record({0s, 1s, tokens}, now);
    }
    std::sort(seen.begin(), seen.end());
    const double exact = static_cast<double>(seen[949]);
    EXPECT_GE(static_cast<double>(s.p95_output_tokens()), exact);
    EXPECT_LE(static_cast<double>(s.p95_output_tokens()), exact * 1.19);
  }
}

TEST_F(target_stats_test, EveryPowerOfTwoIsItsOwnEdge) {
  for (std::int64_t tokens = 1; tokens <= (1 << 20); tokens *= 2) {
    target_stats s;
    for (int i = 0; i < 20; ++i) s.record({0s, 1s, tokens}, now);
    EXPECT_EQ(s.p95_output_tokens(), tokens);
  }
}

TEST_F(target_stats_test, AbsurdOutputIsBounded) {
  for (int i = 0; i < 20; ++i) streamed(0s, 1s, std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(stats.p95_output_tokens(), 1 << 20);
}

TEST_F(target_stats_test, PercentileFollowsAChangeOfHabit) {
  for (int i = 0; i < 3600; ++i, now += 1s) streamed(0s, 1s, 4000);
  for (int i = 0; i < 7200; ++i, now += 1s) streamed(0s, 1s, 100);
  EXPECT_LE(stats.p95_output_tokens(), 119);
}

TEST_F(target_stats_test, SurvivesYears) {
  for (int i = 0; i < 2000; ++i, now += 24h) streamed(100ms, 1s, 64);
  EXPECT_EQ(stats.p95_output_tokens(), 64);
  EXPECT_NEAR(stats.first_token_seconds(), 0.1, 1e-9);
  EXPECT_TRUE(std::isfinite(stats.expected_seconds(100)));
}

}  // namespace
}  // namespace millrace::engine
