#include "engine/rate_window.hpp"

#include <gtest/gtest.h>

#include <deque>
#include <random>

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

const time_point start{1000s};
const window_shape minute{.span = 60s, .slot = 250ms, .margin = 500ms, .ahead = 2s};

TEST(rate_window, holds_an_amount_for_span_and_margin_after_its_slot) {
  rate_window w(minute);
  w.add(3, start + 100ms, start);
  EXPECT_EQ(w.total(start), 3);
  EXPECT_EQ(w.when_at_most(0, start), start + 250ms + 60500ms);
  EXPECT_EQ(w.total(start + 250ms + 60500ms - 1ns), 3);
  EXPECT_EQ(w.total(start + 250ms + 60500ms), 0);
}

TEST(rate_window, counts_the_future_now_and_the_expired_past_not_at_all) {
  rate_window w(minute);
  w.add(5, start + 2s, start);
  EXPECT_EQ(w.total(start), 5);
  EXPECT_EQ(w.when_at_most(0, start), start + 2250ms + 60500ms);
  w.add(7, start - 30s, start);
  EXPECT_EQ(w.total(start), 12);
  w.add(9, start - 61s, start);
  EXPECT_EQ(w.total(start), 12);
}

TEST(rate_window, gives_back_what_a_slot_holds_and_no_more) {
  rate_window w(minute);
  w.add(5, start, start);
  EXPECT_EQ(w.remove(2, start, start), 2);
  EXPECT_EQ(w.remove(9, start, start), 3);
  EXPECT_EQ(w.remove(1, start, start), 0);
  w.add(4, start, start);
  EXPECT_EQ(w.remove(4, start, start + 61s), 0);
  EXPECT_EQ(w.total(start + 61s), 0);
}

TEST(rate_window, says_when_there_will_be_room) {
  rate_window w(minute);
  w.add(2, start, start);
  w.add(3, start + 10s, start + 10s);
  const time_point now = start + 20s;
  EXPECT_EQ(w.when_at_most(5, now), now);
  EXPECT_EQ(w.when_at_most(4, now), start + 60750ms);
  EXPECT_EQ(w.when_at_most(3, now), start + 60750ms);
  EXPECT_EQ(w.when_at_most(0, now), start + 70750ms);
  EXPECT_EQ(w.when_at_most(-1, now), time_point::max());
}

TEST(rate_window, keeps_what_it_holds_under_another_margin) {
  rate_window w(minute);
  w.add(2, start, start);
  w.add(3, start + 2s, start);
  w.set_margin(40s, start);
  EXPECT_EQ(w.total(start), 5);
  EXPECT_EQ(w.when_at_most(4, start), start + 250ms + 100s);
  w.set_margin(0s, start);
  EXPECT_EQ(w.when_at_most(4, start), start + 250ms + 60s);
}

TEST(rate_window, works_before_the_epoch_of_the_clock) {
  rate_window w(minute);
  const time_point early{-100ms};
  w.add(1, early, early);
  EXPECT_EQ(w.total(early), 1);
  EXPECT_EQ(w.when_at_most(0, early), time_point{60500ms});
  EXPECT_EQ(w.total(time_point{60500ms}), 0);
}

/// Against a list of single amounts, over random additions, removals and pauses.
TEST(rate_window, equals_a_plain_list_of_amounts) {
  for (const unsigned seed : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    struct entry {
      time_point at;
      std::int64_t amount;
    };
    std::deque<entry> list;
    rate_window w(minute);
    time_point now = start;
    const auto slot_end = [](time_point t) {
      return time_point(minute.slot * (t.time_since_epoch() / minute.slot + 1));
    };
    for (int i = 0; i < 20000; ++i) {
      now += std::chrono::milliseconds(random() % 100 == 0 ? random() % 90000 : random() % 400);
      std::erase_if(list,
                    [&](const entry& e) { return slot_end(e.at) + minute.span + minute.margin <= now; });
      if (!list.empty() && random() % 3 == 0) {
        entry& e = list[random() % list.size()];
        const auto part = static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(e.amount + 1));
        EXPECT_EQ(w.remove(part, e.at, now), part);
        e.amount -= part;
      } else {
        const entry e{now + std::chrono::milliseconds(random() % 2000),
                      static_cast<std::int64_t>(random() % 50)};
        w.add(e.amount, e.at, now);
        list.push_back(e);
      }
      std::int64_t total = 0;
      for (const entry& e : list) total += e.amount;
      ASSERT_EQ(w.total(now), total);
      std::int64_t walked = 0;
      time_point last = time_point::min();
      w.for_each(now, [&](time_point expiry, std::int64_t amount) {
        EXPECT_GT(expiry, std::max(now, last));
        last = expiry;
        walked += amount;
      });
      ASSERT_EQ(walked, total);
      const std::int64_t bound = total / 2;
      const time_point when = w.when_at_most(bound, now);
      std::int64_t later = 0;
      for (const entry& e : list) {
        if (slot_end(e.at) + minute.span + minute.margin > when) later += e.amount;
      }
      ASSERT_LE(later, bound);
    }
  }
}

}  // namespace
}  // namespace millrace::engine
