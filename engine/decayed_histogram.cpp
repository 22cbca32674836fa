#include "engine/decayed_histogram.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::engine {

namespace {

/// After so many half-lives the weights are brought back to scale, long before doubles overflow.
constexpr double max_growth = 30;

}  // namespace

void decayed_histogram::add(double value, time_point now) {
  if (samples_ == 0) landmark_ = now;
  double age = seconds_of(now - landmark_) / seconds_of(half_life_);
  if (age > max_growth) {
    const double factor = std::exp2(-age);
    for (double& weight : weights_) weight *= factor;
    weight_ *= factor;
    landmark_ = now;
    age = 0;
  }
  const double position = std::ceil(buckets_per_doubling * std::log2(std::clamp(value, 1.0, largest)));
  const double weight = std::exp2(age);
  weights_[std::min(static_cast<std::size_t>(position), buckets - 1)] += weight;
  weight_ += weight;
  ++samples_;
}

double decayed_histogram::quantile(double q) const {
  if (samples_ == 0) return 0;
  double rest = q * weight_;
  std::size_t bucket = 0;
  for (; bucket + 1 < buckets; ++bucket) {
    rest -= weights_[bucket];
    if (rest <= 0) break;
  }
  return std::exp2(static_cast<double>(bucket) / buckets_per_doubling);
}

}  // namespace millrace::engine
