// The part of key_machine that decides who is granted what, and when to look again.

#include <algorithm>
#include <cmath>

#include "engine/key_machine.hpp"

namespace millrace::engine {

namespace {

/// Demand that is still waiting is looked at again after this at the latest, or sooner where permits come
/// often: guesses improve as windows move.
constexpr duration longest_guess = 250ms;
constexpr std::int64_t looks_per_permit = 8;

/// `whole` times `part`, rounded down.
token_count scaled(const token_count& whole, double part) {
  return {static_cast<std::int64_t>(static_cast<double>(whole.input) * part),
          static_cast<std::int64_t>(static_cast<double>(whole.output) * part)};
}

/// Not below zero.
token_count less(const token_count& a, const token_count& b) {
  return {std::max<std::int64_t>(a.input - b.input, 0), std::max<std::int64_t>(a.output - b.output, 0)};
}

}  // namespace

void key_machine::serve(time_point now, outbox& out) {
  while (!leases_.empty() && leases_.begin()->second.end() + lease_memory <= now)
    forget_lease(leases_.begin());
  if (now < others_until_) return;
  const size_t before = out.size();
  if (health_.quarantined()) {
    serve_probe(now, out);
  } else if (now >= not_before_ && serve_waiting(now, out)) {
    serve_stock(now, out);
  }
  // Filled in at the end: each grant changes what the others should hear.
  for (size_t i = before; i < out.size(); ++i) out[i].notice = notice_for(&nodes_.at(out[i].node), now);
  tell_later(whom::overdue, now, out);
}

/// True when nobody who could be served is left waiting.
bool key_machine::serve_waiting(time_point now, outbox& out) {
  const auto served_now = [&](const node_state* n) { return n->demand.waiting > 0 && !cooling(*n, now); };
  auto left = std::count_if(line_.begin(), line_.end(), served_now);
  bool room_left = true;
  size_t i = 0;
  for (size_t turns = line_.size(); turns > 0 && left > 0; --turns) {
    node_state& n = *line_[i];
    if (!served_now(&n)) {
      ++i;
      continue;
    }
    // Strictly in turn: who is passed over because its head is large would never be served.
    if (!serve_node(n, left--, now, out)) {
      room_left = false;
      break;
    }
    line_.erase(line_.begin() + static_cast<std::ptrdiff_t>(i));
    if (n.demand.permits > 0) {
      line_.push_back(&n);
      room_left = false;
    }
  }
  // Whoever waits for a window is served in small batches; a call that ends is handed on at once.
  if (!room_left && concurrency_room() >= 1) not_before_ = now + min_wakeup;
  return room_left;
}

/// Serves one node's waiting demand in part or whole; false when not even its head fits.
bool key_machine::serve_node(node_state& n, std::int64_t nodes_left, time_point now, outbox& out) {
  lease_request& d = n.demand;
  const room r = room_for(d.head, now);
  if (!r.holds(d.head) || !lease_free()) return false;
  portion p = for_waiting(d, r, nodes_left);
  const std::int64_t still_waiting = d.waiting - p.permits;
  if (still_waiting == 0 && d.permits > d.waiting) {
    const portion stock = for_stock(d, p, now);
    p.permits += stock.permits;
    p.tokens = p.tokens + stock.tokens;
  }
  grant(n, p, false, now, out);
  if (still_waiting == 0) {
    d = {};
    return true;
  }
  d.waiting = still_waiting;
  d.permits -= p.permits;
  d.tokens = less(d.tokens, p.tokens);
  // Of those behind the head only the sum is known.
  d.head = {d.tokens.input / d.permits, d.tokens.output / d.permits};
  return true;
}

key_machine::portion key_machine::for_waiting(const lease_request& d, room r, std::int64_t nodes_left) const {
  r.permits = std::max<std::int64_t>(r.permits / nodes_left, 1);
  portion p{.permits = std::min(d.waiting, r.permits), .tokens = d.tokens};
  if (p.permits < d.permits) {
    const double part = static_cast<double>(p.permits - 1) / static_cast<double>(d.permits - 1);
    p.tokens = d.head + scaled(less(d.tokens, d.head), part);
  }
  const double fits = r.part(p.tokens);
  if (fits == 1 && nodes_left == 1) return p;
  const double share = std::min(fits, r.part(scaled(p.tokens, static_cast<double>(nodes_left))));
  if (share == 1) return p;
  p.permits = std::max<std::int64_t>(static_cast<std::int64_t>(static_cast<double>(p.permits) * share), 1);
  const token_count tokens = scaled(p.tokens, share);
  p.tokens = {std::max(tokens.input, d.head.input), std::max(tokens.output, d.head.output)};
  if (!r.holds(p.tokens)) p.tokens = d.head;
  return p;
}

/// What the node may hold ready beyond those who wait, `waiting` being granted to them: a second's worth
/// shared by all nodes, and only of what the buckets hold in plenty.
key_machine::portion key_machine::for_stock(const lease_request& d, const portion& waiting, time_point now) {
  const std::int64_t nodes = std::max<std::int64_t>(nodes_seen(now), 1);
  const auto second_of = [&](const paced_window& w) {
    return w.limit() == unlimited ? unlimited : std::max<std::int64_t>(w.limit() / (60 * nodes), 1);
  };
  const auto spare = [&](paced_window& w, std::int64_t taken) {
    const std::int64_t all = w.spare(now);
    return all == unlimited ? unlimited : std::min(all - taken, second_of(w));
  };
  const std::int64_t permits = std::min(spare(requests_, waiting.permits), spare(day_, waiting.permits));
  room r{.permits = permits == unlimited ? max_grant - waiting.permits : permits,
         .input = spare(input_, waiting.tokens.input),
         .output = spare(output_, waiting.tokens.output),
         .total = spare(total_, waiting.tokens.total())};
  if (limits_.concurrency != unlimited) {
    r.permits = std::min(r.permits, concurrency_room() - waiting.permits - limits_.concurrency / 2);
  }
  portion p{.permits = std::min(d.permits - d.waiting, r.permits), .tokens = {}};
  if (p.permits <= 0) return {};
  const double part = static_cast<double>(p.permits) / static_cast<double>(d.permits - d.waiting);
  p.tokens = scaled(less(d.tokens, waiting.tokens), part);
  const double fits = r.part(p.tokens);
  p.permits = static_cast<std::int64_t>(static_cast<double>(p.permits) * fits);
  p.tokens = scaled(p.tokens, fits);
  return p.permits > 0 ? p : portion{};
}

void key_machine::serve_stock(time_point now, outbox& out) {
  for (size_t i = 0; i < line_.size();) {
    node_state& n = *line_[i];
    const portion p = n.demand.waiting == 0 && lease_free() ? for_stock(n.demand, {}, now) : portion{};
    if (p.permits == 0) {
      ++i;
      continue;
    }
    grant(n, p, false, now, out);
    drop_demand(n);
  }
}

void key_machine::serve_probe(time_point now, outbox& out) {
  if (now < std::max(health_.probe_at(), not_before_)) return;
  const auto next = std::find_if(line_.begin(), line_.end(), [&](const node_state* n) {
    return n->demand.waiting > 0 && !cooling(*n, now);
  });
  if (next == line_.end()) return;
  node_state& n = **next;
  if (!room_for(n.demand.head, now).holds(n.demand.head) || !lease_free()) {
    not_before_ = now + min_wakeup;
    return;
  }
  const portion p{.permits = 1, .tokens = n.demand.head};
  drop_demand(n);
  grant(n, p, true, now, out);
}

/// Makes sure that there is place for another lease.
bool key_machine::lease_free() {
  if (leases_.size() < max_leases) return true;
  // Of the oldest only tokens may be missing; they stay counted as used.
  if (leases_.begin()->second.permits > 0) return false;
  forget_lease(leases_.begin());
  return true;
}

key_machine::room key_machine::room_for(const token_count& head, time_point now) {
  const std::int64_t permits = std::min({requests_.room(1, now), day_.room(1, now), concurrency_room()});
  return {.permits = permits == unlimited ? max_grant : permits,
          .input = input_.room(head.input, now),
          .output = output_.room(head.output, now),
          .total = total_.room(head.total(), now)};
}

double key_machine::room::part(const token_count& tokens) const {
  double part = 1;
  const auto narrow = [&](std::int64_t wanted, std::int64_t there) {
    if (wanted > there)
      part =
          std::min(part, static_cast<double>(std::max<std::int64_t>(there, 0)) / static_cast<double>(wanted));
  };
  narrow(tokens.input, input);
  narrow(tokens.output, output);
  narrow(tokens.total(), total);
  return part;
}

bool key_machine::cooling(const node_state& n, time_point now) const {
  return health_.ready_at(n.demand.target) > now;
}

std::int64_t key_machine::concurrency_room() const {
  return limits_.concurrency == unlimited ? unlimited : limits_.concurrency - leased_ - in_flight_;
}

std::int64_t key_machine::nodes_seen(time_point now) const {
  return std::count_if(nodes_.begin(), nodes_.end(),
                       [&](const auto& n) { return n.second.seen + node_memory > now; });
}

time_point key_machine::next_wakeup(time_point now) {
  time_point wake = time_point::max();
  bool first = true;
  for (const node_state* n : line_) {
    const lease_request& d = n->demand;
    if (d.waiting == 0) {
      wake = std::min(wake, now + longest_guess);
    } else if (cooling(*n, now)) {
      wake = std::min(wake, health_.ready_at(d.target));
    } else if (std::exchange(first, false)) {
      wake = std::min(wake, when_served(d, now));
    }
  }
  return std::max(std::min(wake, look_at_), others_until_);
}

/// When the first of the line should be looked at again.
time_point key_machine::when_served(const lease_request& d, time_point now) {
  // Calls that end are reported; of leases only the silent ones end by themselves.
  if (concurrency_room() < 1 || leases_.size() >= max_leases) {
    return leases_.empty() ? time_point::max() : leases_.begin()->second.end() + lease_memory;
  }
  const std::int64_t often = std::clamp<std::int64_t>(requests_.limit(), 1, 60s / min_wakeup);
  const duration patience =
      requests_.limit() == unlimited ? longest_guess : duration(60s) / often / looks_per_permit;
  const portion first{.permits = 1, .tokens = d.head};
  const time_point guess = std::min(when_ready({}, first, now), now + std::min(patience, longest_guess));
  const time_point earliest = health_.quarantined() ? std::max(not_before_, health_.probe_at()) : not_before_;
  return std::max({guess, earliest, full_until(first, now)});
}

}  // namespace millrace::engine
