#include "engine/cache_memory.hpp"

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

const wall_time start{hours(24L * 365 * 50)};

/// Spread over the whole key, as a hash is.
cache_key key_of(std::uint64_t n) {
  std::mt19937_64 spread(n);
  cache_key k;
  for (std::size_t at = 0; at < k.bytes.size(); at += 8) {
    const std::uint64_t word = spread();
    std::memcpy(k.bytes.data() + at, &word, sizeof word);
  }
  return k;
}

cached_answer_ptr answer_of(std::size_t body, wall_time expires = start + hours(1),
                            std::string tenant = "acme") {
  auto a = std::make_shared<cached_answer>();
  a->body.assign(body, 'x');
  a->tenant = std::move(tenant);
  a->stored_at = start;
  a->expires_at = expires;
  return a;
}

std::size_t cost_of(const cached_answer& a) {
  return a.size_bytes() + cache_memory::entry_overhead_bytes;
}

TEST(CacheMemory, GivesBackWhatItTook) {
  cache_memory c(1 << 20);
  EXPECT_EQ(c.find(key_of(1), start), nullptr);
  const auto a = answer_of(100);
  c.insert(key_of(1), a, start);
  EXPECT_EQ(c.find(key_of(1), start), a);
  EXPECT_EQ(c.find(key_of(2), start), nullptr);
  const auto s = c.usage();
  EXPECT_EQ(s.bytes, cost_of(*a));
  EXPECT_EQ(s.entries, 1U);
  EXPECT_EQ(s.hits, 1U);
  EXPECT_EQ(s.misses, 2U);
  EXPECT_EQ(s.insertions, 1U);
}

TEST(CacheMemory, AnExpiredAnswerIsGone) {
  cache_memory c(1 << 20);
  c.insert(key_of(1), answer_of(100, start + milliseconds(10)), start);
  EXPECT_NE(c.find(key_of(1), start + milliseconds(9)), nullptr);
  EXPECT_EQ(c.find(key_of(1), start + milliseconds(10)), nullptr);
  EXPECT_EQ(c.usage().expirations, 1U);
  EXPECT_EQ(c.usage().bytes, 0U);
  c.insert(key_of(2), answer_of(100, start), start);
  EXPECT_EQ(c.usage().entries, 0U);
}

TEST(CacheMemory, AnExpiredAnswerThatServesInOutagesStays) {
  cache_memory c(1 << 20);
  auto a = std::make_shared<cached_answer>(*answer_of(100, start + milliseconds(10)));
  a->stale_until = start + milliseconds(20);
  c.insert(key_of(1), a, start);
  cached_answer_ptr stale;
  EXPECT_EQ(c.find(key_of(1), start + milliseconds(9), &stale), a);
  EXPECT_EQ(stale, nullptr);
  EXPECT_EQ(c.find(key_of(1), start + milliseconds(10), &stale), nullptr);
  EXPECT_EQ(stale, a);
  EXPECT_EQ(c.usage().hits, 1U);
  EXPECT_EQ(c.usage().misses, 1U) << "nothing fresh was found";
  EXPECT_EQ(c.usage().expirations, 0U);
  stale = nullptr;
  EXPECT_EQ(c.find(key_of(1), start + milliseconds(20), &stale), nullptr);
  EXPECT_EQ(stale, nullptr);
  EXPECT_EQ(c.usage().entries, 0U);
}

TEST(CacheMemory, ReplacesAndCountsTheNewSize) {
  cache_memory c(1 << 20);
  c.insert(key_of(1), answer_of(100), start);
  const auto second = answer_of(5000);
  c.insert(key_of(1), second, start);
  EXPECT_EQ(c.find(key_of(1), start), second);
  EXPECT_EQ(c.usage().bytes, cost_of(*second));
  EXPECT_EQ(c.usage().entries, 1U);
}

TEST(CacheMemory, TooLargeIsNotTakenAndTheOldAnswerGoesAllTheSame) {
  cache_memory c(1 << 20);
  const std::size_t largest = (1 << 20) / cache_memory::largest_entry_divisor - cost_of(*answer_of(0));
  c.insert(key_of(1), answer_of(largest), start);
  EXPECT_NE(c.find(key_of(1), start), nullptr);
  c.insert(key_of(1), answer_of(largest + 1), start);
  EXPECT_EQ(c.find(key_of(1), start), nullptr);
  EXPECT_EQ(c.usage().too_large, 1U);
  EXPECT_EQ(c.usage().bytes, 0U);
}

TEST(CacheMemory, WithoutRoomItIsOff) {
  cache_memory c(0);
  c.insert(key_of(1), answer_of(0), start);
  EXPECT_EQ(c.find(key_of(1), start), nullptr);
  EXPECT_EQ(c.usage().entries, 0U);
  EXPECT_EQ(c.usage().too_large, 0U);
}

TEST(CacheMemory, ErasesOneAndMany) {
  cache_memory c(1 << 20);
  for (std::uint64_t i = 0; i < 100; ++i) {
    c.insert(key_of(i), answer_of(100, start + hours(1), i % 4 == 0 ? "acme" : "other"), start);
  }
  EXPECT_TRUE(c.erase(key_of(1)));
  EXPECT_FALSE(c.erase(key_of(1)));
  EXPECT_EQ(c.erase_if([](const cached_answer& a) { return a.tenant == "acme"; }), 25U);
  EXPECT_EQ(c.find(key_of(4), start), nullptr);
  EXPECT_NE(c.find(key_of(5), start), nullptr);
  EXPECT_EQ(c.usage().entries, 74U);
}

/// A set of 200 answers, each asked for a few times, then a hundred times as many that are asked for once.
TEST(CacheMemory, AScanDoesNotFlushWhatIsAskedForOften) {
  constexpr std::uint64_t hot = 200;
  const auto a = answer_of(1000);
  cache_memory c(cost_of(*a) * hot * 2);
  for (int round = 0; round < 4; ++round) {
    for (std::uint64_t i = 0; i < hot; ++i) {
      if (c.find(key_of(i), start) == nullptr) c.insert(key_of(i), a, start);
    }
  }
  for (std::uint64_t i = 0; i < hot * 100; ++i) c.insert(key_of(1'000'000 + i), a, start);
  std::uint64_t left = 0;
  for (std::uint64_t i = 0; i < hot; ++i) left += c.find(key_of(i), start) != nullptr ? 1 : 0;
  EXPECT_EQ(left, hot);
}

TEST(CacheMemory, AnAnswerMissedSoonAfterItFellOutStays) {
  const auto a = answer_of(1000);
  cache_memory c(cost_of(*a) * 100);
  std::uint64_t scanned = 1'000'000;
  for (int i = 0; i < 110; ++i) c.insert(key_of(++scanned), a, start);
  // Falls out of the small queue, is missed and comes again: the main queue keeps it.
  c.insert(key_of(2), a, start);
  const auto evictions = c.usage().evictions;
  while (c.usage().evictions < evictions + 101) c.insert(key_of(++scanned), a, start);
  ASSERT_EQ(c.find(key_of(2), start), nullptr);
  c.insert(key_of(2), a, start);
  for (int i = 0; i < 60; ++i) c.insert(key_of(++scanned), a, start);
  EXPECT_NE(c.find(key_of(2), start), nullptr);
}

/// Compared with a map that forgets nothing: what is found is what was put there last.
class CacheMemoryRandom : public testing::TestWithParam<std::uint64_t> {};

TEST_P(CacheMemoryRandom, BoundsHoldAndNoAnswerIsWrong) {
  SCOPED_TRACE("seed " + std::to_string(GetParam()));
  std::mt19937_64 random(GetParam());
  const auto upto = [&random](std::uint64_t n) { return random() % n; };
  const std::size_t max_bytes = std::size_t{1} << (13 + upto(6));
  cache_memory c(max_bytes);
  std::map<std::uint64_t, cached_answer_ptr> truth;
  wall_time now = start;
  for (int step = 0; step < 20'000; ++step) {
    const std::uint64_t n = std::min({upto(400), upto(400), upto(400)});
    now += milliseconds(upto(3));
    const auto what = upto(100);
    if (what < 55) {
      if (const auto found = c.find(key_of(n), now); found != nullptr) {
        ASSERT_EQ(found, truth[n]);
        ASSERT_GT(found->expires_at, now);
      }
    } else if (what < 97) {
      truth[n] = answer_of(upto(max_bytes / 8 + upto(max_bytes / 3)), now + milliseconds(upto(5000)),
                           upto(5) == 0 ? "a" : "b");
      c.insert(key_of(n), truth[n], now);
    } else if (what < 99) {
      c.erase(key_of(n));
      ASSERT_EQ(c.find(key_of(n), now), nullptr);
      truth.erase(n);
    } else if (upto(10) == 0) {
      c.erase_if([](const cached_answer& a) { return a.tenant == "a"; });
      std::erase_if(truth, [](const auto& t) { return t.second->tenant == "a"; });
    }
    const auto s = c.usage();
    ASSERT_LE(s.bytes, max_bytes);
    ASSERT_LE(s.entries * cache_memory::entry_overhead_bytes, s.bytes);
    ASSERT_LE(c.ghosts(), s.entries);
  }
  // Nothing is left behind in the accounts.
  c.erase_if([](const cached_answer&) { return true; });
  EXPECT_EQ(c.usage().bytes, 0U);
  EXPECT_EQ(c.usage().entries, 0U);
  EXPECT_EQ(c.ghosts(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, CacheMemoryRandom, testing::Range<std::uint64_t>(1, 21));

}  // namespace
}  // namespace millrace::engine
