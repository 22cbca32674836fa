#include "actors/key_actor.hpp"

#include "actors_world.hpp"
#include "listener.hpp"

namespace millrace::actors {
namespace {

/// A key that allows one call at a time.
struct key_actor_test : testing::Test {
  actors_world w;
  key_actor home =
      w.system.spawn(key, std::string("key/p/k1"), one_call(), key_heritage{}, mailbox_depths_ptr{});
  listener a{w};
  listener b{w};

  void TearDown() override { w.end(home); }
  static key_settings one_call() {
    key_settings s;
    s.limits.concurrency = 1;
    s.margin = 500ms;
    s.quarantine = 10min;
    return s;
  }
  template <class Message>
  void say(const listener& from, Message message) {
    caf::send_as(from.handle, home, std::move(message));
    w.deliver();
  }
  void ask(const listener& from, const std::string& node) {
    engine::lease_request r;
    r.node = node;
    r.permits = r.waiting = 1;
    say(from, r);
  }
  static engine::lease_report report(const std::string& node) {
    engine::lease_report r;
    r.node = node;
    return r;
  }
  /// A call was made, with a permit of whatever lease.
  void use(const listener& from, const std::string& node) {
    auto r = report(node);
    r.used.push_back({0, {}, 1, {}});
    say(from, r);
  }
};

TEST_F(key_actor_test, ANodeThatRestartsIsAnsweredAtItsNewPlaceAndStartsAnew) {
  use(a, "n");
  ask(a, "n");
  ASSERT_TRUE(a.grants.empty());
  const auto notices = a.notices;
  ask(b, "n");
  EXPECT_EQ(b.grants, std::vector<std::int64_t>{1}) << "the calls of its earlier life are over";
  EXPECT_EQ(a.notices, notices);
  EXPECT_TRUE(a.grants.empty());
}

TEST_F(key_actor_test, ANodeThatDiesMakesRoomForThoseWhoWait) {
  use(a, "a");
  ask(b, "b");
  ASSERT_TRUE(b.grants.empty());
  w.end(a.handle);
  w.pass(100ms);
  EXPECT_EQ(b.grants, std::vector<std::int64_t>{1});
}

TEST_F(key_actor_test, NodesBeyondTheLimitGetNothingUntilOthersLeft) {
  for (std::size_t i = 0; i < known_nodes::max_nodes; ++i) say(a, report(std::to_string(i)));
  ask(b, "b");
  EXPECT_EQ(b.grants.size() + b.notices, 0U);
  w.end(a.handle);
  ask(b, "b");
  EXPECT_EQ(b.grants, std::vector<std::int64_t>{1});
}

}  // namespace
}  // namespace millrace::actors
