#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/config.hpp"
#include "engine/key_use.hpp"
#include "engine/rate_window.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// A limit on a sliding window that is handed out evenly under pressure, yet in a burst after rest.
///
/// The window alone decides what may never be exceeded. Pacing is a token bucket (as in RFC 2697) that fills
/// at the mean rate, limit / cycle, up to a quarter of the limit. What is taken is also bounded by
///
///     burst = min over t in (0, cycle) of  available + expiring within t - 3/4 * limit / cycle * t
///
/// which is what can go at once and still leave three quarters of the mean rate for all times, given when
/// what the window holds expires. So an idle window gives limit/4 at once, and no later gap is longer than
/// 4/3 of the mean one, whatever went before. The bound allows one `need` more, because the next demand is
/// only due at the end of its interval. It is computed anew a few times a slot, so a take costs a few dozen
/// ns.
///
/// A `need` above limit/4 cannot be spread. It goes whole as soon as the window holds it and as much has gone
/// unused as fills the bucket, which it empties; what is left of the limit is paced as if it were all there
/// is, until it expires. Not thread-safe.
class paced_window {
 public:
  enum class pacing : std::uint8_t { even, none };

  paced_window(std::int64_t limit, const window_shape& shape, pacing mode, time_point now);

  /// How much may be taken now; 0 or less: nothing. `need` is the least that is of use. `unlimited` without a
  /// limit.
  std::int64_t room(std::int64_t need, time_point now);
  /// How much may be taken to be held ready: it leaves the bucket half as full as after rest.
  std::int64_t spare(time_point now);
  /// Until when the window itself has no room for `amount`, as far as is known now; pacing aside.
  time_point full_until(std::int64_t amount, time_point now);
  /// When `need` could be taken after `ahead` was, in parts, each as soon as it can be, were nothing else to
  /// come; `now` when it can be already, time_point::max() for never. Follows the known expiries, O(slots)
  /// unless now; a guess for a need that cannot be spread.
  time_point when(std::int64_t ahead, std::int64_t need, time_point now);

  /// Counts `amount` <= room() at `at`, the latest moment at which it can be used.
  void take(std::int64_t amount, time_point at, time_point now);
  /// What was taken at `from` turns out to have been used at `to` <= `from`.
  void move(std::int64_t amount, time_point from, time_point to, time_point now);
  /// What was taken at `at` turns out not to be used.
  void give_back(std::int64_t amount, time_point at, time_point now);
  /// Somebody else may have used all that is left until `at`, and nobody can tell.
  void assume_spent(time_point at, time_point now);
  /// What is counted, for another home; `soon` bounds what `take` may be given within `unheard`, and where
  /// nothing is paced it is a guess. Nothing without a limit. Where a
  /// window is exported at all, a need that cannot be spread and is larger than those of late waits until the
  /// second export from then, so that the one before is kept.
  window_use export_use(duration unheard, time_point now);
  /// Counts what was exported elsewhere; `soon` as if it were used now.
  void import_use(const window_use& use, time_point now);
  /// Counts now what nobody asked leave for.
  void charge(std::int64_t amount, time_point now);

  /// The provider says that only `remaining` of its limit is left. Whatever of the difference our own counts
  /// of the last half minute cannot explain is somebody else's use of the same key, and is counted. It is
  /// gone in `reset`, when the provider says that its limit is whole again, or after a cycle, whichever is
  /// sooner. `remaining` -1, `reset` 0: not said.
  void observe_remaining(std::int64_t remaining, duration reset, time_point now);

  /// Another limit and margin; what is counted stays, and of the pace what the new limit could have brought
  /// about.
  void set_limit(std::int64_t limit, duration margin, time_point now);
  /// The provider's own idea of the limit: holds until the next, and only where it is below the configured
  /// one. <= 0: not said.
  void hint_limit(std::int64_t limit);

  /// The limit that counts, never above the configured one.
  std::int64_t limit() const { return limit_; }
  std::int64_t used(time_point now) { return window_.total(now); }
  /// 0..1 and above; 0 without a limit.
  double used_fraction(time_point now);
  /// When no more than `fraction` of the limit is used if nothing is added; time_point::max() for never.
  time_point when_used(double fraction, time_point now);

 private:
  void count(std::int64_t amount, time_point at, time_point now);
  void note_large(std::int64_t amount, time_point at, time_point now);
  void refresh(std::int64_t need, time_point now);
  void recompute(time_point now);
  void bound_pace();
  time_point when_paced(double wanted, time_point now);
  void note_peak(time_point now);
  std::int64_t own(time_point now);
  double kept_rate(time_point now);
  double full() const;
  double mean_rate() const;

  rate_window window_;
  pacing mode_;
  duration slot_;
  std::int64_t configured_;
  std::int64_t limit_;

  double level_ = 0;   ///< of the bucket; below 0 after charges
  double rested_ = 0;  ///< likewise, but for a bucket that no `burst` bounds, and not below 0
  double burst_ = 0;
  std::int64_t unit_ = 1;  ///< the largest `need` since the last but one recomputation
  std::int64_t next_unit_ = 1;
  std::optional<rate_window> large_;  ///< what the window holds of needs above limit/4; made for the first
  std::int64_t largest_ = 0;          ///< such need of late, and a quarter
  time_point largest_at_{};
  std::int64_t told_ = unlimited;      ///< the largest when last exported
  std::int64_t foretold_ = unlimited;  ///< likewise, the time before: this much may go
  time_point accrued_at_;
  time_point computed_at_;
  bool stale_ = true;  ///< recompute at the next opportunity

  /// Somebody else's use of the same key, as far as the window counts it; made for the first.
  std::optional<rate_window> foreign_;
  time_point peak_since_;  ///< start of the current period of the two below
  std::int64_t peak_ = 0;  ///< the most that was ever used in the current period, but for the foreign part
  std::int64_t previous_peak_ = 0;
  std::int64_t last_used_ = 0;  ///< likewise, after the last addition

  struct expiry_step {
    double until;  ///< seconds from now: when a slot expires
    double bound;  ///< `burst` before, without what accrues to it from now on
  };
  std::vector<expiry_step> steps_;  ///< scratch of `when`, kept for its memory; one for each slot at most
};

}  // namespace millrace::engine
