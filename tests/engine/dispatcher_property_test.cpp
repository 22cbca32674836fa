#include "engine/dispatcher_machine.hpp"

#include <map>
#include <random>
#include <set>

#include <gtest/gtest.h>

#include "dispatch_world.hpp"

namespace millrace::engine {
namespace {

using world = dispatch_world;

/// Random requests, faults and answers: every request gets exactly one answer, nothing stays behind, and no
/// permit is used that was not leased.
TEST(Dispatcher, NothingIsLostUnderRandomUse) {
  for (const std::uint64_t seed : {31U, 32U, 33U}) {
    SCOPED_TRACE(seed);
    std::mt19937_64 random(seed);
    config_builder b;
    b.provider("a", {rpm(60), tpm(20000)}).provider("b", {rpm(600)}).provider("c", {key_limits{}});
    b.model("n", {2}).model("m", {0, 1}, {0});
    b.c.queue.max_waiting = 50;
    world w(b.build());
    std::set<ticket> waiting;
    std::set<ticket> granted;
    std::set<ticket> flying;
    std::map<name_id, std::int64_t> balance;  // leased - used - returned
    const auto take_in = [&] {
      for (const auto& r : w.out.replies) {
        ASSERT_EQ(waiting.erase(r.id), 1U) << "answered twice, or unasked";
        if (r.verdict == verdict::granted) granted.insert(r.id);
      }
      for (const auto& [key, r] : w.out.lease_reports) {
        for (const auto& u : r.used) balance[key] -= u.permits;
        for (const auto& u : r.returned) balance[key] -= u.permits;
        ASSERT_GE(balance[key], 0);
      }
    };
    const std::vector<std::string> keys = {"key/a/k1", "key/a/k2", "key/b/k1", "key/c/k1"};
    const auto some = [&](std::set<ticket>& from) {
      auto it = from.begin();
      std::advance(it, static_cast<std::ptrdiff_t>(random() % from.size()));
      const ticket t = *it;
      from.erase(it);
      return t;
    };
    ticket last = 0;
    for (int step = 0; step < 30000; ++step) {
      const auto dice = random() % 16;
      if (dice < 6) {
        auto r = w.request(++last, random() % 4 == 0 ? "n" : "m");
        r.queue = static_cast<std::uint8_t>(random() % 3);
        r.tenant = static_cast<name_id>(random() % 5);
        r.input_tokens = static_cast<std::int64_t>(random() % 3000);
        r.patience = std::chrono::milliseconds(random() % 3000);
        if (random() % 8 == 0) r.tried = {w.id("breaker/a/m")};
        waiting.insert(last);
        w.acquire(r);
      } else if (dice < 8) {
        const auto& key = keys[random() % keys.size()];
        const std::int64_t permits = 1 + static_cast<std::int64_t>(random() % 4);
        balance[w.id(key)] += permits;
        w.grant(key, permits,
                {static_cast<std::int64_t>(random() % 8000), static_cast<std::int64_t>(random() % 900)});
      } else if (dice == 8) {
        w.no_room(keys[random() % keys.size()], std::chrono::milliseconds(random() % 2000), 0.5);
      } else if (dice == 9 && random() % 20 == 0) {
        w.breaker(random() % 2 == 0 ? "a/m" : "b/m",
                  random() % 2 == 0 ? breaker_state::open : breaker_state::closed,
                  std::chrono::milliseconds(random() % 900));
      } else if (dice == 10 && !waiting.empty()) {
        w.cancel(some(waiting));
      } else if (dice == 11 && !granted.empty()) {
        w.settle(some(granted), random() % 2 == 0 ? attempt_outcome::unused : attempt_outcome::failed);
      } else if (dice < 14 && !granted.empty()) {
        const ticket t = some(granted);
        flying.insert(t);
        w.sent(t);
      } else if (dice == 14 && !flying.empty()) {
        w.settle(some(flying), random() % 50 == 0 ? attempt_outcome::rate_limited : attempt_outcome::ok, 1s);
      } else {
        w.pass(std::chrono::milliseconds(random() % 100));
      }
      take_in();
      if (HasFatalFailure()) return;
      ASSERT_EQ(w.machine.status(w.now).open_tickets, waiting.size() + granted.size() + flying.size());
    }
    while (!(flying.empty() && granted.empty() && waiting.empty())) {
      if (!flying.empty()) {
        w.settle(some(flying));
      } else if (!granted.empty()) {
        w.settle(some(granted), attempt_outcome::unused);
      } else {
        w.pass(1s);
      }
      take_in();
    }
    w.pass(10s);
    take_in();
    EXPECT_TRUE(waiting.empty());
    const auto s = w.machine.status(w.now);
    for (const auto& k : s.keys) {
      EXPECT_EQ(k.permits_in_hand, 0);
      EXPECT_EQ(k.waiting, 0);
      EXPECT_EQ(k.in_flight, 0);
      EXPECT_EQ(balance[k.name], 0) << "every permit was used or returned";
    }
    for (const auto& t : s.targets) EXPECT_EQ(t.in_flight, 0);
  }
}

}  // namespace
}  // namespace millrace::engine
