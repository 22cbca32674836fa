// Which target and which key: the part of the dispatcher that looks and chooses.
#include <algorithm>

#include "engine/dispatcher_impl.hpp"
#include "engine/rendezvous.hpp"

namespace millrace::engine {

namespace {

/// An actor that has not answered within this time is not waited for any longer while there are other
/// candidates.
constexpr duration silence = dispatcher_machine::silence;
/// A key whose permits come one by one so fast that the wait is at most this counts as having room: better to
/// wait for it than to jump to a worse target.
constexpr duration short_wait = 100ms;
/// A request stops to be the probe of a quarantined key at most this often, whether the key answers or not.
constexpr duration probe_pause = 2s;
/// More keys than this are not asked on behalf of one group.
constexpr size_t max_asks = 64;
/// Keys whose use differs by less than this part of their limit take turns.
constexpr double evenness = 1.0 / 32;

/// Least used first; a probe before everything, so that a healed key is found out.
bool better(const known_key& a, const known_key& b) {
  if (a.book.holds_probe() != b.book.holds_probe()) return a.book.holds_probe();
  const auto step_a = static_cast<int>(a.used_fraction / evenness);
  const auto step_b = static_cast<int>(b.used_fraction / evenness);
  return step_a != step_b ? step_a < step_b : a.last_granted < b.last_granted;
}

bool contains(const std::vector<name_id>& names, name_id name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Whether `k` rests at `target`, until then: for all after a 429, and for longer for those who were told it.
bool rests(const known_key& k, const open_call& c, name_id target, time_point now, time_point& until) {
  bool any = k.cooling_for(target, now, until);
  for (const key_rest& r : c.ask.rests) {
    if (r.key != k.name || r.target != target || r.until <= now) continue;
    until = any ? std::max(until, r.until) : r.until;
    any = true;
  }
  return any;
}

}  // namespace

/// Shows the router this node's view of each target, and counts why targets cannot be used.
class dispatcher_machine::impl::views : public target_lookup {
 public:
  views(const impl& owner, const open_call& c, const snapshot& s, time_point now)
      : owner_(owner), call_(c), snapshot_(s), now_(now) {}

  target_view view(const target_config& target) const override {
    const known_target& t = owner_.targets_[owner_.target_of_[target.name]];
    target_view v;
    v.breaker = t.state;
    v.probe = owner_.wants_probe(t, call_, now_);
    v.stats = &t.stats;
    v.used_fraction = 1;
    v.usable = false;
    for (const std::uint32_t index : snapshot_.provider_keys[target.provider]) see(owner_.keys_[index], t, v);
    return v;
  }

  const traffic_weights* weights(size_t model) const override {
    const auto changed = snapshot_.weights.find(static_cast<std::uint32_t>(model));
    return changed == snapshot_.weights.end() ? nullptr : &changed->second;
  }

  mutable bool too_large = false;
  mutable bool quarantined = false;
  mutable time_point probe_at = time_point::max();

 private:
  void see(const known_key& k, const known_target& t, target_view& v) const {
    if (!owner_.may_use(k, call_, now_)) {
      if (k.named && k.quarantine != quarantine_reason::none && !contains(call_.ask.tried_keys, k.name)) {
        quarantined = true;
        probe_at = std::min(probe_at, std::max(k.probe_at, now_));
      }
      return;
    }
    if (!reservation(call_, t.stats, k.book.limits())) {
      too_large = true;
      return;
    }
    v.usable = true;
    time_point until;
    if (!rests(k, call_, t.name, now_, until)) v.used_fraction = std::min(v.used_fraction, k.used_fraction);
  }

  const impl& owner_;
  const open_call& call_;
  const snapshot& snapshot_;
  time_point now_;
};

/// Grants, or says what to wait for, or why waiting is useless. `waiting`: the request stands in the queue
/// and it is its turn; others must not take what waiting requests have an eye on.
dispatcher_machine::impl::decision dispatcher_machine::impl::decide(open_call& c, bool waiting,
                                                                    time_point now, effects& out) {
  const snapshot& s = snapshot_of(c.ask.config_version);
  if (c.ask.model >= s.model_of.size() || s.model_of[c.ask.model] == npos) return {};
  route_request r;
  r.model = s.model_of[c.ask.model];
  if (c.ask.strategy != 0xff) r.strategy = static_cast<strategy>(c.ask.strategy);
  r.private_only = c.ask.private_only;
  r.retry_tried = c.ask.retry_tried;
  r.refused = c.ask.refused;
  r.tried = c.ask.tried;
  r.barred = c.ask.barred;
  r.input_tokens = c.ask.input_tokens;
  r.output_tokens = c.ask.max_output_tokens;
  r.random = c.ask.affinity != 0 ? c.ask.affinity : mix64(c.ask.id ^ seed_);
  r.now = now;
  const views seen(*this, c, s, now);
  router_.plan(*s.config, r, seen, plan_);

  asks_.clear();
  earliest_ = time_point::max();
  back_ = time_point::max();
  bool probing = false;
  for (const candidate& where : plan_.candidates) {
    const target_config& t = s.config->models[where.model].targets[where.target];
    known_target& target = targets_[target_of_[t.name]];
    if (target.state != breaker_state::closed && !target.probe_in_hand) {
      ask_probe(target, now, out);
      earliest_ = std::min(earliest_, target.probe_asked_at + silence);
      probing = true;
      continue;
    }
    if (target.state == breaker_state::closed && ask_key_probe(c, s, t, waiting, now)) break;
    if (try_candidate(c, s, where, waiting, now, out)) return {outcome::granted, verdict::granted, {}};
    if (collect_asks(c, s, t, now))
      break;  // its keys may well have room: worth the short wait for their answer
  }
  next_pass_ = std::min(next_pass_, earliest_);
  breakers_only_ = probing && asks_.empty();
  if (breakers_only_) back_ = std::min(back_, earliest_);
  if (asks_.empty() && earliest_ == time_point::max()) return refusal(c, seen, now);
  if (asks_.empty() && !probing) {
    // Only cooldowns have to end, or spent days, unless a probe opens another way before.
    const time_point hope = std::min(seen.probe_at, next_retry(s));
    if (std::min(hope, earliest_) >= c.since + c.ask.patience)
      return {outcome::refused, verdict::no_permit, estimate(asks_, back_, now)};
    if (hope > now) next_pass_ = std::min(next_pass_, hope);
  }
  return {outcome::wait, verdict::no_permit, {}};
}

/// When the first of the plan's open breakers may be probed.
time_point dispatcher_machine::impl::next_retry(const snapshot& s) const {
  time_point first = time_point::max();
  for (const candidate& o : plan_.open) {
    first = std::min(first, targets_[target_of_[s.config->models[o.model].targets[o.target].name]].retry_at);
  }
  return first;
}

dispatcher_machine::impl::decision dispatcher_machine::impl::refusal(const open_call& c, const views& seen,
                                                                     time_point now) const {
  if (!plan_.open.empty()) {
    const time_point retry = next_retry(snapshot_of(c.ask.config_version));
    return {outcome::refused, verdict::breakers_open, std::max<duration>(retry - now, 1s)};
  }
  if (plan_.unusable == 0) return {};
  if (seen.quarantined) {
    return {outcome::refused, verdict::keys_unusable, std::max<duration>(seen.probe_at - now, 1s)};
  }
  return {outcome::refused, seen.too_large ? verdict::too_large : verdict::no_candidate, {}};
}

/// Grants `where` if a permit for it is in hand.
bool dispatcher_machine::impl::try_candidate(open_call& c, const snapshot& s, const candidate& where,
                                             bool waiting, time_point now, effects& out) {
  const target_config& t = s.config->models[where.model].targets[where.target];
  token_count need;
  known_key* k = best_in_hand(c, s, t, waiting, now, need);
  if (k == nullptr || !k->book.take(need, now, c.draw)) return false;
  known_target& target = targets_[target_of_[t.name]];
  c.key = key_of_[k->name];
  c.target = target_of_[t.name];
  c.reserved = need;
  lower_reservation(c, t);
  c.breaker_probe = target.state != breaker_state::closed;
  if (c.breaker_probe) {
    target.probe_in_hand = false;
    target.probe_out = true;
  }
  target.stats.call_started();
  ++k->granted;
  k->last_granted = ++grants_;
  k->last_wanted = now;
  k->mean_need.input += (need.input - k->mean_need.input) / 16;
  k->mean_need.output += (need.output - k->mean_need.output) / 16;
  touch(*k);
  reply_granted(c, where, !plan_.first_choice || !(*plan_.first_choice == where), now, out);
  return true;
}

known_key* dispatcher_machine::impl::best_in_hand(const open_call& c, const snapshot& s,
                                                  const target_config& t, bool waiting, time_point now,
                                                  token_count& need) {
  const target_stats& stats = targets_[target_of_[t.name]].stats;
  known_key* best = nullptr;
  for (const std::uint32_t index : s.provider_keys[t.provider]) {
    known_key& k = keys_[index];
    if (k.book.permits() == 0 || !may_use(k, c, now) || (!waiting && k.interested > 0)) continue;
    if (k.quarantine != quarantine_reason::none && !k.book.holds_probe()) continue;
    time_point until;
    if (rests(k, c, t.name, now, until)) continue;
    if (best != nullptr && !better(k, *best)) continue;
    const auto reserved = reservation(c, stats, k.book.limits());
    if (!reserved) continue;
    if (!k.book.covers(*reserved, now)) continue;
    best = &k;
    need = *reserved;
  }
  return best;
}

/// Notes which keys could serve `t`; true when one of them may well have room.
bool dispatcher_machine::impl::collect_asks(const open_call& c, const snapshot& s, const target_config& t,
                                            time_point now) {
  bool room = false;
  const target_stats& stats = targets_[target_of_[t.name]].stats;
  for (const std::uint32_t index : s.provider_keys[t.provider]) {
    const known_key& k = keys_[index];
    if (asks_.size() >= max_asks || !may_use(k, c, now)) continue;
    const auto need = reservation(c, stats, k.book.limits());
    if (!need) continue;
    time_point until;
    const bool cools = rests(k, c, t.name, now, until);
    if (cools || k.spent_until > now) {
      until = cools ? until : k.spent_until;
      earliest_ = std::min(earliest_, until);
      back_ = std::min(back_, k.no_room ? std::max(until, k.room_at) : until);
      continue;
    }
    const bool asked =
        std::any_of(asks_.begin(), asks_.end(), [&](const key_ask& a) { return a.key == index; });
    if (asked) continue;
    key_ask a;
    a.key = index;
    a.room = has_room(k, now);
    a.probe = k.quarantine != quarantine_reason::none;
    a.target = t.name;
    a.need = *need;
    asks_.push_back(a);
    if (a.room) earliest_ = std::min(earliest_, (k.asked_waiting > 0 ? k.asked_since : now) + silence);
    room = room || a.room;
  }
  return room;
}

/// Whether `c` waits for the permit with which a quarantined key of `t` is probed, whatever else it could
/// use: where another key has room nobody would ever find out that this one is healed. One request in a while
/// does, and for no longer than a key takes to answer.
bool dispatcher_machine::impl::ask_key_probe(const open_call& c, const snapshot& s, const target_config& t,
                                             bool waiting, time_point now) {
  if (!waiting && (queue_.full() || c.ask.patience <= silence)) return false;
  for (const std::uint32_t index : s.provider_keys[t.provider]) {
    known_key& k = keys_[index];
    if (k.quarantine == quarantine_reason::none || k.book.holds_probe() || !may_use(k, c, now)) continue;
    const bool asked = waiting && std::any_of(c.group->asks.begin(), c.group->asks.end(),
                                              [&](const key_ask& a) { return a.key == index; });
    const auto need = reservation(c, targets_[target_of_[t.name]].stats, k.book.limits());
    time_point until;
    if (!need || rests(k, c, t.name, now, until)) continue;
    if (asked ? now >= k.probe_wanted_at + silence
              : waiting || k.interested > 0 || now < k.probe_wanted_at + probe_pause)
      continue;
    if (!asked) k.probe_wanted_at = now;
    key_ask a;
    a.key = index;
    a.room = a.probe = true;
    a.target = t.name;
    a.need = *need;
    asks_.push_back(a);
    earliest_ = std::min(earliest_, k.probe_wanted_at + silence);
    return true;
  }
  return false;
}

/// Whether `c` may ever use `k`, cooldowns and permits aside.
bool dispatcher_machine::impl::may_use(const known_key& k, const open_call& c, time_point now) const {
  if (!k.named || contains(c.ask.tried_keys, k.name)) return false;
  return k.quarantine == quarantine_reason::none || k.book.holds_probe() || now >= k.probe_at;
}

/// What to reserve; nullopt when the key's limits never allow it. An output that is only a guess is never the
/// reason.
std::optional<token_count> dispatcher_machine::impl::reservation(const open_call& c,
                                                                 const target_stats& stats,
                                                                 const key_limits& limits) {
  const bool guessed = c.ask.max_output_tokens < 0;
  token_count need{c.ask.input_tokens, guessed ? stats.p95_output_tokens() : c.ask.max_output_tokens};
  if (need.input > limits.tpm || need.input > limits.tpm_input) return std::nullopt;
  const std::int64_t most = std::min(limits.tpm_output, limits.tpm - need.input);
  if (guessed) need.output = std::min(need.output, most);
  if (need.output > most) return std::nullopt;
  return need;
}

/// Whether a key may well have a permit soon: nothing says otherwise, and it answers.
bool dispatcher_machine::impl::has_room(const known_key& k, time_point now) const {
  if (k.asked_waiting > 0 && now - k.asked_since >= silence) return false;
  if (!k.no_room || (now >= k.room_at && k.asked_waiting == 0)) return true;
  return std::max<duration>(k.room_at - now, {}) + backlog(k) <= short_wait;
}

/// Whether a request may be the probe of an open target, now or as soon as its breaker agrees. For a while
/// only those are taken who have the time to find anything out.
bool dispatcher_machine::impl::wants_probe(const known_target& t, const open_call& c, time_point now) const {
  if (t.state == breaker_state::closed || t.probe_out) return false;
  if (c.ask.patience < t.usual_silence() && now < t.retry_at + hasty_pause) return false;
  if (t.probe_in_hand) return true;
  return now >= t.retry_at && (!t.probe_asked || now - t.probe_asked_at < silence);
}

void dispatcher_machine::impl::ask_probe(known_target& t, time_point now, effects& out) {
  if (t.probe_asked) return;
  t.probe_asked = true;
  t.probe_asked_at = now;
  schedule(now + ask_probe_again);
  out.probe_requests.push_back(t.name);
}

/// Offers what is in hand to those who wait, in fair order; finds out anew what they wait for.
void dispatcher_machine::impl::serve_queue(time_point now, effects& out) {
  pass_needed_ = false;
  next_pass_ = time_point::max();
  ++pass_;
  queue_.serve([&](ticket id) {
    open_call& c = calls_.at(id);
    const decision d = decide(c, true, now, out);
    if (d.what == outcome::wait) {
      set_asks(*c.group, now);
      for (const key_ask& a : c.group->asks) set_head(a);
      return fair_queue::offer(fair_queue::offer::blocked);
    }
    leave_group(c);
    if (d.what == outcome::granted) return fair_queue::offer(fair_queue::offer::taken, fair_cost(c));
    refuse(c, d.verdict, d.retry_after, now, out);
    calls_.erase(id);
    return fair_queue::offer(fair_queue::offer::dropped);
  });
  refuse_surplus(now, out);
}

/// What a request pays for its turn: what is reserved now, for all alike, however much was known when they
/// came. A wild guess would be a debt for a long time, so output that nobody can estimate yet is free.
std::int64_t dispatcher_machine::impl::fair_cost(const open_call& c) const {
  const bool unknown = c.ask.max_output_tokens < 0 && !targets_[c.target].stats.output_learned();
  return std::max<std::int64_t>(c.reserved.input + (unknown ? 0 : c.reserved.output), 1);
}

/// Whoever left is forgotten when there is reason to.
void dispatcher_machine::impl::note_asking(ticket id) {
  if (asking_.size() >= 2 * (queue_.size() + max_asking)) {
    std::erase_if(asking_, [this](ticket t) {
      const auto it = calls_.find(t);
      return it == calls_.end() || it->second.at != open_call::phase::waiting;
    });
  }
  asking_.push_back(id);
}

/// Those that came beyond the queue's bound and know by now that there is no room, the newest first.
void dispatcher_machine::impl::refuse_surplus(time_point now, effects& out) {
  for (size_t i = asking_.size(); i > 0 && queue_.over(); --i) {
    const auto it = calls_.find(asking_[i - 1]);
    if (it == calls_.end() || it->second.group == nullptr) continue;
    open_call& c = it->second;
    if (c.group->breakers_only || any_room(c.group->asks)) continue;
    asks_ = c.group->asks;
    const time_point back = c.group->back;
    queue_.cancel(c.ask.id);
    leave_group(c);
    refuse(c, verdict::queue_full, estimate(asks_, back, now), now, out);
    calls_.erase(it);
    pass_needed_ = true;
  }
  if (!queue_.over()) asking_.clear();
}

}  // namespace millrace::engine
