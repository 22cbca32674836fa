#include "flight_answers.hpp"

#include <algorithm>
#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(Flight, APlainAnswerIsSettledAndPriced) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(a.body, "{}");
  EXPECT_EQ(w.upstream.bodies.at(0), "m:question");
  EXPECT_EQ(header(a, "x-millrace-attempts"), "1");
  EXPECT_EQ(header(a, "x-millrace-provider"), "a");
  EXPECT_EQ(header(a, "x-millrace-key"), "k1");
  EXPECT_EQ(header(a, "x-millrace-cost-usd"), "0.00003");  // 30 tokens at 1 USD per million
  ASSERT_EQ(w.permits.settled.size(), 1U);
  EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::ok);
  EXPECT_EQ(w.permits.settled[0].used, (token_count{10, 20}));
  EXPECT_EQ(w.permits.sent_tickets.size(), 1U);
  ASSERT_EQ(w.watch.requests.size(), 1U);
  EXPECT_EQ(w.watch.requests[0].status, 200);
}

TEST(Flight, ReportsUnderTheTicketOfTheGrant) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.permits.script.front().id = 4711;  // a spare
  w.upstream.script = {json_answer()};
  w.run();
  EXPECT_EQ(w.permits.sent_tickets.at(0), 4711U);
  EXPECT_EQ(w.permits.settled.at(0).id, 4711U);
}

TEST(Flight, ARequestWhoseHandlerThrowsIsLeftToTheEdgeToReport) {
  flight_world w;
  w.permits.before_reply = [] { throw std::runtime_error("no memory"); };
  w.run();
  EXPECT_TRUE(w.watch.requests.empty());
}

TEST(Flight, TheClientsOwnMistakeIsPassedOnByteForByte) {
  for (const int status : {400, 404, 409, 413, 422}) {
    flight_world w;
    w.permits.script = {w.grant()};
    w.upstream.script = {json_answer(status, "{\"error\": 1}")};
    const answer a = w.run();
    EXPECT_EQ(a.status, status);
    EXPECT_EQ(a.body, "{\"error\": 1}");
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::ok);
    EXPECT_EQ(w.permits.asked.size(), 1U);
  }
}

TEST(Flight, ARefusedKeyIsNeverAskedAgainButAnotherIs) {
  for (const auto& [status, outcome] :
       {std::pair{401, attempt_outcome::unauthorized}, std::pair{403, attempt_outcome::unauthorized},
        std::pair{402, attempt_outcome::no_credit}}) {
    flight_world w;
    w.permits.script = {w.grant(0, 0), w.grant(0, 1)};
    w.upstream.script = {json_answer(status), json_answer()};
    EXPECT_EQ(w.run().status, 200);
    EXPECT_EQ(w.permits.settled.at(0).outcome, outcome);
    EXPECT_EQ(w.permits.asked.at(1).tried_keys, std::vector<name_id>{w.config->providers[0].keys[0].name});
    EXPECT_TRUE(w.permits.asked.at(1).tried.empty()) << "the target is fine, only the key is not";
  }
}

TEST(Flight, WhenEveryKeyIsRefusedTheClientIsNotBlamed) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {json_answer(401)};
  const answer a = w.run();
  EXPECT_EQ(a.status, 502);
  EXPECT_EQ(header(a, "x-should-retry"), "false");
}

TEST(Flight, ARateLimitGoesBackToTheDispatcherAtMostAsOftenAsConfigured) {
  flight_world w;
  scripted_call limited = json_answer(429);
  limited.headers.emplace_back("retry-after", "7");
  w.permits.script = {w.grant(), w.grant(), w.grant(), w.grant()};
  w.upstream.script = {limited, limited, limited, limited};
  const answer a = w.run();
  EXPECT_EQ(a.status, 429);
  EXPECT_EQ(header(a, "retry-after"), "7");
  EXPECT_EQ(header(a, "x-millrace-attempts"), "3");
  EXPECT_EQ(header(a, "x-should-retry"), "false") << "its retries are used up";
  ASSERT_EQ(w.permits.settled.size(), 4U);
  EXPECT_EQ(w.permits.settled[0].retry_after, 7s);
  EXPECT_EQ(w.permits.settled[3].outcome, attempt_outcome::unused);
  for (const int attempts : {1, 3}) {
    flight_world once;
    once.configure([&](config& c) { c.retry.attempts = attempts; });
    once.permits.script = {once.grant()};
    once.upstream.script = {limited};
    EXPECT_EQ(header(once.run(), "x-should-retry"), "") << "the client may try again";
  }
}

TEST(Flight, ARateLimitWithoutATimeIsToldAsLongAsTheKeyRests) {
  for (const int calls : {1, 3}) {
    flight_world w;
    w.permits.script.assign(static_cast<size_t>(calls), w.grant());
    w.permits.script.emplace_back();
    w.upstream.script.assign(static_cast<size_t>(calls), json_answer(429));
    const answer a = w.run();
    EXPECT_EQ(a.status, 429);
    EXPECT_EQ(header(a, "retry-after"), calls == 1 ? "5" : "20");
  }
}

TEST(Flight, AFailedTargetIsLeftForAnother) {
  flight_world w;
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {json_answer(500), json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(header(a, "x-millrace-fallback"), "true");
  EXPECT_EQ(w.permits.asked.at(1).tried, std::vector<name_id>{w.config->models[0].targets[0].name});
  EXPECT_FALSE(w.permits.asked.at(1).retry_tried);
  EXPECT_TRUE(w.time.slept.empty()) << "another target needs no pause";
}

TEST(Flight, AnotherTargetOrKeyNeedsNoRetryBudget) {
  for (const int status : {429, 500}) {
    flight_world w;
    while (w.budget.try_retry(w.time.now(), 0)) {
    }
    w.permits.script = {w.grant(0), w.grant(1)};
    w.upstream.script = {json_answer(status), json_answer()};
    EXPECT_EQ(w.run().status, 200) << status;
  }
}

TEST(Flight, WithNothingElseToTryTheSameTargetIsRepeatedAfterAPause) {
  flight_world w;
  w.permits.script = {w.grant(), acquire_reply{}, w.grant()};
  w.upstream.script = {json_answer(503), json_answer()};
  EXPECT_EQ(w.run().status, 200);
  ASSERT_EQ(w.time.slept.size(), 1U);
  EXPECT_GT(w.time.slept[0], 0ms);
  EXPECT_TRUE(w.permits.asked.at(2).retry_tried);
}

TEST(Flight, AProviderThatAsksForMoreThanAQueueMayIsNotWaitedFor) {
  flight_world w;
  w.configure([](config& c) { c.queue.max_wait = 6s; });
  scripted_call down = json_answer(503);
  down.headers.emplace_back("retry-after", "7");
  w.permits.script = {w.grant()};
  w.upstream.script = {down};
  const answer a = w.run();
  EXPECT_EQ(a.status, 502);
  EXPECT_TRUE(w.time.slept.empty());
  EXPECT_EQ(header(a, "retry-after"), "7");
  EXPECT_EQ(header(a, "x-should-retry"), "") << "then the client may try again";
}

TEST(Flight, APauseBeforeARetryIsNeitherOverheadNorAWaitForAPermit) {
  flight_world w;
  w.permits.before_reply = [&] { w.time.time += 3ms; };
  w.permits.script = {w.grant(), acquire_reply{}, w.grant()};
  w.upstream.script = {json_answer(503), json_answer(200)};
  EXPECT_EQ(w.run().status, 200);
  ASSERT_EQ(w.time.slept.size(), 1U);
  ASSERT_EQ(w.watch.requests.size(), 1U);
  EXPECT_EQ(w.watch.requests[0].waited, 9ms);
  EXPECT_EQ(w.watch.requests[0].overhead, 0ms);
  EXPECT_EQ(w.watch.requests[0].total, 9ms + w.time.slept[0]);
}

TEST(Flight, TheTimeThatAClientTakesToSendCountsForItsDurationAndNotAsOverhead) {
  for (const bool stream : {false, true}) {
    flight_world w;
    w.upload = 4s;
    w.stream = stream;
    w.permits.script = {w.grant()};
    w.upstream.script = {json_answer(200)};
    const answer a = w.run();
    EXPECT_EQ(a.status, 200);
    ASSERT_EQ(w.watch.requests.size(), 1U);
    EXPECT_EQ(w.watch.requests[0].total, 4s);
    EXPECT_EQ(w.watch.requests[0].overhead, 0ms);
    EXPECT_EQ(w.watch.requests[0].waited, 0ms);
    EXPECT_EQ(header(a, "x-millrace-overhead-us"), "0");
  }
}

TEST(Flight, WhoLeavesDuringAPauseDidNotMakeItOverhead) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {json_answer(503)};
  w.time.on_sleep = [&] { w.gone.cancel(); };
  w.run();
  ASSERT_EQ(w.time.slept.size(), 1U);
  ASSERT_EQ(w.watch.requests.size(), 1U);
  EXPECT_LT(w.watch.requests[0].overhead, 1ms);
}

TEST(Flight, RepeatsEndWithTheConfiguredAttempts) {
  flight_world w;
  const acquire_reply nothing;
  w.permits.script = {w.grant(), nothing, w.grant(), nothing, w.grant(), nothing, w.grant()};
  for (int i = 0; i < 5; ++i) w.upstream.script.push_back(json_answer(500));
  const answer a = w.run();
  EXPECT_EQ(a.status, 502);
  EXPECT_EQ(header(a, "x-millrace-attempts"), "3");
  EXPECT_EQ(header(a, "x-should-retry"), "false");
}

TEST(Flight, AStaleConnectionIsReplacedOnceUnderAPermitOfItsOwn) {
  flight_world w;
  w.permits.script = {w.grant(), w.grant(), w.grant()};
  scripted_call stale = broken(upstream_failure::reset);
  stale.stale = true;
  w.upstream.script = {stale, json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(w.upstream.fresh, (std::vector<bool>{false, true}));
  EXPECT_EQ(w.permits.sent_tickets.size(), 2U) << "the provider may have counted both";
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::cancelled) << "nothing is known of the target";
  EXPECT_TRUE(w.permits.asked.at(1).tried.empty());
  EXPECT_EQ(header(a, "x-millrace-attempts"), "2");

  w.permits.script = {w.grant(), w.grant()};
  w.upstream.script = {stale, stale, json_answer()};
  EXPECT_EQ(w.run().status, 502) << "once";
}

TEST(Flight, AGrantThatTheRequestsConfigurationDoesNotKnowEndsItInGoodOrder) {
  flight_world w;
  acquire_reply unknown = w.grant();
  unknown.target = no_name;
  w.permits.script = {w.grant(), unknown};
  w.upstream.script = {broken(upstream_failure::reset)};
  const answer a = w.run();
  EXPECT_EQ(a.status, 502);
  EXPECT_EQ(header(a, "x-millrace-provider"), w.config->providers[0].name);
  EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::unused);
}

TEST(Flight, ADeadlineThatEndsWhileConnectingIsNotTheTargetsFault) {
  flight_world w;
  w.patience = 1s;
  w.permits.script = {w.grant()};
  scripted_call slow;
  slow.connect = upstream_failure::timeout;
  slow.connect_takes = 1s;
  w.upstream.script = {slow};
  EXPECT_EQ(w.run().status, 504);
  EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::out_of_time);

  w.patience = 1min;
  w.permits.script = {w.grant()};
  w.upstream.script = {slow};
  EXPECT_EQ(w.run().status, 504);
  EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::timed_out);
}

TEST(Flight, AProvidersRefusalIsPassedOnWithoutItsKey) {
  flight_world w;
  auto c = std::make_shared<config>(*w.config);
  c->providers[0].keys[0].key = secret("sk-canary");
  w.config = c;
  w.permits.script = {w.grant()};
  scripted_call refused = json_answer();
  refused.status = 400;
  refused.pieces = {"{bad key sk-can", "ary, sk-canary}"};
  w.upstream.script = {refused};
  EXPECT_EQ(w.run().body, "{bad key [key], [key]}");
}

TEST(Flight, WhatAClientMayNotSayIsNoFaultOfTheKey) {
  flight_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {json_answer(403, "{forbidden}")};
  EXPECT_EQ(w.run().status, 403);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::ok);
}

TEST(Flight, APermitThatRanOutWhileConnectingIsGivenBackUnsent) {
  flight_world w;
  w.permits.script = {w.grant(), w.grant()};
  scripted_call slow;
  slow.connect_takes = 3s;
  w.upstream.script = {slow, json_answer()};
  EXPECT_EQ(w.run().status, 200);
  ASSERT_EQ(w.permits.settled.size(), 2U);
  EXPECT_EQ(w.permits.settled[0].outcome, attempt_outcome::unused);
  EXPECT_TRUE(w.permits.asked.at(1).tried.empty()) << "the target did nothing wrong";
  EXPECT_EQ(w.permits.sent_tickets.size(), 1U);
}

TEST(Flight, TheCallersDeadlineIsATimeoutOfItsOwn) {
  flight_world w;
  w.patience = 1s;
  w.permits.script = {w.grant(), w.grant(1)};
  scripted_call late = broken(upstream_failure::timeout);
  late.connect_takes = 1500ms;
  w.upstream.script = {late, json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 504);
  EXPECT_EQ(a.body, "error:deadline_exceeded");
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::out_of_time);
}

TEST(Flight, AnswersOfTheWrongKindAreFailures) {
  flight_world w;
  w.permits.script = {w.grant()};
  scripted_call html = json_answer(200, "<html>");
  html.headers = {{"content-type", "text/html"}};
  w.upstream.script = {html};
  EXPECT_EQ(w.run().status, 502);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::failed);
}

TEST(Flight, WhatIsKnownOfAFailureIsTold) {
  const auto told = [](const scripted_call& c, std::string_view error) {
    flight_world w;
    w.permits.script = {w.grant()};
    w.upstream.script = {c};
    EXPECT_EQ(w.run().body, "error:" + std::string(error));
    return w.format.told.message;
  };
  for (const auto failure : {upstream_failure::resolve, upstream_failure::connect, upstream_failure::tls,
                             upstream_failure::timeout, upstream_failure::reset}) {
    scripted_call c;
    c.connect = failure;
    c.why = "The proxy has a fault.";
    const char* code = failure == upstream_failure::timeout ? "upstream_timeout"
                       : failure == upstream_failure::reset ? "upstream_reset"
                                                            : "upstream_unreachable";
    EXPECT_EQ(told(c, code), c.why);
    c.why.clear();
    EXPECT_NE(told(c, code), "");
  }
  EXPECT_NE(told(broken(upstream_failure::head_too_large), "upstream_bad_answer").find("The head of"),
            std::string::npos);
}

TEST(Flight, WhoeverLooksForTheMistakeInAnAnswerIsToldWhereToLook) {
  const auto told = [](std::string body, const char* type) {
    flight_world w;
    w.permits.script = {w.grant()};
    scripted_call bad = json_answer(200, std::move(body));
    bad.headers = {{"content-type", type}};
    w.upstream.script = {bad};
    EXPECT_EQ(w.run().body, "error:upstream_bad_answer");
    return w.format.told.message;
  };
  const std::string page = "Check that base_url names an API, not a web page.";
  for (const auto& [body, type] :
       {std::pair("<html>", "text/html"), std::pair("{}", "text/html"), std::pair("[]", "application/json"),
        std::pair("", "application/json"), std::pair(" \n", "application/json")})
    EXPECT_TRUE(told(body, type).ends_with(page)) << body;
  EXPECT_EQ(told(" {\"error\":{}}", "application/json"),
            "The provider sent an error with a status of success. Try again later.");
  EXPECT_NE(told(" {\"no\":\"answer\"}", "application/json").find("base_url and kind name the same API"),
            std::string::npos);
}

TEST(Flight, AClientThatLeavesEndsEverything) {
  flight_world w;
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {broken(upstream_failure::cancelled), json_answer()};
  w.run();
  EXPECT_EQ(w.permits.asked.size(), 1U);
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::cancelled);
}

TEST(Flight, RefusalsHaveTheirStatus) {
  const std::vector<std::tuple<verdict, int, std::string>> table = {
      {verdict::client_limited, 429, "rate_limit_exceeded"},
      {verdict::no_permit, 429, "no_capacity"},
      {verdict::too_large, 429, "request_too_large_for_limit"},
      {verdict::queue_full, 503, "queue_full"},
      {verdict::breakers_open, 503, "providers_unavailable"},
      {verdict::keys_unusable, 503, "provider_keys_unusable"},
      {verdict::no_candidate, 503, "no_target"}};
  for (const auto& [v, status, code] : table) {
    flight_world w;
    acquire_reply r;
    r.verdict = v;
    r.retry_after = 1500ms;
    w.permits.script = {r};
    const answer a = w.run();
    EXPECT_EQ(a.status, status) << code;
    EXPECT_EQ(a.body, "error:" + code);
    EXPECT_EQ(header(a, "retry-after"), "2") << code;
    EXPECT_EQ(header(a, "x-millrace-attempts"), "0");
    ASSERT_EQ(w.watch.requests.size(), 1U);
    EXPECT_EQ(w.watch.requests[0].code, code);
  }
}

TEST(Flight, ATargetWhoseDialectCannotSayTheRequestIsPassedOver) {
  flight_world w;
  w.format.speechless = {"a"};
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {json_answer()};
  const answer a = w.run();
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(header(a, "x-millrace-provider"), "b");
  EXPECT_EQ(header(a, "x-millrace-attempts"), "1");
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::unused);
  EXPECT_EQ(w.permits.asked.at(1).barred, std::vector{w.grant(0).target});
}

TEST(Flight, WhenNoTargetCanSayTheRequestTheClientIsToldWhichField) {
  flight_world w;
  w.format.speechless = {"a", "b"};
  w.permits.script = {w.grant(0), w.grant(1)};
  const answer a = w.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.body, "error:unsupported_field");
  EXPECT_TRUE(w.upstream.bodies.empty());
}

TEST(Flight, ProvidersThatDoNotServeTheRouteAreNeverAsked) {
  flight_world w;
  w.format.other_kind = {"a"};
  w.permits.script = {w.grant(1)};
  w.upstream.script = {json_answer()};
  EXPECT_EQ(w.run().status, 200);
  EXPECT_EQ(w.permits.asked.at(0).barred, std::vector{w.grant(0).target});

  flight_world none;
  none.format.other_kind = {"a", "b"};
  const answer a = none.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.body, "error:route_not_supported");
}

TEST(Flight, WhateverHappensEveryPermitIsSettledOnceAndEveryRequestCountedOnce) {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const auto pick = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
    flight_world w;
    w.stream = pick(2) == 0;
    for (int i = 0; i < 40; ++i) {
      w.permits.script.push_back(pick(4) > 0 ? w.grant(static_cast<size_t>(pick(2))) : acquire_reply{});
      constexpr std::array failures = {upstream_failure::none,    upstream_failure::reset,
                                       upstream_failure::timeout, upstream_failure::protocol,
                                       upstream_failure::none,    upstream_failure::none};
      constexpr std::array statuses = {200, 200, 400, 401, 402, 429, 500, 503, 302};
      scripted_call c =
          pick(2) == 0 ? json_answer() : event_stream({pick(2) == 0 ? "p" : "c", pick(2) == 0 ? "d" : "x"});
      c.status = statuses[static_cast<size_t>(pick(9))];
      c.connect = failures[static_cast<size_t>(pick(6))];
      c.send = failures[static_cast<size_t>(pick(6))];
      c.stale = pick(4) == 0;
      c.connect_takes = pick(8) == 0 ? 3s : 0s;
      c.after_pieces = failures[static_cast<size_t>(pick(6))];
      w.upstream.script.push_back(c);
    }
    w.run([&](answer& a, yield y) {
      if (a.stream && pick(3) > 0) drain(a, y);
    });
    EXPECT_EQ(w.permits.settled.size(), static_cast<size_t>(w.permits.granted));
    EXPECT_EQ(w.watch.requests.size(), 1U);
    EXPECT_LE(w.watch.requests.at(0).attempts, max_calls_per_request);
    EXPECT_LE(w.permits.sent_tickets.size(), w.permits.settled.size());
  }
}

}  // namespace
}  // namespace millrace::engine
