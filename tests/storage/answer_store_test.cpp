#include "storage/answer_store.hpp"

#include <atomic>
#include <thread>

#include "store_world.hpp"

namespace millrace::storage {
namespace {

using AnswerStore = store_world;

engine::purge_scope scope(std::optional<std::string> tenant, std::optional<std::string> model) {
  return {.tenant = std::move(tenant), .model = std::move(model)};
}

TEST_F(AnswerStore, GivesBackWhatWasWritten) {
  const auto s = open();
  ASSERT_NE(s, nullptr) << note();
  EXPECT_EQ(note(), "");
  engine::cached_answer_ptr a;
  EXPECT_EQ(s->get(key_of(1), start_time, a), read_result::absent);
  EXPECT_EQ(a, nullptr);
  ASSERT_EQ(write(*s, 0, 100), write_result::ok);
  EXPECT_EQ(count_found(*s, 0, 100), 100U);
  ASSERT_EQ(s->write({{key_of(1), answer_of(55)}, {key_of(1), answer_of(66)}}), write_result::ok);
  ASSERT_EQ(s->get(key_of(1), start_time, a), read_result::found);
  EXPECT_TRUE(same(*a, *answer_of(66)));
}

TEST_F(AnswerStore, ARestartKeepsWhatWasFlushed) {
  auto s = open();
  ASSERT_EQ(write(*s, 0, 100), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  EXPECT_GT(s->usage().disk_bytes, 100'000U);
  EXPECT_EQ(s->usage().entries, 100U);
  s.reset();
  s = open();
  ASSERT_NE(s, nullptr);
  EXPECT_EQ(note(), "");
  EXPECT_EQ(s->usage().entries, 100U);
  EXPECT_EQ(count_found(*s, 0, 100), 100U);
}

TEST_F(AnswerStore, OnlyTheOwnerMayLookIntoIt) {
  const auto s = open();
  EXPECT_EQ(fs::status(path()).permissions(), fs::perms::owner_all);
}

TEST_F(AnswerStore, AnExpiredAnswerIsAbsent) {
  const auto s = open();
  ASSERT_EQ(write(*s, 0, 1), write_result::ok);
  engine::cached_answer_ptr a;
  EXPECT_EQ(s->get(key_of(0), start_time + 1h - 1ms, a), read_result::found);
  EXPECT_EQ(s->get(key_of(0), start_time + 1h, a), read_result::absent);
}

TEST_F(AnswerStore, NoAnswerGetsOlderThanTheLongestTimeToLive) {
  const auto s = open();
  auto a = std::make_shared<engine::cached_answer>(*answer_of(0));
  a->expires_at = start_time + 24h;
  ASSERT_EQ(s->write({{key_of(0), a}}), write_result::ok);
  engine::cached_answer_ptr found;
  EXPECT_EQ(s->get(key_of(0), start_time + 2h - 1ms, found), read_result::found);
  EXPECT_EQ(s->get(key_of(0), start_time + 2h, found), read_result::absent);
}

TEST_F(AnswerStore, TheDiskBoundHoldsAndTheNewestStay) {
  constexpr std::uint64_t bound = 4UL << 20U;
  constexpr std::uint64_t all = 40'000;  // of 1000 bytes: ten times the bound
  auto s = open(bound);
  for (std::uint64_t n = 0; n < all; n += 100) {
    ASSERT_EQ(write(*s, n, n + 100), write_result::ok);
    std::uint64_t bytes = 0;
    for (const auto& f : fs::directory_iterator(path())) {
      std::error_code gone;
      const auto size = fs::file_size(f.path(), gone);
      if (!gone && f.path().extension() == ".sst") bytes += size;
    }
    ASSERT_LE(bytes, bound) << n;
  }
  ASSERT_EQ(s->flush(), write_result::ok);
  EXPECT_LE(s->usage().disk_bytes, bound);
  EXPECT_EQ(count_found(*s, all - 2000, all), 2000U);
  EXPECT_EQ(count_found(*s, 0, 1000), 0U);
}

TEST_F(AnswerStore, APurgeCoversWhatWasStoredBeforeAlsoAfterARestart) {
  auto s = open();
  ASSERT_EQ(s->write({{key_of(1), answer_of(1, 100, start_time, "a")},
                      {key_of(2), answer_of(2, 100, start_time, "a")},
                      {key_of(3), answer_of(3, 100, start_time, "b")},
                      {key_of(4), answer_of(4, 100, start_time + 2ms, "a")}}),
            write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  ASSERT_EQ(s->purge(scope("a", "m1"), start_time + 1ms), write_result::ok);
  engine::cached_answer_ptr a;
  const auto look = [&](std::uint64_t n) { return s->get(key_of(n), start_time + 5ms, a); };
  for (int restarts = 0; restarts < 2; ++restarts) {
    EXPECT_EQ(look(1), read_result::absent);
    EXPECT_EQ(look(2), read_result::found);
    EXPECT_EQ(look(3), read_result::found);
    EXPECT_EQ(look(4), read_result::found);  // m1 of a as well, but stored later
    s.reset();
    s = open();
  }
  ASSERT_EQ(s->purge(scope("a", {}), start_time + 3ms), write_result::ok);
  ASSERT_EQ(s->purge(scope({}, "m0"), start_time + 3ms), write_result::ok);
  s.reset();
  s = open();
  for (std::uint64_t n = 1; n <= 4; ++n) EXPECT_EQ(look(n), read_result::absent) << n;
  EXPECT_EQ(s->usage().bad_records, 0U);
}

TEST_F(AnswerStore, APurgeOfEverythingFreesTheDisk) {
  auto s = open();
  ASSERT_EQ(write(*s, 0, 5000), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  ASSERT_EQ(write(*s, 5000, 5100), write_result::ok);  // in the memtable
  ASSERT_EQ(s->purge({}, start_time), write_result::ok);
  EXPECT_EQ(count_found(*s, 0, 5100), 0U);
  EXPECT_TRUE(tables().empty());
  // The store goes on.
  const auto later = answer_of(1, 100, start_time + 1ms);
  ASSERT_EQ(s->write({{key_of(1), later}}), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  s.reset();
  s = open();
  engine::cached_answer_ptr a;
  EXPECT_EQ(s->get(key_of(1), start_time + 1ms, a), read_result::found);
}

/// Purges are kept as long as the longest time to live that the store ever had.
TEST_F(AnswerStore, AShorterTimeToLiveInBetweenBringsNothingBack) {
  const auto open_with = [&](std::chrono::milliseconds ttl) {
    return answer_store::open(path(), {.max_bytes = 64UL << 20U, .max_ttl = ttl}).store;
  };
  auto s = open_with(24h);
  auto a = std::make_shared<engine::cached_answer>(*answer_of(1));
  a->expires_at = start_time + 24h;
  ASSERT_EQ(s->write({{key_of(1), a}}), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  ASSERT_EQ(s->purge(scope("acme", {}), start_time), write_result::ok);
  s.reset();
  s = open_with(1h);
  ASSERT_EQ(s->purge(scope("other", {}), start_time + 2h), write_result::ok);
  s.reset();
  s = open_with(24h);
  engine::cached_answer_ptr out;
  EXPECT_EQ(s->get(key_of(1), start_time + 3h, out), read_result::absent);
}

TEST_F(AnswerStore, ASecondProcessDoesNotHarmTheFirst) {
  const auto first = open();
  ASSERT_EQ(write(*first, 0, 10), write_result::ok);
  EXPECT_EQ(open(), nullptr);
  EXPECT_NE(note().find("lock"), std::string::npos) << note();
  EXPECT_EQ(count_found(*first, 0, 10), 10U);
  EXPECT_FALSE(fs::exists(path() + ".broken-1"));
}

TEST_F(AnswerStore, ReadersWritersAndPurgesTogether) {
  constexpr std::uint64_t answers = 200;
  const auto s = open(4UL << 20U);
  std::atomic<bool> stop = false;
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) {
    readers.emplace_back([&] {
      while (!stop) count_found(*s, 0, answers);
    });
  }
  for (int round = 0; round < 20; ++round) {
    ASSERT_EQ(write(*s, 0, answers), write_result::ok);
    ASSERT_EQ(s->purge(scope(round % 5 == 0 ? std::nullopt : std::optional<std::string>("nobody"), {}),
                       start_time - std::chrono::milliseconds(round + 1)),
              write_result::ok);
    static_cast<void>(s->usage());
  }
  stop = true;
  for (auto& r : readers) r.join();
  ASSERT_EQ(write(*s, 0, answers), write_result::ok);
  EXPECT_EQ(count_found(*s, 0, answers), answers);
}

}  // namespace
}  // namespace millrace::storage
