#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/config.hpp"
#include "engine/key_health.hpp"
#include "engine/key_use.hpp"
#include "engine/messages.hpp"
#include "engine/paced_window.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// Decides for one provider key, for all nodes: RPM, TPM, RPD and concurrency as leases; cooldown;
/// quarantine.
///
/// A permit is counted when granted, as if sent at the end of its life, and moved to its true time when the
/// node reports it. So no order of grants, reports, returns and losses puts more than a limit into any of the
/// provider's windows. Tokens are counted as reserved, because providers count requests that way when they
/// come in (the larger of max_tokens and an estimate); nothing is refunded afterwards, and what exceeds its
/// reservation is counted as debt.
///
/// Per-minute limits are paced (see paced_window). RPD is not: a day's allowance is there to be spent when it
/// is needed.
///
/// Effects are appended to the caller's vector. After any call the owner asks `next_wakeup` and sees to it
/// that `advance` is called then. `now` never goes back. Not thread-safe.
class key_machine {
 public:
  /// What a new home has to know of the one before it.
  struct origin {
    /// Numbers of leases begin here: at random, so that an old lease is not taken for one of this home's. >
    /// 0.
    std::uint64_t first_lease = 1;
    /// Until when permits of an earlier home may be used; time_point::min() when there was none. Nothing is
    /// granted before, and the windows hold all they may until what was used then has left them.
    time_point others_until = time_point::min();
    /// What the books of an earlier home say, where they are not lost.
    key_use use = {};
  };
  static constexpr duration lease_life = 2s;
  /// How long after its life a lease is remembered, so that late reports still find it. What is silent for
  /// longer stays counted in the windows, and is taken for no call in flight.
  static constexpr duration lease_memory = 10s;
  static constexpr size_t max_nodes =
      256;  ///< idle ones are forgotten first; demand of further ones gets no answer
  static constexpr size_t max_leases = 65536;  ///< unreported at once; beyond it demand waits for reports
  static constexpr std::int64_t max_grant = 10000;  ///< permits in one lease where nothing limits them
  static constexpr duration min_wakeup = 5ms;       ///< grants to those who wait are made at most this often
  /// Who waits for that much longer than it was told is told again.
  static constexpr duration told_slack = 100ms;
  /// A node hears anew how much of the key is used when that moved by so much since it last heard: what it
  /// does not use it does not ask, and only news tell it that there is room again.
  static constexpr double used_step = 1.0 / 32;
  static constexpr duration used_pause = 250ms;  ///< ... but not more often than this
  /// Nodes that asked or reported within this time share what is held ready, and hear of a rise.
  static constexpr duration node_memory = 60s;

  /// To `node`: a grant, or only news about the key.
  struct outgoing {
    std::string node;
    std::optional<lease_grant> grant;
    key_notice notice;
  };
  using outbox = std::vector<outgoing>;

  /// `name` is "key/<provider>/<id>". `margin` is added to each window; a quarantined key gets a probe every
  /// `quarantine_for`.
  key_machine(std::string name, const key_limits& limits, duration margin, duration quarantine_for,
              time_point now, const origin& from);

  /// A reload: new limits, quarantine lifted and all nodes told; windows, leases and cooldowns are kept.
  void reconfigure(const key_limits& limits, duration margin, duration quarantine_for, time_point now,
                   outbox& out);
  /// A node's demand. Answers at once: with a grant, or with a notice whose `next_permit` says when to expect
  /// one; the demand then waits, in turn with other nodes', until it is granted, replaced or withdrawn. What
  /// is left of it after a grant to those who wait keeps waiting at the end of the line. A demand whose head
  /// no limit ever allows is dropped.
  void request(const lease_request& r, time_point now, outbox& out);
  void report(const lease_report& r, time_point now, outbox& out);
  /// Serves demand whose time has come.
  void advance(time_point now, outbox& out);
  /// When `advance` may have something to do; time_point::max() when only another call can change that.
  time_point next_wakeup(time_point now);
  /// The node is gone: its demand and its calls in flight are too; what it was granted and did not report
  /// counts as used.
  void forget_node(const std::string& node, time_point now);

  /// What the windows hold, the permits that nodes hold included, and the cooldowns, for a home after this
  /// one. A quarantine is not handed on: a start is more than a reload, which lifts it.
  key_use export_use(time_point now);
  key_notice notice(time_point now);

 private:
  struct node_state {
    std::string name;
    time_point seen;
    std::int64_t in_flight = 0;
    std::int64_t leases = 0;  ///< of this node, remembered
    lease_request demand;     ///< permits == 0: none
    time_point told;          ///< when it was last told to expect a permit
    /// What it was last told is used, 0..1. It may know a key of old that is new here: then the worst.
    double told_used = 1;
  };
  struct lease {
    node_state* owner;
    time_point granted_at;
    std::int64_t permits;  ///< neither reported as used nor returned
    std::int64_t input;    ///< likewise, tokens
    std::int64_t output;
    std::int64_t total;  ///< apart, because the parts may be used in other proportions than they were granted
    bool probe;
    time_point end() const { return granted_at + lease_life; }
  };
  /// What can be given at once, over all limits.
  struct room {
    std::int64_t permits;
    std::int64_t input;
    std::int64_t output;
    std::int64_t total;
    bool holds(const token_count& head) const {
      return permits >= 1 && input >= head.input && output >= head.output && total >= head.total();
    }
    /// The part of `tokens` that fits, 0..1.
    double part(const token_count& tokens) const;
  };
  struct portion {
    std::int64_t permits = 0;
    token_count tokens;
  };
  using lease_map = std::map<std::uint64_t, lease>;

  node_state* find_or_add(const std::string& node, time_point now);
  void set_demand(node_state& n, const lease_request& r);
  void drop_demand(node_state& n);
  bool ever_fits(const token_count& head) const;
  void drop_what_never_fits();

  void assume_spent(time_point now);
  void serve(time_point now, outbox& out);
  bool serve_waiting(time_point now, outbox& out);
  void serve_stock(time_point now, outbox& out);
  void serve_probe(time_point now, outbox& out);
  bool serve_node(node_state& n, std::int64_t nodes_left, time_point now, outbox& out);
  bool lease_free();
  room room_for(const token_count& head, time_point now);
  portion for_waiting(const lease_request& d, room r, std::int64_t nodes_left) const;
  portion for_stock(const lease_request& d, const portion& waiting, time_point now);
  bool cooling(const node_state& n, time_point now) const;
  std::int64_t concurrency_room() const;
  std::int64_t nodes_seen(time_point now) const;

  void grant(node_state& n, const portion& p, bool probe, time_point now, outbox& out);
  void use(const lease_use& u, time_point now);
  void give_back(const lease_return& r, time_point now);
  void shrink(lease_map::iterator l, std::int64_t permits, const token_count& tokens);
  void forget_lease(lease_map::iterator l);
  void apply(const limit_hint& h, time_point now);

  time_point when_served(const lease_request& d, time_point now);
  time_point full_until(const portion& wanted, time_point now);
  time_point when_ready(const portion& ahead, const portion& next, time_point now);
  static portion waiting_of(const lease_request& d);
  portion ahead_of(const node_state* n, time_point now) const;
  duration next_permit(const node_state* n, time_point now);
  duration permits_apart(const node_state& n, time_point now);
  duration spent_for(time_point now);
  key_notice notice_for(node_state* n, time_point now);
  double used_fraction(time_point now);
  time_point when_used(double fraction, time_point now);
  void look_soon();
  void tell_used(time_point now, outbox& out);
  enum class whom : bool { overdue, waiting };
  void tell_later(whom w, time_point now, outbox& out);
  void tell_all(time_point now, outbox& out);

  std::string name_;
  key_limits limits_;
  duration quarantine_for_;

  paced_window requests_;
  paced_window input_;
  paced_window output_;
  paced_window total_;  ///< input + output, where the provider has one limit for both
  paced_window day_;
  key_health health_;

  std::map<std::string, node_state> nodes_;  ///< addresses are stable
  std::deque<node_state*> line_;   ///< those with demand, in the order of their turns; at most max_nodes
  lease_map leases_;               ///< by number, which is also the order in which they end
  const time_point others_until_;  ///< permits of an earlier home may be used until then
  std::uint64_t next_lease_;
  std::uint64_t changes_ = 0;   ///< grants and reports so far
  std::int64_t leased_ = 0;     ///< permits of all leases
  std::int64_t in_flight_ = 0;  ///< calls of all nodes
  bool told_spent_ = false;     ///< all nodes know that the day's limit is spent
  time_point not_before_;       ///< demand that waits for a window is not looked at again before this
  time_point looked_at_;        ///< when what nodes were told is used was last compared with what is
  time_point look_at_ = time_point::max();  ///< and when that is due again
};

}  // namespace millrace::engine
