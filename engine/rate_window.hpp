#pragma once

#include <cstdint>
#include <vector>

#include "engine/time.hpp"

namespace millrace::engine {

/// How a sliding window is cut into slots.
struct window_shape {
  duration span{};    ///< length of the window that must never hold too much
  duration slot{};    ///< resolution; > 0
  duration margin{};  ///< added to `span`: how long a use may be on its way before the provider counts it
  duration ahead{};   ///< how far in the future amounts are counted, the life of a lease
};

/// Amounts counted over a sliding window, as a ring of slots: slot k covers [k, k+1) * `slot` and expires
/// `span + margin` after its end. So whatever was counted at or after its true time is still counted when a
/// window of `span` over the true times, each late by at most `margin`, could hold it. At most (span + margin
/// + ahead) / slot + 2 slots, rounded up to a power of two; every operation is O(1) amortised unless it says
/// otherwise. `now` must never go back. Not thread-safe.
class rate_window {
 public:
  explicit rate_window(const window_shape& shape);

  /// Counts `amount` (> 0, else nothing) at `at`. A slot that has expired takes nothing; a time later than
  /// `now + ahead` is counted in the last slot of the ring.
  void add(std::int64_t amount, time_point at, time_point now);
  /// Takes back up to `amount` counted at `at`; returns how much that was, 0 when its slot has expired.
  std::int64_t remove(std::int64_t amount, time_point at, time_point now);
  /// Everything counted and not expired, the future included.
  std::int64_t total(time_point now);

  /// When `total` is at most `bound` if nothing is added; time_point::max() for a negative bound. O(slots)
  /// when not now.
  time_point when_at_most(std::int64_t bound, time_point now);

  /// Calls f(expiry, amount) for each slot that holds something, oldest first.
  template <class F>
  void for_each(time_point now, F&& f) {
    expire(now);
    std::int64_t left = total_;
    for (std::int64_t k = oldest_; left > 0; ++k) {
      const std::int64_t amount = at_slot(k);
      if (amount == 0) continue;
      left -= amount;
      f(expiry_of_slot(k), amount);
    }
  }

  /// Another margin from now on; what is counted stays.
  void set_margin(duration margin, time_point now);
  const window_shape& shape() const { return shape_; }
  /// The longest an amount counted at its true time can stay.
  duration cycle() const { return shape_.span + shape_.margin + shape_.slot; }

 private:
  void expire(time_point now) {
    if (now >= oldest_expiry_) drop_expired(now);
  }
  void drop_expired(time_point now);
  std::int64_t slot_of(time_point t) const;
  time_point expiry_of_slot(std::int64_t k) const {
    return time_point(shape_.slot * (k + 1)) + shape_.span + shape_.margin;
  }
  std::int64_t& at_slot(std::int64_t k) { return ring_[static_cast<std::uint64_t>(k) & mask_]; }
  std::int64_t last_slot() const { return oldest_ + static_cast<std::int64_t>(mask_); }

  window_shape shape_;
  std::vector<std::int64_t> ring_;  ///< slot k is at k modulo its size
  std::uint64_t mask_ = 0;
  std::int64_t oldest_ = 0;  ///< first slot that has not expired
  time_point oldest_expiry_ = time_point::min();
  std::int64_t total_ = 0;
};

}  // namespace millrace::engine
