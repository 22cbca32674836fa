#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/budget_book.hpp"
#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/names.hpp"
#include "engine/place_counts.hpp"
#include "engine/time.hpp"
#include "engine/traffic_weights.hpp"
#include "engine/use_meter.hpp"

namespace millrace::engine {

/// A key or a target went out of use, or came back into it, as its owner says. Told once for each change.
struct health_change {
  enum class kind : std::uint8_t { key_quarantined, key_quarantine_lifted, breaker_open, breaker_closed };
  name_id name = no_name;
  health_change::kind what = kind::key_quarantined;
  quarantine_reason why = quarantine_reason::none;  ///< of key_quarantined
};

/// What the dispatcher wants done. The machine appends; the caller delivers everything and then clears. Names
/// are ids of the newest applied configuration's name table.
struct effects {
  std::vector<acquire_reply> replies;
  std::vector<std::pair<name_id, lease_request>> lease_requests;    ///< to the key's actor
  std::vector<std::pair<name_id, lease_report>> lease_reports;      ///< to the key's actor
  std::vector<std::pair<name_id, breaker_report>> breaker_reports;  ///< to the target's breaker
  std::vector<name_id> probe_requests;        ///< targets whose breaker is asked for a probe
  std::vector<health_change> health_changes;  ///< for the log
  bool revoke_spares = false;                 ///< every spare permit that was not used yet shall come back

  void clear() {
    replies.clear();
    lease_requests.clear();
    lease_reports.clear();
    breaker_reports.clear();
    probe_requests.clear();
    health_changes.clear();
    revoke_spares = false;
  }
};

/// A picture of the dispatcher for /v1/status and metrics. All values are this node's view.
struct dispatcher_status {
  struct key {
    name_id name = no_name;            ///< of "key/<provider>/<id>"
    size_t provider = 0;               ///< index into the newest configuration's providers
    size_t index = 0;                  ///< index into that provider's keys
    std::int64_t permits_in_hand = 0;  ///< leased and not yet given to a request
    std::int64_t waiting = 0;          ///< requests in the queue that could use this key
    std::int64_t in_flight = 0;        ///< calls of this node that were sent and have not ended
    double used_fraction = 0;          ///< of the tightest limit, 0..1, as last told
    use_meter::counts used;            ///< by calls of this node
    duration next_permit{};            ///< until the key may have a permit again; 0: now, as far as known
    quarantine_reason quarantine = quarantine_reason::none;
    std::vector<cooldown> cooldowns;  ///< those still running
    std::uint64_t granted = 0;        ///< calls granted with this key since start
  };
  struct target {
    name_id name = no_name;  ///< of "breaker/<provider>/<model>"
    breaker_state breaker = breaker_state::closed;
    duration retry_in{};  ///< while open: until a probe may go
    int consecutive_failures = 0;
    std::int64_t in_flight = 0;
    duration first_token{};        ///< decayed mean; 0: not measured
    double tokens_per_second = 0;  ///< decayed mean; 0: not measured
    std::int64_t p95_output_tokens = 0;
  };
  /// One queue class.
  struct lane {
    std::size_t depth = 0;
    std::int64_t tokens = 0;    ///< estimated, of those waiting
    duration oldest{};          ///< how long the longest waiting one has waited
    std::uint64_t granted = 0;  ///< since start, with or without waiting
    std::uint64_t refused = 0;  ///< since start, for any reason but the client's own limit
    duration total_wait{};      ///< summed over all granted
    place_counts joined;        ///< at which places of the class requests began to wait
  };

  std::uint64_t config_version = 0;
  std::size_t open_tickets = 0;  ///< waiting, granted or in flight
  std::vector<key> keys;         ///< those of the newest configuration, in its order
  std::vector<target> targets;   ///< likewise, each name once
  std::array<lane, queue_classes> lanes;
  /// Models whose weights were changed at run time, by their index in the newest configuration.
  std::unordered_map<std::uint32_t, traffic_weights> weights;
  std::vector<budget_view> budgets;
};

/// The node's decider: who may call what, now. It holds permits leased from the keys' owners and the last
/// known state of each breaker; it answers from what it holds, or lets a request wait in fair order until
/// permits come or its patience ends. It never guesses: without a lease nothing is granted.
///
/// Pure: no clock, no I/O, no unseeded randomness. Not thread-safe: one owner. `now` must not go backwards.
/// Every input may append to `out` any number of effects for any request; call `tick` no later than
/// `next_wakeup()`. An acquire_request is answered exactly once, unless it is cancelled while it waits: then
/// never.
class dispatcher_machine {
 public:
  /// Configurations remembered for requests that started under an older one.
  static constexpr size_t max_snapshots = 64;
  /// Most spare permits granted with one request, and the part of a key's permits in hand they may be.
  static constexpr std::int64_t max_spares = 128;
  static constexpr std::int64_t spare_part = 8;
  /// Requests that hold a permit or are in flight; while there are so many, others are refused with
  /// `queue_full`. Those that wait are bounded by queue_config::max_waiting alone.
  static constexpr size_t max_tickets = 100'000;
  /// More requests than may wait that only wait to hear whether there is room: who asks a key or a breaker
  /// for the first time in a while is answered within `silence`, or gone.
  static constexpr size_t max_asking = 1024;
  /// What does not answer for so long is not waited for.
  static constexpr duration silence = 200ms;

  /// `seed` feeds the random choices of weighted routing.
  explicit dispatcher_machine(std::uint64_t seed = 1);
  ~dispatcher_machine();
  dispatcher_machine(const dispatcher_machine&) = delete;
  dispatcher_machine& operator=(const dispatcher_machine&) = delete;

  /// First configuration, or a reload. Nothing may be asked before the first.
  void apply(config_ptr c, time_point now, effects& out);

  /// Weights for requests that are decided from now on. They stay until a configuration comes that says
  /// something else about the model's groups, targets or weights.
  void set_weights(const weights_order& order, time_point now, effects& out);
  /// The present by the calendar, at which the days and months of budgets begin; until it is told, it is the
  /// beginning of 1970. Tell it before anything that costs money.
  void set_wall(wall_time wall);
  /// What clients and tenants spent in an earlier life of the node: once, and before the first call.
  void restore_spend(const std::vector<earlier_spend>& spends);

  void acquire(const acquire_request& r, time_point now, effects& out);
  /// The asker no longer wants an answer: a waiting request leaves the queue, a granted one gives its permit
  /// back. Nothing happens to a request that was sent (its settlement will come) or is unknown.
  void cancel(ticket id, time_point now, effects& out);
  void sent(const sent_report& r, time_point now, effects& out);
  void settle(const settlement& s, time_point now, effects& out);

  /// A key's answer. Deliver a grant before the notice that came with it.
  void on_grant(name_id key, const lease_grant& g, time_point now, effects& out);
  void on_key_notice(const key_notice& n, time_point now, effects& out);
  void on_breaker_notice(const breaker_notice& n, time_point now, effects& out);
  /// The home of a key or breaker is gone with all that it was told: its successor gets to know this node.
  void on_home_lost(name_id name, time_point now, effects& out);
  /// Answers to `probe_requests`. A refusal should come with (or after) a breaker_notice.
  void on_probe_granted(name_id target, time_point now, effects& out);
  void on_probe_refused(name_id target, time_point now, effects& out);

  void tick(time_point now, effects& out);
  /// When `tick` is due; time_point::max() when nothing is scheduled. May be early, never late.
  time_point next_wakeup() const;

  dispatcher_status status(time_point now) const;

 private:
  class impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace millrace::engine
