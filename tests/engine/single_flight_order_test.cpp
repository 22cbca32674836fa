// One question's calls and clients under every order of events.

#include <array>
#include <random>

#include <gtest/gtest.h>

#include "single_flight_world.hpp"

namespace millrace::engine {
namespace {

/// Clients come, read slowly, and leave at random while one question's calls begin, stream, fail and end.
class every_order {
 public:
  explicit every_order(unsigned seed) : random_(seed) {}

  void run() {
    for (int step = 0; step < 60; ++step) one_step();
    for (auto& c : w_.clients) w_.wake(*c);
    w_.settle();
    for (std::size_t n = 0; n < w_.upstream.calls.size(); ++n) end(n, false);
    check();
  }

 private:
  int pick(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }

  void one_step() {
    const auto calls = static_cast<int>(w_.upstream.calls.size());
    auto& clients = w_.clients;
    switch (pick(8)) {
      case 0:
      case 1:
        w_.ask({.stream = pick(3) > 0}).paused = pick(3) == 0;
        break;
      case 2:
        if (!clients.empty())
          w_.leave(*clients[static_cast<std::size_t>(pick(static_cast<int>(clients.size())))]);
        break;
      case 3:
        if (!clients.empty()) {
          w_.wake(*clients[static_cast<std::size_t>(pick(static_cast<int>(clients.size())))]);
          w_.settle();
        }
        break;
      case 4:
        if (calls > 0 && pick(4) == 0) end(static_cast<std::size_t>(calls - 1), pick(3) == 0);
        break;
      default:
        if (calls > 0) content(static_cast<std::size_t>(calls - 1));
    }
  }
  void content(std::size_t n) {
    auto& call = *w_.upstream.calls[n];
    if (call.ended || (!call.stream && !call.pieces.empty())) return;
    constexpr std::array pieces = {"p", "pc", "c"};
    if (call.stream) w_.feed(call.pieces.empty() ? pieces[static_cast<std::size_t>(pick(3))] : "c", n);
  }
  void end(std::size_t n, bool badly) {
    auto& call = *w_.upstream.calls[n];
    if (call.ended) return;
    if (!badly) w_.feed(call.stream ? "cd" : "{1}", n);
    w_.finish(badly ? upstream_failure::reset : upstream_failure::none, n);
  }
  void check() {
    for (const auto& c : w_.clients) {
      ASSERT_TRUE(c->over);
      if (c->gone.cancelled()) continue;
      ASSERT_TRUE(c->status == 200 || c->status == 502) << c->status;
      if (c->status != 200) continue;
      const bool whole = c->stream ? c->got.ends_with("d") || c->got.starts_with("replay:")
                                   : c->got.starts_with("{") && c->got.ends_with("}");
      // Whatever is not whole says so, and nothing that says so looks whole.
      ASSERT_NE(whole, c->broken) << c->got;
      const auto told = c->got.find("event:");
      ASSERT_EQ(c->broken, told != std::string::npos) << c->got;
      ASSERT_TRUE(!c->broken || c->got.find("event:", told + 1) == std::string::npos) << c->got;
    }
    ASSERT_EQ(w_.flights(), 0);
    ASSERT_EQ(w_.answers.transcripts().taken(), 0);
    ASSERT_EQ(w_.watch.requests.size(), w_.clients.size());
    ASSERT_EQ(w_.permits.settled.size(), static_cast<std::size_t>(w_.permits.granted));
    for (const auto& call : w_.upstream.calls) ASSERT_FALSE(call->alive);
  }

  std::mt19937 random_;
  single_flight_world w_;
};

TEST(SingleFlight, UnderEveryOrderOfComingLeavingFailingAndEnding) {
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    every_order(seed).run();
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace millrace::engine
