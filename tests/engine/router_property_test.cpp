// The router's rules, checked in thousands of random worlds.

#include <algorithm>
#include <limits>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/router.hpp"
#include "tests/engine/router_world.hpp"

namespace millrace::engine {
namespace {

// ------------------------------------------------------------------------------------------------

/// A random world with shared targets, every kind of state, and a request with every kind of restriction.
struct random_world : world {
  std::vector<name_id> tried;
  std::vector<name_id> barred;

  explicit random_world(unsigned seed) {
    std::mt19937 random(seed);
    const auto chance = [&random](unsigned percent) { return random() % 100 < percent; };
    const unsigned names = 1 + random() % 24;
    const unsigned models = 1 + random() % 4;
    for (unsigned m = 0; m < models; ++m) {
      model(static_cast<engine::strategy>(random() % 5));
      const unsigned groups = chance(40) ? 1 + random() % 3 : 0;
      for (unsigned g = 0; g < groups; ++g) group(random() % 4, static_cast<engine::strategy>(random() % 5));
      const unsigned targets = 1 + random() % 7;
      for (unsigned t = 0; t < targets; ++t) {
        auto& added = target(random() % 5, 0.1 * (random() % 10), random() % 4);
        added.name = random() % names;
        // One target is one provider's, in whatever model.
        added.provider = added.name % 2;
        if (groups > 0) added.group = random() % groups;
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
      if (chance(10)) barred.push_back(n);
    }
    request.tried = tried;
    request.barred = barred;
    request.retry_tried = chance(50);
    request.private_only = chance(30);
    if (chance(50)) request.strategy = static_cast<engine::strategy>(random() % 5);
    request.random = random();
  }

  bool allowed(const target_config& t) const {
    const bool can = std::find(barred.begin(), barred.end(), t.name) == barred.end();
    return can && (!request.private_only || c.providers[t.provider].private_data);
  }
  bool was_tried(name_id n) const { return std::find(tried.begin(), tried.end(), n) != tried.end(); }
  bool is_open(name_id n) const { return views.at(n).breaker != breaker_state::closed && !views.at(n).probe; }
  bool room(name_id n) const { return views.at(n).used_fraction <= c.limits.headroom; }
  engine::strategy strategy_of(size_t m) const {
    return m == 0 && request.strategy ? *request.strategy : c.models[m].strategy;
  }
  /// What puts the targets of one group in order.
  engine::strategy strategy_of(const candidate& k) const {
    const auto& m = c.models[k.model];
    const bool asked = k.model == 0 && request.strategy;
    return m.groups.empty() || asked ? strategy_of(size_t{k.model}) : m.groups[config_of(k).group].strategy;
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
      return std::tuple(w.was_tried(n), k.model, w.room(n), w.config_of(k).group);
    };
    while (begin < all.size()) {
      size_t end = begin + 1;
      while (end < all.size() && group_of(all[end]) == group_of(all[begin])) ++end;
      const std::vector<candidate> group(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                         all.begin() + static_cast<std::ptrdiff_t>(end));
      const auto s = w.strategy_of(all[begin]);
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
        // Those tried before keep their places in the plan.
        const bool tried = w.was_tried(w.config_of(group.front()).name);
        std::vector<candidate> whole;
        for (const candidate& k : w.all()) {
          const name_id n = w.config_of(k).name;
          const bool stays = (w.views.at(n).usable && !w.is_open(n)) || (w.was_tried(n) && !tried);
          const bool same = std::tuple(k.model, w.room(n), w.config_of(k).group) ==
                            std::tuple(group.front().model, w.room(w.config_of(group.front()).name),
                                       w.config_of(group.front()).group);
          if (stays && same) whole.push_back(k);
        }
        std::vector<candidate> expected = plan_by_hand(w, whole, s);
        std::erase_if(expected,
                      [&](const candidate& k) { return w.was_tried(w.config_of(k).name) != tried; });
        EXPECT_EQ(group, expected);
      }
      begin = end;
    }
  });
}

TEST(router_property, GroupsStandTogether) {
  in_many_worlds([](const random_world& w) {
    std::set<std::tuple<bool, std::uint32_t, bool, size_t>> left;
    const auto place_of = [&w](const candidate& k) {
      const name_id n = w.config_of(k).name;
      return std::tuple(w.was_tried(n), k.model, w.room(n), w.config_of(k).group);
    };
    for (size_t i = 0; i < w.out.candidates.size(); ++i) {
      const auto here = place_of(w.out.candidates[i]);
      EXPECT_FALSE(left.contains(here)) << "at place " << i;
      if (i > 0 && place_of(w.out.candidates[i - 1]) != here) left.insert(place_of(w.out.candidates[i - 1]));
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
