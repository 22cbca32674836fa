// Models that stand in where another one refuses.

#include <gmock/gmock.h>

#include "engine/model_choice.hpp"
#include "engine/spare_permits.hpp"
#include "tests/engine/config_texts.hpp"
#include "tests/engine/flight_world.hpp"
#include "tests/engine/router_world.hpp"

namespace millrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

/// Model 0 has targets 0 and 1; context fallback 1 has 2, content fallback 2 has 3, fallback 3 has 4.
struct stand_ins_test : testing::Test, world {
  stand_ins_test() {
    model();
    target(1).context_tokens = 2000;
    target(2).context_tokens = 4000;
    model();
    target(1).context_tokens = 100'000;
    model();
    target(1);
    model();
    target(1).context_tokens = 1000;
    c.models[0].context_fallbacks = {1};
    c.models[0].content_policy_fallbacks = {2};
    c.models[0].fallback_models = {3};
  }
  std::vector<int> plan_for(std::int64_t input, std::int64_t output) {
    request.input_tokens = input;
    request.output_tokens = output;
    return plan();
  }
};

TEST_F(stand_ins_test, TargetsThatAreTooSmallAreLeftOut) {
  EXPECT_THAT(plan_for(900, 100), ElementsAre(0, 1, 4)) << "all fit: nobody stands in";
  EXPECT_EQ(out.too_small, 0u);
  EXPECT_THAT(plan_for(1500, 500), ElementsAre(0, 1)) << "only the fallback is too small";
  EXPECT_THAT(plan_for(1500, 501), ElementsAre(1, 2)) << "one of its own is too small";
  EXPECT_EQ(out.too_small, 2u);
  EXPECT_EQ(out.first_choice, (candidate{0, 1}));
  EXPECT_THAT(plan_for(5000, -1), ElementsAre(2));
  EXPECT_FALSE(out.first_choice) << "whoever answers is a fallback";
}

TEST_F(stand_ins_test, WhereNothingFitsTheProvidersShallSay) {
  EXPECT_THAT(plan_for(200'000, -1), ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(out.too_small, 0u);
}

TEST_F(stand_ins_test, AfterARefusalOnlyStandInsAreAsked) {
  request.refused = refusal_reason::context;
  EXPECT_THAT(plan(), ElementsAre(2));
  EXPECT_FALSE(out.first_choice);
  request.refused = refusal_reason::content;
  EXPECT_THAT(plan(), ElementsAre(3));
  c.models[0].content_policy_fallbacks.clear();
  EXPECT_THAT(plan(), IsEmpty());
}

TEST_F(stand_ins_test, PrivateRequestsStayAtHomeHere) {
  request.private_only = true;
  for (const auto why : {refusal_reason::none, refusal_reason::context, refusal_reason::content}) {
    request.refused = why;
    EXPECT_THAT(plan_for(5000, 5000), IsEmpty());
  }
}

/// Model m has targets a/m and b/m; model wide has b/wide and stands in for both reasons.
struct refusing_world : flight_world {
  refusing_world(bool context = true, bool content = true) {
    config_builder b;
    b.provider("a", {{}, {}})
        .provider("b", {{}})
        .model("m", {0, 1})
        .model("wide", {1})
        .client("c", unlimited, unlimited);
    if (context) b.c.models[0].context_fallbacks = {1};
    if (content) b.c.models[0].content_policy_fallbacks = {1};
    config = b.build();
  }
  acquire_reply stand_in() const {
    acquire_reply r = grant();
    r.model = 1;
    r.target = config->models[1].targets[0].name;
    r.key = config->providers[1].keys[0].name;
    r.fallback = true;
    return r;
  }
};

scripted_call said(int status, const std::string& body) {
  scripted_call c;
  c.status = status;
  c.pieces = {body};
  return c;
}

std::string header(const answer& a, std::string_view name) {
  for (const auto& [key, value] : a.headers) {
    if (key == name) return std::string(value);
  }
  return {};
}

TEST(StandIns, ARefusedRequestGoesToThem) {
  for (const auto& [body, why] : {std::pair("{too long}", refusal_reason::context),
                                  std::pair("{forbidden}", refusal_reason::content)}) {
    refusing_world w;
    w.permits.script = {w.grant(), w.stand_in()};
    w.upstream.script = {said(400, body), said(200, "{}")};
    const answer a = w.run();
    EXPECT_EQ(a.status, 200);
    EXPECT_EQ(header(a, "x-millrace-fallback"), "true");
    EXPECT_EQ(header(a, "x-millrace-attempts"), "2");
    ASSERT_EQ(w.permits.asked.size(), 2u);
    EXPECT_EQ(w.permits.asked[0].refused, refusal_reason::none);
    EXPECT_EQ(w.permits.asked[1].refused, why);
    EXPECT_THAT(w.permits.asked[1].tried, ElementsAre(w.grant().target));
    EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::ok) << "neither key nor breaker is to blame";
    EXPECT_EQ(w.watch.attempts.at(0), why == refusal_reason::context ? "context_length" : "content_policy");
  }
}

TEST(StandIns, AGoodAnswerThatForbidsIsARefusalToo) {
  refusing_world w;
  w.permits.script = {w.grant(), w.stand_in()};
  w.upstream.script = {said(200, R"({"forbidden":1})"), said(200, "{}")};
  const answer a = w.run();
  EXPECT_EQ(a.body, "{}");
  EXPECT_TRUE(w.permits.settled.at(0).usage_known) << "it is billed all the same";
}

TEST(StandIns, WhatTheyUsedInVainIsInTheRequestsLineWithWhatTheModelUsed) {
  refusing_world w;
  w.permits.script = {w.grant(), w.stand_in()};
  w.upstream.script = {said(200, R"({"forbidden":1})"), said(200, "no object")};
  w.run();
  ASSERT_EQ(w.watch.requests.size(), 1u);
  EXPECT_EQ(w.watch.requests[0].used.input_tokens, 20);
  EXPECT_EQ(w.watch.requests[0].used.output_tokens, 40);
}

TEST(StandIns, WhenNoneAnswersTheModelHasTheLastWord) {
  refusing_world w;
  w.permits.script = {w.grant(), w.stand_in()};
  w.upstream.script = {said(400, "{too long}"), said(500, "{}")};
  const answer a = w.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.body, "{too long}");
  EXPECT_EQ(header(a, "x-millrace-provider"), "a");
  EXPECT_EQ(header(a, "x-millrace-attempts"), "2");
  ASSERT_EQ(w.watch.requests.size(), 1u);
  EXPECT_EQ(w.watch.requests[0].status, 400);
  EXPECT_EQ(w.watch.requests[0].code, "upstream_refused");
}

TEST(StandIns, WithoutThemTheAnswerIsPassedOnAsItIs) {
  refusing_world w(false, true);
  w.permits.script = {w.grant()};
  w.upstream.script = {said(400, "{too long}")};
  const answer a = w.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(w.permits.asked.size(), 1u);
}

TEST(StandIns, AStreamThatForbidsBeforeItsContentIsReplacedUnseen) {
  refusing_world w;
  w.stream = true;
  scripted_call blocked;
  blocked.headers = {{"content-type", "text/event-stream"}};
  blocked.pieces = {"pforbiddenc"};
  scripted_call good;
  good.headers = blocked.headers;
  good.pieces = {"pc", "d"};
  w.permits.script = {w.grant(), w.stand_in()};
  w.upstream.script = {blocked, good};
  std::string all;
  const answer a = w.run([&](answer& open, yield y) {
    while (open.stream->read(all, y)) {
    }
  });
  EXPECT_EQ(a.status, 200);
  EXPECT_EQ(all, "pcd");
  EXPECT_EQ(w.permits.settled.size(), 2u);
}

TEST(StandIns, AStreamThatNobodyTakesIsAnError) {
  refusing_world w;
  w.stream = true;
  scripted_call blocked;
  blocked.headers = {{"content-type", "text/event-stream"}};
  blocked.pieces = {"pforbiddenc"};
  w.permits.script = {w.grant()};
  w.upstream.script = {blocked};
  const answer a = w.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(a.body, "error:content_policy_violation");
}

TEST(StandIns, ReasonsChangeOnceAndCallsAreBounded) {
  refusing_world w;
  for (int i = 0; i < 100; ++i) {
    w.permits.script.push_back(i % 2 == 0 ? w.grant() : w.stand_in());
    w.upstream.script.push_back(said(400, i % 2 == 0 ? "{too long}" : "{forbidden}"));
  }
  const answer a = w.run();
  EXPECT_EQ(a.status, 400);
  EXPECT_EQ(w.upstream.bodies.size(), 3u) << "too long, forbidden, and what comes then is told";
  refusing_world again;
  for (int i = 0; i < 100; ++i) {
    again.permits.script.push_back(again.stand_in());
    again.upstream.script.push_back(said(400, "{too long}"));
  }
  EXPECT_EQ(again.run().status, 400);
  EXPECT_LE(again.upstream.bodies.size(), 64u);
}

TEST(StandIns, ASpareOfASmallModelIsNotForALongRequest) {
  EXPECT_TRUE(fits_context(0, 1'000'000, 1'000'000));
  EXPECT_TRUE(fits_context(100, 60, 40));
  EXPECT_TRUE(fits_context(100, 100, -1));
  EXPECT_FALSE(fits_context(100, 60, 41));
  spare_permits spares;
  acquire_reply grant;
  grant.verdict = verdict::granted;
  grant.spare = true;
  grant.context_tokens = 100;
  grant.valid_for = std::chrono::seconds(2);
  std::vector<ticket> back;
  const time_point now{std::chrono::hours(1)};
  spares.add(grant, now, back);
  acquire_request r;
  r.config_version = 0;
  r.input_tokens = 101;
  EXPECT_FALSE(spares.take(r, now));
  r.input_tokens = 100;
  EXPECT_TRUE(spares.take(r, now));
}

TEST(StandIns, AreConfiguration) {
  const std::string text = R"(
providers: { p: { base_url: https://api.example.com/v1, keys: [ { id: k, secret: one } ] } }
models:
  a: { targets: [ { provider: p, model: x, context_tokens: 8000 } ], context_fallbacks: [ b ], content_policy_fallbacks: [ b, c ] }
  b: { targets: [ { provider: p, model: y } ] }
  c: { targets: [ { provider: p, model: z } ] }
)";
  const auto c = config_testing::parse(text);
  EXPECT_THAT(c->models[0].context_fallbacks, ElementsAre(1u));
  EXPECT_THAT(c->models[0].content_policy_fallbacks, ElementsAre(1u, 2u));
  const auto wrong = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    return config_testing::complaint(changed.replace(changed.find(from), from.size(), to));
  };
  EXPECT_THAT(wrong("context_fallbacks: [ b ]", "context_fallbacks: [ d ]"),
              HasSubstr("there is no model \"d\""));
  EXPECT_THAT(wrong("[ b, c ]", "[ b, b ]"), HasSubstr("is listed twice"));
  EXPECT_THAT(wrong("[ b, c ]", "[ a ]"), HasSubstr("a model cannot be its own"));
}

}  // namespace
}  // namespace millrace::engine
