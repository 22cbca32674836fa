#include "bench/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace millrace::bench {
namespace {

TEST(Histogram, AgreesWithSortingToOnePercent) {
  for (const std::uint32_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    std::lognormal_distribution<double> draw(10, 3);
    histogram h;
    std::vector<std::int64_t> all;
    for (int i = 0; i < 20'000; ++i) {
      all.push_back(static_cast<std::int64_t>(draw(random)));
      h.record(all.back());
    }
    std::sort(all.begin(), all.end());
    for (const double q : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
      const auto rank = std::max<double>(1, std::floor(q * static_cast<double>(all.size()) + 0.5));
      const auto exact = static_cast<double>(all[static_cast<size_t>(rank) - 1]);
      EXPECT_GE(static_cast<double>(h.quantile(q)), exact);
      EXPECT_LE(static_cast<double>(h.quantile(q)), exact * 1.008 + 1);
    }
    EXPECT_EQ(h.max(), all.back());
    EXPECT_EQ(h.quantile(1), all.back());
  }
}

TEST(Histogram, TakesTheExtremes) {
  histogram h;
  EXPECT_EQ(h.quantile(0.5), 0);
  h.record(-5);
  EXPECT_EQ(h.quantile(1), 0);
  h.record(INT64_MAX);
  EXPECT_EQ(h.quantile(1), INT64_MAX);
  EXPECT_EQ(h.count(), 2U);
}

}  // namespace
}  // namespace millrace::bench
