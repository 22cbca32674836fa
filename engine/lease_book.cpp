#include "engine/lease_book.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {

namespace {

/// Hints and events that wait to be told; they are told at once, so more would be a caller that never
/// collects.
constexpr size_t max_hints = 4;
constexpr size_t max_events = 64;

/// With one limit for both sorts, only the sum matters and the book keeps it as input.
token_count as_limited(const token_count& t, const key_limits& limits) {
  return limits.tpm == unlimited ? t : token_count{t.total(), 0};
}

}  // namespace

bool lease_book::enough(const token_count& have, const token_count& need) const {
  const bool input_counts = limits_.tpm != unlimited || limits_.tpm_input != unlimited;
  const bool output_counts = limits_.tpm == unlimited && limits_.tpm_output != unlimited;
  return (!input_counts || have.input >= need.input) && (!output_counts || have.output >= need.output);
}

void lease_book::add(const lease_grant& g, time_point now) {
  lease l{g.lease, g.permits, as_limited(g.tokens, limits_), now + g.life - transit_allowance, g.probe};
  if (l.until - shortest_validity <= now) {
    give_up(l, now);
    return;
  }
  if (leases_.size() >= max_leases) pop_front(now);
  permits_ += l.permits;
  tokens_ = tokens_ + l.tokens;
  const auto before = [](const lease& a, const lease& b) {
    return a.probe != b.probe ? a.probe : a.until < b.until;
  };
  leases_.insert(std::upper_bound(leases_.begin(), leases_.end(), l, before), l);
}

bool lease_book::covers(const token_count& need, time_point now) {
  drop_ended(now);
  return permits_ > 0 && enough(tokens_, as_limited(need, limits_));
}

bool lease_book::take(const token_count& need, time_point now, permit_draw& out) {
  out.count = 0;
  out.until = time_point::max();
  out.probe = false;
  if (!covers(need, now)) return false;
  token_count left = as_limited(need, limits_);
  const auto serves = [&](const lease& l) { return l.permits > 0 && enough(l.tokens, left); };
  auto first = std::find_if(leases_.begin(), leases_.end(), serves);
  if (first == leases_.end()) {
    first = std::find_if(leases_.begin(), leases_.end(), [](const lease& l) { return l.permits > 0; });
  }
  draw(*first, 1, left, out);
  while (!enough({}, left) && out.count < permit_draw::max_pieces) {
    const auto of_use = [&](const lease& l) {
      return std::min(l.tokens.input, left.input) + std::min(l.tokens.output, left.output);
    };
    draw(*std::max_element(leases_.begin(), leases_.end(),
                           [&](const lease& a, const lease& b) { return of_use(a) < of_use(b); }),
         0, left, out);
  }
  if (enough({}, left)) return true;
  give_back(out, now);
  return false;
}

/// Moves `permits` and up to `need` tokens out of `l` into `out`, and lowers `need`.
void lease_book::draw(lease& l, std::int64_t permits, token_count& need, permit_draw& out) {
  const token_count part{std::min(l.tokens.input, need.input), std::min(l.tokens.output, need.output)};
  need = need - part;
  l.permits -= permits;
  l.tokens = l.tokens - part;
  permits_ -= permits;
  tokens_ = tokens_ - part;
  out.pieces[out.count++] = {l.id, permits, part, l.until};
  out.probe = out.probe || l.probe;
  out.until = std::min(out.until, l.until);
}

void lease_book::drop_spent(time_point now) {
  while (!leases_.empty() && leases_.front().permits == 0) pop_front(now);
}

void lease_book::give_back(const permit_draw& d, time_point now) {
  for (size_t i = d.count; i-- > 0;) {
    const permit_draw::piece& p = d.pieces[i];
    lease l{p.lease, p.permits, p.tokens, p.until, d.probe};
    if (p.until - shortest_validity <= now) {
      give_up(l, now);
      continue;
    }
    permits_ += p.permits;
    tokens_ = tokens_ + p.tokens;
    const auto same =
        std::find_if(leases_.begin(), leases_.end(), [&](const lease& x) { return x.id == p.lease; });
    if (same != leases_.end()) {
      same->permits += p.permits;
      same->tokens = same->tokens + p.tokens;
    } else {
      leases_.push_front(l);
    }
  }
}

void lease_book::used(const permit_draw& d, time_point at, time_point now) {
  for (size_t i = 0; i < d.count; ++i) {
    const permit_draw::piece& p = d.pieces[i];
    const bool joins = !used_.empty() && used_.back().lease == p.lease &&
                       at - used_.back().at <= report_delay && used_.back().at - at <= report_delay;
    if (!joins) used_.push_back({p.lease, at, 0, {}});
    use& u = used_.back();
    u.at = std::max(u.at, at);  // later than it was is what a sliding window may err to
    u.permits += p.permits;
    u.tokens = u.tokens + p.tokens;
  }
  tell(now, used_.size() >= max_pending ? duration{} : report_delay);
}

void lease_book::drop_ended(time_point now) {
  while (!leases_.empty() && leases_.front().until - shortest_validity <= now) pop_front(now);
}

void lease_book::pop_front(time_point now) {
  const lease l = leases_.front();
  leases_.pop_front();
  permits_ -= l.permits;
  tokens_ = tokens_ - l.tokens;
  give_up(l, now);
}

void lease_book::drop_above(std::int64_t keep, time_point now) {
  while (permits_ > keep || (keep == 0 && !leases_.empty())) {
    lease& l = leases_.back();
    const std::int64_t surplus = std::min(l.permits, permits_ - keep);
    lease part = l;
    if (surplus < l.permits) {  // the tokens go in proportion
      part.permits = surplus;
      part.tokens = {l.tokens.input / l.permits * surplus, l.tokens.output / l.permits * surplus};
    }
    l.permits -= part.permits;
    l.tokens = l.tokens - part.tokens;
    permits_ -= part.permits;
    tokens_ = tokens_ - part.tokens;
    if (l.permits == 0) leases_.pop_back();
    give_up(part, now);
  }
}

time_point lease_book::next_end() const {
  return leases_.empty() ? time_point::max() : leases_.front().until - shortest_validity;
}

void lease_book::give_up(const lease& l, time_point now) {
  if (l.permits == 0 && l.tokens == token_count{}) return;
  if (!returned_.empty() && returned_.back().lease == l.id) {
    returned_.back().permits += l.permits;
    returned_.back().tokens = returned_.back().tokens + l.tokens;
  } else {
    returned_.push_back({l.id, l.permits, l.tokens});
  }
  tell(now, returned_.size() >= max_pending ? duration{} : report_delay);
}

void lease_book::finished(time_point now) {
  ++finished_;
  tell(now);
}

void lease_book::debt(const token_count& d, time_point now) {
  debt_ = debt_ + d;
  tell(now);
}

void lease_book::hint(const limit_hint& h, time_point now) {
  if (hints_.size() >= max_hints) hints_.erase(hints_.begin());
  hints_.push_back(h);
  tell(now);
}

void lease_book::new_home(std::int64_t in_flight, time_point now) {
  constexpr std::uint64_t unknown_lease = 0;
  std::int64_t told = in_flight + finished_;
  for (const use& u : used_) told -= u.permits;
  if (told > 0) used_.insert(used_.begin(), {unknown_lease, now, told, {}});
  tell(now, duration{});
}

void lease_book::event(key_event e, time_point now) {
  if (events_.size() < max_events) events_.push_back(std::move(e));
  tell(now, duration{});
}

void lease_book::tell(time_point now, duration within) {
  report_due_ = std::min(report_due_, now + within);
}

void lease_book::collect(time_point now, lease_report& out) {
  out.used.reserve(used_.size());
  for (const use& u : used_)
    out.used.push_back({u.lease, std::max(now - u.at, duration{}), u.permits, u.tokens});
  used_.clear();
  out.returned = std::move(returned_);
  returned_.clear();
  out.finished = std::exchange(finished_, 0);
  out.debt = std::exchange(debt_, {});
  out.hints = std::move(hints_);
  hints_.clear();
  out.events = std::move(events_);
  events_.clear();
  report_due_ = time_point::max();
}

}  // namespace millrace::engine
