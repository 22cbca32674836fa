#include <gtest/gtest.h>

#include "dispatch_world.hpp"
#include "engine/traffic_weights.hpp"

namespace millrace::engine {
namespace {

using world = dispatch_world;

/// Model m over providers a and b, each a group of its own.
config_builder two_groups(double a = 1, double b = 0) {
  config_builder builder;
  builder.provider("a", {{}}).provider("b", {{}}).model("m", {0, 1});
  builder.c.models.back().strategy = strategy::weighted;
  builder.groups({a, b}, {0, 1});
  return builder;
}

/// Who serves the next request. Every key gives what it is asked for.
std::string next(world& w, ticket t, std::uint64_t affinity = 0) {
  acquire_request r = w.request(t);
  r.affinity = affinity;
  w.acquire(r);
  for (const std::string key : {"key/a/k1", "key/b/k1"}) {
    if (w.reply(t) == nullptr) w.grant(key, 10);
  }
  if (w.granted(t, "key/a/k1")) return "a";
  return w.granted(t, "key/b/k1") ? "b" : "nobody";
}

void set(world& w, std::vector<double> groups, std::uint64_t version) {
  w.out.clear();
  w.machine.set_weights({"m", version, std::move(groups), {1, 1}}, w.now, w.out);
}

TEST(DispatcherWeights, NewWeightsHoldAtOnce) {
  world w(two_groups().build());
  EXPECT_EQ(next(w, 1), "a");
  set(w, {0, 5}, w.config->version);
  EXPECT_EQ(next(w, 2), "b");
  EXPECT_EQ(w.machine.status(w.now).weights.at(0).groups, (std::vector<double>{0, 5}));
  set(w, {1, 0}, w.config->version);
  EXPECT_EQ(next(w, 3), "a");
  EXPECT_TRUE(w.machine.status(w.now).weights.empty()) << "what the file says is no change";
}

TEST(DispatcherWeights, AnOrderForAnotherConfigurationIsIgnored) {
  world w(two_groups().build());
  set(w, {0, 5}, w.config->version + 1);
  set(w, {5}, w.config->version);
  EXPECT_EQ(next(w, 1), "a");
}

TEST(DispatcherWeights, AReloadKeepsThemUnlessTheFileSaysSomethingElse) {
  config_builder b = two_groups();
  world w(b.build());
  set(w, {0, 5}, w.config->version);
  w.apply(b.build());
  EXPECT_EQ(next(w, 1), "b");
  b.c.models[0].groups[0].weight = 2;
  w.apply(b.build());
  EXPECT_EQ(next(w, 2), "a");
  EXPECT_TRUE(w.machine.status(w.now).weights.empty());
}

TEST(DispatcherWeights, AReloadThatMovesTheModelMovesThemAlong) {
  config_builder b = two_groups();
  world w(b.build());
  set(w, {0, 5}, w.config->version);
  b.model("n", {0});
  std::swap(b.c.models[0], b.c.models[1]);
  b.c.model_index = {{"n", 0}, {"m", 1}};
  w.apply(b.build());
  EXPECT_EQ(w.machine.status(w.now).weights.at(1).groups, (std::vector<double>{0, 5}));
  EXPECT_EQ(next(w, 1), "b");
}

TEST(DispatcherWeights, RequestsOfOneAffinityGoOneWay) {
  world w(two_groups(1, 1).build());
  ticket t = 0;
  int both = 0;
  for (std::uint64_t who = 1; who <= 40; ++who) {
    const std::string first = next(w, ++t, who);
    both += first == "a" ? 1 : 0;
    for (int again = 0; again < 3; ++again) EXPECT_EQ(next(w, ++t, who), first);
  }
  EXPECT_GT(both, 5);
  EXPECT_LT(both, 35);
}

TEST(DispatcherWeights, NobodyWaitsBehindThoseWhoWantAnotherGroup) {
  config_builder b;
  b.provider("a", {rpm(60)}).provider("b", {rpm(60)}).model("m", {0, 1});
  b.c.models.back().strategy = strategy::weighted;
  b.groups({1, 1}, {0, 1});
  world w(b.build());
  // Two who choose differently, both waiting for their keys' first answer.
  std::uint64_t of_a = 0;
  std::uint64_t of_b = 0;
  for (std::uint64_t who = 1; of_a == 0 || of_b == 0; ++who) {
    const auto& groups = w.config->models[0].groups;
    (waiting_time(who, groups[0].place, 1) < waiting_time(who, groups[1].place, 1) ? of_a : of_b) = who;
  }
  acquire_request r = w.request(1);
  r.affinity = of_a;
  w.acquire(r);
  r = w.request(2);
  r.affinity = of_b;
  w.acquire(r);
  w.grant("key/b/k1", 1);
  EXPECT_TRUE(w.granted(2, "key/b/k1")) << "the first one still waits for a";
}

TEST(DispatcherWeights, NothingIsGrantedAheadWhereTheNextMayChooseOtherwise) {
  world w(two_groups(1, 1).build());
  for (ticket t = 1; t <= 20; ++t) next(w, t, t);  // both keys are wanted, so what comes is kept
  for (const std::string key : {"key/a/k1", "key/b/k1"}) w.grant(key, 100);
  acquire_request r = w.request(50);
  r.spares = 8;
  r.first_spare = 100;
  w.acquire(r);
  EXPECT_EQ(w.out.replies.size(), 1u);
}

}  // namespace
}  // namespace millrace::engine
