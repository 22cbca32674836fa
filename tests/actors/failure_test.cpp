#include "actors/failure.hpp"

#include <stdexcept>

#include <gmock/gmock.h>

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

using testing::HasSubstr;

/// What the program would be told.
struct failures {
  std::vector<std::string> seen;

  template <class Handle>
  void watch(const Handle& actor) {
    on_failure(caf::actor_cast<caf::strong_actor_ptr>(actor),
               [this](const std::string& why) { seen.push_back(why); });
  }
};

TEST(failure, OfADispatcherOrADirectoryIsToldOnce) {
  node_world w(one_target({engine::rpm(60)}));
  failures f;
  f.watch(w.dispatcher);
  w.acquire(1);
  w.pass(100ms);
  ASSERT_TRUE(w.granted(1));
  EXPECT_TRUE(f.seen.empty());
  w.end(w.dispatcher);
  EXPECT_EQ(f.seen.size(), 1U);
  f.watch(w.home);
  w.end(w.home);
  EXPECT_EQ(f.seen.size(), 2U);
  w.pass(2min);  // a key lives for as long as it wants to look again
}

TEST(failure, IsNotAStopInGoodOrder) {
  node_world w(one_target({engine::rpm(60)}));
  failures f;
  f.watch(w.dispatcher);
  caf::anon_send_exit(w.dispatcher, caf::exit_reason::user_shutdown);
  w.deliver();
  EXPECT_TRUE(f.seen.empty());
}

TEST(failure, ThatCameBeforeTheQuestionIsTold) {
  node_world w(one_target({engine::rpm(60)}));
  w.end(w.dispatcher);
  failures f;
  f.watch(w.dispatcher);
  EXPECT_EQ(f.seen.size(), 1U);
}

TEST(failure, SaysWhatWasThrown) {
  actors_world w;
  const auto spawn = [&](auto thrown) {
    return w.system.spawn([thrown](caf::event_based_actor* self) -> caf::behavior {
      self->set_exception_handler([](std::exception_ptr& x) { return failure_of(x); });
      return {[thrown](const tick&) { throw thrown; }};
    });
  };
  const auto standard = spawn(std::out_of_range("no such ticket"));
  const auto other = spawn(7);
  failures f;
  f.watch(standard);
  f.watch(other);
  w.send(standard, tick{});
  w.send(other, tick{});
  ASSERT_EQ(f.seen.size(), 2U);
  EXPECT_THAT(f.seen[0], HasSubstr("no such ticket"));
  EXPECT_THAT(f.seen[1], HasSubstr("no std::exception"));
}

}  // namespace
}  // namespace millrace::actors
