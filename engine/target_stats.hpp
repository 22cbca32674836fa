#pragma once

#include <cstdint>

#include "engine/decayed_histogram.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

using namespace std::chrono_literals;

/// One finished, successful call.
struct call_measure {
  duration first_token{};          ///< from writing the request; 0: not streamed, so not seen
  duration total{};                ///< from writing the request
  std::int64_t output_tokens = 0;  ///< 0 where unknown
  duration first_byte{};           ///< of the answer to a plain request, likewise; 0: streamed
};

/// How long calls stay silent. The quantile is taken anew with every `renewed_after`-th sample only.
class silence_stats {
 public:
  static constexpr duration unit = 100us;  ///< so 0.1 ms to 104 s are told apart
  static constexpr std::int64_t learned_after = 20;
  static constexpr std::int64_t renewed_after = 16;

  explicit silence_stats(duration half_life) : seen_(half_life) {}
  /// 0 is no sample.
  void add(duration d, time_point now);
  /// Rounded up by at most a fifth; 0: not learned.
  duration p95() const { return p95_; }

 private:
  decayed_histogram seen_;
  duration p95_{};
};

/// What one node learned about one target: how fast it answers, how much it says, how busy it is.
///
/// Means are weighted by age, half as much per `half_life`: exponential decay for unevenly spaced samples (A.
/// Eckner, "Algorithms for Unevenly Spaced Time Series", 2012), quantiles likewise (`decayed_histogram`).
/// Everything is O(1) in time and memory; one thread at a time.
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

  double mean_seconds() const { return total_.value(); }  ///< of whole calls; 0 when never measured
  double first_token_seconds() const;                     ///< 0 when never seen
  double tokens_per_second() const;  ///< of generation, after the first token; 0 when never seen

  /// What to reserve for the output of a request that names no maximum: the 95th percentile of what was said,
  /// rounded up by at most a fifth.
  std::int64_t p95_output_tokens() const { return p95_; }
  bool output_learned() const { return output_.samples() >= learned_after; }

  /// How long the slowest twentieth of calls takes at least until it shows something: streams until their
  /// first token, plain answers until their first byte. Rounded up by at most a fifth; 0: not learned.
  duration p95_first_token() const { return first_tokens_.p95(); }
  duration p95_first_byte() const { return first_bytes_.p95(); }

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

  void learn_speed(const call_measure& m);
  void learn_output(std::int64_t tokens, time_point now);

  std::int64_t in_flight_ = 0;
  bool ever_measured_ = false;
  time_point last_{};  ///< of the newest sample, and what the means are decayed to
  mean first_token_;   ///< seconds
  mean total_;         ///< seconds
  double generated_tokens_ =
      0;  ///< decayed sums; their quotient is the rate, so long answers count by their length
  double generating_seconds_ = 0;

  decayed_histogram output_{output_half_life};
  silence_stats first_tokens_{output_half_life};
  silence_stats first_bytes_{output_half_life};
  std::int64_t p95_ = default_output_tokens;
};

}  // namespace millrace::engine
