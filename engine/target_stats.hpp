#pragma once

#include <array>
#include <cstdint>

#include "engine/time.hpp"

namespace millrace::engine {

using namespace std::chrono_literals;

/// One finished, successful call.
struct call_measure {
  duration first_token{};          ///< from writing the request; 0: not streamed, so not seen
  duration total{};                ///< from writing the request
  std::int64_t output_tokens = 0;  ///< 0 where unknown
};

/// What one node learned about one target: how fast it answers, how much it says, how busy it is.
///
/// Means are weighted by age, half as much per `half_life`: exponential decay for unevenly spaced samples (A.
/// Eckner, "Algorithms for Unevenly Spaced Time Series", 2012). The histogram of output tokens has log-spaced
/// buckets and decays forward: new samples weigh more instead of old ones less (Cormode et al., "Forward
/// Decay", ICDE 2009). Everything is O(1) in time and memory; one thread at a time.
class target_stats {
 public:
  static constexpr duration half_life = 60s;
  /// Amounts of output change slower than speed.
  static constexpr duration output_half_life = 10min;
  /// Measures older than this are not trusted any more: the target is worth one exploring call.
  static constexpr duration forget_after = 5min;
  /// Output assumed where nothing is learned.
  static constexpr std::int64_t default_output_tokens = 512;
  /// A 95th percentile of fewer samples says nothing.
  static constexpr std::int64_t learned_after = 20;

  void call_started() { ++in_flight_; }
  void call_ended() {
    if (in_flight_ > 0) --in_flight_;
  }
  std::int64_t in_flight() const { return in_flight_; }

  void record(const call_measure& m, time_point now);

  /// True when there is a measure that is not older than `forget_after`.
  bool measured(time_point now) const { return ever_measured_ && now - last_ <= forget_after; }

  /// Time a call with so many output tokens should take: time to first token + tokens / rate; the mean of
  /// whole calls where no output was counted. 0 when never measured.
  double expected_seconds(std::int64_t output_tokens) const;

  double first_token_seconds() const;  ///< 0 when never seen
  double tokens_per_second() const;    ///< of generation, after the first token; 0 when never seen

  /// What to reserve for the output of a request that names no maximum: the 95th percentile of what was said,
  /// rounded up by at most a fifth.
  std::int64_t p95_output_tokens() const { return p95_; }

 private:
  /// Sum and weight of a decayed mean.
  struct mean {
    double sum = 0;
    double weight = 0;
    void add(double value) {
      sum += value;
      weight += 1;
    }
    void decay(double factor) {
      sum *= factor;
      weight *= factor;
    }
    double value() const { return weight > 0 ? sum / weight : 0; }
  };

  /// Four buckets per doubling, up to 2^20 tokens; the last one takes everything above.
  static constexpr int buckets_per_doubling = 4;
  static constexpr size_t buckets = 20 * buckets_per_doubling + 1;

  void learn_speed(const call_measure& m);
  void learn_output(std::int64_t tokens, time_point now);
  std::int64_t quantile(double q) const;

  std::int64_t in_flight_ = 0;
  bool ever_measured_ = false;
  time_point last_{};  ///< of the newest sample, and what the means are decayed to
  mean first_token_;   ///< seconds
  mean total_;         ///< seconds
  double generated_tokens_ =
      0;  ///< decayed sums; their quotient is the rate, so long answers count by their length
  double generating_seconds_ = 0;

  std::array<double, buckets> output_{};
  double output_weight_ = 0;
  std::int64_t output_samples_ = 0;
  time_point landmark_{};  ///< age zero of the histogram's weights
  std::int64_t p95_ = default_output_tokens;
};

}  // namespace millrace::engine
