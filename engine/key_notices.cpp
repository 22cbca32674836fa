// The part of key_machine that tells nodes what is true of the key, and when to expect permits.

#include <algorithm>
#include <cmath>

#include "engine/key_machine.hpp"

namespace millrace::engine {

namespace {

/// The honest guess where nobody can know: calls of other requests have to end first.
constexpr duration call_guess = 1s;
/// Instead of "never" in messages.
constexpr duration no_look = 24h;

}  // namespace

/// Of a demand, those who wait.
key_machine::portion key_machine::waiting_of(const lease_request& d) {
  const double part =
      static_cast<double>(d.waiting) / static_cast<double>(std::max<std::int64_t>(d.permits, 1));
  return {.permits = d.waiting,
          .tokens = {static_cast<std::int64_t>(static_cast<double>(d.tokens.input) * part),
                     static_cast<std::int64_t>(static_cast<double>(d.tokens.output) * part)}};
}

/// Those who wait in line before `n`, or in the whole line.
key_machine::portion key_machine::ahead_of(const node_state* n, time_point now) const {
  portion ahead;
  for (const node_state* other : line_) {
    if (other == n) break;
    if (other->demand.waiting == 0 || cooling(*other, now)) continue;
    const portion theirs = waiting_of(other->demand);
    ahead.permits += theirs.permits;
    ahead.tokens = ahead.tokens + theirs.tokens;
  }
  return ahead;
}

duration key_machine::next_permit(const node_state* n, time_point now) {
  if (health_.quarantined()) return std::max(health_.probe_at() - now, duration::zero());
  if (concurrency_room() < 1) return call_guess;
  const bool in_line = n != nullptr && n->demand.waiting > 0;
  const portion own{.permits = 1, .tokens = in_line ? n->demand.head : token_count{}};
  time_point when = std::max(when_ready(ahead_of(n, now), own, now), others_until_);
  if (in_line) when = std::max({when, health_.ready_at(n->demand.target), now + min_wakeup});
  return when == time_point::max() ? no_look : std::max(when - now, duration::zero());
}

/// How far apart the node's permits will be on average, until all who wait there now have one.
duration key_machine::permits_apart(const node_state& n, time_point now) {
  if (n.demand.waiting == 0 || health_.quarantined() || concurrency_room() < 1) return {};
  const portion one{.permits = 1, .tokens = n.demand.head};
  portion ahead = ahead_of(&n, now);
  const time_point first = when_ready(ahead, one, now);
  const portion own = waiting_of(n.demand);
  ahead.permits += own.permits;
  ahead.tokens = ahead.tokens + own.tokens;
  const time_point last = when_ready(ahead, one, now);
  return last == time_point::max() ? duration{} : (last - first) / own.permits;
}

/// Permits that nodes hold may come back, so it is spent only when all were used.
duration key_machine::spent_for(time_point now) {
  if (leased_ > 0 || day_.room(1, now) >= 1) return {};
  return std::min(day_.full_until(1, now) - now, no_look);
}

time_point key_machine::when_ready(const portion& ahead, const portion& next, time_point now) {
  return std::max({requests_.when(ahead.permits, next.permits, now),
                   day_.when(ahead.permits, next.permits, now),
                   input_.when(ahead.tokens.input, next.tokens.input, now),
                   output_.when(ahead.tokens.output, next.tokens.output, now),
                   total_.when(ahead.tokens.total(), next.tokens.total(), now)});
}

time_point key_machine::full_until(const portion& wanted, time_point now) {
  return std::max({requests_.full_until(wanted.permits, now), day_.full_until(wanted.permits, now),
                   input_.full_until(wanted.tokens.input, now), output_.full_until(wanted.tokens.output, now),
                   total_.full_until(wanted.tokens.total(), now)});
}

key_notice key_machine::notice(time_point now) {
  return notice_for(nullptr, now);
}

key_notice key_machine::notice_for(node_state* n, time_point now) {
  key_notice result;
  result.key = name_;
  health_.describe(result, now);
  result.used_fraction = used_fraction(now);
  result.next_permit = next_permit(n, now);
  result.spent_for = spent_for(now);
  result.in_flight = in_flight_;
  if (n != nullptr) {
    result.apart = permits_apart(*n, now);
    n->told = now + result.next_permit;
    n->told_used = result.used_fraction;
    if (n->told_used > 0) look_soon();
  }
  return result;
}

/// Of the tightest limit, 0..1.
double key_machine::used_fraction(time_point now) {
  double used = std::max({requests_.used_fraction(now), day_.used_fraction(now), input_.used_fraction(now),
                          output_.used_fraction(now), total_.used_fraction(now)});
  if (limits_.concurrency != unlimited) {
    const double busy = static_cast<double>(leased_ + in_flight_) /
                        static_cast<double>(std::max<std::int64_t>(limits_.concurrency, 1));
    used = std::max(used, busy);
  }
  return std::clamp(used, 0.0, 1.0);
}

/// When no more than `fraction` of any limit is used, unless a report says so before.
time_point key_machine::when_used(double fraction, time_point now) {
  const auto busy = static_cast<double>(leased_ + in_flight_);
  if (limits_.concurrency != unlimited && busy > fraction * static_cast<double>(limits_.concurrency))
    return leases_.empty() ? time_point::max() : leases_.begin()->second.end() + lease_memory;
  return std::max({requests_.when_used(fraction, now), day_.when_used(fraction, now),
                   input_.when_used(fraction, now), output_.when_used(fraction, now),
                   total_.when_used(fraction, now)});
}

/// What nodes know may have become wrong.
void key_machine::look_soon() {
  look_at_ = std::min(look_at_, looked_at_ + used_pause);
}

/// Corrects what nodes were told is used. One that leaves the key alone for long hears no more than that it
/// has room, and nothing once it knows that all is free.
void key_machine::tell_used(time_point now, outbox& out) {
  if (now < look_at_) return;
  const auto a_step_below = [](double told) { return std::max(told - used_step, 0.0); };
  const double used = used_fraction(now);
  double most_told = 0;
  for (auto& [name, n] : nodes_) {
    const bool fell = n.told_used > 0 && used <= a_step_below(n.told_used);
    const bool rose = used >= n.told_used + used_step && n.seen + node_memory > now;
    if (fell || rose) out.push_back({name, std::nullopt, notice_for(&n, now)});
    most_told = std::max(most_told, n.told_used);
  }
  looked_at_ = now;
  look_at_ = time_point::max();
  if (most_told > 0) look_at_ = std::max(when_used(a_step_below(most_told), now), now + used_pause);
}

void key_machine::tell_all(time_point now, outbox& out) {
  for (auto& [name, n] : nodes_) out.push_back({name, std::nullopt, notice_for(&n, now)});
}

/// Those who wait, or only those whose time has come without a permit, hear when to expect one if it is later
/// than they were told: what they tell their clients shall be true.
void key_machine::tell_later(whom w, time_point now, outbox& out) {
  for (node_state* n : line_) {
    if (n->demand.waiting == 0 || (w == whom::overdue && now < n->told)) continue;
    if (now + next_permit(n, now) > n->told + told_slack)
      out.push_back({n->name, std::nullopt, notice_for(n, now)});
  }
}

}  // namespace millrace::engine
