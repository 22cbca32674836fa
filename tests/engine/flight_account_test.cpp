#include <gtest/gtest.h>

#include "flight_world.hpp"

/// What each attempt of a request is billed: known, reckoned, or nothing.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

struct billed_attempt {
  std::string reason;
  usage used;
  std::int64_t estimated;
  money cost;
};

class bills final : public observer {
 public:
  std::vector<billed_attempt> attempts;
  money request_cost;
  void request_done(const request_record& r) override { request_cost = r.cost; }
  void attempt_done(const attempt_record& r) override {
    attempts.push_back({std::string(r.reason), r.used, r.estimated_tokens, r.cost});
    EXPECT_EQ(r.tenant, "c");
    EXPECT_EQ(r.client, "c");
    EXPECT_EQ(r.asked_model, "m");
    EXPECT_NE(r.at, wall_time());
  }
};

/// One request at the targets of flight_world, watched; prices are 1 USD per million tokens at a, 2 at b.
class account_world : public flight_world {
 public:
  bills seen;
  std::int64_t input_tokens = 1000;
  std::int64_t images = 0;
  route_kind route = route_kind::chat;

  answer go(const std::function<void(answer&, yield)>& after = {}) {
    answer result;
    boost::asio::io_context io;
    fake_thread thread(io);
    start_coroutine(io, [&](yield y) {
      pipeline p({permits, upstream, time, thread, format, seen, budget, answers, nullptr, {}});
      call c;
      c.config = config;
      c.id = "req_1";
      c.body = "question";
      c.route = route;
      c.facts.model = "m";
      c.facts.stream = stream;
      c.facts.input_tokens = input_tokens;
      c.facts.images = images;
      c.client = &config->clients.front();
      c.received = time.now();
      c.deadline = time.now() + patience;
      c.gone = &gone;
      result = p.run(std::move(c), y);
      if (after) after(result, y);
      result.stream.reset();
    });
    io.run();
    return result;
  }
};

scripted_call answered(int status, std::string body = "{}") {
  scripted_call c;
  c.status = status;
  c.pieces = {std::move(body)};
  return c;
}
scripted_call streamed(std::vector<std::string> pieces, upstream_failure end = upstream_failure::none) {
  scripted_call c;
  c.headers = {{"content-type", "text/event-stream"}};
  c.pieces = std::move(pieces);
  c.after_pieces = end;
  return c;
}
void drain(answer& a, yield y) {
  std::string all;
  while (a.stream->read(all, y)) {
  }
}

TEST(FlightAccount, AnAnswerIsBilledAsTheProviderTells) {
  account_world w;
  w.permits.script = {w.grant()};
  w.upstream.script = {answered(200)};
  w.go();
  ASSERT_EQ(w.seen.attempts.size(), 1U);
  EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 10);
  EXPECT_EQ(w.seen.attempts[0].estimated, 0);
  EXPECT_EQ(w.seen.attempts[0].cost, money::of_nano(30'000));
  EXPECT_EQ(w.permits.settled.at(0).cost, money::of_nano(30'000));
  EXPECT_EQ(w.seen.request_cost, money::of_nano(30'000));
}

TEST(FlightAccount, WithoutUsageTokensAreReckonedAndMarked) {
  account_world w;
  w.format.tells_usage = false;
  w.permits.script = {w.grant()};
  w.upstream.script = {answered(200, R"({"content":"12345678"})")};
  w.go();
  ASSERT_EQ(w.seen.attempts.size(), 1U);
  EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 1000);
  EXPECT_EQ(w.seen.attempts[0].used.output_tokens, 2);
  EXPECT_EQ(w.seen.attempts[0].estimated, 1002);
  EXPECT_EQ(w.seen.attempts[0].cost, money::of_nano(1'002'000));
  EXPECT_TRUE(w.permits.settled.at(0).usage_known) << "a reckoning is better than what was reserved";
}

TEST(FlightAccount, WhatTheProviderRefusedCostsNothing) {
  for (const int status : {400, 404, 413, 422, 429, 401, 500, 503}) {
    account_world w;
    w.permits.script = {w.grant()};
    w.upstream.script = {answered(status)};
    w.go();
    ASSERT_EQ(w.seen.attempts.size(), 1U) << status;
    EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 0) << status;
    EXPECT_EQ(w.seen.attempts[0].cost, money()) << status;
    EXPECT_TRUE(w.permits.settled.at(0).billed_nothing) << status;
  }
}

TEST(FlightAccount, AFailedAttemptThatBeganIsBilledBesideTheOneThatAnswers) {
  account_world w;
  w.permits.script = {w.grant(0), w.grant(1)};
  scripted_call cut;
  cut.pieces = {R"({"content":"1234)"};
  cut.after_pieces = upstream_failure::reset;
  w.upstream.script = {cut, answered(200)};
  const answer a = w.go();
  ASSERT_EQ(w.seen.attempts.size(), 2U);
  EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 1000);
  EXPECT_EQ(w.seen.attempts[0].used.output_tokens, 1);
  EXPECT_EQ(w.seen.attempts[0].estimated, 1001);
  EXPECT_EQ(w.seen.attempts[0].cost, money::of_nano(1'001'000));
  EXPECT_EQ(w.seen.attempts[1].estimated, 0);
  EXPECT_EQ(w.seen.attempts[1].cost, money::of_nano(60'000));
  EXPECT_EQ(w.seen.request_cost, money::of_nano(1'061'000));
  for (const auto& [name, value] : a.headers) {
    if (name == "x-millrace-cost-usd") {
      EXPECT_EQ(value, "0.001061");
    }
  }
}

TEST(FlightAccount, ACutStreamIsBilledWhatWasHeardWhereThatIsMore) {
  account_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {
      streamed({"c", R"("content":")" + std::string(400, 'c') + "\""}, upstream_failure::reset)};
  w.go(drain);
  ASSERT_EQ(w.seen.attempts.size(), 1U);
  EXPECT_EQ(w.seen.attempts[0].reason, "cut");
  EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 10) << "it was told";
  EXPECT_EQ(w.seen.attempts[0].used.output_tokens, 100);
  EXPECT_EQ(w.seen.attempts[0].estimated, 80);
}

TEST(FlightAccount, WhatWasToldOrSaidBeforeAFailureIsBilledHoweverTheBytesCame) {
  for (const auto& pieces : {std::vector<std::string>{"pcx"}, {"p", "c", "x"}, {"p", "x"}}) {
    account_world w;
    w.stream = true;
    w.permits.script = {w.grant()};
    w.upstream.script = {streamed(pieces)};
    w.go([](answer& a, yield y) {
      if (a.stream) drain(a, y);
    });
    ASSERT_EQ(w.seen.attempts.size(), 1U);
    EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 10) << pieces.size();
    EXPECT_EQ(w.seen.attempts[0].used.output_tokens, 20) << pieces.size();
    EXPECT_EQ(w.seen.attempts[0].estimated, 0) << pieces.size();
  }
}

TEST(FlightAccount, ABrokenAnswerIsBilledWhatItSaysAndAnErrorNothing) {
  const auto billed = [](std::string body, const char* type) {
    account_world w;
    w.format.tells_usage = false;
    w.permits.script = {w.grant()};
    scripted_call bad = answered(200, std::move(body));
    bad.headers = {{"content-type", type}};
    w.upstream.script = {bad};
    w.go();
    return w.seen.attempts.at(0).used.output_tokens;
  };
  EXPECT_EQ(billed(R"(["content":"12345678)", "application/json"), 2);
  EXPECT_EQ(billed(R"(["error":{"message":"12345678"}])", "application/json"), 0);
  EXPECT_EQ(billed(R"(["content":"12345678)", "text/html"), 0) << "it is no API";
}

TEST(FlightAccount, AStreamThatEndedProperlyIsBilledAsTold) {
  account_world w;
  w.stream = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {streamed({"c", R"("content":")" + std::string(400, 'c') + "\"", "d"})};
  w.go(drain);
  ASSERT_EQ(w.seen.attempts.size(), 1U);
  EXPECT_EQ(w.seen.attempts[0].used.output_tokens, 20);
  EXPECT_EQ(w.seen.attempts[0].estimated, 0);
}

TEST(FlightAccount, ARequestThatWasGivenUpWhileTheProviderWorkedCostsItsInput) {
  account_world w;
  w.permits.script = {w.grant()};
  scripted_call silent;
  silent.send = upstream_failure::cancelled;
  w.upstream.script = {silent};
  w.go();
  ASSERT_EQ(w.seen.attempts.size(), 1U);
  EXPECT_EQ(w.seen.attempts[0].reason, "cancelled");
  EXPECT_EQ(w.seen.attempts[0].used.input_tokens, 1000);
  EXPECT_EQ(w.seen.attempts[0].estimated, 1000);
}

TEST(FlightAccount, ACallThatNeverReachedTheProviderCostsNothing) {
  for (const auto failure : {upstream_failure::connect, upstream_failure::tls, upstream_failure::resolve}) {
    account_world w;
    w.permits.script = {w.grant()};
    scripted_call c;
    c.connect = failure;
    w.upstream.script = {c};
    w.go();
    EXPECT_EQ(w.seen.attempts.at(0).cost, money());
  }
  account_world w;
  w.permits.script = {w.grant(), w.grant()};
  scripted_call stale;
  stale.send = upstream_failure::reset;
  stale.stale = true;
  w.upstream.script = {stale, answered(200)};
  w.go();
  ASSERT_EQ(w.seen.attempts.size(), 2U);
  EXPECT_EQ(w.seen.attempts[0].cost, money());
  EXPECT_EQ(w.seen.attempts[1].cost, money::of_nano(30'000));
}

TEST(FlightAccount, CountingTokensIsFree) {
  account_world w;
  w.format.tells_usage = false;
  w.route = route_kind::count_tokens;
  w.permits.script = {w.grant()};
  w.upstream.script = {answered(200)};
  w.go();
  EXPECT_EQ(w.seen.attempts.at(0).cost, money());
  EXPECT_EQ(w.seen.attempts.at(0).estimated, 0);
}

TEST(FlightAccount, AnEmptyBudgetIsA402ThatSaysWhenItBeginsAnew) {
  account_world w;
  acquire_reply refused;
  refused.verdict = verdict::over_budget;
  refused.budget = budget_kind::tenant_month;
  refused.retry_after = 23h;  // the world's clock stands at 01:00 of the first day
  w.permits.script = {refused};
  const answer a = w.go();
  EXPECT_EQ(a.status, 402);
  EXPECT_EQ(w.format.told.code, "budget_exceeded");
  EXPECT_EQ(w.format.told.type, "insufficient_quota");
  EXPECT_NE(w.format.told.message.find("monthly budget of your tenant"), std::string::npos);
  EXPECT_NE(w.format.told.message.find("1970-01-02T00:00:00Z"), std::string::npos) << w.format.told.message;
  EXPECT_TRUE(w.format.told.no_retry);
  EXPECT_TRUE(w.seen.attempts.empty());
}

}  // namespace
}  // namespace millrace::engine
