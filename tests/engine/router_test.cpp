#include "engine/router.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

/// A configuration made by hand, and what the node knows about its targets.
struct world : target_lookup {
  engine::config c;
  std::unordered_map<name_id, target_view> views;
  std::unordered_map<name_id, target_stats> stats;
  router r;
  route_request request;
  route_plan out;
  time_point now{1000s};

  world() {
    c.providers.resize(2);
    c.providers[1].private_data = true;
    request.input_tokens = 1000;
    request.output_tokens = 500;
    request.now = now;
  }

  size_t model(engine::strategy s = strategy::cost) {
    c.models.emplace_back();
    c.models.back().strategy = s;
    return c.models.size() - 1;
  }
  /// Names count up, so in a world of one model a target's name is its index.
  target_config& target(double price = 0, double quality = 0.5, double weight = 1) {
    auto& targets = c.models.back().targets;
    targets.emplace_back();
    targets.back().name = next_name++;
    targets.back().input_usd = price;
    targets.back().quality = quality;
    targets.back().weight = weight;
    return targets.back();
  }
  void measure(name_id name, duration total) {
    stats[name].record({duration::zero(), total, 500}, now);
    views[name].stats = &stats[name];
  }
  void busy(name_id name, int calls) {
    for (int i = 0; i < calls; ++i) stats[name].call_started();
    views[name].stats = &stats[name];
  }

  target_view view(const target_config& t) const override {
    const auto it = views.find(t.name);
    return it == views.end() ? target_view{} : it->second;
  }

  /// Names of the planned targets, in order.
  std::vector<int> plan() {
    r.plan(c, request, *this, out);
    return names(out.candidates);
  }
  std::vector<int> names(const std::vector<candidate>& of) const {
    std::vector<int> result;
    for (const candidate& k : of) result.push_back(static_cast<int>(config_of(k).name));
    return result;
  }
  const target_config& config_of(const candidate& k) const { return c.models[k.model].targets[k.target]; }

  name_id next_name = 0;
};

struct router_test : testing::Test, world {};

TEST_F(router_test, CostPutsTheCheapestFirst) {
  model(strategy::cost);
  target(3);
  target(1);
  target(2);
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
}

TEST_F(router_test, CostIsThePriceOfThisRequest) {
  model(strategy::cost);
  target(1).output_usd = 10;
  target(4).output_usd = 4;
  request.input_tokens = 10'000;
  request.output_tokens = 100;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
  request.input_tokens = 100;
  request.output_tokens = 10'000;
  EXPECT_THAT(plan(), ElementsAre(1, 0));
  request.output_tokens = -1;
  EXPECT_THAT(plan(), ElementsAre(1, 0)) << "512 tokens of output are assumed";
}

TEST_F(router_test, QualityPutsTheBestFirst) {
  model(strategy::quality);
  target(1, 0.2);
  target(2, 0.9);
  target(3, 0.7);
  EXPECT_THAT(plan(), ElementsAre(1, 0, 2)) << "then the cheapest";
}

TEST_F(router_test, SpeedPutsTheFastestFirst) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  measure(0, 3s);
  measure(1, 1s);
  measure(2, 2s);
  EXPECT_EQ(plan().front(), 1);
}

/// Eight targets: 0-4 cheap and dull, 5-6 good, 7 fast. Dearer and duller with the index.
struct router_plan_test : router_test {
  router_plan_test() {
    model();
    for (int i = 0; i < 8; ++i) target(1 + i, i == 5 ? 0.9 : i == 6 ? 0.8 : 0.5 - 0.01 * i);
    for (name_id i = 0; i < 8; ++i) measure(i, i == 7 ? duration(1s) : duration(2s) + i * 100ms);
  }
};

TEST_F(router_plan_test, CostPlanIsThreeCheapestTwoBestOneFastest) {
  request.strategy = strategy::cost;
  EXPECT_THAT(plan(), ElementsAre(0, 1, 2, 5, 6, 7, 3, 4));
}

TEST_F(router_plan_test, QualityPlanStartsWithTheBest) {
  request.strategy = strategy::quality;
  EXPECT_THAT(plan(), ElementsAre(5, 0, 1, 2, 6, 7, 3, 4));
}

TEST_F(router_plan_test, SpeedPlanStartsWithTheFastest) {
  request.strategy = strategy::speed;
  EXPECT_THAT(plan(), ElementsAre(7, 0, 1, 2, 5, 6, 3, 4));
}

TEST_F(router_plan_test, DeadTargetsAreNotAmongTheThreeCheapest) {
  views[0].breaker = breaker_state::open;
  views[1].breaker = breaker_state::half_open;
  EXPECT_THAT(plan(), ElementsAre(2, 3, 4, 5, 6, 7));
  EXPECT_THAT(names(out.open), ElementsAre(0, 1));
  EXPECT_EQ(out.first_choice, (candidate{0, 0})) << "what it would have been";
}

TEST_F(router_plan_test, AboveHeadroomStandsBehindAndIsNeverDropped) {
  views[0].used_fraction = 0.81;
  views[5].used_fraction = 0.99;
  views[1].used_fraction = 0.8;
  EXPECT_THAT(plan(), ElementsAre(1, 2, 3, 6, 7, 4, 0, 5));
}

TEST_F(router_test, HeadroomNeverPrefersAnotherModel) {
  model();
  target();
  model();
  target();
  c.models[0].fallback_models = {1};
  views[0].used_fraction = 1;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
}

TEST_F(router_test, UnmeasuredIsExploredByOneCallAtATime) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  measure(0, 2s);
  measure(1, 1s);
  EXPECT_EQ(plan().front(), 2);
  busy(2, 1);
  EXPECT_EQ(plan().front(), 1);
  stats[2].call_ended();
  measure(2, 5s);
  EXPECT_EQ(plan().front(), 1);
}

TEST_F(router_test, OldMeasuresAreExploredAgain) {
  model(strategy::speed);
  for (int i = 0; i < 2; ++i) target();
  measure(0, 5s);
  now += target_stats::forget_after + 1s;
  measure(1, 1s);
  request.now = now;
  EXPECT_EQ(plan().front(), 0);
}

TEST_F(router_test, NothingMeasuredSpreadsOverAll) {
  model(strategy::speed);
  for (int i = 0; i < 3; ++i) target();
  std::map<int, int> calls;
  for (int i = 0; i < 30; ++i) {
    const int chosen = plan().front();
    ++calls[chosen];
    busy(static_cast<name_id>(chosen), 1);
  }
  EXPECT_EQ(calls[0], 10);
  EXPECT_EQ(calls[1], 10);
  EXPECT_EQ(calls[2], 10);
}

TEST_F(router_test, WeightedDrawsByWeight) {
  model(strategy::weighted);
  target(0, 0.5, 1);
  target(0, 0.5, 2);
  target(0, 0.5, 7);
  const unsigned seed = 12;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  constexpr int draws = 20000;
  std::map<int, double> first;
  std::map<int, double> second_after_last;
  for (int i = 0; i < draws; ++i) {
    request.random = random();
    const auto order = plan();
    ASSERT_EQ(order.size(), 3U);
    first[order[0]] += 1.0 / draws;
    if (order[0] == 2) second_after_last[order[1]] += 1;
  }
  EXPECT_NEAR(first[0], 0.1, 0.01);
  EXPECT_NEAR(first[1], 0.2, 0.01);
  EXPECT_NEAR(first[2], 0.7, 0.01);
  EXPECT_NEAR(second_after_last[1] / second_after_last[0], 2, 0.15);
}

TEST_F(router_test, WeightedIsFairForSequentialRandomNumbers) {
  model(strategy::weighted);
  target(0, 0.5, 1);
  target(0, 0.5, 1);
  double first = 0;
  for (int i = 0; i < 10000; ++i) {
    request.random = static_cast<std::uint64_t>(i);
    first += plan().front() == 0 ? 1e-4 : 0;
  }
  EXPECT_NEAR(first, 0.5, 0.02);
}

TEST_F(router_test, WeightZeroComesLast) {
  model(strategy::weighted);
  target(0, 0.5, 0);
  target(0, 0.5, 0.001);
  for (std::uint64_t i = 0; i < 1000; ++i) {
    request.random = i;
    EXPECT_THAT(plan(), ElementsAre(1, 0));
  }
}

TEST_F(router_test, LeastBusyCountsCallsInFlightByWeight) {
  model(strategy::least_busy);
  target(0, 0.5, 1);
  target(0, 0.5, 4);
  target(0, 0.5, 2);
  busy(0, 2);
  busy(1, 4);
  busy(2, 3);
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
}

TEST_F(router_test, LeastBusyDrawsAmongEquals) {
  model(strategy::least_busy);
  target();
  target();
  std::set<int> seen;
  for (request.random = 0; request.random < 50; ++request.random) seen.insert(plan().front());
  EXPECT_EQ(seen.size(), 2U);
}

TEST_F(router_test, FallbacksFollowInOrderByTheirOwnStrategy) {
  model(strategy::cost);
  target(5);
  model(strategy::quality);
  target(1, 0.1);
  target(2, 0.9);
  model(strategy::cost);
  target(1);
  c.models[0].fallback_models = {2, 1};
  c.models[2].fallback_models = {0};
  request.strategy = strategy::speed;
  EXPECT_THAT(plan(), ElementsAre(0, 3, 2, 1));
}

TEST_F(router_test, FallbacksOfFallbacksAreNotFollowed) {
  for (int i = 0; i < 3; ++i) {
    model();
    target();
  }
  c.models[0].fallback_models = {1};
  c.models[1].fallback_models = {2};
  EXPECT_THAT(plan(), ElementsAre(0, 1));
}

TEST_F(router_test, ASharedTargetAppearsOnce) {
  model();
  target(1);
  target(2);
  model();
  target(1).name = 0;
  target(3);
  c.models[0].fallback_models = {1, 0, 1};
  EXPECT_THAT(plan(), ElementsAre(0, 1, 3));
}

TEST_F(router_test, PrivateRequestsSeePrivateProvidersOnly) {
  model();
  target(1);
  target(9).provider = 1;
  model();
  target(1);
  target(9).provider = 1;
  c.models[0].fallback_models = {1};
  request.private_only = true;
  views[3].breaker = breaker_state::open;
  views[2].breaker = breaker_state::open;
  EXPECT_THAT(plan(), ElementsAre(1));
  EXPECT_THAT(names(out.open), ElementsAre(3));
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
}

TEST_F(router_test, NothingPrivateIsNothingAtAll) {
  model();
  target();
  request.private_only = true;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_FALSE(out.first_choice);
}

TEST_F(router_test, TriedTargetsAreLeftOutOrComeLast) {
  model();
  target(1);
  target(2);
  model();
  target(1);
  c.models[0].fallback_models = {1};
  const std::vector<name_id> tried = {0};
  request.tried = tried;
  EXPECT_THAT(plan(), ElementsAre(1, 2));
  EXPECT_EQ(out.first_choice, (candidate{0, 0}));
  request.retry_tried = true;
  EXPECT_THAT(plan(), ElementsAre(1, 2, 0));
}

TEST_F(router_test, OpenTriedTargetsAreReportedOnlyIfTheyMayBeRetried) {
  model();
  target();
  views[0].breaker = breaker_state::open;
  const std::vector<name_id> tried = {0};
  request.tried = tried;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_THAT(out.open, IsEmpty());
  request.retry_tried = true;
  EXPECT_THAT(plan(), IsEmpty());
  EXPECT_EQ(out.open.size(), 1U);
}

TEST_F(router_test, AHeldProbeMakesAnOpenTargetACandidate) {
  model();
  target(1);
  target(2);
  views[0].breaker = breaker_state::half_open;
  views[0].probe = true;
  EXPECT_THAT(plan(), ElementsAre(0, 1));
  EXPECT_THAT(out.open, IsEmpty());
}

TEST_F(router_test, UnusableTargetsAreCounted) {
  model();
  target(1);
  target(2);
  views[0].usable = false;
  views[0].breaker = breaker_state::open;
  EXPECT_THAT(plan(), ElementsAre(1));
  EXPECT_EQ(out.unusable, 1U);
  EXPECT_THAT(out.open, IsEmpty()) << "a probe without a key is no use";
}

TEST_F(router_test, PlansAreBoundedAndKeepTheBest) {
  model(strategy::cost);
  for (int i = 0; i < 100; ++i) target(100 - i);
  for (name_id i = 0; i < 50; ++i) views[i].breaker = breaker_state::open;
  const auto order = plan();
  EXPECT_EQ(order.size(), max_candidates);
  EXPECT_EQ(order.front(), 99);
  EXPECT_EQ(out.open.size(), max_candidates);
}

TEST_F(router_test, AWildcardModelIsOneTarget) {
  model();
  target().model.clear();
  EXPECT_THAT(plan(), ElementsAre(0));
}

TEST_F(router_test, APlanIsReplacedNotAppended) {
  model();
  target();
  views[0].usable = false;
  plan();
  views[0].usable = true;
  EXPECT_THAT(plan(), ElementsAre(0));
  EXPECT_EQ(out.unusable, 0U);
}

// --- properties
// ------------------------------------------------------------------------------------------------

/// A random world with shared targets, every kind of state, and a request with every kind of restriction.
struct random_world : world {
  std::vector<name_id> tried;

  explicit random_world(unsigned seed) {
    std::mt19937 random(seed);
    const auto chance = [&random](unsigned percent) { return random() % 100 < percent; };
    const unsigned names = 1 + random() % 24;
    const unsigned models = 1 + random() % 4;
    for (unsigned m = 0; m < models; ++m) {
      model(static_cast<engine::strategy>(random() % 5));
      const unsigned targets = 1 + random() % 7;
      for (unsigned t = 0; t < targets; ++t) {
        auto& added = target(random() % 5, 0.1 * (random() % 10), random() % 4);
        added.name = random() % names;
        // One target is one provider's, in whatever model.
        added.provider = added.name % 2;
      }
    }
    for (unsigned f = random() % 5; f > 0; --f) c.models[0].fallback_models.push_back(random() % models);
    for (name_id n = 0; n < names; ++n) {
      auto& v = views[n];
      v.breaker = chance(70)   ? breaker_state::closed
                  : chance(50) ? breaker_state::open
                               : breaker_state::half_open;
      v.probe = chance(20);
      v.usable = chance(85);
      v.used_fraction = 0.1 * (random() % 11);
      if (chance(70)) measure(n, std::chrono::milliseconds(random() % 4000 + 1));
      if (chance(70)) busy(n, static_cast<int>(random() % 5));
      if (chance(20)) tried.push_back(n);
    }
    request.tried = tried;
    request.retry_tried = chance(50);
    request.private_only = chance(30);
    if (chance(50)) request.strategy = static_cast<engine::strategy>(random() % 5);
    request.random = random();
  }

  bool allowed(const target_config& t) const {
    return !request.private_only || c.providers[t.provider].private_data;
  }
  bool was_tried(name_id n) const { return std::find(tried.begin(), tried.end(), n) != tried.end(); }
  bool is_open(name_id n) const { return views.at(n).breaker != breaker_state::closed && !views.at(n).probe; }
  bool room(name_id n) const { return views.at(n).used_fraction <= c.limits.headroom; }
  engine::strategy strategy_of(size_t m) const {
    return m == 0 && request.strategy ? *request.strategy : c.models[m].strategy;
  }
  /// The models in the order of the plan.
  std::vector<size_t> model_order() const {
    std::vector<size_t> order = {0};
    for (const size_t f : c.models[0].fallback_models) {
      if (std::find(order.begin(), order.end(), f) == order.end()) order.push_back(f);
    }
    return order;
  }
  /// First mention of each allowed target.
  std::vector<candidate> all() const {
    std::vector<candidate> result;
    std::set<name_id> seen;
    for (const size_t m : model_order()) {
      for (size_t t = 0; t < c.models[m].targets.size(); ++t) {
        const auto& target = c.models[m].targets[t];
        if (!allowed(target) || !seen.insert(target.name).second) continue;
        result.push_back({static_cast<std::uint32_t>(m), static_cast<std::uint32_t>(t)});
      }
    }
    return result;
  }
};

constexpr unsigned worlds = 4000;

template <class Check>
void in_many_worlds(const Check& check) {
  for (unsigned seed = 1; seed <= worlds && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    random_world w(seed);
    w.plan();
    check(w);
  }
}

TEST(router_property, EveryUsableTargetOnceAndNothingElse) {
  in_many_worlds([](const random_world& w) {
    std::multiset<int> expected;
    std::multiset<int> open;
    unsigned unusable = 0;
    for (const candidate& k : w.all()) {
      const name_id n = w.config_of(k).name;
      if (w.was_tried(n) && !w.request.retry_tried) continue;
      if (!w.views.at(n).usable) {
        ++unusable;
      } else {
        (w.is_open(n) ? open : expected).insert(static_cast<int>(n));
      }
    }
    EXPECT_THAT(w.names(w.out.candidates), testing::UnorderedElementsAreArray(expected));
    EXPECT_THAT(w.names(w.out.open), testing::UnorderedElementsAreArray(open));
    EXPECT_EQ(w.out.unusable, unusable);
  });
}

TEST(router_property, PrivateNeverLeaks) {
  in_many_worlds([](const random_world& w) {
    if (!w.request.private_only) return;
    for (const auto* list : {&w.out.candidates, &w.out.open}) {
      for (const candidate& k : *list) EXPECT_TRUE(w.c.providers[w.config_of(k).provider].private_data);
    }
    if (w.out.first_choice) {
      EXPECT_TRUE(w.c.providers[w.config_of(*w.out.first_choice).provider].private_data);
    }
  });
}

TEST(router_property, UntriedThenOwnModelThenRoom) {
  in_many_worlds([](const random_world& w) {
    const auto order = w.model_order();
    std::vector<std::tuple<bool, std::ptrdiff_t, bool>> ranks;
    for (const candidate& k : w.out.candidates) {
      const name_id n = w.config_of(k).name;
      ranks.emplace_back(w.was_tried(n), std::find(order.begin(), order.end(), k.model) - order.begin(),
                         !w.room(n));
    }
    EXPECT_TRUE(std::is_sorted(ranks.begin(), ranks.end()));
  });
}

/// Expected time and class as the documentation of the router tells them.
std::tuple<int, std::int64_t, double> speed_rank(const random_world& w, name_id n) {
  const auto* s = w.views.at(n).stats;
  if (s == nullptr) return {0, 0, 0.0};
  const double time = s->expected_seconds(w.request.output_tokens);
  if (s->measured(w.request.now)) return {1, 0, time};
  return s->in_flight() > 0 ? std::tuple(2, s->in_flight(), time) : std::tuple(0, std::int64_t{0}, time);
}

/// The fallback plan as its documentation tells it, by repeated full sorts.
std::vector<candidate> plan_by_hand(const random_world& w, std::vector<candidate> group, engine::strategy s) {
  const auto by_cost = [&w](const candidate& a, const candidate& b) {
    const auto& x = w.config_of(a);
    const auto& y = w.config_of(b);
    return std::tuple(x.input_usd, -x.quality, a.target) < std::tuple(y.input_usd, -y.quality, b.target);
  };
  const auto by_quality = [&w](const candidate& a, const candidate& b) {
    const auto& x = w.config_of(a);
    const auto& y = w.config_of(b);
    return std::tuple(-x.quality, x.input_usd, a.target) < std::tuple(-y.quality, y.input_usd, b.target);
  };
  const auto by_speed = [&w](const candidate& a, const candidate& b) {
    return std::tuple(speed_rank(w, w.config_of(a).name), a.target) <
           std::tuple(speed_rank(w, w.config_of(b).name), b.target);
  };
  std::vector<candidate> result;
  const auto add = [&](size_t count, engine::strategy by) {
    if (by == strategy::cost) std::sort(group.begin(), group.end(), by_cost);
    if (by == strategy::quality) std::sort(group.begin(), group.end(), by_quality);
    if (by == strategy::speed) std::sort(group.begin(), group.end(), by_speed);
    for (size_t i = 0; i < std::min(count, group.size()); ++i) {
      if (std::find(result.begin(), result.end(), group[i]) == result.end()) result.push_back(group[i]);
    }
  };
  add(1, s);
  add(3, strategy::cost);
  add(2, strategy::quality);
  add(1, strategy::speed);
  add(group.size(), s);
  return result;
}

TEST(router_property, EachGroupFollowsItsStrategy) {
  in_many_worlds([](const random_world& w) {
    size_t begin = 0;
    const auto& all = w.out.candidates;
    const auto group_of = [&w](const candidate& k) {
      const name_id n = w.config_of(k).name;
      return std::tuple(w.was_tried(n), k.model, w.room(n));
    };
    while (begin < all.size()) {
      size_t end = begin + 1;
      while (end < all.size() && group_of(all[end]) == group_of(all[begin])) ++end;
      const std::vector<candidate> group(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
      const auto s = w.strategy_of(all[begin].model);
      if (s == strategy::least_busy || s == strategy::weighted) {
        const auto rank = [&w, s](const candidate& k) {
          const auto& t = w.config_of(k);
          const auto* stats = w.views.at(t.name).stats;
          if (t.weight == 0) return std::numeric_limits<double>::infinity();
          return s == strategy::weighted || stats == nullptr
                     ? 0.0
                     : static_cast<double>(stats->in_flight()) / t.weight;
        };
        EXPECT_TRUE(
            std::is_sorted(group.begin(), group.end(),
                           [&rank](const candidate& a, const candidate& b) { return rank(a) < rank(b); }));
      } else {
        EXPECT_EQ(group, plan_by_hand(w, group, s));
      }
      begin = end;
    }
  });
}

TEST(router_property, TheSameRequestGetsTheSamePlan) {
  in_many_worlds([](random_world& w) {
    const auto before = w.out.candidates;
    w.plan();
    EXPECT_EQ(w.out.candidates, before);
  });
}

}  // namespace
}  // namespace millrace::engine
