#include "engine/hedged_call.hpp"

#include <string>

#include <gtest/gtest.h>

#include "engine/hedge_budget.hpp"
#include "single_flight_world.hpp"

/// A second call beside a silent one: who wins, what becomes of the other, and what is paid and told.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

/// Model m has targets at a (1 USD per million tokens) and b (2 USD); a call is hedged after 100 ms of
/// silence.
class Hedge : public testing::Test {
 protected:
  single_flight_world w{false, true};
  hedge_budget& budget = w.hedges;

  Hedge() {
    configure({true, 100ms});
    for (int i = 0; i < 1000; ++i) budget.call(1);
    answer_from(0);
  }
  void configure(hedge_config h) {
    config_builder b;
    b.provider("a", {{}, {}}).provider("b", {{}}).model("m", {0, 1}).client("c", unlimited, unlimited);
    auto c = std::make_shared<config>(*b.build());
    c->models[0].hedge = h;
    w.config = c;
  }
  acquire_reply grant_of(size_t target) const {
    const target_config& t = w.config->models[0].targets[target];
    acquire_reply r;
    r.verdict = verdict::granted;
    r.target = t.name;
    r.target_index = target;
    r.key = w.config->providers[t.provider].keys[0].name;
    r.valid_for = 1h;
    r.fallback = target > 0;
    return r;
  }
  /// Whom the next calls go to.
  void answer_from(size_t target) { w.permits.grant = grant_of(target); }
  void pass(duration d) {
    w.time.time += d;
    w.thread.ring(w.time.time);
    w.settle();
  }
  const gated_call& call(size_t n) const { return *w.upstream.calls.at(n); }
  size_t calls() const { return w.upstream.calls.size(); }
  asking_client& ask_until_hedged(const asking& how = {}) {
    asking_client& c = w.ask(how);
    answer_from(1);
    pass(100ms);
    EXPECT_EQ(calls(), 2U);
    return c;
  }
  static std::string hedged(const asking_client& c) { return c.header("x-millrace-hedged"); }
};

TEST_F(Hedge, AQuickAnswerHasNoCompany) {
  auto& c = w.ask();
  pass(99ms);
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(c.got, "{1}");
  EXPECT_EQ(hedged(c), "");
  pass(10s);
  EXPECT_EQ(calls(), 1U);
}

TEST_F(Hedge, ASilentCallGetsASecondOneElsewhere) {
  ask_until_hedged();
  ASSERT_EQ(w.permits.asked.size(), 2U);
  const acquire_request& second = w.permits.asked[1];
  EXPECT_EQ(second.barred, std::vector<name_id>{w.config->models[0].targets[0].name});
  EXPECT_EQ(second.patience, 100ms) << "for a lease, not for anybody's turn";
  EXPECT_FALSE(second.first) << "the client's request was counted";
  EXPECT_NE(second.id, w.permits.asked[0].id);
  EXPECT_TRUE(call(0).alive);
}

TEST_F(Hedge, TheSecondOneWins) {
  auto& c = ask_until_hedged();
  w.feed("{2}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(c.got, "{2}");
  EXPECT_EQ(hedged(c), "won");
  EXPECT_EQ(c.header("x-millrace-provider"), "b");
  EXPECT_EQ(c.header("x-millrace-fallback"), "true");
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  EXPECT_EQ(c.header("x-millrace-cost-usd"), "0.00006") << "the cancelled one had used nothing";
  EXPECT_TRUE(call(0).cancelled);
  EXPECT_FALSE(call(0).alive) << "its connection is closed";
  ASSERT_EQ(w.permits.settled.size(), 2U);
  EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::ok);
  EXPECT_EQ(w.permits.settled[1].outcome, attempt_outcome::cancelled);
  ASSERT_EQ(w.watch.requests.size(), 1U) << "one request, however many calls";
  EXPECT_EQ(w.watch.requests[0].status, 200);
  EXPECT_EQ(w.watch.requests[0].attempts, 2);
  EXPECT_EQ(w.watch.requests[0].hedge, "won");
  EXPECT_EQ(w.flights(), 0);
}

TEST_F(Hedge, TheFirstOneWinsAfterAll) {
  auto& c = ask_until_hedged();
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(c.got, "{1}");
  EXPECT_EQ(hedged(c), "lost");
  EXPECT_EQ(c.header("x-millrace-provider"), "a");
  EXPECT_EQ(c.header("x-millrace-fallback"), "false");
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  EXPECT_FALSE(call(1).alive);
  ASSERT_EQ(w.permits.settled.size(), 2U);
  EXPECT_EQ(w.permits.settled[1].outcome, attempt_outcome::cancelled);
  EXPECT_EQ(w.watch.requests.size(), 1U);
}

TEST_F(Hedge, ThePlainAnswersFirstByteEndsTheSilence) {
  auto& c = w.ask();
  w.feed("{1");
  pass(1s);
  EXPECT_EQ(calls(), 1U);
  w.feed("}");
  w.finish();
  EXPECT_EQ(c.got, "{1}");
}

TEST_F(Hedge, TheFirstFailsWhileTheSecondIsUnderWay) {
  auto& c = ask_until_hedged();
  w.permits.grant.verdict = verdict::no_candidate;
  w.finish(upstream_failure::reset);
  EXPECT_EQ(c.status, 0) << "the second may still answer";
  w.feed("{2}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(c.got, "{2}");
  EXPECT_EQ(hedged(c), "won");
  EXPECT_EQ(w.watch.requests.size(), 1U);
}

TEST_F(Hedge, TheSecondFailsAndTheFirstGoesOn) {
  for (const int status : {0, 400, 500}) {
    SCOPED_TRACE(status);
    const size_t n = calls();
    answer_from(0);
    auto& c = w.ask({.question = static_cast<std::uint8_t>(10 + status / 100)});
    answer_from(1);
    pass(100ms);
    ASSERT_EQ(calls(), n + 2);
    w.permits.grant.verdict = verdict::no_candidate;
    if (status == 0) {
      w.finish(upstream_failure::reset, n + 1);
    } else {
      w.upstream.calls[n + 1]->status = status;
      w.feed("{no}", n + 1);
      w.finish(upstream_failure::none, n + 1);
    }
    EXPECT_EQ(c.status, 0);
    w.feed("{1}", n);
    w.finish(upstream_failure::none, n);
    EXPECT_EQ(c.got, "{1}");
    EXPECT_EQ(hedged(c), "lost");
  }
}

TEST_F(Hedge, BothFail) {
  auto& c = ask_until_hedged();
  w.permits.grant.verdict = verdict::no_candidate;
  w.finish(upstream_failure::reset, 1);
  w.finish(upstream_failure::reset, 0);
  EXPECT_EQ(c.status, 502);
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  ASSERT_EQ(w.watch.requests.size(), 1U);
  EXPECT_EQ(w.watch.requests[0].code, "upstream_reset");
  EXPECT_EQ(w.flights(), 0);
}

TEST_F(Hedge, AStreamIsWonByItsFirstContent) {
  for (const size_t winner : {0U, 1U}) {
    SCOPED_TRACE(winner);
    const size_t n = calls();
    answer_from(0);
    auto& c = w.ask({.stream = true, .question = static_cast<std::uint8_t>(20 + winner)});
    w.feed("p", n);  // no content yet: a role, a comment
    answer_from(1);
    pass(100ms);
    ASSERT_EQ(calls(), n + 2);
    w.feed("pc", n + winner);
    EXPECT_EQ(c.status, 200);
    EXPECT_EQ(hedged(c), winner == 1 ? "won" : "lost");
    EXPECT_FALSE(call(n + 1 - winner).alive) << "the loser ends at once, not with the stream";
    w.feed("cd", n + winner);
    w.finish(upstream_failure::none, n + winner);
    EXPECT_EQ(c.got, winner == 1 ? "pccd" : "ppccd");
    EXPECT_TRUE(c.over);
    EXPECT_FALSE(c.broken);
  }
  EXPECT_EQ(w.watch.requests.size(), 2U);
  EXPECT_EQ(w.permits.settled.size(), 4U);
}

TEST_F(Hedge, ContentOfBothInOneRoundShowsOneStreamOnly) {
  auto& c = w.ask({.stream = true});
  answer_from(1);
  pass(100ms);
  w.upstream.calls[0]->feed("c1");
  w.upstream.calls[1]->feed("c2");
  w.settle();
  w.feed("d");
  w.finish();
  EXPECT_EQ(c.got, "c1d");
  EXPECT_FALSE(call(1).alive);
  EXPECT_EQ(w.permits.settled.size(), 2U);
}

TEST_F(Hedge, FollowersGetTheWinnersAnswer) {
  auto& leader = w.ask({.stream = true});
  auto& follower = w.ask({.stream = true});
  auto& plain = w.ask();
  answer_from(1);
  pass(100ms);
  w.feed("c", 1);
  w.feed("d", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(leader.got, "cd");
  EXPECT_EQ(follower.got, "cd");
  EXPECT_EQ(plain.got, "{cd}");
  EXPECT_EQ(follower.header("x-millrace-provider"), "b");
  EXPECT_EQ(calls(), 2U);
  EXPECT_EQ(w.flights(), 0);
}

TEST_F(Hedge, AClientThatLeavesCancelsBoth) {
  for (const bool stream : {false, true}) {
    const size_t n = calls();
    answer_from(0);
    auto& c = w.ask({.stream = stream, .question = static_cast<std::uint8_t>(stream ? 31 : 30)});
    answer_from(1);
    pass(100ms);
    ASSERT_EQ(calls(), n + 2);
    w.leave(c);
    for (const size_t i : {n, n + 1}) {
      EXPECT_TRUE(call(i).cancelled);
      EXPECT_FALSE(call(i).alive);
    }
    EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::cancelled);
  }
  EXPECT_EQ(w.permits.settled.size(), 4U);
  EXPECT_EQ(w.watch.requests.size(), 2U);
  EXPECT_EQ(w.flights(), 0);
}

TEST_F(Hedge, AWinnersStreamStillEndsWithItsClient) {
  auto& c = ask_until_hedged({.stream = true});
  w.feed("c", 1);
  EXPECT_EQ(c.got, "c");
  w.leave(c);
  EXPECT_FALSE(call(1).alive);
  EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::cancelled);
}

TEST_F(Hedge, OthersKeepBothGoingWhenTheLeaderLeaves) {
  auto& leader = w.ask();
  auto& follower = w.ask();
  answer_from(1);
  pass(100ms);
  w.leave(leader);
  EXPECT_TRUE(call(0).alive);
  EXPECT_TRUE(call(1).alive);
  w.feed("{2}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(follower.got, "{2}");
}

TEST_F(Hedge, WithoutAnotherTargetOrRoomNothingIsSentNorPaid) {
  auto& c = w.ask();
  w.permits.grant.verdict = verdict::no_permit;
  pass(100ms);
  EXPECT_EQ(calls(), 1U);
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(c.got, "{1}");
  EXPECT_EQ(hedged(c), "");
  EXPECT_EQ(c.header("x-millrace-attempts"), "1");
  int left = 0;
  while (budget.take()) ++left;
  EXPECT_EQ(left, hedge_budget::capacity) << "what was not sent was given back";
}

TEST_F(Hedge, TheBudgetIsKept) {
  while (budget.take()) {
  }
  w.ask();
  answer_from(1);
  pass(10s);
  EXPECT_EQ(calls(), 1U);
}

TEST_F(Hedge, OffByDefaultAndWithoutAMeasure) {
  configure({});
  w.ask();
  pass(10s);
  EXPECT_EQ(calls(), 1U);
  configure({true, 0ms});
  w.ask({.question = 2});
  pass(10s);
  EXPECT_EQ(calls(), 2U) << "nothing is learned of the target yet";
}

TEST_F(Hedge, TheTargetsOwnP95IsTheMeasure) {
  configure({true, 0ms});
  w.permits.grant.p95_first_byte = 300ms;
  w.permits.grant.p95_first_token = 200ms;
  w.ask();
  w.ask({.stream = true, .question = 2});
  pass(199ms);
  EXPECT_EQ(calls(), 2U);
  pass(1ms);
  EXPECT_EQ(calls(), 3U) << "the stream's";
  pass(100ms);
  EXPECT_EQ(calls(), 4U);
}

/// Every order of a few events ends in one answer, nothing left behind, and each permit settled once.
TEST(HedgeOrders, AnyOrderOfWinFailAndLeaveIsClean) {
  const std::string events = "FfSsLX";  // first/second: content (upper case) or failure (lower); leave; late
  std::string order = events;
  std::sort(order.begin(), order.end());
  int orders = 0;
  do {
    for (const bool stream : {false, true}) {
      SCOPED_TRACE(order + (stream ? " streamed" : " plain"));
      single_flight_world w;
      for (int i = 0; i < 100; ++i) w.hedges.call(1);
      auto c = std::make_shared<config>(*w.config);
      c->models[0].hedge = {true, 100ms};
      c->retry.attempts = 1;
      w.config = c;
      auto& client = w.ask({.stream = stream, .patience = 1h});
      w.time.time += 100ms;
      w.thread.ring(w.time.time);
      w.settle();
      ASSERT_EQ(w.upstream.calls.size(), 2U);
      w.permits.grant.verdict = verdict::no_candidate;
      for (const char e : order) {
        const size_t n = e == 'S' || e == 's' ? 1 : 0;
        if (e == 'L') w.leave(client);
        if (e == 'X') w.thread.ring(w.time.time + 2h);
        if (e == 'F' || e == 'S') w.upstream.calls[n]->feed(stream ? "cd" : "{1}");
        if (e == 'F' || e == 'S') w.upstream.calls[n]->finish();
        if (e == 'f' || e == 's') w.upstream.calls[n]->finish(upstream_failure::reset);
        w.settle();
      }
      EXPECT_TRUE(client.over);
      EXPECT_EQ(w.flights(), 0);
      EXPECT_EQ(w.permits.settled.size(), 2U);
      EXPECT_NE(w.permits.settled[0].id, w.permits.settled[1].id);
      EXPECT_EQ(w.watch.requests.size(), 1U);
      for (const auto& call : w.upstream.calls) EXPECT_FALSE(call->alive);
    }
    ++orders;
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(orders, 720);
}

TEST(HedgeBudget, IsAPartOfTheCalls) {
  hedge_budget b;
  EXPECT_FALSE(b.take()) << "it starts empty";
  int made = 0;
  for (int i = 0; i < 1000; ++i) {
    b.call(0.05);
    made += b.take() ? 1 : 0;
  }
  EXPECT_EQ(made, 50);
  for (int i = 0; i < 100'000; ++i) b.call(0.05);
  made = 0;
  while (b.take()) ++made;
  EXPECT_EQ(made, hedge_budget::capacity) << "a calm saves up no more";
  b.give_back();
  EXPECT_TRUE(b.take());
  for (int i = 0; i < 1000; ++i) b.call(0);
  EXPECT_FALSE(b.take());
}

}  // namespace
}  // namespace millrace::engine
