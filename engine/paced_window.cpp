#include "engine/paced_window.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::engine {

namespace {

/// The part of the mean rate that a burst always leaves for later.
constexpr double kept_part = 0.75;
/// Our own use is remembered for at least this long, against answers that tell what was left when their
/// request came in.
constexpr duration peak_period = 30s;
/// `burst` is computed this many times a slot: a waiting request sees an expiry soon after it
/// happens.
constexpr int computed_per_slot = 8;
/// Of a limit that is not paced: what may have gone since somebody last looked.
constexpr std::int64_t unpaced_part = 50;
/// Needs that cannot be spread are expected again for this long, and to be up to a quarter larger.
constexpr duration large_memory = 5min;
/// A need larger than what is expected waits for as long as two exports take.
constexpr duration told_within = 2s;
/// What accrues over many small steps may miss a whole number by a rounding error.
constexpr double rounding = 1e-6;
/// Guesses never exceed this; it keeps the arithmetic of times far from overflow.
constexpr double longest_guess_seconds = 1e6;

duration after(double s) {
  const double bounded = std::clamp(s, 0.0, longest_guess_seconds);
  return std::chrono::ceil<duration>(std::chrono::duration<double>(bounded));
}

}  // namespace

paced_window::paced_window(std::int64_t limit, const window_shape& shape, pacing mode, time_point now)
    : window_(shape),
      mode_(mode),
      slot_(shape.slot),
      configured_(limit),
      limit_(limit),
      level_(static_cast<double>(limit)),
      rested_(static_cast<double>(limit)),
      accrued_at_(now),
      computed_at_(now),
      peak_since_(now) {}

std::int64_t paced_window::room(std::int64_t need, time_point now) {
  if (limit_ == unlimited) return unlimited;
  const std::int64_t available = limit_ - window_.total(now);
  if (mode_ == pacing::none) return available;
  refresh(need, now);
  const auto wanted = static_cast<double>(need);
  const bool whole = wanted > full() && rested_ + rounding >= full() && need <= foretold_;
  const double paced = std::min(whole ? wanted : level_, burst_);
  return std::min(available, static_cast<std::int64_t>(std::floor(paced + rounding)));
}

std::int64_t paced_window::spare(time_point now) {
  const std::int64_t all = room(1, now);
  if (all == unlimited) return unlimited;
  return all - (mode_ == pacing::none ? limit_ / 2 : static_cast<std::int64_t>(full() / 2));
}

time_point paced_window::full_until(std::int64_t amount, time_point now) {
  if (limit_ == unlimited || amount <= 0) return now;
  if (limit_ <= 0) return time_point::max();
  return window_.when_at_most(limit_ - std::min(amount, limit_), now);
}

time_point paced_window::when(std::int64_t ahead, std::int64_t need, time_point now) {
  if (need > limit_) return time_point::max();
  const time_point fits = full_until(ahead + need, now);
  if (mode_ == pacing::none || limit_ <= 0 || limit_ == unlimited || ahead + need <= 0) return fits;
  if (static_cast<double>(need) > full()) {
    refresh(1, now);
    double wait = (static_cast<double>(ahead) + full() - rested_) / mean_rate();
    if (need > foretold_) wait = std::max(wait, seconds_of(told_within));
    return std::max(fits, now + after(wait));
  }
  refresh(std::max<std::int64_t>(need, 1), now);
  return std::max(fits, when_paced(static_cast<double>(ahead + need), now));
}

/// When the pace has let through `wanted` in all, each part of it taken as soon as it may be. Between two
/// expiries both bounds of the pace are straight lines: `burst` grows at the part of the mean rate that is
/// kept, the bucket at the mean rate and never above it.
time_point paced_window::when_paced(double wanted, time_point now) {
  wanted -= rounding;
  if (std::min(level_, burst_) >= wanted) return now;
  const double cycle = seconds_of(window_.cycle());
  const double kept = kept_rate(now);
  double due = static_cast<double>(limit_ - window_.total(now)) + static_cast<double>(unit_);
  steps_.clear();
  window_.for_each(now, [&](time_point expiry, std::int64_t amount) {
    const double until = seconds_of(expiry - now);
    // What is leased counts at the end of its life, until its use is told.
    steps_.push_back({until, due - kept * std::min(until, cycle)});
    due += static_cast<double>(amount);
  });
  steps_.push_back({std::numeric_limits<double>::infinity(), due});
  for (size_t i = steps_.size() - 1; i-- > 0;)
    steps_[i].bound = std::min(steps_[i].bound, steps_[i + 1].bound);
  double from = 0;
  double through = level_;
  for (const expiry_step& s : steps_) {
    double at = std::max(from, from + (wanted - through) / mean_rate());
    if (wanted > s.bound) at = std::max(at, kept > 0 ? (wanted - s.bound) / kept : s.until);
    if (at < s.until) return now + after(at);
    through = std::min(through + mean_rate() * (s.until - from), std::max(0.0, s.bound + kept * s.until));
    from = s.until;
  }
  return now + after(longest_guess_seconds);
}

void paced_window::take(std::int64_t amount, time_point at, time_point now) {
  const auto taken = static_cast<double>(amount);
  count(amount, at, now);
  burst_ -= taken;
  if (mode_ == pacing::none || limit_ == unlimited || taken <= level_ + 2 * rounding) {
    level_ -= taken;
    rested_ -= taken;
    return;
  }
  note_large(amount, at, now);
  level_ = rested_ = 0;
}

/// What is above a quarter is in nobody's pace: the others are paced by what is left of the limit.
void paced_window::note_large(std::int64_t amount, time_point at, time_point now) {
  if (mode_ == pacing::none || limit_ == unlimited || static_cast<double>(amount) <= full()) return;
  if (!large_) large_.emplace(window_.shape());
  large_->add(amount, at, now);
  stale_ = true;
}

void paced_window::move(std::int64_t amount, time_point from, time_point to, time_point now) {
  const time_point earlier = std::min(from, to);
  window_.add(window_.remove(amount, from, now), earlier, now);
  if (large_) large_->add(large_->remove(amount, from, now), earlier, now);
}

void paced_window::give_back(std::int64_t amount, time_point at, time_point now) {
  const auto returned = static_cast<double>(window_.remove(amount, at, now));
  level_ += returned;
  rested_ += returned;
  burst_ += returned;
  if (large_ && large_->remove(amount, at, now) > 0) stale_ = true;
}

void paced_window::assume_spent(time_point at, time_point now) {
  if (limit_ == unlimited) return;
  window_.add(limit_ - window_.total(now), at, now);
  stale_ = true;
}

window_use paced_window::export_use(duration unheard, time_point now) {
  window_use result;
  if (limit_ == unlimited) return result;
  // As late as the slot allows.
  const duration latest = window_.cycle() - slot_ + duration(1);
  window_.for_each(now, [&](time_point expiry, std::int64_t amount) {
    result.uses.push_back({now - expiry + latest, amount});
  });
  if (mode_ == pacing::none) {
    result.soon = limit_ / unpaced_part + 1;
  } else {
    // The bucket bounds what goes in any time, whatever expires or is given back meanwhile.
    refresh(1, now);
    const double accrues = mean_rate() * seconds_of(unheard);
    double soon = std::max(level_, 0.0) + accrues;
    // A full bucket lets one need go whole that is larger than it, and the next has to wait until it is
    // again.
    if (now - largest_at_ > large_memory) largest_ = 0;
    // One that goes whole may do so as soon as what is leased comes back.
    if (largest_ > 0) soon = std::max(soon, static_cast<double>(largest_) + accrues);
    result.soon = static_cast<std::int64_t>(soon) + 1;
    foretold_ = std::min(told_, largest_);
    told_ = largest_;
  }
  result.soon = std::clamp<std::int64_t>(result.soon, 0, std::max<std::int64_t>(limit_, 0));
  return result;
}

void paced_window::import_use(const window_use& use, time_point now) {
  for (const aged_use& u : use.uses) {
    const time_point at = now - std::max(u.age, duration::zero());
    window_.add(u.amount, at, now);
    note_large(u.amount, at, now);
  }
  if (limit_ != unlimited) {
    const std::int64_t soon = std::min(use.soon, limit_ - window_.total(now));
    window_.add(soon, now, now);
    note_large(soon, now, now);
  }
  last_used_ = own(now);
  peak_ = std::max(peak_, last_used_);
  stale_ = true;
}

void paced_window::charge(std::int64_t amount, time_point now) {
  if (amount <= 0) return;
  count(amount, now, now);
  note_large(amount, now, now);
  // A large debt delays the others by a quarter of the window at most; the window itself forgets nothing.
  level_ = std::max(level_ - static_cast<double>(amount), -full());
  rested_ -= static_cast<double>(amount);
  burst_ -= static_cast<double>(amount);
}

void paced_window::observe_remaining(std::int64_t remaining, duration reset, time_point now) {
  if (remaining < 0 || limit_ == unlimited) return;
  note_peak(now);
  const std::int64_t explained = std::max(peak_, previous_peak_) + (foreign_ ? foreign_->total(now) : 0);
  const std::int64_t foreign = std::min(limit_ - remaining - explained, limit_ - window_.total(now));
  if (foreign <= 0) return;
  if (!foreign_) foreign_.emplace(window_.shape());
  // Not before the reset, so a slot later than it at most.
  const duration shortest = window_.cycle() - slot_;
  const bool soon = reset > duration::zero() && reset < shortest;
  const time_point at = soon ? now + reset - shortest : now;
  window_.add(foreign, at, now);
  foreign_->add(foreign, at, now);
  note_large(foreign, at, now);
  stale_ = true;
}

std::int64_t paced_window::own(time_point now) {
  return window_.total(now) - (foreign_ ? foreign_->total(now) : 0);
}

void paced_window::set_limit(std::int64_t limit, duration margin, time_point now) {
  window_.set_margin(margin, now);
  for (auto* part : {&large_, &foreign_}) {
    if (*part) (*part)->set_margin(margin, now);
  }
  refresh(1, now);
  configured_ = limit;
  limit_ = limit;
  bound_pace();
}

/// A debt that was small for another limit takes no longer to pay off than any under this one.
void paced_window::bound_pace() {
  level_ = std::clamp(level_, -full(), full());
  rested_ = std::clamp(rested_, -full(), full());
  stale_ = true;
}

void paced_window::hint_limit(std::int64_t limit) {
  if (limit <= 0 || limit_ == std::min(limit, configured_)) return;
  limit_ = std::min(limit, configured_);
  bound_pace();
}

double paced_window::used_fraction(time_point now) {
  if (limit_ == unlimited) return 0;
  return limit_ <= 0 ? 1 : static_cast<double>(window_.total(now)) / static_cast<double>(limit_);
}

time_point paced_window::when_used(double fraction, time_point now) {
  if (limit_ == unlimited) return now;
  if (limit_ <= 0) return time_point::max();
  return window_.when_at_most(static_cast<std::int64_t>(fraction * static_cast<double>(limit_)), now);
}

void paced_window::count(std::int64_t amount, time_point at, time_point now) {
  note_peak(now);
  window_.add(amount, at, now);
  last_used_ = own(now);
  peak_ = std::max(peak_, last_used_);
}

void paced_window::refresh(std::int64_t need, time_point now) {
  const double accrued = mean_rate() * seconds_of(now - accrued_at_);
  level_ += accrued;
  rested_ = std::clamp(rested_ + accrued, 0.0, full());
  accrued_at_ = now;
  next_unit_ = std::max(next_unit_, std::min(need, limit_));
  if (static_cast<double>(need) > full()) {
    largest_ = std::max(largest_, std::min(need + need / 4, limit_));
    largest_at_ = now;
  }
  const bool due = stale_ || now - computed_at_ >= slot_ / computed_per_slot;
  if (due || next_unit_ > unit_) {
    unit_ = next_unit_;
    if (due) next_unit_ = std::max<std::int64_t>(1, std::min(need, limit_));
    recompute(now);
  }
  level_ = std::min(level_, std::max(0.0, std::min(burst_, full())));
}

void paced_window::recompute(time_point now) {
  stale_ = false;
  computed_at_ = now;
  const double cycle = seconds_of(window_.cycle());
  const double kept = kept_rate(now);
  double due = static_cast<double>(limit_ - window_.total(now)) + static_cast<double>(unit_);
  burst_ = due;
  window_.for_each(now, [&](time_point expiry, std::int64_t amount) {
    const double in = seconds_of(expiry - now);
    // Leases are counted at the end of their life and may be there for longer than a cycle.
    if (in >= cycle) return;
    burst_ = std::min(burst_, due - kept * in);
    due += static_cast<double>(amount);
  });
}

void paced_window::note_peak(time_point now) {
  const duration elapsed = now - peak_since_;
  if (elapsed < peak_period) return;
  // Since the last addition the window only shrank, so what it held then bounds the time without any; after a
  // long rest what it holds now is near enough.
  const std::int64_t since = elapsed < 4 * peak_period ? last_used_ : own(now);
  previous_peak_ = elapsed < 2 * peak_period ? peak_ : since;
  peak_ = since;
  peak_since_ = now;
}

double paced_window::full() const {
  return std::max(1.0, static_cast<double>(limit_) / 4);
}

/// What a burst leaves of the mean rate for later.
double paced_window::kept_rate(time_point now) {
  const auto spread = static_cast<double>(limit_ - (large_ ? large_->total(now) : 0));
  return kept_part * std::max(spread, 0.0) / seconds_of(window_.cycle());
}

double paced_window::mean_rate() const {
  return static_cast<double>(limit_) / seconds_of(window_.cycle());
}

}  // namespace millrace::engine
