// Private requests and the providers that may see them.

#include <algorithm>
#include <random>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include "engine/traffic_weights.hpp"
#include "tests/engine/flight_world.hpp"

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

/// A random configuration: providers public and private, models over them, fallbacks, groups.
config_ptr random_config(std::mt19937_64& random) {
  config_builder b;
  const size_t providers = 2 + random() % 4;
  for (size_t p = 0; p < providers; ++p)
    b.provider("p" + std::to_string(p), {key_limits{}, rpm(6000)}, random() % 2 == 0);
  const size_t models = 1 + random() % 4;
  for (size_t m = 0; m < models; ++m) {
    std::vector<size_t> targets;
    for (size_t p = 0; p < providers; ++p) {
      if (random() % 3 != 0) targets.push_back(p);
    }
    if (targets.empty()) targets.push_back(random() % providers);
    std::vector<size_t> fallbacks;
    for (size_t f = 0; f < models; ++f) {
      if (f != m && random() % 2 == 0) fallbacks.push_back(f);
    }
    b.model("m" + std::to_string(m), targets, fallbacks);
    b.c.models.back().strategy = static_cast<strategy>(random() % 5);
    if (random() % 2 == 0) {
      std::vector<size_t> groups;
      for (size_t t = 0; t < targets.size(); ++t) groups.push_back(random() % 3);
      b.groups({1.0 + static_cast<double>(random() % 4), 1, 2}, groups);
    }
  }
  return b.build();
}

/// Whatever is configured, tried, barred, broken, weighed, asked for ahead of need or waited for: a private
/// request is given to private providers alone.
TEST(residency, NoPrivateRequestIsEverGivenToAnotherProvider) {
  int given = 0;
  int spares = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    dispatch_world w(random_config(random));
    const config& c = *w.config;
    std::set<ticket> open;
    std::set<ticket> asked_private;
    ticket last = 0;
    const auto check = [&] {
      for (const acquire_reply& r : w.out.replies) {
        if (r.verdict != verdict::granted) continue;
        const bool must = r.spare ? r.spare_class.private_only : asked_private.contains(r.id);
        const auto& target = c.models[r.model].targets[r.target_index];
        ASSERT_TRUE(c.providers[target.provider].private_data || !must) << "ticket " << r.id;
        given += must ? 1 : 0;
        spares += must && r.spare ? 1 : 0;
        open.insert(r.id);
      }
    };
    for (int step = 0; step < 300; ++step) {
      const auto dice = random() % 8;
      if (dice < 4) {
        const auto& model = c.models[random() % c.models.size()];
        auto r = w.request(last += 10, model.name);
        r.private_only = random() % 2 == 0;
        if (random() % 3 == 0) r.strategy = static_cast<std::uint8_t>(random() % 5);
        if (random() % 2 == 0) r.affinity = random();
        r.spares = random() % 2 == 0 ? 8 : 0;
        r.first_spare = last + 1;
        r.retry_tried = random() % 4 == 0;
        for (const auto& m : c.models) {
          for (const auto& t : m.targets) {
            if (random() % 6 == 0) r.tried.push_back(t.name);
            if (random() % 12 == 0) r.barred.push_back(t.name);
          }
        }
        if (r.private_only) asked_private.insert(r.id);
        w.acquire(r);
      } else if (dice == 4) {
        const auto& p = c.providers[random() % c.providers.size()];
        w.grant("key/" + p.name + "/k" + std::to_string(1 + random() % 2),
                1 + static_cast<std::int64_t>(random() % 200));
      } else if (dice == 5) {
        const auto& m = c.models[random() % c.models.size()];
        const auto& p = c.providers[m.targets[random() % m.targets.size()].provider];
        w.breaker(p.name + "/" + m.name, random() % 2 == 0 ? breaker_state::open : breaker_state::closed, 1s);
      } else if (dice == 6 && !open.empty()) {
        const ticket t = *open.begin();
        open.erase(open.begin());
        w.sent(t);
        check();
        w.settle(t, random() % 2 == 0 ? attempt_outcome::failed : attempt_outcome::ok);
      } else {
        w.out.clear();
        const auto& m = c.models[random() % c.models.size()];
        traffic_weights weights = configured_weights(m);
        for (double& x : weights.groups) x = static_cast<double>(random() % 5);
        w.machine.set_weights({m.name, c.version, weights.groups, weights.targets}, w.now, w.out);
      }
      check();
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_GT(given, 1000) << "too few to prove anything";
  EXPECT_GT(spares, 100) << "too few to prove anything";
}

std::string header(const answer& a, std::string_view name) {
  for (const auto& [key, value] : a.headers) {
    if (key == name) return std::string(value);
  }
  return {};
}

TEST(residency, AGrantOfTheWrongProviderIsHandedBackUnused) {
  flight_world w;
  w.private_only = true;
  w.permits.script = {w.grant()};
  w.upstream.script = {{}};
  w.run();
  EXPECT_TRUE(w.upstream.bodies.empty()) << "no provider of this world is private";
  EXPECT_EQ(w.permits.settled.at(0).outcome, attempt_outcome::unused);
}

TEST(residency, WithoutAPrivateProviderTheClientIsToldSo) {
  flight_world w;
  w.private_only = true;
  const answer a = w.run();
  EXPECT_EQ(a.status, 503);
  EXPECT_EQ(a.body, "error:no_private_target");
  EXPECT_EQ(header(a, "x-should-retry"), "false");
}

TEST(residency, EveryQuestionOfAPrivateRequestSaysSo) {
  flight_world w;
  w.private_only = true;
  auto with_private = std::make_shared<config>(*w.config);
  for (auto& p : with_private->providers) p.private_data = true;
  w.config = with_private;
  scripted_call failing;
  failing.status = 500;
  w.permits.script = {w.grant(0), w.grant(1)};
  w.upstream.script = {failing, {}};
  w.run();
  ASSERT_EQ(w.permits.asked.size(), 2u);
  for (const auto& asked : w.permits.asked) EXPECT_TRUE(asked.private_only);
}

}  // namespace
}  // namespace millrace::engine
