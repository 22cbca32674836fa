#include <algorithm>

#include <gtest/gtest.h>

#include "single_flight_world.hpp"

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(SingleFlight, IdenticalRequestsInFlightShareOneCall) {
  single_flight_world w;
  const auto& leader = w.ask();
  const auto& follower = w.ask();
  const auto& other = w.ask({.question = 2});
  ASSERT_EQ(w.upstream.calls.size(), 2U);
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(leader.got, "{1}");
  EXPECT_EQ(leader.header("x-millrace-cache"), "bypass");
  EXPECT_EQ(leader.header("x-millrace-attempts"), "1");
  EXPECT_EQ(follower.got, "{1}");
  EXPECT_EQ(follower.header("x-millrace-cache"), "coalesced");
  EXPECT_EQ(follower.header("x-millrace-attempts"), "0");
  EXPECT_EQ(follower.header("x-millrace-cost-usd"), "0");
  EXPECT_EQ(follower.header("x-millrace-provider"), "a");
  EXPECT_EQ(other.status, 0);
  EXPECT_EQ(w.flights(), 1);
}

TEST(SingleFlight, WhoAsksAfterwardsMakesACallOfItsOwn) {
  single_flight_world w;
  w.ask();
  w.feed("{1}");
  w.finish();
  w.ask();
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST(SingleFlight, WithCoalesceTheAnswerIsKeptForSeconds) {
  single_flight_world w(true);
  w.ask();
  w.feed("{1}");
  w.finish();
  w.time.time += 4s;
  const auto& soon = w.ask();
  EXPECT_EQ(soon.got, "{1}");
  EXPECT_EQ(soon.header("x-millrace-cache"), "coalesced");
  EXPECT_EQ(soon.header("age"), "");
  w.time.time += 2s;
  w.ask();
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST(SingleFlight, WhatIsNot200IsGivenAsItIsAndNotKept) {
  single_flight_world w(true);
  const auto& first = w.ask();
  w.upstream.calls.at(0)->status = 201;
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(first.status, 201);
  w.ask();
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST(SingleFlight, ALateJoinerOfAStreamGetsWhatWasSentSoFarThenTheRest) {
  single_flight_world w;
  const auto& leader = w.ask({.stream = true});
  w.feed("pc");
  w.feed("c");
  EXPECT_EQ(leader.got, "pcc");
  const auto& late = w.ask({.stream = true});
  EXPECT_EQ(late.got, "pcc");
  w.feed("c");
  EXPECT_EQ(leader.got, "pccc");
  EXPECT_EQ(late.got, "pccc");
  w.feed("d");
  w.finish();
  EXPECT_EQ(leader.got, "pcccd");
  EXPECT_EQ(late.got, "pcccd");
  EXPECT_TRUE(leader.over && late.over && !leader.broken && !late.broken);
  EXPECT_EQ(w.upstream.calls.size(), 1U);
  EXPECT_EQ(w.flights(), 0);
}

TEST(SingleFlight, WhereNoMarkerEndsAStreamEverybodyGetsItsEndOnce) {
  single_flight_world w;
  const auto& leader = w.ask({.stream = true});
  w.feed("pcf");
  const auto& late = w.ask({.stream = true});
  w.feed("c");
  w.finish();
  EXPECT_EQ(leader.got, "pcfce");
  EXPECT_EQ(late.got, "pcfce");
  EXPECT_EQ(w.upstream.calls.size(), 1U);
}

TEST(SingleFlight, ALeaderThatGotTheEndBeforeSomebodyJoinedGetsItOnce) {
  single_flight_world w;
  auto& leader = w.ask({.stream = true});
  w.feed("pcf");
  leader.paused = true;
  w.finish();
  const auto& late = w.ask({.stream = true});
  w.wake(leader);
  w.settle();
  EXPECT_EQ(leader.got, "pcfe");
  EXPECT_EQ(late.got, "pcfe");
}

TEST(SingleFlight, AnAnswerThatCameWholeIsSharedByStreamsAndOthers) {
  single_flight_world w;
  const auto& leader = w.ask({.stream = true});
  const auto& plain = w.ask();
  w.upstream.calls.at(0)->stream = false;
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(leader.got, "replay:{1}");
  EXPECT_EQ(plain.got, "{1}");
}

TEST(SingleFlight, WhoJoinsBeforeTheFirstContentWaitsForItLikeTheLeader) {
  for (const bool leader_leaves : {false, true}) {
    single_flight_world w;
    auto& leader = w.ask({.stream = true});
    w.feed("p");
    const auto& late = w.ask({.stream = true});
    EXPECT_EQ(late.status, 0);
    w.feed("p");
    if (leader_leaves) w.leave(leader);
    w.feed("c");
    w.feed("d");
    w.finish();
    EXPECT_EQ(late.got, "ppcd");
    EXPECT_FALSE(late.broken);
    EXPECT_TRUE(leader_leaves || leader.got == "ppcd") << leader.got;
    EXPECT_EQ(w.upstream.calls.size(), 1U);
    EXPECT_EQ(w.flights(), 0);
  }
}

TEST(SingleFlight, PlainAndStreamedRequestsShareACallInBothDirections) {
  single_flight_world streamed;
  streamed.ask({.stream = true});
  const auto& plain = streamed.ask();
  streamed.feed("pc");
  EXPECT_EQ(plain.status, 0);
  streamed.feed("d");
  streamed.finish();
  EXPECT_EQ(plain.got, "{pcd}");
  EXPECT_EQ(plain.header("x-millrace-cache"), "coalesced");

  single_flight_world whole;
  whole.ask();
  const auto& stream = whole.ask({.stream = true});
  whole.feed("{1}");
  whole.finish();
  EXPECT_EQ(stream.got, "replay:{1}");
}

TEST(SingleFlight, TheLeadersEndDoesNotCutTheOthers) {
  for (const bool stream : {false, true}) {
    single_flight_world w;
    auto& leader = w.ask({.stream = stream});
    if (stream) w.feed("pc");
    const auto& follower = w.ask({.stream = stream});
    w.leave(leader);
    EXPECT_FALSE(w.upstream.calls[0]->cancelled);
    w.feed(stream ? "d" : "{1}");
    w.finish();
    EXPECT_EQ(follower.got, stream ? "pcd" : "{1}");
    EXPECT_TRUE(follower.over && !follower.broken);
    ASSERT_EQ(w.permits.settled.size(), 1U);
    EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::ok);
    ASSERT_EQ(w.watch.requests.size(), 2U);
    const auto gone = std::find_if(w.watch.requests.begin(), w.watch.requests.end(),
                                   [](const auto& r) { return r.client_gone; });
    ASSERT_NE(gone, w.watch.requests.end());
    EXPECT_EQ(gone->code, "client_gone");
    EXPECT_EQ(gone->status, stream ? 200 : 499);
  }
}

TEST(SingleFlight, WhenTheLastIsGoneTheCallIsCancelled) {
  for (const bool stream : {false, true}) {
    for (const bool leader_first : {false, true}) {
      single_flight_world w;
      auto& leader = w.ask({.stream = stream});
      if (stream) w.feed("pc");
      auto& follower = w.ask({.stream = stream});
      w.leave(leader_first ? leader : follower);
      EXPECT_TRUE(w.upstream.calls[0]->alive);
      w.leave(leader_first ? follower : leader);
      EXPECT_TRUE(w.upstream.calls[0]->cancelled) << stream << leader_first;
      EXPECT_FALSE(w.upstream.calls[0]->alive);
      EXPECT_EQ(w.flights(), 0);
      w.ask({.stream = stream});
      EXPECT_EQ(w.upstream.calls.size(), 2U);
    }
  }
}

TEST(SingleFlight, ASlowLeaderHoldsNobodyUp) {
  single_flight_world w;
  auto& leader = w.ask({.stream = true});
  leader.paused = true;
  w.feed("pc");
  const auto& follower = w.ask({.stream = true});
  w.feed("c");
  w.feed("d");
  w.finish();
  EXPECT_EQ(follower.got, "pccd");
  EXPECT_TRUE(follower.over);
  EXPECT_FALSE(leader.over);
  w.wake(leader);
  w.settle();
  EXPECT_EQ(leader.got, "pccd");
  EXPECT_TRUE(leader.over);
}

TEST(SingleFlight, ASlowReaderAloneHoldsItsProvider) {
  single_flight_world w;
  auto& only = w.ask({.stream = true});
  only.paused = true;
  w.feed("pc");
  w.feed("c");
  w.feed("c");
  EXPECT_EQ(w.upstream.calls[0]->pieces.size(), 2U);
}

TEST(SingleFlight, AFailureIsToldToAllAndNotRepeatedByEach) {
  single_flight_world w;
  const auto& leader = w.ask();
  const auto& follower = w.ask();
  const auto& streamed = w.ask({.stream = true});
  w.upstream.calls[0]->status = 400;
  w.feed("{\"error\":1}");
  w.finish();
  for (const auto* c : {&leader, &follower, &streamed}) {
    EXPECT_EQ(c->status, 400);
    EXPECT_EQ(c->got, "{\"error\":1}");
  }
  EXPECT_EQ(w.upstream.calls.size(), 1U);
}

TEST(SingleFlight, AStreamThatBreaksIsBrokenForAll) {
  single_flight_world w;
  const auto& leader = w.ask({.stream = true});
  const auto& follower = w.ask({.stream = true});
  const auto& plain = w.ask();
  w.feed("pc");
  w.finish(upstream_failure::reset);
  EXPECT_EQ(leader.got, "pcevent:upstream_reset");
  EXPECT_EQ(follower.got, "pcevent:upstream_reset");
  EXPECT_TRUE(leader.broken && follower.broken);
  EXPECT_EQ(plain.status, 502);
  EXPECT_EQ(w.upstream.calls.size(), 1U);
}

TEST(SingleFlight, WhatIsTheLeadersOwnAffairMakesAnotherLead) {
  single_flight_world w;
  w.permits.grant.verdict = verdict::client_limited;
  auto& refused = w.ask();
  EXPECT_EQ(refused.status, 429);
  w.permits.grant.verdict = verdict::granted;
  const auto& leader = w.ask({.patience = 1s});
  const auto& second = w.ask();
  const auto& third = w.ask();
  w.time.time += 2s;
  w.finish(upstream_failure::timeout);
  EXPECT_EQ(leader.status, 504);
  EXPECT_EQ(second.status, 0);
  ASSERT_EQ(w.upstream.calls.size(), 2U);
  w.feed("{2}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(second.got, "{2}");
  EXPECT_EQ(third.got, "{2}");
  EXPECT_EQ(second.header("x-millrace-cache"), "bypass") << "it made this call, and pays for it";
  EXPECT_EQ(third.header("x-millrace-cache"), "coalesced");
}

TEST(SingleFlight, ALeaderWhoseWaitForAPermitEndsDoesNotEndTheOthers) {
  single_flight_world w;
  w.permits.full = true;
  const auto& leader = w.ask();
  const auto& second = w.ask();
  EXPECT_EQ(leader.status, 0);
  w.permits.full = false;
  w.permits.grant.verdict = verdict::no_permit;
  w.permits.on_refusal = [&w] { w.permits.grant.verdict = verdict::granted; };
  w.permits.gate.wake();
  w.settle();
  EXPECT_EQ(leader.status, 429);
  ASSERT_EQ(w.upstream.calls.size(), 1U);
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(second.status, 200);
  EXPECT_EQ(second.got, "{1}");
}

TEST(SingleFlight, AFollowersDeadlineIsItsOwn) {
  for (const bool content : {false, true}) {
    single_flight_world w;
    const auto& leader = w.ask({.stream = true});
    if (content) w.feed("pc");
    const auto& hasty = w.ask({.stream = true, .patience = 1s});
    w.time.time += 2s;
    w.thread.ring(w.time.time);
    w.settle();
    EXPECT_TRUE(hasty.over);
    EXPECT_EQ(hasty.status, content ? 200 : 504);
    EXPECT_EQ(hasty.got, content ? "pcevent:deadline_exceeded" : "error:deadline_exceeded");
    w.feed(content ? "d" : "pcd");
    w.finish();
    EXPECT_EQ(leader.got, "pcd");
  }
}

TEST(SingleFlight, TheLeadersDeadlineDoesNotCutAStreamThatOthersRead) {
  single_flight_world w;
  const auto& leader = w.ask({.stream = true, .patience = 1s});
  w.feed("pc");
  const auto& follower = w.ask({.stream = true});
  w.time.time += 2s;
  w.thread.ring(w.time.time);
  w.settle();
  w.feed("c");
  EXPECT_EQ(leader.got, "pccevent:deadline_exceeded");
  w.feed("d");
  w.finish();
  EXPECT_EQ(follower.got, "pccd");
}

TEST(SingleFlight, TheDeadlineOfAStreamThatNobodySharesEndsTheCall) {
  single_flight_world w;
  const auto& only = w.ask({.stream = true, .patience = 1s});
  w.feed("pc");
  w.time.time += 2s;
  w.thread.ring(w.time.time);
  w.settle();
  EXPECT_EQ(only.got, "pcevent:deadline_exceeded");
  EXPECT_TRUE(only.broken);
  EXPECT_TRUE(w.upstream.calls[0]->cancelled);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::out_of_time);
}

TEST(SingleFlight, NoCacheAndNoStoreStandAlone) {
  single_flight_world w;
  w.ask();
  w.ask({.wish = {.no_cache = true}});
  w.ask({.wish = {.no_store = true}});
  EXPECT_EQ(w.upstream.calls.size(), 3U);
  w.feed("{2}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(w.clients[0]->status, 0);
}

TEST(SingleFlight, FollowersCountAgainstTheirRequestsOnly) {
  single_flight_world w(false, false, 100);
  w.ask();
  w.ask();
  ASSERT_EQ(w.permits.counts.size(), 1U);
  w.permits.counted.verdict = verdict::client_limited;
  w.permits.counted.retry_after = 3s;
  const auto& refused = w.ask();
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.header("retry-after"), "3");
  w.feed("{1}");
  w.finish();
  EXPECT_EQ(w.clients[1]->got, "{1}");
  EXPECT_EQ(w.permits.granted, 1);
}

}  // namespace
}  // namespace millrace::engine
