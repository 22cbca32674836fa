#include <gtest/gtest.h>

#include "single_flight_world.hpp"

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(AnswerCache, ASecondQuestionIsAnsweredFromMemory) {
  single_flight_world w;
  const auto& first = w.ask({.zero_temperature = true});
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(first.header("x-millrace-cache"), "miss");
  w.time.time += 7s;
  const auto& second = w.ask({.zero_temperature = true});
  EXPECT_EQ(second.got, "{1}");
  EXPECT_EQ(second.header("x-millrace-cache"), "hit");
  EXPECT_EQ(second.header("age"), "7");
  EXPECT_EQ(second.header("x-millrace-attempts"), "0");
  EXPECT_EQ(second.header("x-millrace-key"), "k1");
  const auto& streamed = w.ask({.stream = true, .zero_temperature = true});
  EXPECT_EQ(streamed.got, "replay:{1}");
  EXPECT_EQ(w.upstream.calls.size(), 1U);
  w.time.time += 1h;
  w.ask({.zero_temperature = true});
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST(AnswerCache, AStreamIsKeptWhenItEndedProperly) {
  for (const bool proper : {true, false}) {
    single_flight_world w;
    w.ask({.stream = true, .zero_temperature = true});
    w.feed("pc");
    if (proper) w.feed("d");
    w.finish();
    const auto& again = w.ask({.zero_temperature = true});
    EXPECT_EQ(again.got, proper ? "{pcd}" : "");
    EXPECT_EQ(w.upstream.calls.size(), proper ? 1U : 2U);
  }
}

TEST(AnswerCache, CacheControlIsHeeded) {
  single_flight_world w;
  const asking zero{.zero_temperature = true};
  auto with = [&](cache_wish wish) {
    asking a = zero;
    a.wish = wish;
    return a;
  };
  const auto& nothing = w.ask(with({.only_if_cached = true}));
  EXPECT_EQ(nothing.status, 504);
  EXPECT_EQ(nothing.got, "error:not_cached");
  w.ask(with({.no_store = true}));
  w.feed("{0}", 0);
  w.finish(upstream_failure::none, 0);
  w.ask(with({.no_cache = true}));
  ASSERT_EQ(w.upstream.calls.size(), 2U);
  w.feed("{1}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(w.clients.back()->header("x-millrace-cache"), "bypass");
  w.time.time += 10s;
  EXPECT_EQ(w.ask(with({.only_if_cached = true})).got, "{1}");
  EXPECT_EQ(w.ask(with({.max_age = 10s})).got, "{1}");
  const auto count = [&w](auto what) {
    std::uint64_t n = 0;
    for (std::size_t i = 0; i < w.answers.size(); ++i) n += w.answers.at(i).statistics().memory.*what;
    return n;
  };
  const auto hits = count(&cache_memory::stats::hits);
  const auto misses = count(&cache_memory::stats::misses);
  EXPECT_EQ(w.ask(with({.max_age = 9s})).status, 0);
  EXPECT_EQ(w.upstream.calls.size(), 3U);
  EXPECT_EQ(count(&cache_memory::stats::hits), hits) << "what did not serve is none";
  EXPECT_EQ(count(&cache_memory::stats::misses), misses + 1);
}

TEST(AnswerCache, ErrorsAreNotKept) {
  single_flight_world w(true);
  w.ask({.zero_temperature = true});
  w.upstream.calls[0]->status = 400;
  w.feed("{}");
  w.finish();
  w.ask({.zero_temperature = true});
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST(AnswerCache, WhatIsOnDiskIsFoundOnceForAll) {
  single_flight_world w(false, true);
  auto entry = std::make_shared<cached_answer>();
  entry->body = "{disk}";
  entry->stored_at = w.time.wall() - 60s;
  entry->expires_at = w.time.wall() + 60s;
  w.disk.entry = entry;
  const auto& first = w.ask({.zero_temperature = true});
  const auto& second = w.ask({.zero_temperature = true});
  EXPECT_EQ(first.got, "{disk}");
  EXPECT_EQ(first.header("x-millrace-cache"), "hit");
  EXPECT_EQ(first.header("age"), "60");
  EXPECT_EQ(second.got, "{disk}");
  EXPECT_EQ(w.disk.asked, 1);
  EXPECT_EQ(w.written, 0);
  w.ask({});
  EXPECT_EQ(w.disk.asked, 1);
}

TEST(AnswerCache, WhatIsNewIsGivenToTheWriterOnce) {
  single_flight_world w(false, true);
  for (std::uint8_t i = 0; i < 3; ++i) {
    w.ask({.zero_temperature = true, .question = i});
    w.feed("{1}", i);
    w.finish(upstream_failure::none, i);
  }
  std::size_t waiting = 0;
  int told = 0;
  for (std::size_t s = 0; s < w.answers.size(); ++s) {
    const auto taken = w.answers.at(s).take_unwritten(100);
    waiting += taken.size();
    told += taken.empty() ? 0 : 1;
  }
  EXPECT_EQ(waiting, 3U);
  EXPECT_EQ(w.written, told);
}

}  // namespace
}  // namespace millrace::engine
