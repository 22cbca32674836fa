#include "engine/rate_window.hpp"

#include <algorithm>
#include <bit>
#include <cassert>

namespace millrace::engine {

rate_window::rate_window(const window_shape& shape) : shape_(shape) {
  assert(shape.slot > duration::zero() && shape.span > duration::zero());
  assert(shape.margin >= duration::zero() && shape.ahead >= duration::zero());
  const auto slots = (shape.span + shape.margin + shape.ahead) / shape.slot + 2;
  ring_.resize(std::bit_ceil(static_cast<std::uint64_t>(slots)));
  mask_ = ring_.size() - 1;
}

void rate_window::add(std::int64_t amount, time_point at, time_point now) {
  expire(now);
  const std::int64_t k = std::min(slot_of(at), last_slot());
  if (amount <= 0 || k < oldest_) return;
  at_slot(k) += amount;
  total_ += amount;
}

std::int64_t rate_window::remove(std::int64_t amount, time_point at, time_point now) {
  expire(now);
  const std::int64_t k = std::min(slot_of(at), last_slot());
  if (amount <= 0 || k < oldest_) return 0;
  const std::int64_t taken = std::min(amount, at_slot(k));
  at_slot(k) -= taken;
  total_ -= taken;
  return taken;
}

std::int64_t rate_window::total(time_point now) {
  expire(now);
  return total_;
}

time_point rate_window::when_at_most(std::int64_t bound, time_point now) {
  expire(now);
  if (bound < 0) return time_point::max();
  std::int64_t left = total_;
  time_point when = now;
  for (std::int64_t k = oldest_; left > bound; ++k) {
    left -= at_slot(k);
    when = expiry_of_slot(k);
  }
  return when;
}

void rate_window::set_margin(duration margin, time_point now) {
  if (margin == shape_.margin) return;
  expire(now);
  window_shape shape = shape_;
  shape.margin = margin;
  rate_window other(shape);
  other.expire(now);
  std::int64_t left = total_;
  for (std::int64_t k = oldest_; left > 0; ++k) {
    const std::int64_t amount = at_slot(k);
    left -= amount;
    other.add(amount, time_point(shape_.slot * k), now);
  }
  *this = std::move(other);
}

void rate_window::drop_expired(time_point now) {
  // The first k with (k + 1) * slot + span + margin > now.
  const std::int64_t live = slot_of(now - shape_.span - shape_.margin);
  if (total_ == 0 || live - oldest_ > static_cast<std::int64_t>(mask_)) {
    if (total_ != 0) std::fill(ring_.begin(), ring_.end(), 0);
    total_ = 0;
  } else {
    for (std::int64_t k = oldest_; k < live; ++k) {
      total_ -= at_slot(k);
      at_slot(k) = 0;
    }
  }
  oldest_ = live;
  oldest_expiry_ = expiry_of_slot(live);
}

std::int64_t rate_window::slot_of(time_point t) const {
  const auto ticks = t.time_since_epoch().count();
  const auto width = shape_.slot.count();
  return ticks / width - (ticks % width < 0 ? 1 : 0);  // rounds down, also before the epoch
}

}  // namespace millrace::engine
