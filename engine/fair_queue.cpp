#include "engine/fair_queue.hpp"

#include <algorithm>

namespace millrace::engine {

namespace {

/// Tenants take turns of one token: the finest interleaving, so a quiet tenant waits for one request of a
/// noisy one.
constexpr std::int64_t tenant_quantum = 1;

/// Drained flows are looked through when there are this many more than twice the waiting ones.
constexpr size_t drained_slack = 64;

std::int64_t cost_of(const fair_queue::item& i) {
  return std::max<std::int64_t>(i.cost, 1);
}

}  // namespace

void fair_queue::turn::rejoin(std::int64_t current, std::int64_t quantum) {
  if (round > current || (round == current && deficit > 0)) return;
  round = current;
  deficit = quantum;
}

void fair_queue::turn::pay(std::int64_t cost, std::int64_t quantum) {
  deficit -= cost;
  if (deficit > 0) return;
  const std::int64_t rounds = -deficit / quantum + 1;
  round += rounds;
  deficit += rounds * quantum;
}

fair_queue::fair_queue(const queue_config& config) : max_waiting_(0) {
  reconfigure(config);
}

void fair_queue::reconfigure(const queue_config& config) {
  max_waiting_ = static_cast<size_t>(std::max<std::int64_t>(config.max_waiting, 0));
  for (size_t i = 0; i < queue_classes; ++i) lanes_[i].weight = std::max(config.weights[i], 1);
}

bool fair_queue::push(const item& i, size_t beyond) {
  if (items_.size() >= max_waiting_ + beyond) return false;
  const auto [slot, fresh] = items_.try_emplace(i.id);
  if (!fresh) return false;
  entry& e = slot->second;
  e.what = i;
  e.arrival = ++arrivals_;

  lane_state& lane = lane_of(i.lane);
  if (lane.depth == 0) lane.turn.rejoin(round_, lane.weight);
  ++lane.depth;
  lane.tokens += cost_of(i);

  flow& f = join(lane, i.tenant);
  line& l = f.lines[i.signature];
  if (l.head == nullptr) {
    kind& k = kinds_[i.signature];
    l = line{&f, &k, i.signature, &e, nullptr};
    f.order.emplace(e.arrival, &l);
  } else {
    l.tail->after = &e;
    e.before = l.tail;
  }
  l.tail = &e;
  e.in = &l;
  ++l.kind->waiting;
  deadlines_.emplace(i.deadline, i.id);
  return true;
}

fair_queue::flow& fair_queue::join(lane_state& lane, name_id tenant) {
  flow& f = lane.flows[tenant];
  if (!f.order.empty()) return f;
  f.lane = &lane;
  f.turn.rejoin(lane.round, tenant_quantum);
  f.place = arrivals_;
  lane.ring.emplace(ring_key{f.turn.round, f.place}, &f);
  return f;
}

bool fair_queue::cancel(ticket id) {
  const auto it = items_.find(id);
  if (it == items_.end()) return false;
  remove(it->second);
  return true;
}

void fair_queue::serve(const std::function<offer(ticket)>& consider) {
  ++pass_;
  open_kinds_ = kinds_.size();
  for (auto& lane : lanes_) lane.cursor = lane.ring.begin();
  while (open_kinds_ > 0) {
    lane_state* lane = next_lane();
    if (lane == nullptr) return;
    line* l = next_line(*lane);
    if (l == nullptr) continue;  // the cursor stands at the end now, so this class is not asked again
    entry& e = *l->head;
    const offer answer = consider(e.what.id);
    if (answer.what == offer::blocked) {
      l->kind->blocked_in = pass_;
      --open_kinds_;
      continue;
    }
    flow& f = *l->of;
    const ring_key was{f.turn.round, f.place};
    const std::uint64_t arrival = e.arrival;
    if (answer.what == offer::taken) charge(f, answer.cost > 0 ? answer.cost : cost_of(e.what));
    lane_state& of = *lane;
    const name_id tenant = e.what.tenant;
    remove(e);
    const auto still = of.flows.find(tenant);
    if (still != of.flows.end() && !still->second.order.empty()) {
      reset_cursors(still->second, was, arrival);
    } else {
      of.cursor = of.ring.lower_bound(was);
    }
  }
}

/// The class whose turn it is among those that may still have something to offer.
fair_queue::lane_state* fair_queue::next_lane() {
  lane_state* best = nullptr;
  for (auto& lane : lanes_) {
    if (lane.cursor == lane.ring.end()) continue;
    if (best == nullptr || lane.turn.round < best->turn.round) best = &lane;
  }
  return best;
}

/// The first line in fair order, from the lane's cursor on, that is not blocked in this pass.
fair_queue::line* fair_queue::next_line(lane_state& lane) {
  for (; lane.cursor != lane.ring.end(); ++lane.cursor) {
    flow& f = *lane.cursor->second;
    if (f.pass != pass_) {
      f.pass = pass_;
      f.cursor = f.order.begin();
    }
    for (; f.cursor != f.order.end(); ++f.cursor) {
      if (f.cursor->second->kind->blocked_in != pass_) return f.cursor->second;
    }
  }
  return nullptr;
}

/// Everything before `was` and `arrival` was found blocked in this pass; what was served stands at or behind
/// them.
void fair_queue::reset_cursors(flow& f, ring_key was, std::uint64_t arrival) {
  f.lane->cursor = f.lane->ring.lower_bound(was);
  f.cursor = f.order.lower_bound(arrival);
}

void fair_queue::charge(flow& f, std::int64_t cost) {
  lane_state& lane = *f.lane;
  lane.turn.rejoin(round_, lane.weight);
  round_ = lane.turn.round;
  lane.turn.pay(cost, lane.weight);

  lane.ring.erase(ring_key{f.turn.round, f.place});
  f.turn.rejoin(lane.round, tenant_quantum);
  lane.round = f.turn.round;
  f.turn.pay(cost, tenant_quantum);
  lane.ring.emplace(ring_key{f.turn.round, f.place}, &f);
}

void fair_queue::remove(entry& e) {
  lane_state& lane = lane_of(e.what.lane);
  --lane.depth;
  lane.tokens -= cost_of(e.what);
  deadlines_.erase({e.what.deadline, e.what.id});
  unlink(e);
  items_.erase(ticket{e.what.id});
  if (items_.empty()) {  // nobody is owed anything
    round_ = 0;
    for (auto& l : lanes_) l.turn = {};
  }
  forget_drained(lane);
}

/// Takes `e` out of its line, and drops the line, kind and place in the ring that it leaves empty.
void fair_queue::unlink(entry& e) {
  line& l = *e.in;
  flow& f = *l.of;
  kind& k = *l.kind;
  const std::uint64_t signature = l.signature;
  (e.before != nullptr ? e.before->after : l.head) = e.after;
  (e.after != nullptr ? e.after->before : l.tail) = e.before;
  if (e.before == nullptr) {
    f.order.erase(e.arrival);
    if (l.head != nullptr) f.order.emplace(l.head->arrival, &l);
  }
  if (l.head == nullptr) f.lines.erase(signature);
  if (f.order.empty()) leave_ring(f);
  if (--k.waiting == 0) {
    if (k.blocked_in != pass_ && open_kinds_ > 0) --open_kinds_;
    kinds_.erase(signature);
  }
}

void fair_queue::leave_ring(flow& f) {
  f.lane->ring.erase(ring_key{f.turn.round, f.place});
}

void fair_queue::forget_drained(lane_state& lane) {
  if (lane.depth == 0) {
    lane.flows.clear();
    lane.round = 0;
    return;
  }
  if (lane.flows.size() <= 2 * lane.ring.size() + drained_slack) return;
  std::erase_if(lane.flows, [&](const auto& item) {
    return item.second.order.empty() && item.second.turn.round <= lane.round;
  });
}

void fair_queue::expire(time_point now, std::vector<ticket>& out) {
  while (!deadlines_.empty() && deadlines_.begin()->first <= now) {
    const ticket id = deadlines_.begin()->second;
    out.push_back(id);
    cancel(id);
  }
}

time_point fair_queue::next_deadline() const {
  return deadlines_.empty() ? time_point::max() : deadlines_.begin()->first;
}

time_point fair_queue::oldest(queue_class lane) const {
  time_point first = time_point::max();
  for (const auto& [id, e] : items_) {
    if (e.what.lane == lane) first = std::min(first, e.what.since);
  }
  return first;
}

}  // namespace millrace::engine
