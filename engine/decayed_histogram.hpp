#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/time.hpp"

namespace millrace::engine {

/// Quantiles of what was measured lately. Buckets are log-spaced, four to a doubling; weights decay forward:
/// new samples weigh more instead of old ones less (Cormode et al., "Forward Decay", ICDE 2009). O(1) in time
/// and memory; one thread at a time.
class decayed_histogram {
 public:
  /// A sample weighs half as much after each `half_life`.
  explicit decayed_histogram(duration half_life) : half_life_(half_life) {}

  /// `value` is taken as 1 below it, and as `largest` above that.
  void add(double value, time_point now);
  /// The upper edge of the bucket in which the quantile lies: at most a fifth more than it. 0 without
  /// samples.
  double quantile(double q) const;
  /// Ever seen.
  std::int64_t samples() const { return samples_; }

  static constexpr double largest = 1 << 20;

 private:
  static constexpr int buckets_per_doubling = 4;
  static constexpr std::size_t buckets = 20 * buckets_per_doubling + 1;

  duration half_life_;
  std::array<double, buckets> weights_{};
  double weight_ = 0;
  std::int64_t samples_ = 0;
  time_point landmark_{};  ///< age zero of the weights
};

}  // namespace millrace::engine
