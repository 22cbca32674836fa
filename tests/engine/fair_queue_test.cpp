#include "engine/fair_queue.hpp"

#include <algorithm>
#include <map>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using lane = queue_class;
using offer = fair_queue::offer;

const time_point start{std::chrono::hours(1)};

fair_queue::item make(ticket id, lane l, name_id tenant, std::int64_t cost = 1000,
                      std::uint64_t signature = 1) {
  return {.id = id,
          .lane = l,
          .tenant = tenant,
          .signature = signature,
          .cost = cost,
          .since = start,
          .deadline = start + 30s};
}

/// One pass with `permits` permits for any request; returns who was served.
std::vector<ticket> serve(fair_queue& q, size_t permits) {
  std::vector<ticket> served;
  q.serve([&](ticket id) {
    if (served.size() == permits) return offer::blocked;
    served.push_back(id);
    return offer::taken;
  });
  return served;
}

/// Keeps `depth` requests of every flow waiting and hands out one permit at a time.
class trickle {
 public:
  struct flow {
    lane l;
    name_id tenant;
    std::int64_t min_cost;
    std::int64_t max_cost;
    size_t depth = 5;
  };
  trickle(std::vector<flow> flows, std::uint64_t seed) : flows_(std::move(flows)), random_(seed) {
    for (size_t f = 0; f < flows_.size(); ++f) {
      for (size_t i = 0; i < flows_[f].depth; ++i) add(f);
    }
  }
  void run(int permits) {
    for (int i = 0; i < permits; ++i) {
      const auto served = serve(queue, 1);
      ASSERT_EQ(served.size(), 1U);
      const auto [f, cost] = owner_.at(served[0]);
      tokens[f] += cost;
      ++requests[f];
      add(f);
    }
  }

  fair_queue queue;
  std::map<size_t, double> tokens;
  std::map<size_t, int> requests;

 private:
  void add(size_t f) {
    const std::int64_t cost =
        std::uniform_int_distribution<std::int64_t>(flows_[f].min_cost, flows_[f].max_cost)(random_);
    ASSERT_TRUE(queue.push(make(++last_, flows_[f].l, flows_[f].tenant, cost)));
    owner_[last_] = {f, cost};
  }
  std::vector<flow> flows_;
  std::mt19937_64 random_;
  ticket last_ = 0;
  std::map<ticket, std::pair<size_t, std::int64_t>> owner_;
};

TEST(FairQueue, SharesTokensByWeightWhenPermitsTrickle) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    SCOPED_TRACE(seed);
    trickle t({{lane::priority, 1, 1, 4000}, {lane::standard, 1, 1, 4000}, {lane::batch, 1, 1, 4000}}, seed);
    t.run(16000);
    const double all = t.tokens[0] + t.tokens[1] + t.tokens[2];
    EXPECT_NEAR(t.tokens[0] / all, 10.0 / 16, 0.05 * 10 / 16);
    EXPECT_NEAR(t.tokens[1] / all, 5.0 / 16, 0.05 * 5 / 16);
    EXPECT_NEAR(t.tokens[2] / all, 1.0 / 16, 0.05 * 1 / 16);
  }
}

TEST(FairQueue, SharesHoldInAnyShortStretchOfEqualRequests) {
  trickle t({{lane::priority, 1, 700, 700}, {lane::standard, 1, 700, 700}, {lane::batch, 1, 700, 700}}, 1);
  for (int i = 1; i <= 20; ++i) {
    t.run(16);
    EXPECT_NEAR(t.requests[0], 10 * i, 1);
    EXPECT_NEAR(t.requests[1], 5 * i, 1);
    EXPECT_NEAR(t.requests[2], i, 1);
  }
}

TEST(FairQueue, TenantsOfOneClassShareAlikeWhateverTheySend) {
  trickle t({{lane::standard, 1, 100, 200, 50},
             {lane::standard, 2, 4000, 8000, 3},
             {lane::standard, 3, 1, 9000, 500}},
            7);
  t.run(30000);
  const double third = (t.tokens[0] + t.tokens[1] + t.tokens[2]) / 3;
  for (size_t f = 0; f < 3; ++f) EXPECT_NEAR(t.tokens[f], third, 0.05 * third) << f;
}

TEST(FairQueue, OneHugeRequestAtATimeGainsNothing) {
  // Its flow drains with every request, so it would always come first if its debt were forgotten.
  trickle t({{lane::standard, 1, 50000, 50000, 1}, {lane::standard, 2, 500, 500, 20}}, 1);
  t.run(20000);
  EXPECT_NEAR(t.tokens[0] / (t.tokens[0] + t.tokens[1]), 0.5, 0.025);
}

TEST(FairQueue, DebtsOutliveTheSweepOfDrainedTenants) {
  fair_queue q;
  ticket id = 0;
  for (int i = 0; i < 300; ++i) q.push(make(++id, lane::standard, 2, 500));
  q.push(make(1000, lane::standard, 1, 50000));
  for (name_id tenant = 10; tenant < 200; ++tenant) q.push(make(1000 + tenant, lane::standard, tenant, 1));
  const auto first = serve(q, 192);  // everybody once, and most of them drain
  EXPECT_EQ(std::count(first.begin(), first.end(), 1000), 1);
  q.push(make(2000, lane::standard, 1, 50000));
  const auto next = serve(q, 90);  // 90 * 500 tokens are less than what tenant 1 owes
  EXPECT_EQ(std::count(next.begin(), next.end(), 2000), 0);
}

TEST(FairQueue, LoneClassGetsEverything) {
  trickle t({{lane::batch, 1, 1000, 1000}}, 1);
  t.run(100);
  EXPECT_EQ(t.requests[0], 100);
}

TEST(FairQueue, AClassThatWasAwayHasNothingSavedUp) {
  fair_queue q;
  ticket id = 0;
  for (int i = 0; i < 500; ++i) q.push(make(++id, lane::standard, 1));
  EXPECT_EQ(serve(q, 400).size(), 400U);  // alone
  for (int i = 0; i < 500; ++i) q.push(make(++id, lane::priority, 1));
  for (int i = 0; i < 500; ++i) q.push(make(++id, lane::standard, 1));
  const auto served = serve(q, 150);
  const auto old = std::count_if(served.begin(), served.end(), [](ticket t) { return t <= 500 || t > 1000; });
  EXPECT_NEAR(old, 50, 3);
}

TEST(FairQueue, QuietTenantWaitsAtMostTwiceAsLongBesideANoisyOne) {
  // A permit a tick; the quiet tenant sends one request every 20 to 40 ticks, the noisy one a hundred times
  // as much.
  const auto p99_wait = [](bool noisy, std::uint64_t seed) {
    std::mt19937_64 random(seed);
    fair_queue q;
    std::map<ticket, int> asked;
    std::vector<int> waits;
    ticket id = 0;
    int next = 10;
    for (int tick = 0; tick < 60000; ++tick) {
      if (tick >= next) {
        asked[++id] = tick;
        q.push(make(id, lane::standard, 1, 1000));
        next = tick + 20 + static_cast<int>(random() % 20);
      }
      for (int i = 0; noisy && i < 4 && q.size() < 5000; ++i) q.push(make(++id, lane::standard, 2, 1000));
      for (const ticket t : serve(q, 1)) {
        if (asked.contains(t)) waits.push_back(tick + 1 - asked[t]);
      }
    }
    std::sort(waits.begin(), waits.end());
    return waits.at(waits.size() * 99 / 100);
  };
  for (const std::uint64_t seed : {11U, 12U}) EXPECT_LE(p99_wait(true, seed), 2 * p99_wait(false, seed));
}

TEST(FairQueue, ATenantIsServedInOrderOfArrival) {
  fair_queue q;
  std::mt19937_64 random(5);
  for (ticket id = 1; id <= 200; ++id) {
    q.push(make(id, lane::standard, 1, 1 + static_cast<std::int64_t>(random() % 5000), random() % 7));
  }
  const auto served = serve(q, 200);
  EXPECT_EQ(served.size(), 200U);
  EXPECT_TRUE(std::is_sorted(served.begin(), served.end()));
}

TEST(FairQueue, ABlockedKindIsLookedAtOnceAndHoldsUpNobody) {
  fair_queue q;
  for (ticket id = 1; id <= 1000; ++id)
    q.push(make(id, lane::priority, static_cast<name_id>(id % 10), 1000, 1));
  for (ticket id = 1001; id <= 1010; ++id)
    q.push(make(id, lane::batch, static_cast<name_id>(id % 10), 1000, 2));
  int looks = 0;
  std::vector<ticket> served;
  q.serve([&](ticket id) {
    if (id <= 1000) {
      ++looks;
      return offer::blocked;
    }
    served.push_back(id);
    return offer::taken;
  });
  EXPECT_EQ(looks, 1);
  EXPECT_EQ(served.size(), 10U);
  EXPECT_EQ(q.depth(lane::priority), 1000U);
  EXPECT_EQ(q.depth(lane::batch), 0U);
}

TEST(FairQueue, BeingBlockedCostsNoTurnAndSavesUpNone) {
  fair_queue q;
  ticket id = 0;
  for (int i = 0; i < 300; ++i)
    q.push(make(++id, lane::standard, 1, 1000, 1));  // 1..300, without permits at first
  for (int i = 0; i < 600; ++i) q.push(make(++id, lane::standard, 2, 1000, 2));
  int other = 0;
  q.serve([&](ticket t) {
    if (t <= 300 || other == 300) return offer::blocked;
    ++other;
    return offer::taken;
  });
  EXPECT_EQ(other, 300);
  const auto served = serve(q, 100);  // now for both
  const auto first = std::count_if(served.begin(), served.end(), [](ticket t) { return t <= 300; });
  EXPECT_NEAR(first, 50, 1);
}

TEST(FairQueue, ABlockedClassSavesUpNoTurnsEither) {
  fair_queue q;
  ticket id = 0;
  for (int i = 0; i < 300; ++i)
    q.push(make(++id, lane::standard, 1, 1000, 1));  // 1..300, without permits at first
  for (int i = 0; i < 900; ++i) q.push(make(++id, lane::priority, 2, 1000, 2));
  int other = 0;
  q.serve([&](ticket t) {
    if (t <= 300 || other == 600) return offer::blocked;
    ++other;
    return offer::taken;
  });
  const auto served = serve(q, 150);  // now for both, by weight 10:5
  const auto first = std::count_if(served.begin(), served.end(), [](ticket t) { return t <= 300; });
  EXPECT_NEAR(first, 50, 2);
}

TEST(FairQueue, DroppedRequestsLeaveWithoutPaying) {
  fair_queue q;
  for (ticket id = 1; id <= 5; ++id) q.push(make(id, lane::standard, 1, 1'000'000));
  q.push(make(6, lane::standard, 2));
  std::vector<ticket> seen;
  q.serve([&](ticket id) {
    seen.push_back(id);
    return offer::dropped;
  });
  EXPECT_EQ(seen, (std::vector<ticket>{1, 2, 3, 4, 5, 6}));
  EXPECT_TRUE(q.empty());
}

TEST(FairQueue, FullRefusesAndCancelMakesRoom) {
  queue_config config;
  config.max_waiting = 3;
  fair_queue q(config);
  for (ticket id = 1; id <= 3; ++id) EXPECT_TRUE(q.push(make(id, lane::standard, 1)));
  EXPECT_TRUE(q.full());
  EXPECT_FALSE(q.push(make(4, lane::standard, 1)));
  EXPECT_TRUE(q.cancel(2));
  EXPECT_FALSE(q.cancel(2));
  EXPECT_TRUE(q.push(make(4, lane::standard, 1)));
  EXPECT_FALSE(q.push(make(4, lane::standard, 1)));
  EXPECT_EQ(serve(q, 9), (std::vector<ticket>{1, 3, 4}));
}

TEST(FairQueue, ExpiresByDeadlineNotByArrival) {
  fair_queue q;
  for (ticket id = 1; id <= 4; ++id) {
    auto i = make(id, lane::standard, 1);
    i.deadline = start + std::chrono::seconds(10 - id);
    q.push(i);
  }
  EXPECT_EQ(q.next_deadline(), start + 6s);
  std::vector<ticket> out;
  q.expire(start + 5s, out);
  EXPECT_TRUE(out.empty());
  q.expire(start + 8s, out);
  EXPECT_EQ(out, (std::vector<ticket>{4, 3, 2}));
  EXPECT_EQ(q.next_deadline(), start + 9s);
  EXPECT_EQ(serve(q, 9), (std::vector<ticket>{1}));
  EXPECT_EQ(q.next_deadline(), time_point::max());
}

TEST(FairQueue, NothingIsLostOrServedTwiceUnderRandomUse) {
  for (const std::uint64_t seed : {21U, 22U, 23U, 24U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    fair_queue q;
    std::map<ticket, fair_queue::item> waiting;
    ticket last = 0;
    time_point now = start;
    for (int step = 0; step < 20000; ++step) {
      now += std::chrono::milliseconds(random() % 20);
      const auto dice = random() % 10;
      if (dice < 6) {
        auto i = make(++last, static_cast<lane>(random() % 3), static_cast<name_id>(random() % 40),
                      static_cast<std::int64_t>(random() % 9000), random() % 12);
        i.deadline = now + std::chrono::milliseconds(random() % 4000);
        ASSERT_TRUE(q.push(i));
        waiting[last] = i;
      } else if (dice == 6 && last > 0) {
        const ticket id = 1 + random() % last;
        ASSERT_EQ(q.cancel(id), waiting.erase(id) == 1);
      } else if (dice == 7) {
        std::vector<ticket> out;
        q.expire(now, out);
        for (const ticket id : out) {
          ASSERT_LE(waiting.at(id).deadline, now);
          waiting.erase(id);
        }
      } else {
        const std::uint64_t open = random() % 4096;  // a bit for each signature
        size_t budget = random() % 12;
        std::map<std::uint64_t, bool> blocked;
        q.serve([&](ticket id) {
          const auto signature = waiting.at(id).signature;
          EXPECT_FALSE(blocked[signature]);
          if (budget == 0 || ((open >> signature) & 1) == 0) {
            blocked[signature] = true;
            return offer::blocked;
          }
          --budget;
          waiting.erase(id);
          return random() % 5 == 0 ? offer::dropped : offer::taken;
        });
        if (budget > 0) {  // whatever was allowed is gone
          for (const auto& [id, i] : waiting) ASSERT_EQ((open >> i.signature) & 1, 0U);
        }
      }
      ASSERT_EQ(q.size(), waiting.size());
    }
    for (const auto l : {lane::priority, lane::standard, lane::batch}) {
      std::int64_t tokens = 0;
      for (const auto& [id, i] : waiting) tokens += i.lane == l ? std::max<std::int64_t>(i.cost, 1) : 0;
      EXPECT_EQ(q.tokens(l), tokens);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
