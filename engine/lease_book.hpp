#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// What one request took from the leases of a key: one permit, and its tokens from as many leases as it
/// needs.
struct permit_draw {
  /// Tokens of more leases than this are not put together for one request; a grant always covers its head
  /// alone.
  static constexpr size_t max_pieces = 4;
  struct piece {
    std::uint64_t lease = 0;
    std::int64_t permits = 0;
    token_count tokens;
    time_point until{};  ///< when the lease ends for this node
  };
  std::array<piece, max_pieces> pieces;
  size_t count = 0;
  time_point until{};  ///< the permit must be used before
  bool probe = false;  ///< it is to find out whether a quarantined key works again
};

/// The permits that one node holds of one key, and what it has not yet told the key about them.
///
/// Oldest leases are used first. A lease ends for the node `transit_allowance` before its life, counted from
/// the receipt of the grant, is over: the key counts from the moment it granted, and the grant took time to
/// arrive. The last `shortest_validity` of it is for connecting: by then it is no longer given out but
/// returned.
///
/// One thread at a time.
class lease_book {
 public:
  static constexpr duration transit_allowance = 50ms;
  static constexpr duration shortest_validity = 250ms;
  /// Leases held at once; for one more the oldest goes back.
  static constexpr size_t max_leases = 1024;
  /// Uses are told within this time or when there are so many, whichever comes first. Until it hears of a use
  /// the key takes it to happen at the end of the lease's life, so being late costs a little use of the
  /// limit, never safety.
  static constexpr duration report_delay = 10ms;
  static constexpr size_t max_pending = 64;

  /// Which token limits count: those that are not `unlimited`.
  void set_limits(const key_limits& limits) { limits_ = limits; }
  const key_limits& limits() const { return limits_; }

  void add(const lease_grant& g, time_point now);
  /// True when a permit and `need` are in hand. Returns ended leases on the way.
  bool covers(const token_count& need, time_point now);
  /// Takes what `covers` found; false when it is not there. The tokens may come from up to max_pieces leases.
  bool take(const token_count& need, time_point now, permit_draw& out);
  /// Undoes `take` of a draw that was not used.
  void give_back(const permit_draw& d, time_point now);
  /// The draw was used at `at`.
  void used(const permit_draw& d, time_point at, time_point now);

  /// Sends back what is too old to be given out.
  void drop_ended(time_point now);
  /// Forgets the oldest leases whose permits are used up, and sends back what tokens they still had.
  void drop_spent(time_point now);
  /// Sends back everything in hand, or all but `keep` permits.
  void drop_all(time_point now) { drop_above(0, now); }
  void drop_above(std::int64_t keep, time_point now);

  std::int64_t permits() const { return permits_; }
  const token_count& tokens() const { return tokens_; }
  bool holds_probe() const { return !leases_.empty() && leases_.front().probe; }
  /// When drop_ended is due; time_point::max() when nothing is held.
  time_point next_end() const;

  /// What the key has to hear. The caller fills the rest and calls `collect`.
  void finished(time_point now);
  void debt(const token_count& d, time_point now);
  void hint(const limit_hint& h, time_point now);
  /// The key has a new home, which heard nothing of what was told before: the calls in flight are told again.
  void new_home(std::int64_t in_flight, time_point now);
  /// An event is told at once.
  void event(key_event e, time_point now);
  /// When `collect` is due; time_point::max() when there is nothing to tell.
  time_point report_due() const { return report_due_; }
  /// Moves everything there is to tell into `out` (all but the node's name).
  void collect(time_point now, lease_report& out);

 private:
  struct lease {
    std::uint64_t id = 0;
    std::int64_t permits = 0;
    token_count tokens;
    time_point until{};
    bool probe = false;
  };
  struct use {
    std::uint64_t lease = 0;
    time_point at{};
    std::int64_t permits = 0;
    token_count tokens;
  };

  bool enough(const token_count& have, const token_count& need) const;
  void draw(lease& l, std::int64_t permits, token_count& need, permit_draw& out);
  void give_up(const lease& l, time_point now);
  void pop_front(time_point now);
  void tell(time_point now, duration within = report_delay);

  key_limits limits_;
  std::deque<lease> leases_;  ///< in order of their end; a probe stands first
  std::int64_t permits_ = 0;
  token_count tokens_;

  std::vector<use> used_;
  std::vector<lease_return> returned_;
  std::int64_t finished_ = 0;
  token_count debt_;
  std::vector<limit_hint> hints_;
  std::vector<key_event> events_;
  time_point report_due_ = time_point::max();
};

}  // namespace millrace::engine
