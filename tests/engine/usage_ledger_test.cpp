#include "engine/usage_ledger.hpp"

#include <thread>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

constexpr day_number today = 20'000;

attempt_record attempt(std::int64_t input, std::int64_t output, std::int64_t nano_usd,
                       std::string_view tenant = "acme", std::string_view client = "key",
                       std::string_view model = "gpt", day_number day = today) {
  attempt_record r{"p", "up", "k", "ok", 1s};
  r.tenant = tenant;
  r.client = client;
  r.asked_model = model;
  r.used.input_tokens = input;
  r.used.output_tokens = output;
  r.used.known = true;
  r.cost = money::of_nano(nano_usd);
  r.at = start_of(day) + std::chrono::hours(5);
  return r;
}

request_record request(int attempts, std::string_view cache = "miss", int status = 200) {
  request_record r;
  r.tenant = "acme";
  r.client = "key";
  r.asked_model = "gpt";
  r.attempts = attempts;
  r.cache = cache;
  r.status = status;
  r.at = start_of(today) + std::chrono::hours(6);
  return r;
}

TEST(usage_ledger, a_request_with_a_failed_and_a_good_attempt_is_one_row) {
  usage_ledger l;
  attempt_record cut = attempt(100, 7, 5);
  cut.estimated_tokens = 107;
  l.attempt_done(cut);
  attempt_record good = attempt(100, 20, 9);
  good.used.cached_tokens = 60;
  good.used.cache_write_tokens = 5;
  good.used.reasoning_tokens = 4;
  good.images = 2;
  l.attempt_done(good);
  l.request_done(request(2));
  const auto rows = l.rows(today, today);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].first, (usage_key{today, "acme", "key", "gpt"}));
  const usage_counts expected{1, 0, 2, 200, 27, 60, 5, 4, 107, 2, money::of_nano(14)};
  EXPECT_EQ(rows[0].second, expected);
}

TEST(usage_ledger, what_comes_from_the_cache_counts_as_a_request_and_costs_nothing) {
  usage_ledger l;
  l.request_done(request(0, "hit"));
  l.request_done(request(0, "coalesced"));
  l.request_done(request(1, "miss"));
  const auto rows = l.rows(today, today);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].second.requests, 3);
  EXPECT_EQ(rows[0].second.cached_requests, 2);
  EXPECT_EQ(rows[0].second.cost, money());
}

TEST(usage_ledger, what_was_refused_here_is_no_use) {
  usage_ledger l;
  l.request_done(request(0, "bypass", 429));
  l.request_done(request(0, "coalesced", 502));
  request_record other;
  other.status = 200;
  l.request_done(other);
  EXPECT_EQ(l.size(), 0U);
}

TEST(usage_ledger, only_changed_rows_are_taken_and_those_put_back_come_again) {
  usage_ledger l;
  l.attempt_done(attempt(1, 1, 1));
  l.attempt_done(attempt(1, 1, 1, "acme", "key", "other-model"));
  EXPECT_EQ(l.take_changed().size(), 2U);
  EXPECT_TRUE(l.take_changed().empty());
  l.attempt_done(attempt(2, 2, 2));
  const auto changed = l.take_changed();
  ASSERT_EQ(changed.size(), 1U);
  EXPECT_EQ(changed[0].second.input_tokens, 3) << "as it is, not what was added";
  l.attempt_done(attempt(4, 4, 4));
  l.put_back(changed);
  ASSERT_EQ(l.take_changed().size(), 1U);
}

TEST(usage_ledger, counts_go_on_where_the_earlier_life_ended) {
  usage_ledger first;
  first.attempt_done(attempt(10, 5, 3));
  usage_ledger second;
  second.restore(first.take_changed());
  EXPECT_TRUE(second.take_changed().empty()) << "it is on disk already";
  second.attempt_done(attempt(1, 1, 1));
  EXPECT_EQ(second.rows(today, today)[0].second.cost, money::of_nano(4));
}

TEST(usage_ledger, days_are_apart_and_old_ones_are_forgotten) {
  usage_ledger l;
  for (day_number d = today - 3; d <= today; ++d) l.attempt_done(attempt(1, 1, 1, "acme", "key", "gpt", d));
  EXPECT_EQ(l.rows(today - 2, today - 1).size(), 2U);
  const auto gone = l.forget_before(today - 1);
  ASSERT_EQ(gone.size(), 2U);
  EXPECT_EQ(l.size(), 2U);
  EXPECT_EQ(l.take_changed().size(), 2U) << "what is forgotten is not saved any more";
}

TEST(usage_ledger, rows_are_bounded_and_the_sums_stay_true) {
  usage_ledger l(10);
  for (int i = 0; i < 1000; ++i)
    l.attempt_done(attempt(1, 2, 3, i % 2 == 0 ? "acme" : "umbrella", "key", "model-" + std::to_string(i)));
  EXPECT_LE(l.size(), 12U);
  usage_counts sum;
  for (const auto& [key, counts] : l.rows(today, today)) sum += counts;
  EXPECT_EQ(sum.attempts, 1000);
  EXPECT_EQ(sum.cost, money::of_nano(3000));
  const auto before = l.size();
  l.attempt_done(attempt(1, 2, 3, "acme", "key", "model-0"));
  EXPECT_EQ(l.size(), before) << "a row that is there goes on";
}

TEST(usage_ledger, earlier_spending_is_told_by_client_and_by_tenant) {
  usage_ledger l;
  const day_number first = first_of_month(today);
  ASSERT_GT(today, first);
  l.attempt_done(attempt(1, 1, 1, "acme", "a"));
  l.attempt_done(attempt(1, 1, 10, "acme", "b"));
  l.attempt_done(attempt(1, 1, 100, "acme", "a", "gpt", first));
  l.attempt_done(attempt(1, 1, 1000, "acme", "a", "gpt", first - 1));
  const auto spent = l.spent(start_of(today) + std::chrono::hours(20));
  EXPECT_EQ(spent.at("client/a").day, money::of_nano(1));
  EXPECT_EQ(spent.at("client/a").month, money::of_nano(101));
  EXPECT_EQ(spent.at("client/b").month, money::of_nano(10));
  EXPECT_EQ(spent.at("tenant/acme").day, money::of_nano(11));
  EXPECT_EQ(spent.at("tenant/acme").month, money::of_nano(111));
}

TEST(usage_ledger, threads_lose_no_count) {
  usage_ledger l;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&l] {
      for (int i = 0; i < 1000; ++i) l.attempt_done(attempt(1, 1, 1));
    });
  }
  for (int i = 0; i < 100; ++i) l.take_changed();
  for (auto& t : threads) t.join();
  EXPECT_EQ(l.rows(today, today)[0].second.cost, money::of_nano(4000));
}

}  // namespace
}  // namespace millrace::engine
