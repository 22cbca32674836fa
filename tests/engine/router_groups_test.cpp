// Groups of targets, their weights, and who stays where while the weights change.

#include <map>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/engine/router_world.hpp"

namespace millrace::engine {
namespace {

using testing::ElementsAre;

struct router_groups : testing::Test, world {
  /// Two groups, each of two targets: 0, 1 and 2, 3.
  void two_groups(double first, double second, engine::strategy s = strategy::weighted) {
    model(s);
    group(first);
    target(4);
    target(3);
    group(second);
    target(2);
    target(1);
  }
  size_t first_group() {
    const auto order = plan();
    return order.empty() ? 99 : c.models[0].targets[static_cast<size_t>(order.front())].group;
  }
  static std::uint64_t tenant(int n) { return hash_text("tenant/t" + std::to_string(n)); }
  /// The group of each of many tenants.
  std::vector<size_t> where_tenants_go(int tenants) {
    std::vector<size_t> result;
    for (int i = 0; i < tenants; ++i) {
      request.random = tenant(i);
      result.push_back(first_group());
    }
    return result;
  }
};

TEST_F(router_groups, AGroupIsAsGoodAsItsBestTarget) {
  two_groups(1, 1, strategy::cost);
  EXPECT_THAT(plan(), ElementsAre(3, 2, 1, 0)) << "the cheaper group first, inside it the cheaper target";
  EXPECT_EQ(out.first_choice, (candidate{0, 3}));
}

TEST_F(router_groups, EachGroupHasItsOwnStrategy) {
  model(strategy::quality);
  group(1, strategy::cost);
  target(9, 0.9);
  target(1, 0.1);
  group(1, strategy::quality);
  target(1, 0.5);
  target(2, 0.8);
  EXPECT_THAT(plan(), ElementsAre(1, 0, 3, 2)) << "the best is in the first group, which goes by cost";
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
  request.strategy = strategy::quality;
  EXPECT_THAT(plan(), ElementsAre(0, 1, 3, 2)) << "what the request asks for overrules both";
}

TEST_F(router_groups, LeastBusyCountsAGroupsCallsAgainstItsWeight) {
  two_groups(1, 3, strategy::least_busy);
  busy(0, 1);
  busy(2, 1);
  busy(3, 1);
  EXPECT_EQ(first_group(), 1u) << "2 calls / 3 is less than 1 call / 1";
  busy(3, 2);
  EXPECT_EQ(first_group(), 0u);
}

TEST_F(router_groups, AFullGroupStandsBehindOneWithRoom) {
  two_groups(1, 0);
  views[0].used_fraction = views[1].used_fraction = 0.9;
  EXPECT_EQ(first_group(), 1u);
}

TEST_F(router_groups, WithoutWeightAGroupIsTheLastResort) {
  two_groups(0, 1);
  for (int i = 0; i < 100; ++i) {
    request.random = tenant(i);
    EXPECT_EQ(first_group(), 1u);
  }
  views[2].usable = views[3].usable = false;
  EXPECT_EQ(first_group(), 0u);
}

TEST_F(router_groups, SharesAreThoseOfTheWeights) {
  two_groups(90, 10);
  const auto groups = where_tenants_go(10'000);
  const auto second = std::count(groups.begin(), groups.end(), 1u);
  EXPECT_GT(second, 850);  // five standard deviations around 1000
  EXPECT_LT(second, 1150);
}

TEST_F(router_groups, OnlyThoseMoveWhoMust) {
  two_groups(90, 10);
  const auto at_10 = where_tenants_go(4000);
  EXPECT_EQ(where_tenants_go(4000), at_10) << "a tenant stays where it is";
  changed[0] = {{50, 50}, {1, 1, 1, 1}};
  const auto at_50 = where_tenants_go(4000);
  changed[0].groups = {0, 100};
  const auto at_100 = where_tenants_go(4000);
  int moved = 0;
  for (size_t i = 0; i < at_10.size(); ++i) {
    if (at_10[i] == 1) {
      EXPECT_EQ(at_50[i], 1u) << "tenant " << i << " moved back";
    }
    moved += at_10[i] != at_50[i] ? 1 : 0;
    EXPECT_EQ(at_100[i], 1u);
  }
  EXPECT_GT(moved, 1400);  // 40 % of 4000, by five standard deviations
  EXPECT_LT(moved, 1800);
}

TEST_F(router_groups, ChangedWeightsOfTargetsCount) {
  model(strategy::weighted);
  target();
  target();
  changed[0] = {{}, {0, 1}};
  for (int i = 0; i < 50; ++i) {
    request.random = tenant(i);
    EXPECT_EQ(plan().front(), 1);
  }
}

TEST_F(router_groups, WhoGoesWhereIsTheSameOnEveryNode) {
  // Written down once: another hash would move tenants at an upgrade.
  EXPECT_EQ(hash_text(""), 0xcbf29ce484222325ULL);
  EXPECT_EQ(hash_text("a"), 0xaf63dc4c8601ec8cULL);
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafULL);
}

}  // namespace
}  // namespace millrace::engine
