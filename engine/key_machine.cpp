#include "engine/key_machine.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {

namespace {

constexpr window_shape paced_minute{
    .span = 60s, .slot = 250ms, .margin = 0s, .ahead = key_machine::lease_life};
constexpr window_shape paced_day{.span = 24h, .slot = 6min, .margin = 0s, .ahead = key_machine::lease_life};
/// An answer whose request limit takes longer to reset speaks of the day, not of the minute.
constexpr duration longest_minute_reset = 2min;
/// Larger demands are cut to these; they keep sums far from overflow.
constexpr std::int64_t most_permits = 1'000'000'000;
constexpr std::int64_t most_tokens = 1'000'000'000'000'000;

window_shape with_margin(window_shape shape, duration margin) {
  shape.margin = margin;
  return shape;
}

token_count bounded(const token_count& t) {
  return {std::clamp<std::int64_t>(t.input, 0, most_tokens),
          std::clamp<std::int64_t>(t.output, 0, most_tokens)};
}

}  // namespace

key_machine::key_machine(std::string name, const key_limits& limits, duration margin, duration quarantine_for,
                         time_point now, const origin& from)
    : name_(std::move(name)),
      limits_(limits),
      quarantine_for_(quarantine_for),
      requests_(limits.rpm, with_margin(paced_minute, margin), paced_window::pacing::even, now),
      input_(limits.tpm_input, with_margin(paced_minute, margin), paced_window::pacing::even, now),
      output_(limits.tpm_output, with_margin(paced_minute, margin), paced_window::pacing::even, now),
      total_(limits.tpm, with_margin(paced_minute, margin), paced_window::pacing::even, now),
      day_(limits.rpd, with_margin(paced_day, margin), paced_window::pacing::none, now),
      others_until_(from.others_until),
      next_lease_(from.first_lease),
      not_before_(now),
      looked_at_(now - used_pause) {
  requests_.import_use(from.use.rpm, now);
  input_.import_use(from.use.tpm_input, now);
  output_.import_use(from.use.tpm_output, now);
  total_.import_use(from.use.tpm, now);
  day_.import_use(from.use.rpd, now);
  health_.go_on(from.use.cooldowns, now);
  assume_spent(now);
}

/// Fills the windows with what an earlier home may have granted.
void key_machine::assume_spent(time_point now) {
  if (others_until_ == time_point::min()) return;
  for (paced_window* w : {&requests_, &input_, &output_, &total_, &day_}) w->assume_spent(others_until_, now);
}

void key_machine::reconfigure(const key_limits& limits, duration margin, duration quarantine_for,
                              time_point now, outbox& out) {
  limits_ = limits;
  quarantine_for_ = quarantine_for;
  requests_.set_limit(limits.rpm, margin, now);
  input_.set_limit(limits.tpm_input, margin, now);
  output_.set_limit(limits.tpm_output, margin, now);
  total_.set_limit(limits.tpm, margin, now);
  day_.set_limit(limits.rpd, margin, now);
  assume_spent(now);
  health_.lift_quarantine();
  drop_what_never_fits();
  not_before_ = now;
  tell_all(now, out);
  serve(now, out);
}

void key_machine::request(const lease_request& r, time_point now, outbox& out) {
  node_state* n = find_or_add(r.node, now);
  if (n == nullptr) return;
  set_demand(*n, r);
  const size_t before = out.size();
  serve(now, out);
  const bool answered = std::any_of(out.begin() + static_cast<std::ptrdiff_t>(before), out.end(),
                                    [&](const outgoing& o) { return o.node == n->name; });
  if (!answered) out.push_back({n->name, std::nullopt, notice_for(n, now)});
  tell_used(now, out);
}

void key_machine::report(const lease_report& r, time_point now, outbox& out) {
  ++changes_;
  node_state* n = find_or_add(r.node, now);
  for (const lease_use& u : r.used) {
    use(u, now);
    if (n != nullptr) {
      n->in_flight += std::max<std::int64_t>(u.permits, 0);
      in_flight_ += std::max<std::int64_t>(u.permits, 0);
    }
  }
  for (const lease_return& back : r.returned) give_back(back, now);
  if (n != nullptr) {
    const std::int64_t ended = std::clamp<std::int64_t>(r.finished, 0, n->in_flight);
    n->in_flight -= ended;
    in_flight_ -= ended;
  }
  const token_count debt = bounded(r.debt);
  input_.charge(debt.input, now);
  output_.charge(debt.output, now);
  total_.charge(debt.total(), now);
  for (const limit_hint& h : r.hints) apply(h, now);
  if (!r.hints.empty()) drop_what_never_fits();
  bool changed = false;
  for (const key_event& e : r.events) changed = health_.on_event(e, quarantine_for_, now) || changed;
  const bool spent = spent_for(now) > duration::zero();
  changed = std::exchange(told_spent_, spent) != spent || changed;
  if (changed) tell_all(now, out);
  serve(now, out);
  // What others use of the key, or debt, may have put off what the nodes were told.
  const bool more_used = !r.hints.empty() || debt.total() > 0;
  if (more_used) tell_later(whom::waiting, now, out);
  if (more_used || r.finished > 0 || !r.returned.empty()) look_soon();
  tell_used(now, out);
}

void key_machine::advance(time_point now, outbox& out) {
  serve(now, out);
  tell_used(now, out);
}

void key_machine::forget_node(const std::string& node, time_point now) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return;
  node_state& n = found->second;
  drop_demand(n);
  in_flight_ -= n.in_flight;
  for (auto l = leases_.begin(); l != leases_.end();) {
    const auto next = std::next(l);
    if (l->second.owner == &n) forget_lease(l);
    l = next;
  }
  nodes_.erase(found);
  not_before_ = now;
  look_soon();
}

key_machine::node_state* key_machine::find_or_add(const std::string& node, time_point now) {
  auto found = nodes_.find(node);
  if (found == nodes_.end()) {
    if (nodes_.size() >= max_nodes) {
      auto idle = nodes_.end();
      for (auto n = nodes_.begin(); n != nodes_.end(); ++n) {
        if (n->second.in_flight > 0 || n->second.leases > 0 || n->second.demand.permits > 0) continue;
        if (idle == nodes_.end() || n->second.seen < idle->second.seen) idle = n;
      }
      if (idle == nodes_.end()) return nullptr;
      nodes_.erase(idle);
    }
    found = nodes_.emplace(node, node_state{}).first;
    found->second.name = node;
  }
  found->second.seen = now;
  return &found->second;
}

void key_machine::set_demand(node_state& n, const lease_request& r) {
  if (r.permits <= 0 || !ever_fits(bounded(r.head))) {
    drop_demand(n);
    return;
  }
  // The place in the line is kept: asking again neither gains nor loses a turn.
  if (n.demand.permits == 0) line_.push_back(&n);
  n.demand = r;
  lease_request& d = n.demand;
  d.permits = std::min(d.permits, most_permits);
  d.waiting = std::clamp<std::int64_t>(d.waiting, 0, d.permits);
  d.head = bounded(d.head);
  d.tokens = bounded(d.tokens);
  d.tokens.input = std::max(d.tokens.input, d.head.input);
  d.tokens.output = std::max(d.tokens.output, d.head.output);
}

void key_machine::drop_demand(node_state& n) {
  if (n.demand.permits == 0) return;
  n.demand = {};
  line_.erase(std::find(line_.begin(), line_.end(), &n));
}

bool key_machine::ever_fits(const token_count& head) const {
  return std::min({requests_.limit(), day_.limit(), limits_.concurrency}) >= 1 &&
         head.input <= input_.limit() && head.output <= output_.limit() && head.total() <= total_.limit();
}

/// It would hold up those behind it for nothing.
void key_machine::drop_what_never_fits() {
  for (auto& [name, n] : nodes_) {
    if (!ever_fits(n.demand.head)) drop_demand(n);
  }
}

void key_machine::grant(node_state& n, const portion& p, bool probe, time_point now, outbox& out) {
  const lease l{.owner = &n,
                .granted_at = now,
                .permits = p.permits,
                .input = p.tokens.input,
                .output = p.tokens.output,
                .total = p.tokens.total(),
                .probe = probe};
  requests_.take(l.permits, l.end(), now);
  day_.take(l.permits, l.end(), now);
  input_.take(l.input, l.end(), now);
  output_.take(l.output, l.end(), now);
  total_.take(l.total, l.end(), now);
  leased_ += l.permits;
  told_spent_ = false;
  ++changes_;
  ++n.leases;
  leases_.emplace_hint(leases_.end(), next_lease_, l);
  if (probe) health_.probe_granted(lease_life, now);
  out.push_back({n.name, lease_grant{next_lease_, p.permits, p.tokens, lease_life, probe}, {}});
  ++next_lease_;
}

void key_machine::use(const lease_use& u, time_point now) {
  const auto found = leases_.find(u.lease);
  if (found == leases_.end()) return;  // forgotten: it stays counted where it was granted
  const lease& l = found->second;
  const std::int64_t permits = std::clamp<std::int64_t>(u.permits, 0, most_permits);
  const token_count tokens = bounded(u.tokens);
  // The report took its time, so this is rather too late than too early; and no use is outside its lease's
  // life.
  const time_point at = std::clamp(now - std::max(u.age, duration::zero()), l.granted_at, l.end());
  const auto settle = [&](paced_window& w, std::int64_t amount, std::int64_t held) {
    w.move(std::min(amount, held), l.end(), at, now);
    w.charge(amount - held, now);
  };
  settle(requests_, permits, l.permits);
  settle(day_, permits, l.permits);
  settle(input_, tokens.input, l.input);
  settle(output_, tokens.output, l.output);
  settle(total_, tokens.total(), l.total);
  if (l.probe) health_.probe_used(quarantine_for_, now);
  shrink(found, permits, tokens);
}

void key_machine::give_back(const lease_return& r, time_point now) {
  const auto found = leases_.find(r.lease);
  if (found == leases_.end()) return;
  const lease& l = found->second;
  const std::int64_t permits = std::clamp<std::int64_t>(r.permits, 0, l.permits);
  const token_count tokens = bounded(r.tokens);
  requests_.give_back(permits, l.end(), now);
  day_.give_back(permits, l.end(), now);
  input_.give_back(std::min(tokens.input, l.input), l.end(), now);
  output_.give_back(std::min(tokens.output, l.output), l.end(), now);
  total_.give_back(std::min(tokens.total(), l.total), l.end(), now);
  if (l.probe && permits > 0) health_.probe_returned(now);
  shrink(found, permits, tokens);
}

void key_machine::shrink(lease_map::iterator l, std::int64_t permits, const token_count& tokens) {
  lease& x = l->second;
  const std::int64_t taken = std::min(permits, x.permits);
  x.permits -= taken;
  leased_ -= taken;
  x.input -= std::min(tokens.input, x.input);
  x.output -= std::min(tokens.output, x.output);
  x.total -= std::min(tokens.total(), x.total);
  if (x.permits == 0 && x.total == 0) forget_lease(l);
}

void key_machine::forget_lease(lease_map::iterator l) {
  leased_ -= l->second.permits;
  --l->second.owner->leases;
  leases_.erase(l);
}

void key_machine::apply(const limit_hint& h, time_point now) {
  paced_window& requests = h.reset_requests > longest_minute_reset ? day_ : requests_;
  requests.hint_limit(h.limit_requests);
  requests.observe_remaining(h.remaining_requests, h.reset_requests, now);
  input_.hint_limit(h.limit_apart.input);
  input_.observe_remaining(h.remaining_apart.input, h.reset_input, now);
  output_.hint_limit(h.limit_apart.output);
  output_.observe_remaining(h.remaining_apart.output, h.reset_output, now);
  // A key with limits for input and output apart has none for the sum that the answer could speak of.
  if (limits_.tpm_input != unlimited || limits_.tpm_output != unlimited) return;
  total_.hint_limit(h.limit_tokens);
  total_.observe_remaining(h.remaining_tokens, h.reset_tokens, now);
}

key_use key_machine::export_use(time_point now) {
  key_use u;
  u.key = name_;
  u.changes = changes_;
  u.rpm = requests_.export_use(key_use::unheard, now);
  u.tpm = total_.export_use(key_use::unheard, now);
  u.tpm_input = input_.export_use(key_use::unheard, now);
  u.tpm_output = output_.export_use(key_use::unheard, now);
  u.rpd = day_.export_use(key_use::unheard, now);
  u.cooldowns = health_.cooldowns(now);
  // A permit counts in both, so the minute's pace bounds the day's use, too.
  if (requests_.limit() != unlimited && day_.limit() != unlimited)
    u.rpd.soon = std::min(u.rpm.soon, day_.limit());
  return u;
}

}  // namespace millrace::engine
