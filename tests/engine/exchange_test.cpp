#include "engine/exchange.hpp"

#include <memory>
#include <optional>
#include <string>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

/// Hooks that note their names when they run.
class Cancellation : public testing::Test {
 protected:
  std::unique_ptr<cancellation::hook> note(std::string name) {
    return std::make_unique<cancellation::hook>(gone_, [this, name] { told_ += name; });
  }

  std::string told_;
  cancellation gone_;
};

TEST_F(Cancellation, TellsAllWhoWaitOnceTheOldestFirst) {
  const auto a = note("a");
  auto b = note("b");
  const auto c = note("c");
  b.reset();
  const auto d = note("d");
  EXPECT_FALSE(gone_.cancelled());
  gone_.cancel();
  EXPECT_TRUE(gone_.cancelled());
  EXPECT_EQ(told_, "acd");
  gone_.cancel();
  EXPECT_EQ(told_, "acd");
}

TEST_F(Cancellation, TellsThoseWhoAreLeftWhenTheFirstOrTheLastWent) {
  auto a = note("a");
  const auto b = note("b");
  auto c = note("c");
  a.reset();
  c.reset();
  const auto d = note("d");
  gone_.cancel();
  EXPECT_EQ(told_, "bd");
}

/// A coroutine that is woken goes on at once, and what it waited with is gone before the others are told.
TEST_F(Cancellation, WhoIsToldMayTakeHimselfAndOthersAway) {
  std::unique_ptr<cancellation::hook> a;
  std::unique_ptr<cancellation::hook> b;
  std::unique_ptr<cancellation::hook> c;
  a = std::make_unique<cancellation::hook>(gone_, [&] {
    told_ += "a";
    b.reset();
    a.reset();
  });
  b = note("b");
  c = note("c");
  gone_.cancel();
  EXPECT_EQ(told_, "ac");
}

TEST_F(Cancellation, WhoComesTooLateIsNotTold) {
  std::optional<cancellation::hook> late;
  const cancellation::hook a(gone_, [&] {
    told_ += "a";
    late.emplace(gone_, [this] { told_ += "late"; });
  });
  const auto b = note("b");
  gone_.cancel();
  late.reset();
  EXPECT_EQ(told_, "ab");
}

}  // namespace
}  // namespace millrace::engine
