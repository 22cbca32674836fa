// The life of a request in the dispatcher: asked, perhaps waiting, granted, sent, settled.
#include <algorithm>

#include "engine/dispatcher_impl.hpp"
#include "engine/key_health.hpp"

namespace millrace::engine {

namespace {

/// Successes are told to a breaker when there are so many, or after this time.
constexpr std::int64_t successes_at_once = 64;
constexpr duration successes_within = 1s;

/// A node at its bound of requests says so with this retry-after.
constexpr duration busy_retry = 1s;

std::uint64_t combine(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 0x100000001b3ULL + (hash >> 29);
}

/// Whether the end of a call is all that it takes to have room.
bool only_concurrency(key_limits l) {
  return std::exchange(l.concurrency, unlimited) != unlimited && l == key_limits{};
}

/// Equal for requests that the same candidates can serve.
std::uint64_t signature_of(const acquire_request& r) {
  std::uint64_t h = combine(0xcbf29ce484222325ULL, r.config_version);
  h = combine(h, r.model);
  h = combine(h, static_cast<std::uint64_t>(r.refused));
  h = combine(h, (std::uint64_t{r.strategy} << 2) | (r.private_only ? 2U : 0U) | (r.retry_tried ? 1U : 0U));
  for (const name_id t : r.tried) h = combine(h, t);
  h = combine(h, 0xffffffffffULL);
  for (const name_id k : r.tried_keys) h = combine(h, k);
  h = combine(h, 0xffffffffffULL);
  for (const name_id t : r.barred) h = combine(h, t);
  h = combine(h, 0xffffffffffULL);
  for (const key_rest& k : r.rests)
    h = combine(combine(combine(h, k.key), k.target),
                static_cast<std::uint64_t>(k.until.time_since_epoch().count()));
  return h;
}

/// Those who always choose alike wait apart from those who choose otherwise: another's busy group is not in
/// their way.
std::uint64_t with_choice(std::uint64_t h, const route_plan& plan) {
  if (plan.candidates.empty()) return h;
  const candidate& first = plan.candidates.front();
  return combine(combine(h, first.model), first.target);
}

queue_class lane_of(const acquire_request& r) {
  return static_cast<queue_class>(std::min<std::uint8_t>(r.queue, queue_classes - 1));
}

bool is_breaker_failure(attempt_outcome o) {
  return o == attempt_outcome::failed || o == attempt_outcome::timed_out;
}

/// The provider answered, whatever it thinks of the key.
bool answered(attempt_outcome o) {
  return o == attempt_outcome::ok || o == attempt_outcome::rate_limited ||
         o == attempt_outcome::unauthorized || o == attempt_outcome::no_credit;
}

}  // namespace

/// Counts a request that needs no permit against its client's own limit.
void dispatcher_machine::impl::count(const acquire_request& r, time_point now, effects& out) {
  const client_charge charge = clients_.charge(r.client, r.route, 0, now);
  acquire_reply reply;
  reply.id = r.id;
  reply.verdict = charge.allowed ? verdict::granted : verdict::client_limited;
  reply.retry_after = charge.retry_after;
  reply.client_requests = charge.windows.requests;
  reply.client_tokens = charge.windows.tokens;
  out.replies.push_back(reply);
}

void dispatcher_machine::impl::acquire(const acquire_request& r, time_point now, effects& out) {
  if (r.only_count) {
    count(r, now, out);
    return;
  }
  if (const auto old = calls_.find(r.id);
      old != calls_.end()) {  // its asker forgot to settle: never leak a permit
    release(old->second, now);
    calls_.erase(old);
  }
  const auto slot = calls_.try_emplace(r.id).first;
  open_call& c = slot->second;
  c.ask = r;
  std::erase_if(c.ask.rests, [&](const key_rest& k) { return k.until <= now; });
  c.since = now;
  const snapshot& s = snapshot_of(r.config_version);
  std::int64_t output = target_stats::default_output_tokens;
  if (r.model < s.model_of.size() && s.model_of[r.model] != npos) {
    const auto& targets = s.config->models[s.model_of[r.model]].targets;
    if (!targets.empty()) output = targets_[target_of_[targets.front().name]].stats.p95_output_tokens();
  }
  c.want = {r.input_tokens, r.max_output_tokens < 0 ? output : r.max_output_tokens};

  bool open = false;
  if (calls_.size() - queue_.size() > max_tickets) {
    refuse(c, verdict::queue_full, busy_retry, now, out);
  } else if (charge_client(c, now, out)) {
    const decision d = decide(c, false, now, out);
    open = d.what != outcome::refused;
    if (d.what == outcome::granted) {
      add_spares(c, now, out);
    } else if (d.what == outcome::wait) {
      enqueue(c, now, out);
      open = c.group != nullptr;
    } else if (d.what == outcome::refused) {
      refuse(c, d.verdict, d.retry_after, now, out);
    }
  }
  if (!open) calls_.erase(slot);
  finish(now, out);
}

/// False when the client's own limits or budgets refuse the request; the refusal is sent then.
bool dispatcher_machine::impl::charge_client(open_call& c, time_point now, effects& out) {
  const std::int64_t tokens = c.want.total();
  c.charged_at = now;
  if (!within_budget(c, now, out)) return false;
  if (!c.ask.first) {  // the request was counted, and the tokens of the attempt before were given back
    clients_.settle(c.ask.client, 0, tokens, now, now);
    c.client_tokens = tokens;
    return true;
  }
  const client_charge charge = clients_.charge(c.ask.client, c.ask.route, tokens, now);
  c.client_requests = charge.windows.requests;
  c.client_token_window = charge.windows.tokens;
  if (charge.allowed) {
    c.client_tokens = tokens;
    return true;
  }
  refuse(c, charge.too_large ? verdict::too_large : verdict::client_limited, charge.retry_after, now, out);
  return false;
}

/// Whether permits like the one just granted to `like` are so plentiful, and its target so well, that some
/// may be handed out ahead of need without anybody missing them or another choice being better a moment
/// later.
bool dispatcher_machine::impl::plentiful(const open_call& like) const {
  const known_key& k = keys_[like.key];
  const known_target& t = targets_[like.target];
  const acquire_request& r = like.ask;
  const bool plain = r.first && r.tried.empty() && r.tried_keys.empty() && r.barred.empty() && !r.retry_tried;
  const bool well = t.state == breaker_state::closed && t.consecutive_failures == 0 && k.cooldowns.empty() &&
                    k.quarantine == quarantine_reason::none && !like.draw.probe;
  const bool unlimited_client = like.client_requests.limit < 0 && like.client_token_window.limit < 0 &&
                                !budgets_.limited(r.client, r.tenant);
  const model_config& m =
      snapshot_of(r.config_version).config->models[snapshot_of(r.config_version).model_of[r.model]];
  const auto chosen = r.strategy == 0xff ? m.strategy : static_cast<strategy>(r.strategy);
  const bool fixed = m.groups.empty() && (chosen == strategy::cost || chosen == strategy::quality);
  const bool stable = plan_.too_small == 0 && (plan_.candidates.size() == 1 || fixed);
  return plain && well && unlimited_client && stable && queue_.empty();
}

/// Grants some more permits like the one just granted, for requests that are yet to come.
void dispatcher_machine::impl::add_spares(const open_call& like, time_point now, effects& out) {
  known_key& k = keys_[like.key];
  const std::int64_t most =
      std::min<std::int64_t>({like.ask.spares, max_spares, k.book.permits() / spare_part});
  if (most < 1 || !plentiful(like)) return;
  acquire_reply r = out.replies.back();
  r.spare = true;
  r.spare_class = {like.ask.config_version, like.ask.model, like.ask.client, like.ask.strategy,
                   like.ask.private_only};
  r.context_tokens =
      snapshot_of(like.ask.config_version).config->models[r.model].targets[r.target_index].context_tokens;
  r.tokens_limited = k.book.limits().tpm != unlimited || k.book.limits().tpm_input != unlimited ||
                     k.book.limits().tpm_output != unlimited;
  for (std::int64_t i = 0; i < most && calls_.size() < max_tickets; ++i) {
    const auto [slot, fresh] = calls_.try_emplace(like.ask.first_spare + static_cast<ticket>(i));
    open_call& c = slot->second;
    if (!fresh) return;
    if (!k.book.take(like.reserved, now, c.draw)) {
      calls_.erase(slot);
      return;
    }
    c.ask = like.ask;
    c.ask.id = slot->first;
    c.since = now;
    c.at = open_call::phase::granted;
    c.key = like.key;
    c.target = like.target;
    c.reserved = like.reserved;
    c.spare = true;
    ++spares_;
    r.id = slot->first;
    r.valid_for = c.draw.until - now;
    out.replies.push_back(r);
  }
}

void dispatcher_machine::impl::enqueue(open_call& c, time_point now, effects& out) {
  revoke_spares(out);
  c.signature = signature_of(c.ask);
  if (c.ask.affinity != 0 || plan_.too_small > 0) c.signature = with_choice(c.signature, plan_);
  const bool asks = breakers_only_ || any_room(asks_);
  const fair_queue::item item{
      .id = c.ask.id,
      .lane = lane_of(c.ask),
      .tenant = c.ask.tenant,
      .signature = c.signature,
      .cost = c.want.total(),
      .since = now,
      .deadline =
          now + (c.ask.patience > duration{} || !asks ? std::max(c.ask.patience, duration{}) : silence)};
  const bool beyond = queue_.full();
  if (!queue_.push(item, asks ? max_asking : 0)) {
    refuse(c, verdict::queue_full, estimate(asks_, back_, now), now, out);
    return;
  }
  if (beyond) note_asking(c.ask.id);
  lanes_[static_cast<size_t>(item.lane)].joined.add(queue_.depth(item.lane));
  call_group& g = groups_[c.signature];
  const bool first = g.count == 0;
  uncount_asks(g);
  ++g.count;
  g.tokens.input += c.want.input;
  g.tokens.output += c.want.output;
  count_asks(g);
  c.group = &g;
  if (!first) {  // those before it found out what to ask for
    for (const key_ask& a : g.asks) keys_[a.key].last_wanted = now;
    return;
  }
  set_asks(g, now);
  for (const key_ask& a : g.asks) {
    if (keys_[a.key].interested == a.counted) set_head(a);
  }
}

void dispatcher_machine::impl::reply_granted(open_call& c, const candidate& where, bool fallback,
                                             time_point now, effects& out) {
  c.at = open_call::phase::granted;
  acquire_reply r;
  r.id = c.ask.id;
  r.verdict = verdict::granted;
  r.target = targets_[c.target].name;
  r.model = where.model;
  r.target_index = where.target;
  r.key = keys_[c.key].name;
  r.valid_for = c.draw.until - now;
  r.reserved = c.reserved;
  r.p95_first_token = targets_[c.target].stats.p95_first_token();
  r.p95_first_byte = targets_[c.target].stats.p95_first_byte();
  r.probe = c.breaker_probe || c.draw.probe;
  r.fallback = fallback;
  r.waited = now - c.since;
  r.client_requests = c.client_requests;
  r.client_tokens = c.client_token_window;
  lane_counts& lane = lanes_[static_cast<size_t>(lane_of(c.ask))];
  ++lane.granted;
  lane.total_wait += r.waited;
  out.replies.push_back(r);
}

/// Says no. What the client was charged is given back; the caller forgets the call.
void dispatcher_machine::impl::refuse(const open_call& c, verdict v, duration retry_after, time_point now,
                                      effects& out) {
  clients_.settle(c.ask.client, c.client_tokens, 0, c.charged_at, now);
  budgets_.settle(c.ask.client, c.ask.tenant, c.reserved_money, {}, wall_);
  acquire_reply r;
  r.id = c.ask.id;
  r.verdict = v;
  r.retry_after = retry_after;
  r.waited = now - c.since;
  r.client_requests = c.client_requests;
  r.client_tokens = c.client_token_window;
  if (v != verdict::client_limited) ++lanes_[static_cast<size_t>(lane_of(c.ask))].refused;
  out.replies.push_back(r);
}

void dispatcher_machine::impl::refuse_expired(time_point now, effects& out) {
  expired_.clear();
  queue_.expire(now, expired_);
  for (const ticket id : expired_) {
    open_call& c = calls_.at(id);
    const bool probing = c.group->breakers_only;
    asks_ = c.group->asks;
    const time_point back = c.group->back;
    leave_group(c);  // first: it does not stand in its own way
    const duration retry = estimate(asks_, back, now);
    refuse(c, probing ? verdict::breakers_open : verdict::no_permit, retry, now, out);
    calls_.erase(id);
    pass_needed_ = true;  // it may have been the head of a key's demand
  }
}

void dispatcher_machine::impl::cancel(ticket id, time_point now, effects& out) {
  const auto it = calls_.find(id);
  if (it == calls_.end() || it->second.at == open_call::phase::sent) return;
  open_call& c = it->second;
  if (c.at == open_call::phase::waiting) {
    clients_.settle(c.ask.client, c.client_tokens, 0, c.charged_at, now);
    release(c, now);
    calls_.erase(it);
    finish(now, out);
    return;
  }
  settlement unused;
  unused.id = id;
  unused.outcome = attempt_outcome::unused;
  settle(unused, now, out);
}

/// Takes a call that will not be settled out of the queue, or gives its permit back.
void dispatcher_machine::impl::release(open_call& c, time_point now) {
  pass_needed_ = pass_needed_ || c.at != open_call::phase::sent;
  settle_money(c, {});
  if (c.at == open_call::phase::waiting) {
    queue_.cancel(c.ask.id);
    leave_group(c);
    return;
  }
  known_key& k = keys_[c.key];
  if (c.at == open_call::phase::granted) {
    k.book.give_back(c.draw, now);
    if (k.quarantine != quarantine_reason::none && !c.draw.probe) k.book.drop_all(now);
  } else {
    --k.in_flight;
    k.book.finished(now);
    // Its place is free, and nobody stands before whoever comes next.
    if (k.interested == 0 && only_concurrency(k.book.limits())) k.no_room = false;
  }
  touch(k);
  if (c.spare) {
    --spares_;
    return;
  }
  known_target& t = targets_[c.target];
  t.stats.call_ended();
  if (c.breaker_probe) t.probe_out = false;
}

void dispatcher_machine::impl::sent(const sent_report& r, time_point now, effects& out) {
  const auto it = calls_.find(r.id);
  if (it == calls_.end() || it->second.at != open_call::phase::granted) return;
  open_call& c = it->second;
  c.at = open_call::phase::sent;
  known_key& k = keys_[c.key];
  if (c.spare) {  // from now on a call like any other
    c.spare = false;
    --spares_;
    targets_[c.target].stats.call_started();
    ++lanes_[static_cast<size_t>(lane_of(c.ask))].granted;
    ++k.granted;
    k.last_granted = ++grants_;
    k.last_wanted = now;
  }
  ++k.in_flight;
  const time_point at = now - std::max(r.age, duration{});
  k.book.used(c.draw, at, now);
  k.use.sent(c.reserved, at, now);
  touch(k);
  finish(now, out);
}

void dispatcher_machine::impl::settle(const settlement& s, time_point now, effects& out) {
  const auto it = calls_.find(s.id);
  if (it == calls_.end()) return;
  open_call& c = it->second;
  settle_client(c, s, now);
  settle_money(c, s.cost);
  const bool well = s.outcome == attempt_outcome::ok || s.outcome == attempt_outcome::unused ||
                    s.outcome == attempt_outcome::cancelled;
  if (!well) revoke_spares(out);
  if (c.at != open_call::phase::waiting) {
    settle_key(c, s, now);
    settle_target(c, s, now, out);
  }
  release(c, now);
  calls_.erase(it);
  finish(now, out);
}

/// A call that was refused, by whatever status, or failed before any content, cost the client nothing and
/// gives everything back; one whose cost nobody knows keeps its reservation, a stream that was cut among
/// them.
void dispatcher_machine::impl::settle_client(const open_call& c, const settlement& s, time_point now) {
  const bool failed = s.outcome == attempt_outcome::failed && s.first_token == duration{};
  const bool refused = s.outcome != attempt_outcome::ok && answered(s.outcome);
  const bool free = c.at != open_call::phase::sent || failed || refused || s.billed_nothing;
  const std::int64_t unknown = free ? 0 : c.client_tokens;
  clients_.settle(c.ask.client, c.client_tokens, s.usage_known ? s.used.total() : unknown, c.charged_at, now);
}

void dispatcher_machine::impl::settle_key(open_call& c, const settlement& s, time_point now) {
  known_key& k = keys_[c.key];
  if (c.at != open_call::phase::sent) return;
  if (s.usage_known) {
    const bool summed = k.book.limits().tpm != unlimited;
    const std::int64_t input = s.used.input - c.reserved.input;
    const std::int64_t output = s.used.output - c.reserved.output;
    const token_count over =
        summed ? token_count{0, std::max<std::int64_t>(input + output, 0)}
               : token_count{std::max<std::int64_t>(input, 0), std::max<std::int64_t>(output, 0)};
    if (over.total() > 0) {
      k.book.debt(over, now);
      k.use.debt(over, now);
    }
  }
  if (!s.hint.empty()) k.book.hint(s.hint, now);
  if (s.outcome == attempt_outcome::ok) {
    const name_id target = targets_[c.target].name;
    const auto cooled =
        std::find_if(k.cooldowns.begin(), k.cooldowns.end(),
                     [&](const known_key::cooling& x) { return x.target == target && x.until <= now; });
    const bool trouble = cooled != k.cooldowns.end();
    if (trouble) k.cooldowns.erase(cooled);
    if (trouble || c.draw.probe) k.book.event({key_event_kind::ok, target_text(target), {}}, now);
    return;
  }
  note_refusal(k, c, s, now);
}

/// The provider refused the key. It is told at once, and this node heeds it without waiting for the answer.
void dispatcher_machine::impl::note_refusal(known_key& k, const open_call& c, const settlement& s,
                                            time_point now) {
  const name_id target = targets_[c.target].name;
  key_event e;
  e.target = target_text(target);
  e.retry_after = s.retry_after;
  if (s.outcome == attempt_outcome::rate_limited) {
    e.kind = key_event_kind::rate_limited;
    const duration asked = std::min(s.retry_after, key_health::longest_asked);
    // Without a time the key's owner may say more, never less.
    k.cool(target, now + (asked > duration{} ? asked : unasked_key_cooldown(1)));
  } else if (s.outcome == attempt_outcome::unauthorized || s.outcome == attempt_outcome::no_credit) {
    const bool credit = s.outcome == attempt_outcome::no_credit;
    e.kind = credit ? key_event_kind::no_credit : key_event_kind::unauthorized;
    k.quarantine = credit ? quarantine_reason::no_credit : quarantine_reason::unauthorized;
    k.probe_at = now + snapshots_.back().config->limits.quarantine;
    k.book.drop_all(now);
  } else {
    return;
  }
  k.book.event(std::move(e), now);
  pass_needed_ = true;
}

/// Its breaker opens now, unless other nodes fare better: until it has said so nobody else is sent there, and
/// whoever wants to go asks it.
void dispatcher_machine::impl::presume_open(known_target& t, time_point now, effects& out) {
  t.state = breaker_state::open;
  t.retry_at = now - hasty_pause;
  pass_needed_ = true;
  out.health_changes.push_back({t.name, health_change::kind::breaker_open});
}

void dispatcher_machine::impl::settle_target(open_call& c, const settlement& s, time_point now,
                                             effects& out) {
  known_target& t = targets_[c.target];
  const bool was_sent = c.at == open_call::phase::sent;
  if (was_sent && s.outcome == attempt_outcome::ok && (s.usage_known || s.first_token > duration{})) {
    t.stats.record({s.first_token, s.total, s.usage_known ? s.used.output : 0, s.first_byte}, now);
  }
  if (c.breaker_probe) {
    t.probe_out = false;
    breaker_report r;
    r.probe = true;
    // Whoever gave it up found something out if there was an answer, or none for long enough.
    const bool given_up =
        was_sent && !s.billed_nothing &&
        (s.outcome == attempt_outcome::out_of_time || s.outcome == attempt_outcome::cancelled);
    const bool heard = s.first_token > duration{} || s.first_byte > duration{};
    const bool silent = given_up && !heard && s.total >= t.telling_silence();
    r.failures = is_breaker_failure(s.outcome) || silent ? 1 : 0;
    r.successes = was_sent && (answered(s.outcome) || (given_up && heard)) ? 1 : 0;
    r.probe_unused = r.failures + r.successes == 0;
    if (r.probe_unused) t.retry_at = given_up ? now + hasty_pause : now;
    send_outcomes(t, r, out);
  } else if (is_breaker_failure(s.outcome)) {
    breaker_report r;
    r.failures = 1;
    if (t.state == breaker_state::closed && ++t.consecutive_failures >= t.opens_after)
      presume_open(t, now, out);
    send_outcomes(t, r, out);
  } else if (was_sent && s.outcome == attempt_outcome::ok) {
    if (t.state == breaker_state::closed) t.consecutive_failures = 0;
    if (++t.successes >= successes_at_once) {
      send_outcomes(t, {}, out);
    } else if (t.report_due == time_point::max()) {
      t.report_due = now + successes_within;
      schedule(t.report_due);
    }
  }
}

}  // namespace millrace::engine
