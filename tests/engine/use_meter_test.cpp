#include "engine/use_meter.hpp"

#include "dispatch_world.hpp"

namespace millrace::engine {
namespace {

TEST(use_meter, counts_over_the_minute_and_the_day) {
  use_meter use;
  const time_point start{1h};
  use.sent({100, 50}, start, start);
  use.sent({10, 5}, start + 30s, start + 30s);
  use.debt({0, 7}, start + 30s);
  use_meter::counts c = use.at(start + 30s);
  EXPECT_EQ(c.requests, 2);
  EXPECT_EQ(c.input_tokens, 110);
  EXPECT_EQ(c.output_tokens, 62);
  EXPECT_EQ(c.tokens, 172);
  c = use.at(start + 62s);
  EXPECT_EQ(c.requests, 1);
  EXPECT_EQ(c.tokens, 22);
  EXPECT_EQ(c.day_requests, 2);
  c = use.at(start + 25h);
  EXPECT_EQ(c.requests, 0);
  EXPECT_EQ(c.day_requests, 0);
}

TEST(use_meter, of_a_dispatcher_leaves_out_what_it_only_holds) {
  dispatch_world w(one_key({}));
  const auto used = [&] { return w.machine.status(w.now).keys.at(0).used; };
  w.acquire(1);
  w.grant("key/a/k1", 1024);
  for (ticket t = 2; t <= 8; ++t) w.acquire(t);
  EXPECT_EQ(used().requests, 0) << "granted is not sent";
  for (ticket t = 1; t <= 7; ++t) w.sent(t);
  w.cancel(8);
  EXPECT_EQ(used().requests, 7);
  EXPECT_EQ(used().tokens, 7 * 150);
}

TEST(use_meter, of_a_dispatcher_does_not_go_stale) {
  dispatch_world w(one_key({}));
  w.acquire(1);
  w.grant("key/a/k1", 10);
  w.sent(1);
  settlement s;
  s.id = 1;
  s.usage_known = true;
  s.used = {100, 80};
  w.settle(s);
  EXPECT_EQ(w.machine.status(w.now).keys.at(0).used.tokens, 180);
  w.pass(2min);
  const use_meter::counts later = w.machine.status(w.now).keys.at(0).used;
  EXPECT_EQ(later.requests, 0);
  EXPECT_EQ(later.tokens, 0);
  EXPECT_EQ(later.day_requests, 1);
}

}  // namespace
}  // namespace millrace::engine
