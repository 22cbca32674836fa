#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace millrace::engine {

/// Keeps a node's hedges to a part of its calls: a token bucket that each call fills by `ratio` of a token
/// and each hedge empties by one (J. Dean, L. A. Barroso, "The Tail at Scale", CACM 2013, hedge about 5 % of
/// calls). So over any time there are at most `ratio` x calls + `capacity` hedges. It starts empty.
/// Thread-safe, no locks.
class hedge_budget {
 public:
  /// So many hedges may be made in a row after a long calm.
  static constexpr std::int64_t capacity = 10;

  /// A call that may be hedged begins.
  void call(double ratio) {
    const auto part = static_cast<std::int64_t>(std::clamp(ratio, 0.0, 1.0) * one);
    std::int64_t old = left_.load(std::memory_order_relaxed);
    while (
        !left_.compare_exchange_weak(old, std::min(old + part, capacity * one), std::memory_order_relaxed)) {
    }
  }
  /// Takes a hedge out; false when there is none.
  bool take() {
    std::int64_t old = left_.load(std::memory_order_relaxed);
    while (old >= one) {
      if (left_.compare_exchange_weak(old, old - one, std::memory_order_relaxed)) return true;
    }
    return false;
  }
  /// Of a hedge that was not made after all.
  void give_back() { left_.fetch_add(one, std::memory_order_relaxed); }

 private:
  static constexpr std::int64_t one = 1'000'000;
  std::atomic<std::int64_t> left_{0};
};

}  // namespace millrace::engine
