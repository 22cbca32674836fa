#include <gtest/gtest.h>

#include "dispatch_world.hpp"

/// Money in the dispatcher: reserved with the question, lowered with the grant, settled with the call.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

constexpr day_number today = 20'000;

/// Model m at a (1 USD for a million tokens) and b (2 USD); `request` has 100 tokens in and 50 out.
config_ptr priced(std::optional<money> day, std::optional<money> tenant_day = {}) {
  config_builder b;
  b.provider("a", {key_limits{}})
      .provider("b", {key_limits{}})
      .model("m", {0, 1})
      .client("c", unlimited, unlimited);
  b.c.clients.back().budget.day = day;
  if (tenant_day) b.c.tenants.push_back({"c", {tenant_day, {}}});
  return b.build();
}
constexpr std::int64_t at_a = 150'000;  ///< of 10^-9 USD: what a request may cost at a
constexpr std::int64_t at_b = 300'000;

class money_world : public dispatch_world {
 public:
  explicit money_world(config_ptr c) : dispatch_world(std::move(c)) {
    machine.set_wall(start_of(today) + 12h);
    acquire(900);  // somebody without a budget: only a key that is wanted keeps permits in hand
    grant("key/a/k1", 100);
  }
  void ask(ticket t, bool first = true) {
    acquire_request r = request(t);
    r.client = id("client/c");
    r.tenant = id("tenant/c");
    r.first = first;
    acquire(r);
  }
  void end(ticket t, std::int64_t nano_usd, attempt_outcome o = attempt_outcome::ok) {
    settlement s;
    s.id = t;
    s.outcome = o;
    s.cost = money::of_nano(nano_usd);
    settle(s);
  }
  /// No permit is left in hand.
  void use_up() {
    for (ticket t = 1000; t < 1100; ++t) acquire(t);
  }
  budget_view budget() const { return machine.status(now).budgets.at(0); }
};

TEST(DispatcherBudget, TheDearestTargetIsReservedAndTheGrantedOneStays) {
  money_world w(priced(money::of_nano(at_b)));
  w.ask(1);
  EXPECT_TRUE(w.granted(1, "key/a/k1"));
  EXPECT_EQ(w.budget().reserved, money::of_nano(at_a)) << "it went to a";
  w.ask(2);
  EXPECT_TRUE(w.refused(2, verdict::over_budget)) << "it might have to go to b";
  EXPECT_EQ(w.reply(2)->budget, budget_kind::key_day);
  EXPECT_EQ(w.reply(2)->retry_after, 12h);
  w.sent(1);
  w.end(1, 1000);
  EXPECT_EQ(w.budget().spent, money::of_nano(1000));
  EXPECT_EQ(w.budget().reserved, money());
}

TEST(DispatcherBudget, WhatIsNotUsedComesBack) {
  money_world w(priced(money::of_nano(at_b)));
  w.ask(1);
  w.cancel(1);
  EXPECT_EQ(w.budget().reserved, money());
  w.ask(2);
  w.settle(2, attempt_outcome::unused);
  EXPECT_EQ(w.budget().reserved, money());
  w.ask(3);
  w.ask(3);  // its asker forgot to settle
  EXPECT_EQ(w.budget().reserved, money::of_nano(at_a));
  EXPECT_EQ(w.budget().spent, money());
}

TEST(DispatcherBudget, ARequestThatWaitsHoldsItsMoneyUntilItLeaves) {
  money_world w(priced(money::of_nano(2 * at_b)));
  w.use_up();
  w.ask(1);
  ASSERT_EQ(w.reply(1), nullptr) << "it waits";
  EXPECT_EQ(w.budget().reserved, money::of_nano(at_b)) << "for either target";
  w.ask(2);
  w.ask(3);
  EXPECT_TRUE(w.refused(3, verdict::over_budget));
  w.cancel(1);
  EXPECT_EQ(w.budget().reserved, money::of_nano(at_b));
  w.pass(31s);
  EXPECT_EQ(w.budget().reserved, money()) << "its patience ended";
}

TEST(DispatcherBudget, EveryAttemptOfARequestReservesAndPays) {
  money_world w(priced(money::of_nano(at_b + 100'000)));
  w.ask(1);
  w.sent(1);
  w.end(1, 100'000, attempt_outcome::failed);
  EXPECT_EQ(w.budget().spent, money::of_nano(100'000));
  w.ask(1, false);
  EXPECT_TRUE(w.granted(1, "key/a/k1"));
  w.sent(1);
  w.end(1, 100'001, attempt_outcome::failed);
  w.ask(1, false);
  EXPECT_TRUE(w.refused(1, verdict::over_budget)) << "a retry spends, too";
  EXPECT_EQ(w.budget().spent, money::of_nano(200'001));
}

TEST(DispatcherBudget, ATenantsBudgetIsAskedToo) {
  money_world w(priced({}, money::of_nano(at_b - 1)));
  w.ask(1);
  EXPECT_TRUE(w.refused(1, verdict::over_budget));
  EXPECT_EQ(w.reply(1)->budget, budget_kind::tenant_day);
}

TEST(DispatcherBudget, AClientWithABudgetGetsNoPermitsAheadOfNeed) {
  for (const bool limited : {false, true}) {
    money_world w(priced(limited ? std::optional(money::of_usd(100)) : std::nullopt));
    acquire_request r = w.request(1);
    r.client = w.id("client/c");
    r.tenant = w.id("tenant/c");
    r.spares = 4;
    r.first_spare = 100;
    r.strategy = static_cast<std::uint8_t>(strategy::cost);
    w.acquire(r);
    ASSERT_TRUE(w.granted(1, "key/a/k1"));
    EXPECT_EQ(w.out.replies.size() > 1, !limited);
  }
}

TEST(DispatcherBudget, ARefusedBudgetChargesNoOtherLimit) {
  config_builder b;
  b.provider("a", {key_limits{}}).model("m", {0}).client("c", 1, unlimited);
  b.c.clients.back().budget.day = money();
  money_world w(b.build());
  w.ask(1);
  EXPECT_TRUE(w.refused(1, verdict::over_budget));
  b.c.clients.back().budget.day = money::of_usd(1);
  w.apply(b.build());
  w.ask(2);
  EXPECT_TRUE(w.granted(2, "key/a/k1")) << "its only request of this minute is left";
}

TEST(DispatcherBudget, SpendingOfAnEarlierLifeCounts) {
  money_world w(priced(money::of_nano(at_b)));
  w.machine.restore_spend({{w.id("client/c"), money::of_nano(1), money::of_nano(1)}});
  w.ask(1);
  EXPECT_TRUE(w.refused(1, verdict::over_budget));
  w.machine.set_wall(start_of(today + 1));
  w.ask(2);
  EXPECT_TRUE(w.granted(2, "key/a/k1")) << "another day";
}

TEST(DispatcherBudget, AClientsTokensComeBackWhenTheProviderRefusedTheRequest) {
  config_builder b;
  b.provider("a", {key_limits{}}).model("m", {0}).client("c", unlimited, 150);
  money_world w(b.build());
  w.ask(1);
  ASSERT_TRUE(w.granted(1, "key/a/k1"));
  w.sent(1);
  settlement s;
  s.id = 1;
  s.billed_nothing = true;  // a 400
  w.settle(s);
  w.ask(2);
  EXPECT_TRUE(w.granted(2, "key/a/k1"));
  w.sent(2);
  w.settle(2);
  w.ask(3);
  EXPECT_TRUE(w.refused(3, verdict::client_limited)) << "of this one nobody knows what it used";
}

}  // namespace
}  // namespace millrace::engine
