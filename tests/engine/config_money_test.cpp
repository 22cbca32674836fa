#include <gmock/gmock.h>

#include "tests/engine/config_texts.hpp"

/// Budgets, client limits and what is kept of usage, as they are read.
namespace millrace::engine {
namespace {

using namespace config_testing;

TEST(config_money, budgets_of_keys_and_tenants) {
  const auto c = parse(R"(auth:
  keys:
    - { name: a, secret: s, tenant: acme, rph: 1000, route_rpm: 50, budget_usd: { day: 0.5, month: 100 } }
    - { name: b, secret: t, tenant: acme, budget_usd: { month: 0 } }
    - { name: c, secret: u }
tenants: { acme: { budget_usd: { day: 20 } }, c: {} }
usage: { keep: 30d }
)");
  EXPECT_EQ(c->clients[0].budget.day, money::of_usd(0.5));
  EXPECT_EQ(c->clients[0].budget.month, money::of_usd(100));
  EXPECT_EQ(c->clients[0].rph, 1000);
  EXPECT_EQ(c->clients[0].route_rpm, 50);
  EXPECT_EQ(c->clients[1].budget.day, std::nullopt);
  EXPECT_EQ(c->clients[1].budget.month, money()) << "nothing may be spent";
  EXPECT_FALSE(c->clients[2].budget.any());
  EXPECT_EQ(c->clients[2].rph, unlimited);
  ASSERT_EQ(c->tenants.size(), 2U);
  EXPECT_EQ(c->tenants[0].budget.day, money::of_usd(20));
  EXPECT_FALSE(c->tenants[1].budget.any());
  EXPECT_EQ(c->usage.keep, 24h * 30);
}

TEST(config_money, without_words_nothing_is_bounded_and_usage_is_kept_for_more_than_a_year) {
  const auto c = parse("node: { id: x }");
  EXPECT_FALSE(c->clients[0].budget.any());
  EXPECT_TRUE(c->tenants.empty());
  EXPECT_EQ(c->usage.keep, 24h * 400);
}

TEST(config_money, an_open_node_has_one_tenant) {
  EXPECT_EQ(parse("tenants: { default: { budget_usd: { month: 3 } } }")->tenants[0].budget.month,
            money::of_usd(3));
}

TEST(config_money, prompt_cache_is_a_models_affair) {
  const auto c = parse(two_providers + "    prompt_cache: auto\n");
  EXPECT_FALSE(c->models[0].mark_prompt_cache);
  EXPECT_TRUE(c->models[1].mark_prompt_cache);
}

}  // namespace
}  // namespace millrace::engine
