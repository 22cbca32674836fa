#include "engine/budget_book.hpp"

#include <map>
#include <random>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

constexpr name_id key = 1;
constexpr name_id other_key = 2;
constexpr name_id tenant = 10;

money usd(double x) {
  return money::of_usd(x);
}

wall_time at(const char* day, int hour = 0) {
  return start_of(*parse_day(day)) + std::chrono::hours(hour);
}

/// Two keys of one tenant.
config two_keys(budget_config of_key, budget_config of_tenant = {}) {
  config c;
  for (const auto& [id, name] : {std::pair{key, "one"}, std::pair{other_key, "two"}}) {
    client_config client;
    client.name = name;
    client.tenant = "acme";
    client.id = id;
    client.tenant_id = tenant;
    client.budget = of_key;
    c.clients.push_back(client);
  }
  if (of_tenant.any()) c.tenants.push_back({"acme", of_tenant});
  return c;
}

TEST(budget_book, what_is_reserved_cannot_be_reserved_again) {
  budget_book b;
  b.reconfigure(two_keys({usd(10), {}}));
  const auto now = at("2026-05-04", 6);
  EXPECT_FALSE(b.refuses(key, tenant, usd(6), now));
  b.reserve(key, tenant, usd(6));
  const auto refused = b.refuses(key, tenant, usd(5), now);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind, budget_kind::key_day);
  EXPECT_EQ(refused->resets_in, std::chrono::hours(18));
  EXPECT_FALSE(b.refuses(other_key, tenant, usd(10), now)) << "its own budget";
  b.settle(key, tenant, usd(6), usd(1), now);
  EXPECT_FALSE(b.refuses(key, tenant, usd(9), now)) << "what was too much came back";
  EXPECT_TRUE(b.refuses(key, tenant, usd(9.000000001), now));
}

TEST(budget_book, keys_of_a_tenant_share_its_budget) {
  budget_book b;
  b.reconfigure(two_keys({}, {{}, usd(10)}));
  const auto now = at("2026-05-04");
  b.reserve(key, tenant, usd(6));
  const auto refused = b.refuses(other_key, tenant, usd(5), now);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->kind, budget_kind::tenant_month);
  EXPECT_EQ(refused->resets_in, at("2026-06-01") - now);
}

TEST(budget_book, what_costs_nothing_is_never_refused) {
  budget_book b;
  b.reconfigure(two_keys({usd(1), {}}));
  const auto now = at("2026-05-04");
  b.settle(key, tenant, {}, usd(3), now);
  EXPECT_TRUE(b.refuses(key, tenant, money::of_nano(1), now));
  EXPECT_FALSE(b.refuses(key, tenant, {}, now));
}

TEST(budget_book, a_day_begins_anew_at_midnight_utc_and_a_month_on_its_first) {
  budget_book b;
  b.reconfigure(two_keys({usd(5), usd(8)}));
  b.settle(key, tenant, {}, usd(5), at("2026-05-30", 23));
  EXPECT_TRUE(b.refuses(key, tenant, usd(1), at("2026-05-30", 23)));
  EXPECT_FALSE(b.refuses(key, tenant, usd(3), at("2026-05-31")));
  EXPECT_EQ(b.refuses(key, tenant, usd(4), at("2026-05-31"))->kind, budget_kind::key_month);
  EXPECT_FALSE(b.refuses(key, tenant, usd(5), at("2026-06-01")));
  b.settle(key, tenant, {}, usd(5), at("2026-06-01"));
  EXPECT_TRUE(b.refuses(key, tenant, usd(1), at("2026-05-31"))) << "a clock that is set back frees nothing";
}

TEST(budget_book, a_reservation_over_midnight_counts_in_the_new_day) {
  budget_book b;
  b.reconfigure(two_keys({usd(5), {}}));
  EXPECT_FALSE(b.refuses(key, tenant, usd(3), at("2026-05-30", 23)));
  b.reserve(key, tenant, usd(3));
  EXPECT_TRUE(b.refuses(key, tenant, usd(3), at("2026-05-31"))) << "it may yet be spent then";
  b.settle(key, tenant, usd(3), usd(2), at("2026-05-31"));
  EXPECT_FALSE(b.refuses(key, tenant, usd(3), at("2026-05-31")));
}

TEST(budget_book, a_reload_takes_nothing_from_what_is_known) {
  budget_book b;
  b.reconfigure(two_keys({}));
  const auto now = at("2026-05-04");
  b.settle(key, tenant, {}, usd(4), now);
  EXPECT_FALSE(b.limited(key, tenant));
  b.reconfigure(two_keys({usd(5), {}}));
  EXPECT_TRUE(b.limited(key, tenant));
  EXPECT_TRUE(b.refuses(key, tenant, usd(2), now)) << "spent before there was a budget";
  b.reserve(key, tenant, usd(1));
  b.reconfigure({});
  EXPECT_FALSE(b.limited(key, tenant));
  b.reconfigure(two_keys({usd(5), {}}));
  EXPECT_TRUE(b.refuses(key, tenant, usd(1), now)) << "a client that went and came back";
}

TEST(budget_book, a_new_life_knows_what_the_earlier_one_spent) {
  budget_book b;
  b.reconfigure(two_keys({usd(5), usd(20)}));
  const auto now = at("2026-05-04", 12);
  b.restore({{key, usd(4), usd(19)}, {99, usd(1), usd(1)}}, now);
  EXPECT_TRUE(b.refuses(key, tenant, usd(1.5), now));
  EXPECT_EQ(b.refuses(key, tenant, usd(1.5), now)->kind, budget_kind::key_month);
  EXPECT_FALSE(b.refuses(key, tenant, usd(1), now));
}

TEST(budget_book, shows_every_budget_with_what_is_left_of_it) {
  budget_book b;
  b.reconfigure(two_keys({usd(5), usd(20)}, {usd(7), {}}));
  const auto now = at("2026-05-04", 12);
  b.reserve(key, tenant, usd(1));
  b.settle(key, tenant, {}, usd(2), now);
  const auto seen = b.view(now);
  ASSERT_EQ(seen.size(), 5U);
  EXPECT_EQ(seen[0].account, key);
  EXPECT_EQ(seen[0].limit, usd(5));
  EXPECT_EQ(seen[0].spent, usd(2));
  EXPECT_EQ(seen[0].reserved, usd(1));
  EXPECT_EQ(day_text(seen[0].resets), "2026-05-05");
  EXPECT_EQ(seen[1].monthly, true);
  EXPECT_EQ(seen[2].account, tenant);
  EXPECT_EQ(b.view(at("2026-05-05"))[0].spent, money());
  EXPECT_EQ(b.view(at("2026-05-05"))[1].spent, usd(2));
}

/// Calls in any order, with real costs up to what they reserved: spent and reserved never exceed a budget,
/// and in the end what is spent is the sum of all costs.
TEST(budget_book, is_exact_whatever_happens) {
  for (unsigned seed = 1; seed <= 50; ++seed) {
    std::mt19937 random(seed);
    const auto below = [&](std::int64_t n) {
      return static_cast<std::int64_t>(random() % static_cast<unsigned>(n));
    };
    budget_book b;
    const money per_key = money::of_nano(1000 + below(5000));
    const money shared = money::of_nano(1000 + below(8000));
    b.reconfigure(two_keys({per_key, {}}, {{}, shared}));
    const auto now = at("2026-05-04", 12);
    struct open {
      name_id who;
      money reserved;
    };
    std::vector<open> under_way;
    std::map<name_id, money> spent;
    for (int step = 0; step < 2000; ++step) {
      if (under_way.empty() || below(2) == 0) {
        const name_id who = below(2) == 0 ? key : other_key;
        const money amount = money::of_nano(below(400));
        if (b.refuses(who, tenant, amount, now)) continue;
        b.reserve(who, tenant, amount);
        under_way.push_back({who, amount});
      } else {
        const auto i = static_cast<std::size_t>(below(static_cast<std::int64_t>(under_way.size())));
        const open o = under_way[i];
        under_way.erase(under_way.begin() + static_cast<std::ptrdiff_t>(i));
        const money cost = money::of_nano(below(o.reserved.nano() + 1));
        b.settle(o.who, tenant, o.reserved, cost, now);
        spent[o.who] += cost;
      }
      for (const budget_view& v : b.view(now)) ASSERT_LE(v.spent + v.reserved, v.limit) << "seed " << seed;
    }
    for (const open& o : under_way) b.settle(o.who, tenant, o.reserved, {}, now);
    for (const budget_view& v : b.view(now)) {
      EXPECT_EQ(v.reserved, money());
      EXPECT_EQ(v.spent, v.account == tenant ? spent[key] + spent[other_key] : spent[v.account]);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
