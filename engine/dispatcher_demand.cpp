// What keys are asked for on behalf of those who wait, what is held ready, and what keys and breakers are
// told.
#include <algorithm>
#include <limits>

#include "engine/dispatcher_impl.hpp"

namespace millrace::engine {

namespace {

/// Permits are held ready for a key that was wanted within this time.
constexpr duration stock_memory = 1s;
/// Permits held ready of a key without a limit on requests.
constexpr std::int64_t unlimited_stock = 1024;
/// A demand without any answer is repeated after this time, one that waits after the other: its owner may
/// have been replaced meanwhile.
constexpr duration repeat_after = 1s;
constexpr duration refresh_after = 10s;
/// The longest retry-after that is ever given.
constexpr duration longest_retry = 24h;

/// `whole` * `part` / `parts` without overflow.
std::int64_t portion(std::int64_t whole, std::int64_t part, std::int64_t parts) {
  return whole / parts * part + whole % parts * part / parts;
}

/// How much of a minute's limit one request takes; 0 without a limit.
double minute_part(std::int64_t amount, std::int64_t limit) {
  return limit == unlimited
             ? 0
             : static_cast<double>(amount) / static_cast<double>(std::max<std::int64_t>(limit, 1));
}

/// Seconds between two permits of a key at its limits; 0 without limits.
double seconds_apart(const known_key& k) {
  const key_limits& l = k.book.limits();
  return 60 * std::max({minute_part(1, l.rpm), minute_part(k.mean_need.total(), l.tpm),
                        minute_part(k.mean_need.input, l.tpm_input),
                        minute_part(k.mean_need.output, l.tpm_output)});
}

/// Seconds between two ends of a key's calls while it has as many as it may; 0 without such a limit, or where
/// no call was measured.
double seconds_between_ends(const known_key& k, const target_stats& stats) {
  const std::int64_t at_once = k.book.limits().concurrency;
  const bool full = k.no_room || k.in_flight >= at_once;
  if (at_once == unlimited || at_once <= 0 || !full) return 0;
  return stats.mean_seconds() / static_cast<double>(at_once);
}

duration seconds(double s) {
  const double most = std::chrono::duration<double>(longest_retry).count();
  return std::chrono::duration_cast<duration>(std::chrono::duration<double>(std::min(s, most)));
}

bool tokens_count(const key_limits& l) {
  return l.tpm != unlimited || l.tpm_input != unlimited || l.tpm_output != unlimited;
}

}  // namespace

void dispatcher_machine::impl::leave_group(open_call& c) {
  call_group& g = *c.group;
  c.group = nullptr;
  uncount_asks(g);
  --g.count;
  g.tokens.input -= c.want.input;
  g.tokens.output -= c.want.output;
  if (g.count == 0) {
    groups_.erase(c.signature);
  } else {
    count_asks(g);
  }
}

/// Replaces what the group waits for by what `decide` just found.
void dispatcher_machine::impl::set_asks(call_group& g, time_point now) {
  uncount_asks(g);
  g.asks.assign(asks_.begin(), asks_.end());
  g.earliest = earliest_;
  g.back = back_;
  g.breakers_only = breakers_only_;
  count_asks(g);
  for (const key_ask& a : g.asks) keys_[a.key].last_wanted = now;
}

/// Spreads the group's demand: evenly over the keys that may have room, the best first; all of it to those
/// that have none, where permits trickle.
void dispatcher_machine::impl::count_asks(call_group& g) {
  const auto with_room =
      std::count_if(g.asks.begin(), g.asks.end(), [](const key_ask& a) { return a.room && !a.probe; });
  std::int64_t extra = with_room > 0 ? g.count % with_room : 0;
  for (key_ask& a : g.asks) {
    known_key& k = keys_[a.key];
    a.share = g.count;
    if (a.probe) {
      a.share = 1;
    } else if (a.room) {
      a.share = g.count / with_room + (extra-- > 0 ? 1 : 0);
    }
    a.share_tokens = {portion(g.tokens.input, a.share, g.count), portion(g.tokens.output, a.share, g.count)};
    a.counted = g.count;
    k.interested += a.counted;
    k.wanted += a.share;
    k.wanted_tokens.input += a.share_tokens.input;
    k.wanted_tokens.output += a.share_tokens.output;
    touch(k);
  }
}

void dispatcher_machine::impl::uncount_asks(call_group& g) {
  for (key_ask& a : g.asks) {
    known_key& k = keys_[a.key];
    k.interested -= a.counted;
    k.wanted -= a.share;
    k.wanted_tokens.input -= a.share_tokens.input;
    k.wanted_tokens.output -= a.share_tokens.output;
    a.counted = 0;
    a.share = 0;
    a.share_tokens = {};
    touch(k);
  }
}

/// The first in fair order to want a key sets the least that is of use.
void dispatcher_machine::impl::set_head(const key_ask& a) {
  known_key& k = keys_[a.key];
  if (k.head_pass == pass_ && k.interested > a.counted) return;
  k.head_pass = pass_;
  k.head = a.need;
  k.head_target = a.target;
  touch(k);
}

/// About a second of the limit.
std::int64_t dispatcher_machine::impl::stock_of(const known_key& k) const {
  const double apart = seconds_apart(k);
  if (apart <= 0) return unlimited_stock;
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(1 / apart), 1, unlimited_stock);
}

/// Asks, returns and reports what has become due for one key.
void dispatcher_machine::impl::review(known_key& k, time_point now, effects& out) {
  k.book.drop_ended(now);
  const bool traffic = k.last_wanted > now - stock_memory;
  const bool healthy = k.named && k.quarantine == quarantine_reason::none;
  const std::int64_t ready = healthy && traffic ? stock_of(k) : 0;
  if (k.interested == 0 && !(k.book.holds_probe() && traffic)) k.book.drop_above(ready, now);

  const bool limited = tokens_count(k.book.limits());
  if (k.interested == 0 || !limited) k.book.drop_spent(now);
  const std::int64_t in_hand = k.book.permits();
  const bool plenty = (!k.no_room || now >= k.room_at) && !k.cooling_at_all(now);
  const bool refill = 2 * in_hand < ready && (k.wanted > 0 || plenty);
  const std::int64_t stock = refill ? ready - in_hand : 0;
  bool send = false;
  if (k.named && !k.answered && now - k.asked_at < repeat_after) {
    // The answer decides what else to ask for; asking meanwhile would be granted twice.
  } else if (k.asked_permits == 0) {
    send = k.wanted + stock > 0;
  } else if (k.wanted == 0 && k.asked_waiting == 0) {
    send = !traffic || !healthy || !k.answered;
  } else {
    const bool fewer = 4 * k.wanted < 3 * k.asked_waiting || k.wanted == 0;
    const bool more = 4 * k.wanted > 5 * k.asked_waiting;
    const bool other =
        k.wanted > 0 && (k.head_target != k.asked_target || (limited && k.head != k.asked_head));
    send = fewer || more || other || !k.answered || now - k.asked_at >= refresh_after;
  }
  if (send && (k.named || k.asked_permits > 0)) send_request(k, stock, now, out);
  // Where calls in flight are limited, those who wait wait for this very report.
  const bool awaited = k.interested > 0 && k.book.limits().concurrency != unlimited;
  if (k.book.report_due() <= now || (awaited && k.book.report_due() != time_point::max()))
    send_report(k, now, out);
  schedule_key(k, now);
}

void dispatcher_machine::impl::send_request(known_key& k, std::int64_t stock, time_point now, effects& out) {
  lease_request r;
  const config& c = *snapshots_.back().config;
  r.node = c.node.id;
  if (k.named) {
    r.waiting = k.wanted;
    r.permits = k.wanted + stock;
    r.tokens = {k.wanted_tokens.input + stock * k.mean_need.input,
                k.wanted_tokens.output + stock * k.mean_need.output};
  }
  if (r.waiting > 0) {
    r.head = k.head;
    r.target = target_text(k.head_target);
  }
  if (k.asked_waiting == 0) k.asked_since = now;
  k.asked_at = now;
  k.answered = r.permits == 0;
  k.asked_permits = r.permits;
  k.asked_waiting = r.waiting;
  k.asked_head = k.head;
  k.asked_target = k.head_target;
  out.lease_requests.emplace_back(k.name, std::move(r));
}

void dispatcher_machine::impl::send_report(known_key& k, time_point now, effects& out) {
  lease_report r;
  r.node = snapshots_.back().config->node.id;
  k.book.collect(now, r);
  out.lease_reports.emplace_back(k.name, std::move(r));
}

/// Adds the successes held back, and sends.
void dispatcher_machine::impl::send_outcomes(known_target& t, breaker_report r, effects& out) {
  r.node = snapshots_.back().config->node.id;
  r.successes += t.successes;
  t.successes = 0;
  t.report_due = time_point::max();
  out.breaker_reports.emplace_back(t.name, std::move(r));
}

/// How long those who wait for a key will keep it busy.
duration dispatcher_machine::impl::backlog(const known_key& k) {
  return seconds(static_cast<double>(k.interested) * seconds_apart(k));
}

/// When a request that waits for `asks` should be tried again: when the first key has room, plus what waits
/// before it at the rate of all of them; or `back`, when one has rested.
duration dispatcher_machine::impl::estimate(const std::vector<key_ask>& asks, time_point back,
                                            time_point now) const {
  constexpr duration shortest = 100ms;
  const duration rest = back == time_point::max() ? longest_retry : back - now;
  if (asks.empty()) return std::max(rest, shortest);
  time_point next = time_point::max();
  double ahead = 0;
  double rate = 0;
  for (const key_ask& a : asks) {
    const known_key& k = keys_[a.key];
    const double ends = seconds_between_ends(k, targets_[target_of_[a.target]].stats);
    next = std::min(next, std::max(k.no_room ? std::max(k.room_at, now) : now, now + seconds(ends)));
    ahead = std::max(ahead, static_cast<double>(k.interested));
    const double apart = std::max({seconds_apart(k), seconds_of(k.apart), ends});
    rate += apart > 0 ? 1 / apart : std::numeric_limits<double>::infinity();
  }
  return std::clamp<duration>(std::min(next - now + seconds(ahead / rate), rest), shortest, longest_retry);
}

void dispatcher_machine::impl::touch(known_key& k) {
  if (k.dirty) return;
  k.dirty = true;
  dirty_.push_back(key_of_[k.name]);
}

void dispatcher_machine::impl::schedule_key(const known_key& k, time_point now) {
  schedule(k.book.report_due());
  schedule(k.book.next_end());
  const bool traffic = k.last_wanted > now - stock_memory;
  if (traffic && (k.book.permits() > 0 || k.asked_permits > 0)) schedule(k.last_wanted + stock_memory);
  if (!k.answered) {
    schedule(k.asked_at + repeat_after);
  } else if (k.asked_waiting > 0) {
    schedule(k.asked_at + refresh_after);
  }
}

/// The end of every input.
void dispatcher_machine::impl::finish(time_point now, effects& out) {
  // More than once where a request that leaves the queue, beyond its bound, was what a key was asked for.
  while (pass_needed_ && !queue_.empty()) serve_queue(now, out);
  pass_needed_ = false;
  for (size_t i = 0; i < dirty_.size(); ++i) {
    known_key& k = keys_[dirty_[i]];
    k.dirty = false;
    review(k, now, out);
  }
  dirty_.clear();
  schedule(queue_.next_deadline());
  if (!queue_.empty()) schedule(next_pass_);
}

}  // namespace millrace::engine
