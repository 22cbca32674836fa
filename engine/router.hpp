#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/names.hpp"
#include "engine/target_stats.hpp"
#include "engine/time.hpp"
#include "engine/traffic_weights.hpp"

namespace millrace::engine {

/// More candidates than this are never planned for one request; the best ones stay.
inline constexpr size_t max_candidates = 32;

/// What the node knows about one target when a request is planned.
struct target_view {
  breaker_state breaker = breaker_state::closed;
  bool probe = false;        ///< the node holds the probe of this open target: the request may be it
  bool usable = true;        ///< some key may serve this request on it, at once or after waiting
  double used_fraction = 0;  ///< 0..1 of the tightest limit of its best usable key
  const target_stats* stats = nullptr;  ///< null: never called
};

/// Where the router asks for views; each target of the plan is asked for once.
class target_lookup {
 public:
  virtual ~target_lookup() = default;
  virtual target_view view(const target_config& target) const = 0;
  /// The weights in force for a model, by its index; null: those of the configuration.
  virtual const traffic_weights* weights(size_t /*model*/) const { return nullptr; }
};

struct route_request {
  size_t model = 0;                               ///< index into config::models
  std::optional<engine::strategy> strategy;       ///< in place of the model's own
  bool private_only = false;                      ///< only providers marked private
  bool retry_tried = false;                       ///< tried targets come last, instead of not at all
  refusal_reason refused = refusal_reason::none;  ///< only those who stand in for the model in such a case
  std::span<const name_id> tried;                 ///< target_config::name of targets already called
  std::span<const name_id> barred;                ///< targets that cannot serve it at all
  std::int64_t input_tokens = 0;                  ///< estimate
  std::int64_t output_tokens = -1;                ///< estimate; -1: target_stats::default_output_tokens
  /// Who draws: uniform, and the same for all attempts of a request, so that its draw stays the same. A
  /// tenant's or session's own number makes all its requests draw alike.
  std::uint64_t random = 0;
  time_point now{};
};

struct candidate {
  std::uint32_t model = 0;   ///< index into config::models; another than the request's for a fallback
  std::uint32_t target = 0;  ///< index into that model's targets
  bool operator==(const candidate&) const = default;
};

struct route_plan {
  std::vector<candidate> candidates;  ///< in the order in which to try them
  std::vector<candidate> open;  ///< left out because their breaker is open or half-open, in configured order
  /// What the strategy would take if every target of the model worked and had room. Null: no target of it is
  /// allowed for the request.
  std::optional<candidate> first_choice;
  std::uint32_t unusable = 0;   ///< how many were left out because no key may serve them
  std::uint32_t too_small = 0;  ///< how many were left out because the request is too long for their context

  void clear();
};

/// Orders the targets that may serve a request. For the request's own model:
/// - cost, quality, speed: the strategy's first choice, then the 3 cheapest, the 2 best, the fastest, then
///   what is left in the strategy's order; each target once, where it is mentioned first. Targets tried
///   before take their places in this order, too: a plan made after a failure goes on with the next. Cost is
///   the price of the estimated tokens. Speed is the expected time; a target that is not measured, or not
///   lately, comes first while no call to it is in flight, and behind the measured ones while one is.
/// - weighted: random without replacement, chances proportional to weights (see rendezvous.hpp); weight 0
/// comes last.
/// - least_busy: calls in flight / weight; equally busy ones as in weighted.
/// Where the model has groups, its strategy puts them in order (by cost, quality and speed the group with the
/// best target is the best), and each group's own strategy its targets; a strategy that the request asks for
/// does both.
/// Then the model's fallbacks in configured order, each by its own strategy; their own fallbacks are not
/// followed.
///
/// Targets whose context the request does not fit into, as far as is known and estimated, are left out where
/// it fits into another one's; if one of the model's own is too small, its context fallbacks stand between
/// them and the fallbacks.
///
/// Targets used above limits.headroom stand behind those of the same model that have room: each of the two
/// groups is planned for itself. Open breakers and unusable targets are left out before ranking, so "3
/// cheapest" are three that may work. A target that two models share appears once. Ties fall to price or
/// quality, then to configured order.
///
/// Pure apart from scratch memory, which it reuses: one thread at a time.
class router {
 public:
  /// Replaces the contents of `out`. `request.model` must be an index of `c`.
  void plan(const config& c, const route_request& request, const target_lookup& lookup, route_plan& out);

 private:
  struct entry {
    candidate where;
    name_id name = no_name;
    std::uint32_t group = 0;
    bool open = false;
    bool usable = true;
    bool room = true;
    bool tried = false;
    bool planned = false;  ///< or not to be: of the other pass
    bool fits = true;      ///< into its context
    int speed_class = 0;   ///< 0 to be explored, 1 measured, 2 being explored
    double seconds = 0;
    double cost = 0;
    double quality = 0;
    double busy = 0;
    double draw = 0;  ///< order of a weighted draw
    std::int64_t in_flight = 0;
    double group_draw = 0;
    double group_busy = 0;
  };
  using iterator = std::vector<entry>::iterator;
  /// One model's part of `entries_`.
  struct stretch {
    size_t begin = 0;
    size_t end = 0;
    engine::strategy strategy = strategy::cost;
    const std::vector<group_config>* groups = nullptr;  ///< null: none
    bool overruled = false;                             ///< `strategy` holds for targets of groups, too
    engine::strategy inside(std::uint32_t group) const {
      return overruled ? strategy : (*groups)[group].strategy;
    }
  };

  void add_model(const config& c, size_t model, engine::strategy s, const route_request& request,
                 const target_lookup& lookup);
  void add_models(const config& c, const std::vector<size_t>& models, const route_request& request,
                  const target_lookup& lookup);
  std::uint32_t leave_out_too_small();
  bool known(name_id target) const;
  void weigh_groups(const stretch& m, const route_request& request, const traffic_weights* weights);
  candidate first_of(const stretch& m);
  void plan_pass(bool tried, route_plan& out);
  static void plan_part(iterator begin, iterator end, const stretch& m, route_plan& out);
  static void plan_group(iterator begin, iterator end, engine::strategy s, route_plan& out);
  static void take(iterator begin, iterator end, size_t count, engine::strategy by, route_plan& out);
  static bool before(const entry& a, const entry& b, engine::strategy s);
  static bool group_before(const entry& a, const entry& b, engine::strategy s);

  std::vector<entry> entries_;
  std::vector<stretch> models_;
};

}  // namespace millrace::engine
