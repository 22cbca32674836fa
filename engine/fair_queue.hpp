#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/names.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// Requests that wait for a permit, served in fair order.
///
/// Deficit round robin (M. Shreedhar and G. Varghese, "Efficient Fair Queuing using Deficit Round Robin",
/// SIGCOMM 1995) in tokens as estimated when a request is served, twice: between the three classes by their
/// weights, and inside a class between tenants alike. Inside a tenant requests go in the order of arrival.
///
/// Two things differ from the paper, because a permit comes now and then instead of a line being free all the
/// time:
/// - The quantum is one token times the weight, the finest there is, and rounds in which nobody may send are
/// skipped
///   by arithmetic: a flow carries the number of the round in which its turn comes. A flow pays after it was
///   served, so its turn does not depend on what its next request costs.
/// - A flow that drains while it owes keeps its debt until the rounds have passed or its whole class is
/// empty, so
///   asking for one huge request at a time gains nothing.
///
/// A flow that is blocked (no permit for what it wants) loses nothing and earns at most one quantum
/// meanwhile.
///
/// Bounded by queue_config::max_waiting. One thread at a time.
class fair_queue {
 public:
  struct item {
    ticket id = 0;
    queue_class lane = queue_class::standard;
    name_id tenant = no_name;
    std::uint64_t signature = 0;  ///< requests with the same one can be served by the same candidates
    std::int64_t cost = 1;        ///< estimated tokens; below 1 counts as 1
    time_point since{};
    time_point deadline{};
  };

  struct offer {
    enum answer : std::uint8_t {
      taken,    ///< served: it leaves the queue and its flows pay
      blocked,  ///< nothing for requests like this one now
      dropped,  ///< it leaves the queue unserved
    };
    answer what = blocked;
    std::int64_t cost = 0;  ///< what is paid; 0: as much as was estimated when it came

    offer(answer a, std::int64_t pays = 0) : what(a), cost(pays) {}  // NOLINT(google-explicit-constructor)
  };

  explicit fair_queue(const queue_config& config = {});
  fair_queue(const fair_queue&) = delete;
  fair_queue& operator=(const fair_queue&) = delete;

  /// New weights and bound; what waits already stays, even above a lowered bound.
  void reconfigure(const queue_config& config);

  /// False when the queue is full, `beyond` its bound, or the ticket waits already. O(log n).
  bool push(const item& i, size_t beyond = 0);
  /// False when it does not wait here. O(log n).
  bool cancel(ticket id);

  /// Offers waiting requests in fair order until everything left is blocked. Of a blocked signature nothing
  /// else is offered in this pass, so one that is out of permits costs one look and never holds up another.
  /// `consider` must not touch this queue. O(log n) for each offer, and one step for each tenant that is
  /// passed over.
  void serve(const std::function<offer(ticket)>& consider);

  /// Takes out what reached its deadline and appends it to `out`, earliest first.
  void expire(time_point now, std::vector<ticket>& out);
  /// time_point::max() when empty.
  time_point next_deadline() const;

  bool empty() const { return items_.empty(); }
  size_t size() const { return items_.size(); }
  bool full() const { return items_.size() >= max_waiting_; }
  bool over() const { return items_.size() > max_waiting_; }
  size_t depth(queue_class lane) const { return lane_of(lane).depth; }
  std::int64_t tokens(queue_class lane) const { return lane_of(lane).tokens; }
  /// Arrival of the one that waits longest; time_point::max() when none. O(n), for status.
  time_point oldest(queue_class lane) const;

 private:
  /// A turn in the round robin.
  struct turn {
    std::int64_t round = 0;    ///< in which it comes
    std::int64_t deficit = 0;  ///< tokens it may still take in that round; always > 0
    void rejoin(std::int64_t current, std::int64_t quantum);
    void pay(std::int64_t cost, std::int64_t quantum);
  };
  struct line;
  struct entry {
    item what;
    std::uint64_t arrival = 0;
    line* in = nullptr;
    entry* before = nullptr;
    entry* after = nullptr;
  };
  /// Requests with one signature, in all classes.
  struct kind {
    size_t waiting = 0;
    std::uint64_t blocked_in = 0;  ///< the pass in which it was found blocked
  };
  struct flow;
  /// One tenant's requests with one signature, in order of arrival.
  struct line {
    flow* of = nullptr;
    engine::fair_queue::kind* kind = nullptr;
    std::uint64_t signature = 0;
    entry* head = nullptr;
    entry* tail = nullptr;
  };
  using ring_key = std::pair<std::int64_t, std::uint64_t>;  ///< round, place in the ring
  struct lane_state;
  /// One tenant in one class.
  struct flow {
    lane_state* lane = nullptr;
    engine::fair_queue::turn turn;
    std::uint64_t place = 0;
    std::unordered_map<std::uint64_t, line> lines;  ///< by signature
    std::map<std::uint64_t, line*> order;           ///< by arrival of the head
    std::uint64_t pass = 0;                         ///< for which `cursor` holds
    std::map<std::uint64_t, line*>::iterator cursor;
  };
  struct lane_state {
    std::int64_t weight = 1;
    engine::fair_queue::turn turn;
    std::int64_t round = 0;  ///< of the tenants' round robin
    std::unordered_map<name_id, flow> flows;
    std::map<ring_key, flow*> ring;  ///< flows that wait, in order of their turns
    std::map<ring_key, flow*>::iterator cursor;
    size_t depth = 0;
    std::int64_t tokens = 0;
  };

  const lane_state& lane_of(queue_class lane) const { return lanes_[static_cast<size_t>(lane)]; }
  lane_state& lane_of(queue_class lane) { return lanes_[static_cast<size_t>(lane)]; }
  flow& join(lane_state& lane, name_id tenant);
  lane_state* next_lane();
  line* next_line(lane_state& lane);
  void charge(flow& f, std::int64_t cost);
  void remove(entry& e);
  void unlink(entry& e);
  void leave_ring(flow& f);
  void forget_drained(lane_state& lane);
  void reset_cursors(flow& f, ring_key was, std::uint64_t arrival);

  size_t max_waiting_;
  std::int64_t round_ = 0;  ///< of the classes' round robin
  std::uint64_t arrivals_ = 0;
  std::uint64_t pass_ = 0;
  size_t open_kinds_ = 0;  ///< kinds with waiting requests that are not blocked in this pass
  std::array<lane_state, queue_classes> lanes_;
  std::unordered_map<std::uint64_t, kind> kinds_;
  std::unordered_map<ticket, entry> items_;
  std::set<std::pair<time_point, ticket>> deadlines_;
};

}  // namespace millrace::engine
