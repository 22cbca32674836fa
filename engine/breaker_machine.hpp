#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// The circuit breaker of one target, for the whole cluster (the pattern: M. Nygard, "Release It!", 2007).
///
/// Closed until `consecutive_failures` in a row, or `failure_ratio` of at least `min_calls` within `window`;
/// then open for `open` +-20 %; then half-open, in which one probe at a time is granted. The probe's outcome
/// closes it with clean statistics, or opens it again. Time alone makes open half-open: whoever holds a
/// notice sees it coming in `retry_in`, nobody is told.
///
/// Nodes report failures at once and hold successes back, so a report must carry all successes its node holds
/// back: they are taken to have happened before the failures of the same report.
///
/// Pure: time and random numbers are passed in. One thread at a time. Memory is constant.
class breaker_machine {
 public:
  /// A probe that is not reported may be granted again after this time or the configured `open`, whichever is
  /// longer. It covers connect and first byte at their defaults; what takes longer lives, or its node is
  /// gone.
  static constexpr duration min_probe_patience = 60s;
  /// `open` is spread over 1 -+ this part, so that targets that died together are not probed together.
  static constexpr double open_jitter = 0.2;
  /// Resolution of the sliding window: it covers between 29/30 of `window` and all of it.
  static constexpr std::int64_t window_slots = 30;

  /// `target` is the name that notices carry, "breaker/<provider>/<model>".
  breaker_machine(std::string target, const breaker_config& config);

  /// Takes the outcomes of calls. While open or half-open a report changes nothing, as its calls started
  /// before the breaker opened; except, half-open, the outcome of the probe from the node that holds it. A
  /// probe reported as unused, or with neither success nor failure, may be granted again at once. `random01`
  /// in [0, 1) spreads the time it stays open. Returns what every node must hear, if anything changed.
  std::optional<breaker_notice> report(const breaker_report& report, time_point now, double random01);

  /// True when `node` may send one call to find out whether the target works again. Never while closed or
  /// open, nor while another probe is out.
  bool request_probe(std::string_view node, time_point now);

  /// The state as of `now`. `retry_in`, while open or half-open, is the time until a probe may be asked for.
  /// While one is out that is a guess, never longer than the configured `open`: its verdict may come at any
  /// time.
  breaker_notice notice(time_point now) const;

  /// A changed `open` applies to the present opening too, a changed threshold from the next report on; a
  /// changed window starts empty. Returns what every node must hear, if anything changed for them.
  std::optional<breaker_notice> reconfigure(const breaker_config& config, time_point now);

  breaker_state state(time_point now) const;

 private:
  struct slot {
    std::int64_t index = -1;  ///< number of the slot since the clock's epoch; -1: never used
    std::int64_t calls = 0;
    std::int64_t failures = 0;
  };

  std::optional<breaker_notice> judge_probe(const breaker_report& report, time_point now, double random01);
  void count(std::int64_t successes, std::int64_t failures, time_point now);
  bool must_open(time_point now) const;
  breaker_notice open(time_point now, double random01);
  breaker_notice close(time_point now);
  std::int64_t slot_index(time_point now) const;
  duration spread_open() const;
  bool probe_out(time_point now) const;

  std::string target_;
  breaker_config config_;
  std::array<slot, window_slots> window_{};
  std::int64_t consecutive_ = 0;  ///< failures since the last success, probes included
  bool tripped_ = false;          ///< open or half-open
  time_point opened_at_{};
  time_point open_until_{};
  double spread_ = 1;         ///< the factor on `open` drawn for the present opening
  std::string probe_node_;    ///< who holds the probe; empty: nobody
  time_point probe_until_{};  ///< when it may be granted to another
};

}  // namespace millrace::engine
