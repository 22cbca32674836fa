#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// How long to wait before retry number `retries` (0: the first): "full jitter", uniform in
/// [0, min(cap, base x 2^retries)) (M. Brooker, "Exponential Backoff and Jitter", AWS Architecture Blog,
/// 2015). A provider's `retry_after` above 0 is a floor to which that jitter is added. `random01` in [0, 1).
duration backoff_delay(const retry_config& c, int retries, double random01, duration retry_after);

/// Keeps a node's retries to a part of its traffic, so that a dead provider is not called more than 1 +
/// `ratio` times as often as clients ask (the idea: Finagle's RetryBudget). Counts requests and retries of a
/// sliding window.
///
/// Any thread may call anything at any time; no locks. Threads that race while one slot follows another may
/// each be granted the last retry; otherwise the bound is exact. A `now` may lag behind others' by less than
/// the window.
class retry_budget {
 public:
  static constexpr duration window = 10s;
  static constexpr std::int64_t slots = 20;
  static constexpr duration slot_length = window / slots;
  /// So many retries per window are allowed whatever the traffic, or an idle node could never retry. The
  /// ratio's share replaces them, it is not added: they exceed it at most once each time that traffic begins.
  static constexpr std::int64_t min_retries = 10;

  /// Counts one request of a client.
  void request(time_point now);
  /// Counts and allows one retry if the retries of the window, this one included, stay within
  /// max(min_retries, ratio x requests).
  bool try_retry(time_point now, double ratio);
  /// Whether it would be allowed now.
  bool may_retry(time_point now, double ratio) const { return has_room(in_window(now), ratio); }

  /// Counts a repetition that is made in any case; what comes later finds less room.
  void overdraw(time_point now);

  struct counts {
    std::int64_t requests = 0;
    std::int64_t retries = 0;
  };
  /// Of the window that ends now.
  counts in_window(time_point now) const;

 private:
  static bool has_room(const counts& seen, double ratio);
  std::atomic<std::uint64_t>& slot(std::uint64_t index);

  /// Each word holds the number of the slot's period, its requests and its retries, so that it can be started
  /// anew and counted up in one atomic step.
  std::array<std::atomic<std::uint64_t>, slots> ring_{};
};

/// A failed attempt of a request that has no other target and no other key left.
struct retry_question {
  attempt_outcome outcome = attempt_outcome::failed;
  int attempts_made = 0;  ///< upstream calls made for this request, the judged one included
  bool client_gone = false;
  duration time_left{};                 ///< until the request's deadline
  duration retry_after{};               ///< what the provider asked for; 0: nothing
  duration patience = duration::max();  ///< the longest that a provider may ask this request to wait
};

/// More attempts than this are never made for one request, whatever the configuration.
inline constexpr int max_calls_per_request = 32;

/// Decides whether something that was called before is called again, and after which pause; nullopt: the
/// client is told what happened. Another target or key is not asked about here: the plan bounds those, not
/// the budget.
/// - Answered, cancelled, out of time, client gone, no time left: no.
/// - 401, 402, 403: no; the key is quarantined.
/// - 429: after the key's cooldown; 5xx, reset, cut, timeout: after a backoff. Both only while fewer than
///   `retry.attempts` calls were made, if the provider asked for no longer pause than the request has
///   patience, if the pause ends before the deadline, and if the node's budget has a retry left.
/// Spends one retry of `budget` when it says yes. Thread-safe as far as `budget` is.
std::optional<duration> decide_retry(const retry_question& q, const retry_config& c, double random01,
                                     retry_budget& budget, time_point now);
/// The same without the budget: for a call that may be made elsewhere meanwhile, and is paid when it is made.
std::optional<duration> retry_pause(const retry_question& q, const retry_config& c, double random01);

}  // namespace millrace::engine
