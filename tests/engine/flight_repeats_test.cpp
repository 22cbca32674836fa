#include "flight_answers.hpp"

#include <gtest/gtest.h>

/// Keys that said 429 and targets that failed, called again or left for others.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(Flight, AnotherCallWithALimitedKeyComesLaterThanAskedAndWithinTheBudget) {
  for (const bool budget : {true, false}) {
    flight_world w;
    while (!budget && w.budget.try_retry(w.time.now(), 0)) {
    }
    scripted_call limited = json_answer(429);
    limited.headers.emplace_back("retry-after", "7");
    w.permits.script = {w.grant()};
    w.upstream.script = {limited};
    EXPECT_EQ(w.run().status, 429);
    ASSERT_EQ(w.permits.asked.size(), 2U) << "others may have room";
    ASSERT_EQ(w.permits.asked[1].rests.size(), 1U);
    const key_rest& rest = w.permits.asked[1].rests[0];
    EXPECT_EQ(rest.key, w.config->providers[0].keys[0].name);
    EXPECT_EQ(rest.target, w.config->models[0].targets[0].name);
    if (budget) {
      EXPECT_GT(rest.until, w.time.now() + 7s) << "all who were told 7 s would come at once";
      EXPECT_LT(rest.until, w.time.now() + 15s);
    } else {
      EXPECT_EQ(rest.until, time_point::max());
    }
  }
}

TEST(Flight, OthersAreAskedHoweverManyKeysAreAtTheirLimits) {
  flight_world w;
  w.configure([](config& c) { c.retry.attempts = 1; });
  w.permits.script = {w.grant(0, 0), w.grant(0, 1), w.grant(1)};
  w.upstream.script = {json_answer(429), json_answer(429), json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(header(a, "x-millrace-attempts"), "3");
}

TEST(Flight, ALimitAfterAFailureLeavesTheOtherKeysOfTheTarget) {
  flight_world w;
  w.permits.script = {w.grant(0, 1), {}, w.grant(0, 0), {}, w.grant(0, 1)};
  w.upstream.script = {json_answer(500), json_answer(429), json_answer()};
  EXPECT_EQ(w.run().status, 200);
  EXPECT_TRUE(w.permits.asked.at(4).retry_tried);
  EXPECT_EQ(w.budget.in_window(w.time.now()).retries, 2) << "the target failed, whatever key is used";
}

TEST(Flight, NothingIsRepeatedBeyondTheConfiguredAttemptsHoweverFailuresFollow) {
  flight_world w;
  w.permits.script = {w.grant(0), w.grant(1), {}, w.grant(0), {}, w.grant(1)};
  w.upstream.script = {json_answer(500), json_answer(500), json_answer(429), json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 429);
  EXPECT_EQ(header(a, "x-millrace-attempts"), "3");
}

TEST(Flight, AKeyThatAsksForMoreThanAnybodyWaitsIsAskedAgainWithinTheAttempts) {
  flight_world w;
  w.configure([](config& c) { c.queue.max_wait = 6s; });
  scripted_call limited = json_answer(429);
  limited.headers.emplace_back("retry-after", "7");
  limited.on_read = [&] { w.time.time += 8s; };  // so the other one's time is over
  for (int i = 0; i < 4; ++i) {
    w.permits.script.push_back(w.grant(0));
    w.permits.script.push_back(w.grant(1));
  }
  w.upstream.script.assign(8, limited);
  EXPECT_EQ(header(w.run(), "x-millrace-attempts"), "3");
}

TEST(Flight, ARepeatIsPaidWhenItIsMade) {
  const auto paid = [](flight_world& w) { return w.budget.in_window(w.time.now()).retries; };
  flight_world other;
  other.permits.script = {other.grant(0, 0), other.grant(0, 1)};
  other.upstream.script = {json_answer(429), json_answer()};
  EXPECT_EQ(other.run().status, 200);
  EXPECT_EQ(paid(other), 0) << "another key is no repeat";

  flight_world same;
  same.permits.script = {same.grant(0, 0), same.grant(0, 0)};
  same.upstream.script = {json_answer(429), json_answer()};
  EXPECT_EQ(same.run().status, 200);
  EXPECT_EQ(paid(same), 1);

  flight_world mixed;
  mixed.permits.script = {mixed.grant(), mixed.grant(), {}, mixed.grant()};
  mixed.upstream.script = {json_answer(429), json_answer(500), json_answer()};
  EXPECT_EQ(mixed.run().status, 200);
  EXPECT_EQ(paid(mixed), 2) << "each of them once";

  flight_world late;
  late.permits.script = {late.grant(0, 0), late.grant(0, 0), late.grant(0, 1)};
  late.upstream.script = {json_answer(429), json_answer()};
  late.permits.before_reply = [&] {
    while (late.permits.asked.size() == 2 && late.budget.try_retry(late.time.now(), 0)) {
    }
  };
  EXPECT_EQ(late.run().status, 200) << "others may be left";
  EXPECT_EQ(late.permits.settled.at(1).outcome, attempt_outcome::unused);
  EXPECT_EQ(late.permits.asked.at(2).rests.at(0).until, time_point::max());
}

}  // namespace
}  // namespace millrace::engine
