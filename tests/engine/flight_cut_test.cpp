#include "flight_answers.hpp"

#include <gtest/gtest.h>

/// Answers that break off, and requests that a stopping node gives up.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

scripted_call refusal_cut_short(int status) {
  scripted_call c = json_answer(status, "{\"err");
  c.after_pieces = upstream_failure::reset;
  return c;
}

TEST(Flight, ARefusalThatIsCutShortCountsForWhatItsHeadSays) {
  for (const auto& [status, outcome] :
       {std::pair{429, attempt_outcome::rate_limited}, std::pair{401, attempt_outcome::unauthorized},
        std::pair{503, attempt_outcome::failed}, std::pair{400, attempt_outcome::ok}}) {
    flight_world w;
    w.permits.script = {w.grant()};
    scripted_call cut = refusal_cut_short(status);
    if (status == 429) cut.headers.emplace_back("retry-after", "7");
    w.upstream.script = {cut};
    const answer a = w.run();
    ASSERT_EQ(w.permits.settled.size(), 1U) << status;
    EXPECT_EQ(w.permits.settled[0].outcome, outcome) << status;
    EXPECT_EQ(w.permits.settled[0].retry_after, status == 429 ? duration(7s) : duration{});
    if (status == 400) {
      EXPECT_EQ(a.status, 400);
      EXPECT_EQ(a.body, "error:upstream_refused") << "half of what the provider said is no JSON";
      EXPECT_EQ(header(a, "x-should-retry"), "") << "nobody has tried again";
    }
  }
}

TEST(Flight, ARefusalsBodyIsNotWaitedForAsLongAsAnAnswers) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {json_answer(429)};
  w.run();
  EXPECT_LE(w.upstream.read_until.at(0), w.time.now() + 5s);
  flight_world good;
  good.permits.script = {good.grant()};
  good.upstream.script = {json_answer()};
  good.run();
  EXPECT_GT(good.upstream.read_until.at(0), good.time.now() + 5s);
}

TEST(Flight, AnAnswerThatBreaksOffIsAFailure) {
  flight_world w;
  w.permits.script = {w.grant()};
  scripted_call cut = json_answer(200, "{\"half");
  cut.after_pieces = upstream_failure::reset;
  w.upstream.script = {cut};
  EXPECT_EQ(w.run().status, 502);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
}

TEST(Flight, JsonOfNoTypeIsJson) {
  for (const header_list& headers : {header_list{}, header_list{{"content-type", "text/plain"}}}) {
    flight_world w;
    w.permits.script = {w.grant()};
    scripted_call untyped = json_answer();
    untyped.headers = headers;
    w.upstream.script = {untyped};
    const answer a = w.run();
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(a.content_type, "application/json");
  }
}

TEST(Flight, WhatEveryAttemptUsedIsInTheRequestsLine) {
  flight_world w;
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {json_answer(200, "no object"), json_answer()};
  EXPECT_EQ(w.run().status, 200);
  // Of the first one the provider told its usage, and nothing else that could be used.
  EXPECT_EQ(w.watch.requests.at(0).used.input_tokens, 20);
  EXPECT_EQ(w.watch.requests.at(0).used.output_tokens, 40);
}

TEST(Flight, AStoppingNodeSaysSo) {
  flight_world plain;
  plain.permits.script = {plain.grant()};
  scripted_call waits = json_answer();
  waits.pieces.clear();
  waits.after_pieces = upstream_failure::cancelled;
  waits.on_read = [&] { plain.gone.cancel(cancel_cause::stopping); };
  plain.upstream.script = {waits};
  const answer told = plain.run();
  EXPECT_EQ(told.status, 503);
  EXPECT_EQ(told.body, "error:drain_timeout");
  EXPECT_EQ(header(told, "x-should-retry"), "") << "another node may answer";
  EXPECT_EQ(plain.watch.requests.at(0).code, "drain_timeout");
  EXPECT_FALSE(plain.watch.requests.at(0).client_gone);

  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  scripted_call streams = event_stream({"pc", "c"}, upstream_failure::cancelled);
  int reads = 0;
  streams.on_read = [&] {
    if (++reads == 3) w.gone.cancel(cancel_cause::stopping);
  };
  w.upstream.script = {streams};
  w.run([&](answer& a, yield y) {
    EXPECT_EQ(drain(a, y), "pccevent:drain_timeout");
    EXPECT_TRUE(a.stream->broken());
  });
  EXPECT_EQ(w.watch.requests.at(0).status, 200);
  EXPECT_EQ(w.watch.requests.at(0).code, "drain_timeout");
  EXPECT_FALSE(w.watch.requests.at(0).client_gone);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::cancelled) << "no fault of the provider's";
}

}  // namespace
}  // namespace millrace::engine
