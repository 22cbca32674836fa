#include "engine/purge_list.hpp"

#include <algorithm>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using std::chrono::milliseconds;

wall_time at(std::int64_t ms) {
  return wall_time(milliseconds(ms));
}

cached_answer answer(std::string tenant, std::string model, wall_time stored) {
  cached_answer a;
  a.tenant = std::move(tenant);
  a.model = std::move(model);
  a.stored_at = stored;
  return a;
}

purge_scope scope(std::optional<std::string> tenant, std::optional<std::string> model) {
  return {.tenant = std::move(tenant), .model = std::move(model)};
}

TEST(PurgeList, CoversWhatMatchesAndWasStoredBefore) {
  purge_list l;
  EXPECT_FALSE(l.covers(answer("a", "m", at(0))));
  l.add(scope("a", "m"), at(100));
  EXPECT_TRUE(l.covers(answer("a", "m", at(99))));
  EXPECT_TRUE(l.covers(answer("a", "m", at(100))));
  EXPECT_FALSE(l.covers(answer("a", "m", at(101))));
  EXPECT_FALSE(l.covers(answer("a", "n", at(99))));
  EXPECT_FALSE(l.covers(answer("b", "m", at(99))));
  l.add(scope("b", {}), at(200));
  EXPECT_TRUE(l.covers(answer("b", "n", at(150))));
  l.add(scope({}, "x"), at(300));
  EXPECT_TRUE(l.covers(answer("c", "x", at(250))));
  EXPECT_FALSE(l.covers(answer("c", "y", at(250))));
}

TEST(PurgeList, AnEmptyNameIsANameAndNotAll) {
  purge_list l;
  l.add(scope("", {}), at(100));
  EXPECT_TRUE(l.covers(answer("", "m", at(1))));
  EXPECT_FALSE(l.covers(answer("a", "m", at(1))));
}

TEST(PurgeList, EverythingSwallowsWhatIsOlder) {
  purge_list l;
  l.add(scope("a", {}), at(100));
  l.add(scope("b", {}), at(300));
  l.add({}, at(200));
  EXPECT_EQ(l.rules().size(), 2U);
  EXPECT_TRUE(l.covers(answer("z", "m", at(200))));
  EXPECT_TRUE(l.covers(answer("b", "m", at(300))));
  l.add(scope("c", {}), at(150));
  EXPECT_EQ(l.rules().size(), 2U);
}

TEST(PurgeList, ForgetsWhatIsOld) {
  purge_list l;
  l.add(scope("a", {}), at(100));
  l.add(scope("b", {}), at(200));
  l.forget_before(at(200));
  EXPECT_FALSE(l.covers(answer("a", "m", at(50))));
  EXPECT_TRUE(l.covers(answer("b", "m", at(50))));
}

/// Against the plain rule: beyond the bound more may be covered, never less; until then exactly the same.
class PurgeListRandom : public testing::TestWithParam<unsigned> {};

TEST_P(PurgeListRandom, CoversAtLeastWhatWasPurgedAndStaysBounded) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  std::mt19937 random(GetParam());
  const unsigned names = GetParam() % 2 == 0 ? 5 : 100;  // few: below the bound; many: above it
  const auto name = [&](unsigned n) {
    return std::string(1, static_cast<char>('a' + n % 26)) + std::to_string(n);
  };
  const auto any_name = [&]() { return name(random() % names); };
  purge_list l;
  std::vector<std::pair<purge_scope, wall_time>> all;
  for (int step = 0; step < 1500; ++step) {
    const purge_scope s = scope(random() % 4 == 0 ? std::nullopt : std::optional(any_name()),
                                random() % 4 == 0 ? std::nullopt : std::optional(any_name()));
    if (s == purge_scope{} && random() % 8 != 0) continue;
    const auto when = at(step + static_cast<int>(random() % 10));
    l.add(s, when);
    all.emplace_back(s, when);
    ASSERT_LE(l.rules().size(), purge_list::max_rules);
  }
  for (int probe = 0; probe < 500; ++probe) {
    const auto a = answer(any_name(), any_name(), at(random() % 1600));
    const bool purged = std::any_of(all.begin(), all.end(), [&](const auto& r) {
      return (!r.first.tenant || *r.first.tenant == a.tenant) &&
             (!r.first.model || *r.first.model == a.model) && a.stored_at <= r.second;
    });
    if (purged || names == 5) {
      ASSERT_EQ(l.covers(a), purged);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PurgeListRandom, testing::Range(1U, 13U));

TEST(PurgeList, BeyondTheBoundTheOldestBecomesEverything) {
  purge_list l;
  for (std::size_t i = 0; i <= purge_list::max_rules; ++i) {
    l.add(scope("t" + std::to_string(i), {}), at(static_cast<std::int64_t>(1000 + i)));
  }
  EXPECT_EQ(l.rules().size(), purge_list::max_rules);
  EXPECT_TRUE(l.covers(answer("t0", "m", at(1000))));
  EXPECT_TRUE(l.covers(answer("bystander", "m", at(1000))));
  EXPECT_FALSE(l.covers(answer("bystander", "m", at(1500))));
  EXPECT_TRUE(l.covers(answer("t600", "m", at(1600))));
}

}  // namespace
}  // namespace millrace::engine
