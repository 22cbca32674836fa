#include "engine/retry_policy.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::engine {

namespace {

// Layout of a slot's word: retries in the low bits, then requests, then the period.
constexpr int count_bits = 20;
constexpr int period_bits = 24;
constexpr std::uint64_t count_mask = (std::uint64_t{1} << count_bits) - 1;
constexpr std::uint64_t period_mask = (std::uint64_t{1} << period_bits) - 1;
static_assert(period_bits + 2 * count_bits == 64);

constexpr std::uint64_t one_retry = 1;
constexpr std::uint64_t one_request = std::uint64_t{1} << count_bits;

std::uint64_t retries_of(std::uint64_t word) {
  return word & count_mask;
}
std::uint64_t requests_of(std::uint64_t word) {
  return (word >> count_bits) & count_mask;
}

std::uint64_t index_of(time_point now) {
  return static_cast<std::uint64_t>(now.time_since_epoch() / retry_budget::slot_length);
}

/// The word, or an empty one of that period if the word is left over from an earlier round of the ring.
std::uint64_t in_period(std::uint64_t word, std::uint64_t index) {
  const std::uint64_t period = index & period_mask;
  return word >> (2 * count_bits) == period ? word : period << (2 * count_bits);
}

}  // namespace

duration backoff_delay(const retry_config& c, int retries, double random01, duration retry_after) {
  const double doubled = static_cast<double>(c.base.count()) * std::exp2(std::clamp(retries, 0, 62));
  const double most = std::min(static_cast<double>(c.cap.count()), doubled);
  const auto jitter = duration(static_cast<duration::rep>(std::clamp(random01, 0.0, 1.0) * most));
  return std::max(retry_after, duration::zero()) + jitter;
}

std::atomic<std::uint64_t>& retry_budget::slot(std::uint64_t index) {
  return ring_[index % slots];
}

void retry_budget::request(time_point now) {
  const std::uint64_t index = index_of(now);
  auto& word = slot(index);
  std::uint64_t old = word.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t current = in_period(old, index);
    if (requests_of(current) == count_mask) return;
    if (word.compare_exchange_weak(old, current + one_request, std::memory_order_relaxed)) return;
  }
}

bool retry_budget::has_room(const counts& seen, double ratio) {
  const auto share = static_cast<std::int64_t>(std::max(ratio, 0.0) * static_cast<double>(seen.requests));
  return seen.retries < std::max(min_retries, share);
}

bool retry_budget::try_retry(time_point now, double ratio) {
  const std::uint64_t index = index_of(now);
  auto& word = slot(index);
  std::uint64_t old = word.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t current = in_period(old, index);
    if (!has_room(in_window(now), ratio) || retries_of(current) == count_mask) return false;
    // Whoever counts a retry in this slot in between makes this fail, and the sum is taken anew.
    if (word.compare_exchange_weak(old, current + one_retry, std::memory_order_relaxed)) return true;
  }
}

void retry_budget::overdraw(time_point now) {
  const std::uint64_t index = index_of(now);
  auto& word = slot(index);
  std::uint64_t old = word.load(std::memory_order_relaxed);
  for (;;) {
    const std::uint64_t current = in_period(old, index);
    if (retries_of(current) == count_mask) return;
    if (word.compare_exchange_weak(old, current + one_retry, std::memory_order_relaxed)) return;
  }
}

retry_budget::counts retry_budget::in_window(time_point now) const {
  const std::uint64_t newest = index_of(now);
  const std::uint64_t oldest = newest - std::min<std::uint64_t>(newest, slots - 1);
  counts sum;
  for (std::uint64_t index = oldest; index <= newest; ++index) {
    const std::uint64_t word = in_period(ring_[index % slots].load(std::memory_order_relaxed), index);
    sum.requests += static_cast<std::int64_t>(requests_of(word));
    sum.retries += static_cast<std::int64_t>(retries_of(word));
  }
  return sum;
}

namespace {

bool may_help(attempt_outcome o) {
  return o == attempt_outcome::rate_limited || o == attempt_outcome::failed ||
         o == attempt_outcome::timed_out;
}

}  // namespace

std::optional<duration> retry_pause(const retry_question& q, const retry_config& c, double random01) {
  if (!may_help(q.outcome) || q.client_gone) return std::nullopt;
  if (q.attempts_made >= std::min(c.attempts, max_calls_per_request)) return std::nullopt;
  if (q.retry_after > q.patience) return std::nullopt;
  const duration delay = backoff_delay(c, q.attempts_made - 1, random01, q.retry_after);
  if (delay >= q.time_left) return std::nullopt;
  return delay;
}

std::optional<duration> decide_retry(const retry_question& q, const retry_config& c, double random01,
                                     retry_budget& budget, time_point now) {
  const auto pause = retry_pause(q, c, random01);
  // The budget is asked last: what is not made must not be counted.
  return pause && budget.try_retry(now, c.budget) ? pause : std::nullopt;
}

}  // namespace millrace::engine
