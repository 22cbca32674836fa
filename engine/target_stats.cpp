#include "engine/target_stats.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::engine {

namespace {

/// After so many half-lives the histogram's weights are brought back to scale, long before doubles overflow.
constexpr double max_growth = 30;

double seconds(duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace

void target_stats::record(const call_measure& m, time_point now) {
  if (m.total > duration::zero()) {
    const time_point newest = ever_measured_ ? std::max(now, last_) : now;
    if (ever_measured_) {
      const double factor = std::exp2(-seconds(newest - last_) / seconds(half_life));
      first_token_.decay(factor);
      total_.decay(factor);
      generated_tokens_ *= factor;
      generating_seconds_ *= factor;
    }
    last_ = newest;
    ever_measured_ = true;
    learn_speed(m);
  }
  if (m.output_tokens > 0) learn_output(m.output_tokens, now);
}

void target_stats::learn_speed(const call_measure& m) {
  const double total = seconds(m.total);
  total_.add(total);
  if (m.first_token > duration::zero()) first_token_.add(seconds(m.first_token));
  if (m.output_tokens <= 0) return;
  // A call that was not streamed waited for its first token as long as others do.
  const double waited = m.first_token > duration::zero() ? seconds(m.first_token) : first_token_.value();
  generated_tokens_ += static_cast<double>(m.output_tokens);
  generating_seconds_ += std::max(total - waited, 0.0);
}

void target_stats::learn_output(std::int64_t tokens, time_point now) {
  if (output_samples_ == 0) landmark_ = now;
  double age = seconds(now - landmark_) / seconds(output_half_life);
  if (age > max_growth) {
    const double factor = std::exp2(-age);
    for (double& weight : output_) weight *= factor;
    output_weight_ *= factor;
    landmark_ = now;
    age = 0;
  }
  const double position = std::ceil(buckets_per_doubling * std::log2(static_cast<double>(tokens)));
  const size_t bucket = std::min(static_cast<size_t>(position), buckets - 1);
  const double weight = std::exp2(age);
  output_[bucket] += weight;
  output_weight_ += weight;
  if (++output_samples_ >= learned_after) p95_ = quantile(0.95);
}

std::int64_t target_stats::quantile(double q) const {
  double rest = q * output_weight_;
  size_t bucket = 0;
  for (; bucket + 1 < buckets; ++bucket) {
    rest -= output_[bucket];
    if (rest <= 0) break;
  }
  // A bucket ends at a power of 2^(1/4), and tokens are whole.
  const double edge = std::exp2(static_cast<double>(bucket) / buckets_per_doubling);
  return static_cast<std::int64_t>(edge * (1 + 1e-12));
}

double target_stats::expected_seconds(std::int64_t output_tokens) const {
  if (generated_tokens_ <= 0) return total_.value();
  const double wanted = static_cast<double>(std::max<std::int64_t>(output_tokens, 0));
  return first_token_.value() + wanted * generating_seconds_ / generated_tokens_;
}

double target_stats::first_token_seconds() const {
  return first_token_.value();
}

double target_stats::tokens_per_second() const {
  return generating_seconds_ > 0 ? generated_tokens_ / generating_seconds_ : 0;
}

}  // namespace millrace::engine
