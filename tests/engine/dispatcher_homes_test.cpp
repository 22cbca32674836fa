#include "dispatch_world.hpp"

/// What a dispatcher does when a key or breaker gets a new home, which knows nothing.
namespace millrace::engine {
namespace {

std::int64_t permits(const lease_report& r) {
  std::int64_t sum = 0;
  for (const auto& u : r.used) sum += u.permits;
  return sum;
}

TEST(dispatcher_homes, calls_in_flight_are_told_again_each_once) {
  dispatch_world w(one_key(rpm(6000)));
  for (ticket t = 1; t <= 3; ++t) w.acquire(t);
  w.grant("key/a/k1", 3);
  w.sent(1);
  w.sent(2);
  w.pass(20ms);  // the first two are told
  w.settle(1);
  w.sent(3);
  w.lose_home("key/a/k1");
  const auto* told = w.told("key/a/k1");
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(permits(*told), 3);
  EXPECT_EQ(told->finished, 1);
  w.lose_home("key/a/k1");
  told = w.told("key/a/k1");
  ASSERT_NE(told, nullptr);
  EXPECT_EQ(permits(*told), 2);
  EXPECT_EQ(told->finished, 0);
}

TEST(dispatcher_homes, whoever_waits_is_asked_for_again) {
  dispatch_world w(one_key(rpm(6000)));
  w.acquire(1);
  w.no_room("key/a/k1", 5s);
  w.pass(100ms);
  w.lose_home("key/a/k1");
  ASSERT_NE(w.asked("key/a/k1"), nullptr);
  EXPECT_EQ(w.asked("key/a/k1")->waiting, 1);
}

TEST(dispatcher_homes, a_new_breaker_gets_to_know_the_node_and_is_asked_for_a_probe_again) {
  dispatch_world w(one_key(rpm(6000)));
  w.breaker("a/m", breaker_state::open);
  w.acquire(1);
  ASSERT_EQ(w.out.probe_requests.size(), 1U);
  w.lose_home("breaker/a/m");
  EXPECT_NE(w.outcomes("a/m"), nullptr);
  EXPECT_EQ(w.out.probe_requests.size(), 1U);
}

}  // namespace
}  // namespace millrace::engine
