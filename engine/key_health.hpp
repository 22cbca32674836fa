#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/messages.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// How long a key rests after its `strikes`th (from 1) 429 in a row that names no time: 5 s, then twice as
/// long each time, up to a minute.
duration unasked_key_cooldown(int strikes);

/// Why a provider key must not be used although its limits have room: cooldowns after 429, per target, and
/// quarantine after 401, 403 or a lack of credit. Not thread-safe.
class key_health {
 public:
  static constexpr size_t max_cooldowns =
      256;  ///< targets; beyond it the cooldown that ends first is forgotten

  /// What a provider may ask for at most.
  static constexpr duration longest_asked = std::chrono::hours(24);

  /// Takes in what happened; true when nodes should hear of it.
  bool on_event(const key_event& e, duration quarantine_for, time_point now);
  /// When `target` may be called: `now` or earlier unless it cools down. "" names any target; a cooldown of
  /// "" holds for all.
  time_point ready_at(const std::string& target) const;

  bool quarantined() const { return reason_ != quarantine_reason::none; }
  /// While quarantined: when the next probe may be granted.
  time_point probe_at() const { return probe_at_; }
  /// A probe was granted; unless it is used or handed back, the next may go after `life`.
  void probe_granted(duration life, time_point now);
  /// The probe is on its way: the next one waits for its verdict, or for a minute at most.
  void probe_used(duration quarantine_for, time_point now);
  void probe_returned(time_point now);
  /// True when there was one to lift.
  bool lift_quarantine();

  /// The cooldowns that have not ended.
  std::vector<cooldown> cooldowns(time_point now) const;
  /// Goes on with those of an earlier home; none lasts longer than a provider may ask for.
  void go_on(const std::vector<cooldown>& earlier, time_point now);
  /// Fills in `cooldowns`, `quarantine` and `probe_in`.
  void describe(key_notice& n, time_point now) const;

 private:
  struct cooling {
    time_point until = time_point::min();
    int strikes = 0;  ///< cooldowns in a row whose length the provider did not say
  };

  bool cool(const key_event& e, time_point now);
  void make_room(time_point now);

  std::map<std::string, cooling> cooldowns_;
  quarantine_reason reason_ = quarantine_reason::none;
  time_point probe_at_;
  bool probe_out_ = false;  ///< granted since the quarantine began, without a verdict
};

}  // namespace millrace::engine
