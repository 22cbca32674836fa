#include "actors/mailbox_depths.hpp"

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

struct mailbox_depths_test : testing::Test {
  node_world w{one_target({engine::rpm(60), engine::rpm(60)})};

  template <class Message>
  void put(const caf::strong_actor_ptr& to, const Message& message, int count) {
    for (int i = 0; i < count; ++i) caf::anon_send(caf::actor_cast<caf::actor>(to), message);
  }
  /// Lets this actor take one message.
  void step(const caf::strong_actor_ptr& actor) {
    ASSERT_TRUE(w.scheduler().prioritize(actor));
    ASSERT_TRUE(w.scheduler().try_run_once());
  }
};

TEST_F(mailbox_depths_test, TellWhatWaitsBehindTheMessageAtHand) {
  const auto key = w.find("key/p/k1");
  put(key, engine::lease_report{"", {}, {}, 0, {}, {}, {}}, 4);
  EXPECT_EQ(w.depths->keys, 0) << "nobody has looked yet";
  for (const int left : {3, 2, 1, 0}) {
    step(key);
    EXPECT_EQ(w.depths->keys, left);
  }
  EXPECT_EQ(w.depths->breakers, 0);
  EXPECT_EQ(w.depths->directory, 0);
}

TEST_F(mailbox_depths_test, AreSumsOfEachKind) {
  const auto first = w.find("key/p/k1");
  const auto second = w.find("key/p/k2");
  put(first, tick{7}, 3);
  put(second, tick{7}, 4);
  step(first);
  step(second);
  EXPECT_EQ(w.depths->keys, 2 + 3);
  put(w.find("breaker/p/m"), breaker_settings{}, 3);
  put(caf::actor_cast<caf::strong_actor_ptr>(w.home), earlier_use{}, 2);
  std::int64_t breakers = 0;
  std::int64_t directory = 0;
  while (w.scheduler().try_run_once()) {
    breakers = std::max(breakers, w.depths->breakers.load());
    directory = std::max(directory, w.depths->directory.load());
  }
  EXPECT_EQ(breakers, 2);
  EXPECT_EQ(directory, 1);
  EXPECT_EQ(w.depths->keys + w.depths->breakers + w.depths->directory, 0);
}

TEST_F(mailbox_depths_test, WhateverWasTakenLastNothingIsLeftOver) {
  const auto key = w.find("key/p/k1");
  caf::scoped_actor self{w.system};
  put(key, key_settings{}, 2);
  self->send(caf::actor_cast<key_actor>(key), use_question{"key/p/k1"});
  step(key);
  EXPECT_EQ(w.depths->keys, 2);
  w.deliver();
  EXPECT_EQ(w.depths->keys, 0);
}

TEST_F(mailbox_depths_test, AnActorThatEndsLeavesTheSum) {
  const auto key = w.find("key/p/k1");
  put(key, tick{7}, 5);
  step(key);
  ASSERT_EQ(w.depths->keys, 4);
  w.end(caf::actor_cast<caf::actor>(key));
  EXPECT_EQ(w.depths->keys, 0);
}

}  // namespace
}  // namespace millrace::actors
