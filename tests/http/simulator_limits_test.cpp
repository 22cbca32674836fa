#include <algorithm>
#include <chrono>
#include <deque>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "http/simulator/stats.hpp"
#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

using namespace std::chrono_literals;

// --- limits and statistics
// ---------------------------------------------------------------------------------------

TEST_F(Simulator, HoldsTheRequestLimitAndSaysSo) {
  start(R"({"rpm": 5, "keys": {"wide": {"rpm": 0}}})");
  for (int i = 0; i < 5; ++i) {
    const answer a = ask(chat("x"));
    ASSERT_EQ(a.status, 200);
    EXPECT_EQ(a.headers.at("x-ratelimit-limit-requests"), "5");
    EXPECT_EQ(a.headers.at("x-ratelimit-remaining-requests"), std::to_string(4 - i));
    EXPECT_EQ(a.headers.at("x-ratelimit-reset-requests"), "1m0s");
  }
  const answer refused = ask(chat("x"));
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.parsed()["error"]["code"], "rate_limit_exceeded");
  EXPECT_EQ(refused.parsed()["error"]["type"], "requests");
  const int seconds = std::stoi(refused.headers.at("retry-after"));
  EXPECT_TRUE(seconds > 0 && seconds <= 60) << seconds;
  EXPECT_LE(std::stoi(refused.headers.at("retry-after-ms")), 60000);
  const json s = stats();
  EXPECT_EQ(s["requests"], 6);
  EXPECT_EQ(s["accepted"], 5);
  EXPECT_EQ(s["answered"], 5);
  EXPECT_EQ(s["over_limit"], 1);
  EXPECT_EQ(s["rejected_429"], 1);
  EXPECT_EQ(s["max_requests_in_60s"], 5);
  EXPECT_EQ(s["in_flight"], 0);
  for (int i = 0; i < 6; ++i) EXPECT_EQ(ask(chat("x"), "wide").status, 200);
}

TEST_F(Simulator, CountsEstimatedTokensAgainstTheTokenLimit) {
  start(R"({"tpm": 1000, "tokens": 3})");
  const answer first = ask(with(chat("x"), "max_tokens", 600));
  ASSERT_EQ(first.status, 200);
  const json usage = first.parsed()["usage"];
  EXPECT_EQ(usage["completion_tokens"], 3);
  const int estimated = usage["prompt_tokens"].get<int>() + 600;
  EXPECT_EQ(first.headers.at("x-ratelimit-remaining-tokens"), std::to_string(1000 - estimated));
  const answer second = ask(with(chat("x"), "max_tokens", 600));
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(second.parsed()["error"]["type"], "tokens");
  EXPECT_EQ(ask(chat("x")).status, 200) << "without a maximum the answer's own tokens count";
  const json s = stats();
  EXPECT_EQ(s["max_estimated_tokens_in_60s"], 2 * usage["prompt_tokens"].get<int>() + 600 + 3);
  EXPECT_EQ(s["completion_tokens"], 6);
  EXPECT_EQ(s["prompt_tokens"], 2 * usage["prompt_tokens"].get<int>());
}

TEST(SimulatorWindow, AgreesWithBruteForce) {
  for (const std::uint32_t seed : {1U, 2U, 3U, 4U}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    simulation::sliding_window window;
    std::vector<std::pair<engine::time_point, std::int64_t>> all;
    engine::time_point now{1h};
    std::int64_t most_requests = 0;
    std::int64_t most_tokens = 0;
    for (int i = 0; i < 3000; ++i) {
      // Bursts, ordinary gaps, and now and then one that lands exactly on a window's edge.
      switch (random() % 8) {
        case 0:
          break;
        case 1:
          if (!all.empty())
            now =
                std::max(now, all[all.size() - 1 - random() % std::min<size_t>(all.size(), 300)].first + 60s);
          break;
        default:
          now += std::chrono::microseconds(random() % (seed % 2 ? 2'000 : 400'000));
      }
      const auto tokens = static_cast<std::int64_t>(random() % 1000);
      all.emplace_back(now, tokens);
      window.add(now, tokens);
      std::int64_t requests_in = 0;
      std::int64_t tokens_in = 0;
      for (auto it = all.rbegin(); it != all.rend() && now - it->first < 60s; ++it) {
        ++requests_in;
        tokens_in += it->second;
      }
      most_requests = std::max(most_requests, requests_in);
      most_tokens = std::max(most_tokens, tokens_in);
      ASSERT_EQ(window.requests(), requests_in);
      ASSERT_EQ(window.tokens(), tokens_in);
      ASSERT_EQ(window.max_requests(), most_requests);
      ASSERT_EQ(window.max_tokens(), most_tokens);
      // Waiting as long as it says makes room, and a tick less does not.
      const std::int64_t wanted = requests_in / 2;
      const auto wait = window.until_below(now, wanted, tokens_in);
      const auto left = [&](engine::time_point at) {
        std::int64_t n = 0;
        for (const auto& [arrived, t] : all) n += at - arrived < 60s;
        return n;
      };
      if (i % 50 == 0) {
        ASSERT_LE(left(now + wait), wanted);
        ASSERT_GT(left(now + wait - 1ns), wanted);
      }
    }
  }
}

TEST(SimulatorWindow, NeverJudgesTooFewWhenItIsCrowded) {
  simulation::sliding_window window;
  std::deque<engine::time_point> in_60s;
  std::deque<engine::time_point> in_60s_and_1ms;
  engine::time_point now{1h};
  std::mt19937 random(7);
  // More than the window keeps apart, over more than its length.
  for (int i = 0; i < 400'000; ++i) {
    now += std::chrono::microseconds(random() % 400);
    window.add(now, 1);
    for (auto* q : {&in_60s, &in_60s_and_1ms}) q->push_back(now);
    while (now - in_60s.front() >= 60s) in_60s.pop_front();
    while (now - in_60s_and_1ms.front() >= 60s + 1ms) in_60s_and_1ms.pop_front();
    ASSERT_GE(window.requests(), static_cast<std::int64_t>(in_60s.size()));
    ASSERT_LE(window.requests(), static_cast<std::int64_t>(in_60s_and_1ms.size()));
  }
  EXPECT_GT(in_60s.size(), simulation::sliding_window::exact_entries);
}

TEST_F(Simulator, StartsItsStatisticsAnew) {
  start();
  ask(chat("x"));
  EXPECT_EQ(json::parse(provider_->stats())["models"]["gpt-4o-mini"], 1);
  client c(port_);
  c.write("DELETE /stats HTTP/1.1\r\n\r\nGET /stats HTTP/1.1\r\n\r\n");
  c.read();
  const json after = c.read().parsed();
  EXPECT_EQ(after["keys"]["k1"]["requests"], 0);
  EXPECT_EQ(after["models"]["gpt-4o-mini"], 0);
}

}  // namespace
}  // namespace millrace::http::simulator_tests
