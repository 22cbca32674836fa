#include "flight_answers.hpp"

#include <gtest/gtest.h>

/// What a flight makes of the streams of its providers.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(Flight, AStreamPassesAndIsSettledAtItsEnd) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {event_stream({"p", "c", "cd"})};
  w.run([&](answer& a, yield y) {
    ASSERT_TRUE(a.stream);
    EXPECT_TRUE(w.permits.settled.empty());
    EXPECT_EQ(drain(a, y), "pccd");
    EXPECT_FALSE(a.stream->broken());
  });
  ASSERT_EQ(w.permits.settled.size(), 1U);
  EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::ok);
  EXPECT_EQ(w.watch.requests.size(), 1U);
}

TEST(Flight, AStreamWithoutAMarkerIsOverWhenItsBodyEnds) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {event_stream({"pcf", "c"})};
  w.run([&](answer& a, yield y) {
    EXPECT_EQ(drain(a, y), "pcfce") << "what comes behind a reason to finish, too, and then the end";
    EXPECT_FALSE(a.stream->broken());
  });
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::ok);
}

TEST(Flight, WithoutAMarkerACutStreamIsCutStill) {
  for (const auto& cut : {event_stream({"pcf", "c"}, upstream_failure::reset), event_stream({"pc", "c"})}) {
    flight_world w;
    w.stream = true;
    w.permits.script = {w.grant()};
    w.upstream.script = {cut};
    w.run([&](answer& a, yield y) {
      EXPECT_NE(drain(a, y).find("cevent:"), std::string::npos);
      EXPECT_TRUE(a.stream->broken());
    });
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
  }
}

TEST(Flight, AProviderThatDoesNotStreamIsToldAsAStream) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  scripted_call whole = json_answer(200, "{x}");
  whole.headers = {{"content-type", "Application/JSON; charset=utf-8"}};
  w.upstream.script = {whole};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(a.body, "replay:{x}");
  EXPECT_EQ(a.content_type, "text/event-stream; charset=utf-8");
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::ok);
  EXPECT_EQ(w.permits.settled.at(0).used.output, 20);
}

TEST(Flight, AStreamThatFailsBeforeContentFallsBackUnseen) {
  for (const auto& bad :
       {event_stream({"p"}, upstream_failure::reset), event_stream({"p", "x"}), event_stream({"p"})}) {
    flight_world w;
    w.stream = true;
    w.permits.script = {w.grant(0), w.grant(1)};
    w.upstream.script = {bad, event_stream({"c", "d"})};
    w.run([&](answer& a, yield y) {
      EXPECT_EQ(header(a, "x-millrace-attempts"), "2");
      EXPECT_EQ(drain(a, y), "cd") << "nothing of the first stream may show";
    });
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
  }
}

TEST(Flight, AStreamThatFailsBeforeContentIsToldInTheProvidersWords) {
  for (const int status : {0, 400, 500, 503}) {
    flight_world w;
    w.stream = true;
    w.format.failure_status = status;
    w.permits.script = {w.grant()};
    w.upstream.script = {event_stream({"p", "xc"})};
    EXPECT_EQ(w.run().status, 502) << status;
    EXPECT_EQ(w.format.told.type, "upstream_error");
    EXPECT_EQ(w.format.told.code, "upstream_error");
    EXPECT_NE(w.format.told.message.find("stream failed"), std::string::npos) << w.format.told.message;
    EXPECT_NE(w.format.told.message.find("boom"), std::string::npos) << w.format.told.message;
    EXPECT_EQ(w.format.told.message.find("status"), std::string::npos) << "there was none";
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
  }
}

TEST(Flight, AProviderThatShowsItsKeyInAStreamIsNotQuoted) {
  for (const char* stream : {"x", "cx"}) {
    flight_world w;
    auto c = std::make_shared<config>(*w.config);
    c->providers[0].keys[0].key = secret("boom");
    w.config = c;
    w.stream = true;
    w.permits.script = {w.grant()};
    std::vector<std::string> pieces;
    for (const char* p = stream; *p != 0; ++p) pieces.emplace_back(1, *p);
    w.upstream.script = {event_stream(pieces)};
    w.run([](answer& a, yield y) {
      if (a.stream) drain(a, y);
    });
    EXPECT_NE(w.format.told.message, "");
    EXPECT_EQ(w.format.told.message.find("boom"), std::string::npos) << w.format.told.message;
  }
}

TEST(Flight, WhatAStreamSaysOfTheKeyBeforeContentCountsAsInAnAnswer) {
  for (const auto& [status, outcome] :
       {std::pair{401, attempt_outcome::unauthorized}, std::pair{402, attempt_outcome::no_credit},
        std::pair{429, attempt_outcome::rate_limited}}) {
    flight_world w;
    w.stream = true;
    w.format.failure_status = status;
    w.permits.script = {w.grant()};
    w.upstream.script = {event_stream({"x"})};
    EXPECT_EQ(w.run().status, status == 429 ? 429 : 502);
    EXPECT_EQ(w.permits.settled.at(0).outcome, outcome);
  }
}

TEST(Flight, AStreamThatBreaksAfterContentSaysSoAndIsNotTriedAgain) {
  for (const auto& bad :
       {event_stream({"c"}, upstream_failure::reset), event_stream({"c", "x"}), event_stream({"c"})}) {
    flight_world w;
    w.stream = true;
    w.permits.script = {w.grant(0), w.grant(1)};
    w.upstream.script = {bad, event_stream({"c", "d"})};
    w.run([&](answer& a, yield y) {
      const std::string all = drain(a, y);
      EXPECT_TRUE(all.starts_with("cevent:")) << all;
      EXPECT_EQ(all.find('d', 1), all.find("d", 7)) << "no terminal marker";
      EXPECT_TRUE(a.stream->broken());
    });
    EXPECT_EQ(w.permits.asked.size(), 1U);
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
    EXPECT_EQ(w.watch.attempts.at(0), "cut");
  }
}

TEST(Flight, AStreamThatNeverGetsToThePointIsAFailure) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {event_stream({std::string((1U << 20) + 1, 'p'), "c", "d"}), event_stream({"c", "d"})};
  w.run([&](answer& a, yield y) { EXPECT_EQ(drain(a, y), "cd"); });
}

TEST(Flight, ADroppedStreamIsSettledAsCancelled) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {event_stream({"c", "c", "d"})};
  w.run([](answer& a, yield y) {
    std::string some;
    a.stream->read(some, y);
  });
  ASSERT_EQ(w.permits.settled.size(), 1U);
  EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::cancelled);
  EXPECT_EQ(w.watch.requests.size(), 1U);
}

TEST(Flight, EventsWithoutContentDoNotExtendTheTimeToTheFirstToken) {
  flight_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  auto pings = event_stream({"p", "p", "p", "c", "d"});
  pings.on_read = [&] { w.time.time += 1s; };
  w.upstream.script = {pings};
  w.run([](answer& a, yield y) { drain(a, y); });
  ASSERT_GE(w.upstream.read_until.size(), 4U);
  EXPECT_EQ(w.upstream.read_until[0], w.upstream.read_until[3]);
}

}  // namespace
}  // namespace millrace::engine
