#include "engine/key_health.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {

namespace {

using namespace std::chrono_literals;

constexpr duration first_cooldown = 5s;
constexpr duration longest_cooldown = 60s;
/// A probe whose call brought no verdict on the key, because the provider failed, is repeated after this.
constexpr duration verdict_patience = 60s;

}  // namespace

duration unasked_key_cooldown(int strikes) {
  duration d = first_cooldown;
  for (int i = 1; i < strikes && d < longest_cooldown; ++i) d *= 2;
  return std::min(d, longest_cooldown);
}

bool key_health::on_event(const key_event& e, duration quarantine_for, time_point now) {
  switch (e.kind) {
    case key_event_kind::ok:
      if (const auto c = cooldowns_.find(e.target); c != cooldowns_.end()) c->second.strikes = 0;
      // Calls sent before the quarantine may still end well: only a probe's verdict counts.
      return probe_out_ && lift_quarantine();
    case key_event_kind::rate_limited:
      return cool(e, now);
    case key_event_kind::unauthorized:
    case key_event_kind::no_credit:
      reason_ = e.kind == key_event_kind::unauthorized ? quarantine_reason::unauthorized
                                                       : quarantine_reason::no_credit;
      probe_at_ = now + quarantine_for;
      probe_out_ = false;
      return true;
  }
  return false;
}

time_point key_health::ready_at(const std::string& target) const {
  time_point ready = time_point::min();
  if (cooldowns_.empty()) return ready;
  if (const auto all = cooldowns_.find(std::string()); all != cooldowns_.end()) ready = all->second.until;
  if (const auto c = cooldowns_.find(target); c != cooldowns_.end()) ready = std::max(ready, c->second.until);
  return ready;
}

void key_health::probe_granted(duration life, time_point now) {
  probe_out_ = true;
  probe_at_ = now + life;
}

void key_health::probe_used(duration quarantine_for, time_point now) {
  if (probe_out_) probe_at_ = now + std::min(quarantine_for, verdict_patience);
}

void key_health::probe_returned(time_point now) {
  if (probe_out_) probe_at_ = now;
}

bool key_health::lift_quarantine() {
  probe_out_ = false;
  return std::exchange(reason_, quarantine_reason::none) != quarantine_reason::none;
}

std::vector<cooldown> key_health::cooldowns(time_point now) const {
  std::vector<cooldown> running;
  for (const auto& [target, c] : cooldowns_) {
    if (c.until > now) running.push_back({target, c.until - now});
  }
  return running;
}

void key_health::go_on(const std::vector<cooldown>& earlier, time_point now) {
  for (const cooldown& c : earlier) {
    if (c.remaining <= duration::zero()) continue;
    if (cooldowns_.size() >= max_cooldowns && !cooldowns_.contains(c.target)) make_room(now);
    time_point& until = cooldowns_[c.target].until;
    until = std::max(until, now + std::min(c.remaining, longest_asked));
  }
}

void key_health::describe(key_notice& n, time_point now) const {
  n.cooldowns = cooldowns(now);
  n.quarantine = reason_;
  n.probe_in = quarantined() ? std::max(probe_at_ - now, duration::zero()) : duration::zero();
}

bool key_health::cool(const key_event& e, time_point now) {
  if (cooldowns_.size() >= max_cooldowns && !cooldowns_.contains(e.target)) make_room(now);
  cooling& c = cooldowns_[e.target];
  duration length = std::min(e.retry_after, longest_asked);
  if (length <= duration::zero()) {
    // Calls that were in flight together fail together: they are one strike.
    if (c.strikes == 0 || c.until <= now) ++c.strikes;
    length = unasked_key_cooldown(c.strikes);
  }
  const time_point until = std::max(c.until, now + length);
  return std::exchange(c.until, until) != until;
}

void key_health::make_room(time_point now) {
  std::erase_if(cooldowns_, [&](const auto& c) { return c.second.until <= now; });
  if (cooldowns_.size() < max_cooldowns) return;
  cooldowns_.erase(std::min_element(cooldowns_.begin(), cooldowns_.end(), [](const auto& a, const auto& b) {
    return a.second.until < b.second.until;
  }));
}

}  // namespace millrace::engine
