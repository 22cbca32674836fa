#include "engine/upgrade_book.hpp"

#include <functional>

#include <gtest/gtest.h>

#include "single_flight_world.hpp"

/// Asking a better model where an answer is not sure enough. In this world "{0.7 yes}" is an answer that is
/// 0.7 sure of "yes".
namespace millrace::engine {
namespace {

using namespace std::chrono_literals;
using outcome = upgrade_record::outcome;

/// Model m at a (1 USD per million tokens) has the upgrade `up` at b (2 USD), whose fallback is at c.
class Upgrade : public testing::Test {
 protected:
  single_flight_world w{false, true};

  Upgrade() {
    configure();
    for (const size_t model : {0U, 1U}) {
      acquire_reply r;
      r.verdict = verdict::granted;
      r.model = model;
      r.target = w.config->models[model].targets[0].name;
      r.key = w.config->providers[model].keys[0].name;
      r.valid_for = 1h;
      w.permits.of_model[w.config->models[model].id] = r;
    }
  }
  void configure(const std::function<void(upgrade_config&)>& change = {}) {
    upgrade_config u;
    if (change) change(u);
    config_builder b;
    b.provider("a", {{}}, true).provider("b", {{}}, true).provider("c", {{}}, true);
    b.model("m", {0}).model("up", {1}, {2});
    b.model("other", {2}).client("c", unlimited, unlimited);
    auto c = std::make_shared<config>(*b.build());
    c->models[1].targets[0].input_usd = c->models[1].targets[0].output_usd = 2;
    u.model = "up";
    u.model_index = 1;
    c->models[0].upgrade = u;
    w.config = c;
  }
  acquire_reply& grant_of(size_t model) { return w.permits.of_model[w.config->models[model].id]; }
  void answer(std::string text) {
    w.feed(std::move(text), next_);
    w.finish(upstream_failure::none, next_++);
  }
  std::string outcomes() const {
    std::string out;
    for (const auto o : w.watch.upgrades) out += std::string(to_string(o)) + " ";
    return out;
  }
  size_t next_ = 0;
};

TEST_F(Upgrade, ASureAnswerIsGivenAsItIs) {
  const auto& c = w.ask();
  answer("{0.8 yes}");
  EXPECT_EQ(c.got, "{0.8 yes}");
  EXPECT_EQ(c.header("x-millrace-upgraded"), "false");
  EXPECT_EQ(c.header("x-millrace-confidence"), "0.8");
  EXPECT_EQ(c.header("x-millrace-attempts"), "1");
  EXPECT_EQ(outcomes(), "sure ");
}

TEST_F(Upgrade, AnUnsureOneIsAskedForAgainAndTheSurerOneGiven) {
  const auto& c = w.ask();
  answer("{0.3 yes}");
  EXPECT_EQ(c.status, 0) << "the better model is asked first";
  answer("{0.9 no}");
  EXPECT_EQ(c.got, "{0.9 no}");
  EXPECT_EQ(c.header("x-millrace-upgraded"), "true");
  EXPECT_EQ(c.header("x-millrace-confidence"), "0.9");
  EXPECT_EQ(c.header("x-millrace-provider"), "b");
  EXPECT_EQ(c.header("x-millrace-model"), "up");
  EXPECT_EQ(c.header("x-millrace-fallback"), "false");
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  EXPECT_EQ(c.header("x-millrace-cost-usd"), "0.00009") << "30 tokens at 1 and 30 at 2 USD per million";
  ASSERT_EQ(w.permits.settled.size(), 2U);
  for (const auto& s : w.permits.settled) EXPECT_EQ(s.outcome, attempt_outcome::ok);
  ASSERT_EQ(w.watch.requests.size(), 1U) << "one request, whoever answers";
  EXPECT_EQ(w.watch.requests[0].upgraded, "true");
  EXPECT_EQ(w.watch.requests[0].confidence, 0.9);
  EXPECT_EQ(w.watch.requests[0].attempts, 2);
  EXPECT_EQ(outcomes(), "changed ");
}

TEST_F(Upgrade, TheFirstAnswerStandsUnlessTheSecondIsAsSure) {
  const auto& kept = w.ask();
  answer("{0.3 yes}");
  answer("{0.2 no}");
  EXPECT_EQ(kept.got, "{0.3 yes}");
  EXPECT_EQ(kept.header("x-millrace-upgraded"), "false");
  EXPECT_EQ(kept.header("x-millrace-provider"), "a");
  EXPECT_EQ(kept.header("x-millrace-attempts"), "2") << "paid all the same";
  const auto& tie = w.ask({.question = 2});
  answer("{0.3 yes}");
  answer("{0.3 yes}");
  EXPECT_EQ(tie.header("x-millrace-upgraded"), "true");
  const auto& mute = w.ask({.question = 3});
  answer("{0.3 yes}");
  answer("{mute}");
  EXPECT_EQ(mute.got, "{0.3 yes}");
  EXPECT_EQ(outcomes(), "kept same kept ");
}

TEST_F(Upgrade, ItsFailureIsNobodysAndNothingIsRepeated) {
  const auto& reset = w.ask();
  answer("{0.3 yes}");
  grant_of(1).verdict = verdict::no_candidate;  // for whoever would go on
  w.finish(upstream_failure::reset, next_++);
  EXPECT_EQ(reset.got, "{0.3 yes}");
  EXPECT_EQ(reset.status, 200);
  EXPECT_EQ(reset.header("x-millrace-upgraded"), "false");
  EXPECT_EQ(reset.header("x-millrace-attempts"), "2");
  const auto& full = w.ask({.question = 2});
  answer("{0.3 yes}");
  EXPECT_EQ(full.got, "{0.3 yes}") << "no room";
  EXPECT_EQ(full.header("x-millrace-attempts"), "1");
  grant_of(1).verdict = verdict::granted;
  const auto& refused = w.ask({.question = 3});
  answer("{0.3 yes}");
  w.upstream.calls.back()->status = 400;
  answer("{0.9 no}");
  EXPECT_EQ(refused.got, "{0.3 yes}");
  EXPECT_EQ(outcomes(), "failed failed failed ");
  EXPECT_TRUE(w.time.slept.empty());
  EXPECT_EQ(w.watch.requests.size(), 3U);
}

TEST_F(Upgrade, ItIsAskedWithinTheRequestsBounds) {
  configure([](upgrade_config& u) { u.max_wait = 3s; });
  w.ask({.patience = 10s, .private_only = true});
  answer("{0.3 yes}");
  ASSERT_EQ(w.permits.asked.size(), 2U);
  const acquire_request& second = w.permits.asked[1];
  EXPECT_EQ(second.model, w.config->models[1].id);
  EXPECT_EQ(second.patience, 3s);
  EXPECT_FALSE(second.first) << "the client's request was counted";
  EXPECT_TRUE(second.private_only);
  EXPECT_EQ(second.barred,
            (std::vector<name_id>{w.config->models[0].targets[0].name, w.config->models[2].targets[0].name}))
      << "neither who answered already nor the upgrade's fallbacks";
  EXPECT_FALSE(second.retry_tried);
}

TEST_F(Upgrade, AnswersThatDoNotTellAreKeptOrAskedForAgain) {
  const auto& kept = w.ask();
  answer("{mute}");
  EXPECT_EQ(kept.got, "{mute}");
  EXPECT_EQ(kept.header("x-millrace-upgraded"), "false");
  EXPECT_EQ(kept.header("x-millrace-confidence"), "");
  configure([](upgrade_config& u) { u.when_unreadable = true; });
  const auto& asked = w.ask({.question = 2});
  answer("{mute}");
  answer("{0 no}");
  EXPECT_EQ(asked.got, "{0 no}") << "it says at least something";
  EXPECT_EQ(outcomes(), "sure changed ");
}

TEST_F(Upgrade, ASampleOfSureAnswersIsAskedForAgain) {
  configure([](upgrade_config& u) { u.sample = 0.5; });  // this world's random numbers are 0.5
  w.ask();
  answer("{0.9 yes}");
  configure([](upgrade_config& u) { u.sample = 0.51; });
  w.ask({.question = 2});
  answer("{0.9 yes}");
  answer("{0.95 no}");
  EXPECT_EQ(outcomes(), "sure changed ");
}

TEST_F(Upgrade, FollowersAndTheCacheGetTheFinalAnswer) {
  const auto& leader = w.ask({.zero_temperature = true});
  answer("{0.3 yes}");
  const auto& follower = w.ask({.zero_temperature = true});
  answer("{0.9 no}");
  EXPECT_EQ(leader.got, "{0.9 no}");
  EXPECT_EQ(follower.got, "{0.9 no}");
  EXPECT_EQ(follower.header("x-millrace-upgraded"), "true");
  const auto& hit = w.ask({.zero_temperature = true});
  EXPECT_EQ(hit.got, "{0.9 no}");
  EXPECT_EQ(hit.header("x-millrace-cache"), "hit");
  EXPECT_EQ(hit.header("x-millrace-upgraded"), "true");
  EXPECT_EQ(hit.header("x-millrace-confidence"), "0.9");
  EXPECT_EQ(w.upstream.calls.size(), 2U);
}

TEST_F(Upgrade, AStreamIsReadWholeBeforeItIsShown) {
  const auto& c = w.ask({.stream = true, .zero_temperature = true});
  w.feed("0.3 c");
  EXPECT_EQ(c.status, 0) << "nothing may be shown yet";
  answer("d");
  answer("0.9 ccd");
  EXPECT_EQ(c.got, "0.9 ccd");
  EXPECT_TRUE(c.over);
  EXPECT_FALSE(c.broken);
  EXPECT_EQ(c.header("x-millrace-upgraded"), "true");
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  EXPECT_EQ(w.ask({.zero_temperature = true}).got, "{0.9 ccd}") << "kept as a plain answer";
}

TEST_F(Upgrade, AStreamThatFailsHalfwayIsReplacedUnseen) {
  const auto& c = w.ask({.stream = true});
  w.feed("0.9 c");
  w.finish(upstream_failure::reset, next_++);
  answer("0.9 cd");
  EXPECT_EQ(c.got, "0.9 cd");
  EXPECT_EQ(c.header("x-millrace-attempts"), "2");
  EXPECT_EQ(c.header("x-millrace-upgraded"), "false");
}

TEST_F(Upgrade, AClientThatLeavesEndsTheSecondCallToo) {
  auto& c = w.ask();
  answer("{0.3 yes}");
  ASSERT_EQ(w.upstream.calls.size(), 2U);
  w.leave(c);
  EXPECT_TRUE(w.upstream.calls[1]->cancelled);
  EXPECT_FALSE(w.upstream.calls[1]->alive);
  EXPECT_EQ(w.permits.settled.back().outcome, attempt_outcome::cancelled);
  EXPECT_EQ(w.flights(), 0);
  ASSERT_EQ(w.watch.requests.size(), 1U);
  EXPECT_TRUE(w.watch.requests[0].client_gone);
}

TEST_F(Upgrade, WhatTheProviderRefusesIsNoAnswerToImprove) {
  const auto& c = w.ask();
  w.upstream.calls[0]->status = 400;
  answer("{0.1 no}");
  EXPECT_EQ(c.status, 400);
  EXPECT_EQ(outcomes(), "");
}

TEST(UpgradeBook, CountsByHowSureTheFirstAnswerWas) {
  upgrade_book book;
  const auto add = [&](outcome what, double before, double after = -1) {
    book.upgrade_done({"m", "/r", what, before, after});
  };
  add(outcome::sure, 1);
  add(outcome::sure, 0.9);
  add(outcome::changed, 0.31, 0.9);
  add(outcome::same, 0.35, 0.7);
  add(outcome::kept, 0.3, 0.3);
  add(outcome::failed, 0.39);
  add(outcome::changed, -1, 0.8);
  book.upgrade_done({"m", "/other", outcome::sure, 0.05, 0.05});
  const auto rows = book.rows();
  ASSERT_EQ(rows.size(), 2U);
  const auto& row = rows[1];
  EXPECT_EQ(row.route, "/r");
  EXPECT_EQ(row.by_confidence[9].answers, 2U);
  EXPECT_EQ(row.by_confidence[9].asked, 0U);
  const auto& bin = row.by_confidence[3];
  EXPECT_EQ(bin.answers, 4U);
  EXPECT_EQ(bin.asked, 4U);
  EXPECT_EQ(bin.failed, 1U);
  EXPECT_EQ(bin.upgraded, 2U);
  EXPECT_EQ(bin.changed, 1U);
  EXPECT_NEAR(bin.before, 0.96, 1e-9);
  EXPECT_NEAR(bin.after, 1.9, 1e-9);
  EXPECT_EQ(row.unreadable.changed, 1U);
  EXPECT_EQ(rows[0].by_confidence[0].answers, 1U);
}

}  // namespace
}  // namespace millrace::engine
