#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/config.hpp"
#include "engine/lease_book.hpp"
#include "engine/messages.hpp"
#include "engine/names.hpp"
#include "engine/target_stats.hpp"
#include "engine/time.hpp"
#include "engine/traffic_weights.hpp"
#include "engine/use_meter.hpp"

/// The dispatcher's memory, as plain structs. Private to dispatcher_machine.
namespace millrace::engine {

/// What the dispatcher knows of one provider key and wants of it.
struct known_key {
  struct cooling {
    name_id target = no_name;  ///< no_name: all
    time_point until{};
  };

  name_id name = no_name;
  bool named = false;   ///< by a remembered configuration; others are not asked and not used any more
  size_t provider = 0;  ///< of the newest configuration that names it
  size_t index = 0;     ///< within its provider
  lease_book book;

  // What its owner said.
  bool no_room = false;  ///< it had no permit, until about `room_at`
  time_point room_at{};
  time_point spent_until{};  ///< its day's limit
  duration apart{};          ///< between the permits for those who wait; 0: as the limits have it
  double used_fraction = 0;
  quarantine_reason quarantine = quarantine_reason::none;       ///< or what this node saw since
  quarantine_reason told_quarantine = quarantine_reason::none;  ///< by its owner alone
  time_point probe_at{};
  /// When a request that had a choice last stopped to be the probe.
  time_point probe_wanted_at = time_point::min();
  /// At most one for each configured target; it stays until a call of that target is accepted, which is then
  /// told.
  std::vector<cooling> cooldowns;

  // What its owner was asked for and has not granted yet; `permits` == 0: nothing.
  std::int64_t asked_permits = 0;
  std::int64_t asked_waiting = 0;
  token_count asked_head;
  name_id asked_target = no_name;
  time_point asked_at{};
  bool answered = true;      ///< nothing is on its way to or from the key
  bool notice_due = false;   ///< the notice that comes with a grant, and answers nothing else
  time_point asked_since{};  ///< since when those who wait have seen no grant

  // What waiting requests want. Sums over their groups.
  std::int64_t interested = 0;  ///< requests that could use it
  std::int64_t wanted = 0;      ///< permits to ask for on their behalf
  token_count wanted_tokens;
  token_count head;  ///< tokens of the first of them in fair order
  name_id head_target = no_name;
  std::uint64_t head_pass = 0;  ///< the pass that found the head

  time_point last_wanted = time_point::min();  ///< a permit was taken or waited for
  token_count mean_need{1000, 500};            ///< decayed mean of what a request reserves
  std::int64_t in_flight = 0;
  use_meter use;
  std::uint64_t granted = 0;       ///< calls
  std::uint64_t last_granted = 0;  ///< number of the last grant with it; the oldest goes first among equals
  bool dirty = false;

  bool cooling_for(name_id target, time_point now, time_point& until) const {
    bool any = false;
    for (const cooling& c : cooldowns) {
      if (c.until <= now || (c.target != target && c.target != no_name)) continue;
      until = any ? std::max(until, c.until) : c.until;
      any = true;
    }
    return any;
  }
  bool cooling_at_all(time_point now) const {
    return std::any_of(cooldowns.begin(), cooldowns.end(), [&](const cooling& c) { return c.until > now; });
  }
  /// Whether it rests for longer now.
  bool cool(name_id target, time_point until) {
    for (cooling& c : cooldowns) {
      if (c.target == target) return std::exchange(c.until, std::max(c.until, until)) < until;
    }
    cooldowns.push_back({target, until});
    return true;
  }
};

/// What the dispatcher knows of one target.
struct known_target {
  name_id name = no_name;
  target_stats stats;
  breaker_state state = breaker_state::closed;
  time_point retry_at{};         ///< while not closed: when a probe may be asked for
  int consecutive_failures = 0;  ///< as its breaker says, and of this node's calls since then
  int opens_after = 5;           ///< so many of them
  duration longest_silence{};    ///< of its provider, before it is a failure

  /// How long a call has to wait in vain before that says anything of the target: twice as long as the
  /// slowest twentieth did; where nothing is learned, as long as a provider may be silent.
  duration telling_silence() const {
    const duration usual = usual_silence();
    return usual > duration{} ? std::min(2 * usual, longest_silence) : longest_silence;
  }
  /// 0: not learned.
  duration usual_silence() const { return std::max(stats.p95_first_token(), stats.p95_first_byte()); }

  bool probe_asked = false;
  time_point probe_asked_at{};
  bool probe_in_hand = false;
  time_point probe_until{};  ///< when it goes back unused
  bool probe_out = false;    ///< one of this node's calls is the probe

  std::int64_t successes = 0;  ///< not told yet
  time_point report_due = time_point::max();
};

/// A key that a waiting request could use.
struct key_ask {
  std::uint32_t key = 0;
  bool room = false;   ///< it may well have permits; otherwise it said that it has none
  bool probe = false;  ///< quarantined: one permit, to probe it
  name_id target = no_name;
  token_count need;
  std::int64_t share = 0;  ///< permits asked for on behalf of the group
  token_count share_tokens;
  std::int64_t counted = 0;  ///< by how much it raised known_key::interested
};

/// Whether one of them may well have permits: who waits for its answer does not wait for long.
inline bool any_room(const std::vector<key_ask>& asks) {
  return std::any_of(asks.begin(), asks.end(), [](const key_ask& a) { return a.room; });
}

/// Waiting requests with one signature: they want the same keys.
struct call_group {
  std::int64_t count = 0;
  token_count tokens;
  std::vector<key_ask> asks;
  time_point earliest =
      time_point::max();  ///< when something else than a grant may help: a cooldown's end, a probe
  time_point back = time_point::max();  ///< when one of its resting keys has room, as clients are told
  bool breakers_only = false;           ///< all that it waits for is a probe of an open target
};

/// One request, from asking until its settlement.
struct open_call {
  enum class phase : std::uint8_t { waiting, granted, sent };

  acquire_request ask;
  open_call::phase at = phase::waiting;
  time_point since{};
  token_count want;  ///< estimate before a target is chosen
  std::uint64_t signature = 0;
  call_group* group = nullptr;     ///< while waiting
  std::int64_t client_tokens = 0;  ///< charged to the client and not settled
  time_point charged_at{};
  money reserved_money;  ///< of the budgets of the client and its tenant, and not settled
  client_window client_requests;
  client_window client_token_window;

  // Once granted.
  std::uint32_t key = 0;
  std::uint32_t target = 0;
  permit_draw draw;
  token_count reserved;
  bool breaker_probe = false;
  bool spare = false;  ///< granted ahead of need and not sent yet
};

/// A configuration with its names resolved to the dispatcher's keys and targets.
struct snapshot {
  config_ptr config;
  std::vector<std::vector<std::uint32_t>> provider_keys;  ///< provider -> indices of known keys
  std::vector<std::uint32_t> model_of;                    ///< name_id -> model; npos where it names none
  static constexpr std::uint32_t npos = 0xffffffff;
  /// Of models whose weights were changed since their configuration was read.
  std::unordered_map<std::uint32_t, traffic_weights> weights;
};

}  // namespace millrace::engine
