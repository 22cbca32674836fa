#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/budget_book.hpp"
#include "engine/client_limits.hpp"
#include "engine/dispatcher_machine.hpp"
#include "engine/dispatcher_state.hpp"
#include "engine/fair_queue.hpp"
#include "engine/router.hpp"

namespace millrace::engine {

/// The dispatcher's inside. Every input changes state, marks what it touched, and ends in `finish`, which
/// serves the queue when something may have become possible, asks keys for what is wanted, and tells them
/// what is due.
///
/// Parts: dispatcher_machine.cpp inputs from keys and breakers, configuration, time; dispatcher_calls.cpp the
/// life of a request; dispatcher_choice.cpp which target and key; dispatcher_demand.cpp what keys are asked
/// for and told; dispatcher_money.cpp what calls cost their clients; dispatcher_status.cpp the picture.
class dispatcher_machine::impl {
 public:
  explicit impl(std::uint64_t seed) : seed_(seed) {}

  void apply(config_ptr c, time_point now, effects& out);
  void set_weights(const weights_order& order, time_point now, effects& out);
  void set_wall(wall_time wall) { wall_ = wall; }
  void restore_spend(const std::vector<earlier_spend>& spends) { budgets_.restore(spends, wall_); }
  void count(const acquire_request& r, time_point now, effects& out);
  void acquire(const acquire_request& r, time_point now, effects& out);
  void cancel(ticket id, time_point now, effects& out);
  void sent(const sent_report& r, time_point now, effects& out);
  void settle(const settlement& s, time_point now, effects& out);
  void on_grant(name_id key, const lease_grant& g, time_point now, effects& out);
  void on_key_notice(const key_notice& n, time_point now, effects& out);
  void on_breaker_notice(const breaker_notice& n, time_point now, effects& out);
  void on_home_lost(name_id name, time_point now, effects& out);
  void on_probe_granted(name_id target, time_point now, effects& out);
  void on_probe_refused(name_id target, time_point now, effects& out);
  void tick(time_point now, effects& out);
  time_point next_wakeup() const { return wake_; }
  dispatcher_status status(time_point now) const;

 private:
  static constexpr std::uint32_t npos = snapshot::npos;
  struct lane_counts {
    std::uint64_t granted = 0;
    std::uint64_t refused = 0;
    duration total_wait{};
    place_counts joined;
  };
  enum class outcome : std::uint8_t { granted, wait, refused };
  /// Answer of `decide`. With `wait`, `asks_` and `earliest_` say what for, and `back_` what clients are
  /// told.
  struct decision {
    impl::outcome what = outcome::refused;
    engine::verdict verdict = verdict::no_candidate;
    duration retry_after{};
  };
  class views;

  /// How long a probe is kept for requests that have the time for it, and how long it rests after one that
  /// had not.
  static constexpr duration hasty_pause = 1s;
  /// A breaker that never answered is asked again after this time.
  static constexpr duration ask_probe_again = 5s;

  // Configuration.
  void learn_names(const config& c);
  void add_snapshot(config_ptr c);
  void find_named();
  void keep_weights(snapshot& s) const;
  known_key* find_key(name_id name);
  known_target* find_target(name_id name);
  const snapshot& snapshot_of(std::uint64_t version) const;
  std::string target_text(name_id target) const;
  name_id target_name(const std::string& text) const;

  // Requests.
  bool charge_client(open_call& c, time_point now, effects& out);
  bool within_budget(open_call& c, time_point now, effects& out);
  money most_cost(const open_call& c) const;
  money most_cost(const open_call& c, const target_config& t) const;
  void lower_reservation(open_call& c, const target_config& t);
  void settle_money(open_call& c, money cost);
  void enqueue(open_call& c, time_point now, effects& out);
  void note_asking(ticket id);
  void reply_granted(open_call& c, const candidate& where, bool fallback, time_point now, effects& out);
  void add_spares(const open_call& like, time_point now, effects& out);
  bool plentiful(const open_call& like) const;
  void revoke_spares(effects& out) const { out.revoke_spares = out.revoke_spares || spares_ > 0; }
  void refuse(const open_call& c, verdict v, duration retry_after, time_point now, effects& out);
  void refuse_expired(time_point now, effects& out);
  void release(open_call& c, time_point now);
  void settle_key(open_call& c, const settlement& s, time_point now);
  void settle_target(open_call& c, const settlement& s, time_point now, effects& out);
  void settle_client(const open_call& c, const settlement& s, time_point now);
  void presume_open(known_target& t, time_point now, effects& out);
  void note_refusal(known_key& k, const open_call& c, const settlement& s, time_point now);

  // Choice.
  decision decide(open_call& c, bool waiting, time_point now, effects& out);
  bool try_candidate(open_call& c, const snapshot& s, const candidate& where, bool waiting, time_point now,
                     effects& out);
  bool collect_asks(const open_call& c, const snapshot& s, const target_config& t, time_point now);
  bool ask_key_probe(const open_call& c, const snapshot& s, const target_config& t, bool waiting,
                     time_point now);
  time_point next_retry(const snapshot& s) const;
  decision refusal(const open_call& c, const views& seen, time_point now) const;
  known_key* best_in_hand(const open_call& c, const snapshot& s, const target_config& t, bool waiting,
                          time_point now, token_count& need);
  bool may_use(const known_key& k, const open_call& c, time_point now) const;
  static std::optional<token_count> reservation(const open_call& c, const target_stats& stats,
                                                const key_limits& limits);
  bool has_room(const known_key& k, time_point now) const;
  static duration backlog(const known_key& k);
  bool wants_probe(const known_target& t, const open_call& c, time_point now) const;
  void ask_probe(known_target& t, time_point now, effects& out);
  void serve_queue(time_point now, effects& out);
  std::int64_t fair_cost(const open_call& c) const;
  void refuse_surplus(time_point now, effects& out);

  // Demand and reports.
  void leave_group(open_call& c);
  void set_asks(call_group& g, time_point now);
  void count_asks(call_group& g);
  void uncount_asks(call_group& g);
  void set_head(const key_ask& a);
  std::int64_t stock_of(const known_key& k) const;
  void review(known_key& k, time_point now, effects& out);
  void send_request(known_key& k, std::int64_t stock, time_point now, effects& out);
  void send_report(known_key& k, time_point now, effects& out);
  void send_outcomes(known_target& t, breaker_report r, effects& out);
  duration estimate(const std::vector<key_ask>& asks, time_point back, time_point now) const;
  void touch(known_key& k);
  void schedule(time_point t) { wake_ = std::min(wake_, t); }
  void schedule_key(const known_key& k, time_point now);
  void finish(time_point now, effects& out);

  std::uint64_t seed_;
  std::deque<snapshot> snapshots_;  ///< newest last
  std::deque<known_key> keys_;      ///< addresses are stable; bounded by the names ever configured
  std::deque<known_target> targets_;
  std::vector<std::uint32_t> key_of_;     ///< name_id -> index into keys_
  std::vector<std::uint32_t> target_of_;  ///< name_id -> index into targets_

  std::unordered_map<ticket, open_call> calls_;
  std::unordered_map<std::uint64_t, call_group> groups_;  ///< by signature; at most queue_config::max_waiting
  fair_queue queue_;
  std::vector<ticket> asking_;  ///< who came while as many waited as may, see `max_asking`; some have left
  client_limits clients_;
  budget_book budgets_;
  wall_time wall_{};
  engine::router router_;
  std::array<lane_counts, queue_classes> lanes_;
  std::uint64_t grants_ = 0;
  std::int64_t spares_ = 0;  ///< granted ahead of need and not used or given back yet

  // Scratch, kept for its memory.
  route_plan plan_;
  std::vector<key_ask> asks_;
  std::vector<ticket> expired_;
  time_point earliest_ = time_point::max();
  time_point back_ = time_point::max();
  bool breakers_only_ = false;

  std::vector<std::uint32_t> dirty_;          ///< keys to review in `finish`
  bool pass_needed_ = false;                  ///< something may have become possible for those who wait
  time_point next_pass_ = time_point::max();  ///< when time alone may make something possible
  std::uint64_t pass_ = 0;
  time_point wake_ = time_point::max();
};

}  // namespace millrace::engine
