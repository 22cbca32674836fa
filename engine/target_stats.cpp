#include "engine/target_stats.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::engine {

namespace {}  // namespace

void target_stats::record(const call_measure& m, time_point now) {
  if (m.total > duration::zero()) {
    const time_point newest = ever_measured_ ? std::max(now, last_) : now;
    if (ever_measured_) {
      const double factor = std::exp2(-seconds_of(newest - last_) / seconds_of(half_life));
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
  first_tokens_.add(m.first_token, now);
  first_bytes_.add(m.first_byte, now);
}

void target_stats::learn_speed(const call_measure& m) {
  const double total = seconds_of(m.total);
  total_.add(total);
  if (m.first_token > duration::zero()) first_token_.add(seconds_of(m.first_token));
  if (m.output_tokens <= 0) return;
  // A call that was not streamed waited for its first token as long as others do.
  const double waited = m.first_token > duration::zero() ? seconds_of(m.first_token) : first_token_.value();
  generated_tokens_ += static_cast<double>(m.output_tokens);
  generating_seconds_ += std::max(total - waited, 0.0);
}

void target_stats::learn_output(std::int64_t tokens, time_point now) {
  output_.add(static_cast<double>(tokens), now);
  if (output_.samples() < learned_after) return;
  // A bucket ends at a power of 2^(1/4), and tokens are whole.
  p95_ = static_cast<std::int64_t>(output_.quantile(0.95) * (1 + 1e-12));
}

void silence_stats::add(duration d, time_point now) {
  if (d <= duration::zero()) return;
  seen_.add(static_cast<double>(d / unit), now);
  const std::int64_t beyond = seen_.samples() - learned_after;
  if (beyond < 0 || beyond % renewed_after != 0) return;
  p95_ = duration(static_cast<duration::rep>(seen_.quantile(0.95) * static_cast<double>(unit.count())));
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
