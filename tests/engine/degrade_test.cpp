#include "engine/degrade.hpp"

#include <gtest/gtest.h>

#include "single_flight_world.hpp"

/// What a client gets when no provider answers, and how it is told.
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

/// The ttl is an hour. Providers answer until `outage` begins.
class Degrade : public testing::Test {
 protected:
  single_flight_world w{false, true};

  void configure(duration stale, const std::string& text = {}, bool builtin = false) {
    auto c = std::make_shared<config>(*w.config);
    c->models[0].degrade = {stale, builtin, text};
    w.config = c;
  }
  /// Somebody asked once, and the answer was kept.
  void know(std::uint8_t question = 1) {
    w.ask({.zero_temperature = true, .question = question});
    w.feed("{1}", calls());
    w.finish(upstream_failure::none, calls()++);
  }
  void outage(verdict v = verdict::breakers_open) { w.permits.grant.verdict = v; }
  const asking_client& ask(cache_wish wish = {}, bool stream = false, std::uint8_t question = 1) {
    return w.ask({.stream = stream, .zero_temperature = true, .wish = wish, .question = question});
  }
  static std::string word(const asking_client& c) { return c.header("x-millrace-cache"); }
  static std::string step(const asking_client& c) { return c.header("x-millrace-degraded"); }

 private:
  std::size_t& calls() { return calls_; }
  std::size_t calls_ = 0;
};

TEST_F(Degrade, AnExpiredAnswerServesInAnOutageOnly) {
  configure(24h);
  know();
  w.time.time += 90min;
  auto& asking = w.ask({.zero_temperature = true});
  EXPECT_EQ(w.upstream.calls.size(), 2U) << "expired: providers are asked";
  w.leave(asking);
  outage();
  const auto& c = ask();
  EXPECT_EQ(c.status, 200);
  EXPECT_EQ(c.got, "{1}");
  EXPECT_EQ(word(c), "stale");
  EXPECT_EQ(step(c), "stale");
  EXPECT_EQ(c.header("age"), "5400");
  EXPECT_EQ(c.header("x-millrace-provider"), "a");
  EXPECT_EQ(c.header("x-millrace-attempts"), "0");
  const auto& told = w.watch.requests.back();
  EXPECT_EQ(told.status, 200);
  EXPECT_EQ(told.cache, "stale");
  EXPECT_EQ(told.degraded, "stale");
  EXPECT_EQ(told.code, "providers_unavailable") << "why, for the log";
}

TEST_F(Degrade, NotBeyondItsBoundAndNotWhereItIsOff) {
  configure(24h);
  know();
  configure(2h);
  w.time.time += 3h - 1s;
  outage();
  EXPECT_EQ(word(ask()), "stale");
  w.time.time += 1s;
  EXPECT_EQ(ask().status, 503);
  configure(0h);
  EXPECT_EQ(ask().status, 503);
  configure(24h);
  EXPECT_EQ(word(ask()), "stale") << "it was kept for a day";
  w.time.time += 22h;
  EXPECT_EQ(ask().status, 503);
}

TEST_F(Degrade, AClientMayBoundOrForbidIt) {
  configure(24h);
  know();
  w.time.time += 2h;
  outage();
  EXPECT_EQ(ask({.no_cache = true}).status, 503);
  EXPECT_EQ(ask({.no_store = true}).status, 503);
  EXPECT_EQ(ask({.stale_if_error = 1h}).status, 503);
  EXPECT_EQ(word(ask({.stale_if_error = 1h + 1s})), "stale");
  EXPECT_EQ(ask({.max_age = 1h}).status, 503);
  EXPECT_EQ(word(ask({.max_age = 2h})), "stale");
  EXPECT_EQ(word(ask({.max_age = 1h, .stale_if_error = 2h})), "stale");
  EXPECT_EQ(ask({.only_if_cached = true}).status, 504) << "nobody was asked, so nobody failed";
}

TEST_F(Degrade, WhatWasPurgedMeanwhileIsNotServed) {
  configure(24h);
  know();
  w.time.time += 2h;
  w.permits.full = true;
  outage();
  const auto& c = ask();
  ASSERT_EQ(c.status, 0);
  for (std::size_t i = 0; i < w.answers.size(); ++i) w.answers.at(i).purge({}, w.time.wall());
  w.permits.gate.wake();
  w.settle();
  EXPECT_EQ(c.status, 503);
}

TEST_F(Degrade, AnExpiredAnswerFromTheDiskServesToo) {
  configure(24h);
  auto entry = std::make_shared<cached_answer>();
  entry->body = "{disk}";
  entry->stored_at = w.time.wall() - 2h;
  entry->expires_at = w.time.wall() - 1h;
  entry->stale_until = w.time.wall() + 1h;
  w.disk.entry = entry;
  outage();
  EXPECT_EQ(ask().got, "{disk}");
  EXPECT_EQ(ask().got, "{disk}");
  EXPECT_EQ(w.disk.asked, 1) << "then it is in memory";
  w.time.time += 1h;
  EXPECT_EQ(ask().status, 503);
}

TEST_F(Degrade, AsAStreamItIsReplayed) {
  configure(24h);
  know();
  w.time.time += 2h;
  outage();
  const auto& c = ask({}, true);
  EXPECT_EQ(c.got, "replay:{1}");
  EXPECT_EQ(word(c), "stale");
}

TEST_F(Degrade, TheTemplateIsTheLastStepPlainAndStreamed) {
  configure(24h, "Come back later.");
  know();
  w.time.time += 2h;
  outage();
  EXPECT_EQ(word(ask()), "stale");
  const auto& plain = ask({}, false, 2);
  EXPECT_EQ(plain.status, 200);
  EXPECT_EQ(plain.got, "text:Come back later.");
  EXPECT_EQ(word(plain), "template");
  EXPECT_EQ(step(plain), "template");
  EXPECT_EQ(plain.header("x-millrace-provider"), "");
  EXPECT_EQ(plain.header("age"), "");
  EXPECT_EQ(ask({}, true, 2).got, "replay:text:Come back later.");
  EXPECT_EQ(word(ask({.no_store = true}, false, 2)), "template") << "it comes from no cache";
}

TEST_F(Degrade, NothingOfItIsKept) {
  configure(24h, "Come back later.");
  outage();
  EXPECT_EQ(word(ask()), "template");
  outage(verdict::granted);
  const auto& c = ask();
  w.feed("{2}");
  w.finish();
  EXPECT_EQ(c.got, "{2}");
  EXPECT_EQ(word(c), "miss");
  EXPECT_EQ(step(c), "");
  EXPECT_EQ(word(ask()), "hit");
}

TEST_F(Degrade, TheClientsOwnLimitsAreNoOutage) {
  configure(24h, "Come back later.");
  know();
  w.time.time += 2h;
  for (const verdict v : {verdict::client_limited, verdict::too_large, verdict::no_candidate}) {
    outage(v);
    const auto& c = ask();
    EXPECT_NE(c.status, 200) << static_cast<int>(v);
    EXPECT_EQ(step(c), "");
  }
  for (const verdict v : {verdict::no_permit, verdict::queue_full, verdict::keys_unusable}) {
    outage(v);
    EXPECT_EQ(word(ask()), "stale") << static_cast<int>(v);
  }
}

TEST_F(Degrade, FollowersOfAFailedCallEachFindTheirOwn) {
  configure(24h, "Come back later.");
  know();
  w.time.time += 2h;
  w.permits.full = true;
  outage();
  const auto& leader = ask();
  const auto& modest = ask();
  const auto& strict = ask({.stale_if_error = 1s});
  w.permits.gate.wake();
  w.settle();
  EXPECT_EQ(word(leader), "stale");
  EXPECT_EQ(word(modest), "stale");
  EXPECT_EQ(modest.got, "{1}");
  EXPECT_EQ(word(strict), "template");
  EXPECT_EQ(w.watch.requests.back().status, 200);
}

TEST_F(Degrade, FollowersOfARefusalGetTheRefusal) {
  w.permits.full = true;
  outage();
  const auto& leader = ask();
  const auto& follower = ask();
  w.permits.gate.wake();
  w.settle();
  EXPECT_EQ(leader.status, 503);
  EXPECT_EQ(follower.status, 503);
  EXPECT_EQ(follower.got, leader.got);
}

TEST_F(Degrade, TheBuiltinProviderStandsInButIsNeverKept) {
  configure(0h, "Come back later.", true);
  outage();
  const auto& c = ask();
  w.feed("{builtin}");
  w.finish();
  EXPECT_EQ(c.got, "{builtin}");
  EXPECT_EQ(step(c), "local");
  EXPECT_EQ(word(c), "miss");
  EXPECT_EQ(c.header("x-millrace-provider"), "builtin");
  EXPECT_EQ(c.header("x-millrace-attempts"), "0");
  const auto& streamed = ask({}, true);
  w.feed("pcd", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(streamed.got, "pcd");
  EXPECT_EQ(step(streamed), "local");
}

TEST_F(Degrade, TheBuiltinProviderComesBeforeAnExpiredAnswer) {
  configure(24h, {}, true);
  know();
  w.time.time += 90min;
  outage();
  const auto& c = ask();
  w.feed("{builtin}", 1);
  w.finish(upstream_failure::none, 1);
  EXPECT_EQ(c.got, "{builtin}");
  EXPECT_EQ(step(c), "local");
}

TEST_F(Degrade, TheBuiltinProviderDoesNotHideKeysThatAreRefused) {
  configure(0h, {}, true);
  outage(verdict::keys_unusable);
  EXPECT_EQ(ask().status, 503);
  EXPECT_TRUE(w.upstream.calls.empty());
}

TEST(DegradeStep, LocalIsAPrivateTargetInPlaceOfOneThatIsNot) {
  const auto c = config_builder()
                     .provider("cloud", {{}})
                     .provider("house", {{}}, true)
                     .model("m", {0, 1})
                     .model("private", {1})
                     .build();
  const model_config& m = c->models[0];
  EXPECT_EQ(step_of(*c, m, "cloud", false), degrade_step::none);
  EXPECT_EQ(step_of(*c, m, "house", false), degrade_step::none);
  EXPECT_EQ(step_of(*c, m, "cloud", true), degrade_step::fallback);
  EXPECT_EQ(step_of(*c, m, "house", true), degrade_step::local);
  EXPECT_EQ(step_of(*c, c->models[1], "house", true), degrade_step::fallback);
  EXPECT_EQ(step_of(*c, m, "gone since", true), degrade_step::fallback);
}

}  // namespace
}  // namespace millrace::engine
