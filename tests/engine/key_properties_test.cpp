// What must hold of a key whatever happens: no window over a limit, and an even pace under pressure.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <random>

#include "engine/key_machine.hpp"

namespace millrace::engine {
namespace {

const time_point start{5000s};
constexpr duration margin = 500ms;

double seconds(duration d) {
  return std::chrono::duration<double>(d).count();
}

/// The provider's own count: the most that any window of `span` held, over true arrival times.
class referee {
 public:
  void arrives(time_point at, std::int64_t amount) { arrivals_.emplace_back(at, amount); }
  std::int64_t most(duration span) {
    std::sort(arrivals_.begin(), arrivals_.end());
    std::int64_t sum = 0;
    std::int64_t most = 0;
    size_t first = 0;
    for (const auto& [at, amount] : arrivals_) {
      sum += amount;
      while (arrivals_[first].first <= at - span) sum -= arrivals_[first++].second;
      most = std::max(most, sum);
    }
    return most;
  }

 private:
  std::vector<std::pair<time_point, std::int64_t>> arrivals_;
};

/// Simulated time: events in order, and the key woken when it wants to be.
class simulation {
 public:
  simulation(const key_limits& limits, unsigned seed)
      : random(seed), key("key/p/k", limits, margin, 10min, start, {}) {}
  virtual ~simulation() = default;

  void at(time_point t, std::function<void()> what) { events_.emplace(t, std::move(what)); }
  void run_until(time_point end) {
    while (true) {
      const time_point wake = key.next_wakeup(now);
      const time_point next = events_.empty() ? time_point::max() : events_.begin()->first;
      if (std::min(wake, next) > end) break;
      if (next <= wake) {
        now = next;
        const auto what = std::move(events_.begin()->second);
        events_.erase(events_.begin());
        what();
      } else {
        now = std::max(now, wake);
        call([&](auto& out) { key.advance(now, out); });
      }
    }
    now = end;
  }
  void request(const lease_request& r) {
    call([&](auto& out) { key.request(r, now, out); });
  }
  void report(const lease_report& r) {
    call([&](auto& out) { key.report(r, now, out); });
  }
  virtual void granted(const std::string& node, const lease_grant& g) = 0;

  std::int64_t pick(std::int64_t below) {
    return static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(below));
  }
  duration within(duration d) { return duration(pick(d.count() + 1)); }

  std::mt19937_64 random;
  time_point now = start;
  key_machine key;

 private:
  template <class F>
  void call(F&& f) {
    key_machine::outbox out;
    f(out);
    for (const auto& o : out) {
      if (o.grant) granted(o.node, *o.grant);
    }
  }

  std::multimap<time_point, std::function<void()>> events_;
};

/// Nodes that do with their permits whatever is allowed: use them at any time of their life, report late,
/// never, or in parts, hand some back, keep calls open for a while, die. Each use reaches the provider up to
/// `margin` later.
class unruly_nodes : public simulation {
 public:
  unruly_nodes(const key_limits& limits, unsigned seed, duration idle)
      : simulation(limits, seed), limits_(limits), idle_(idle) {
    for (int i = 0; i < 4; ++i) wish("n" + std::to_string(i));
  }

  void granted(const std::string& node, const lease_grant& g) override {
    EXPECT_EQ(g.life, key_machine::lease_life);
    std::int64_t permits = g.permits;
    token_count tokens = g.tokens;
    while (permits > 0) {
      const std::int64_t n = 1 + pick(permits);
      const token_count t =
          n == permits ? tokens : token_count{pick(tokens.input + 1), pick(tokens.output + 1)};
      permits -= n;
      tokens = {tokens.input - t.input, tokens.output - t.output};
      at(now + within(g.life), [this, node, lease = g.lease, n, t] { spend(node, lease, n, t); });
    }
  }

  referee requests, input, output, total;
  std::int64_t most_open = 0;

 private:
  void wish(const std::string& node) {
    lease_request r;
    r.node = node;
    // More than there is, most of the time.
    r.waiting = pick(10) == 0 ? 0 : pick(std::clamp<std::int64_t>(limits_.rpm / 8, 4, 800));
    r.permits = r.waiting + pick(10);
    r.head = {pick(std::min<std::int64_t>(limits_.tpm_input, 500)), pick(100)};
    r.tokens = {r.head.input + pick(200) * r.permits, r.head.output + pick(100) * r.permits};
    request(r);
    at(now + within(pick(10) == 0 ? idle_ : idle_ / 40), [this, node] { wish(node); });
  }

  void spend(const std::string& node, std::uint64_t lease, std::int64_t n, const token_count& t) {
    lease_report r;
    r.node = node;
    if (pick(5) == 0) {
      r.returned.push_back({lease, n, t});
      at(now + within(3s), [this, r] { report(r); });
      return;
    }
    const time_point arrival = now + (pick(2) == 0 ? margin : within(margin));
    requests.arrives(arrival, n);
    input.arrives(arrival, t.input);
    output.arrives(arrival, t.output);
    total.arrives(arrival, t.total());
    open_ += n;
    most_open = std::max(most_open, open_);
    // Without a report nobody can know that the call goes on: it must not be silent where calls are counted.
    const bool silent = limits_.concurrency == unlimited && pick(6) == 0;
    const duration age = within(pick(8) == 0 ? 8s : 300ms);
    const time_point done = now + age + within(5s);
    if (!silent) {
      at(now + age, [this, r, lease, n, t, age]() mutable {
        // The message is under way for another while, during which the age does not grow.
        r.used.push_back({lease, age, n, t});
        at(now + within(50ms), [this, r] { report(r); });
      });
    }
    at(done, [this, r, n, silent]() mutable {
      open_ -= n;
      if (silent) return;
      r.finished = n;
      at(now + 51ms, [this, r] { report(r); });
    });
  }

  key_limits limits_;
  duration idle_;
  std::int64_t open_ = 0;
};

TEST(key_properties, no_window_holds_more_than_its_limit) {
  const std::vector<key_limits> cases = {
      {.rpm = 1},
      {.rpm = 7},
      {.rpm = 60, .concurrency = 9},
      {.rpm = 600, .tpm = 40'000},
      {.rpm = 5000, .tpm_input = 70'000, .tpm_output = 9'000},
      {.tpm = 1'000'000, .concurrency = 100},
      {.rpm = 100'000},
  };
  for (size_t c = 0; c < cases.size(); ++c) {
    for (const unsigned seed : {101U, 102U}) {
      SCOPED_TRACE(testing::Message() << "case " << c << ", seed " << seed);
      unruly_nodes nodes(cases[c], seed, 20s);
      nodes.run_until(start + 5min);
      EXPECT_GT(nodes.requests.most(5min), 0);
      EXPECT_LE(nodes.requests.most(60s), cases[c].rpm);
      EXPECT_LE(nodes.input.most(60s), cases[c].tpm_input);
      EXPECT_LE(nodes.output.most(60s), cases[c].tpm_output);
      EXPECT_LE(nodes.total.most(60s), cases[c].tpm);
      EXPECT_LE(nodes.most_open, cases[c].concurrency);
    }
  }
}

TEST(key_properties, no_day_holds_more_than_its_limit) {
  for (const unsigned seed : {201U, 202U}) {
    SCOPED_TRACE(seed);
    unruly_nodes nodes({.rpm = 100, .rpd = 900}, seed, 2h);
    nodes.run_until(start + 60h);
    EXPECT_LE(nodes.requests.most(24h), 900);
    EXPECT_LE(nodes.requests.most(60s), 100);
    EXPECT_GT(nodes.requests.most(24h), 850);
  }
}

/// Nodes that use and report what they get at once, and want more than there is, all the time or in phases.
class eager_nodes : public simulation {
 public:
  eager_nodes(const key_limits& limits, unsigned seed, int nodes, token_count each = {})
      : simulation(limits, seed), nodes_(nodes), each_(each) {}

  void want(bool all) {
    wanting_ = all;
    last_ = now;
    for (int i = 0; i < nodes_; ++i) ask("n" + std::to_string(i));
  }

  void granted(const std::string& node, const lease_grant& g) override {
    longest_gap = std::max(longest_gap, now - last_);
    last_ = now;
    std::int64_t calls = g.permits;
    if (each_.total() > 0) calls = std::min(calls, g.tokens.total() / each_.total());
    for (std::int64_t sent = 0; sent < calls; ++sent) requests.arrives(now + within(margin), 1);
    grants.emplace_back(now, calls);
    const token_count used{each_.input * calls, each_.output * calls};
    at(now + 10ms, [this, node, g, calls, used] {
      lease_report r;
      r.node = node;
      r.used.push_back({g.lease, 10ms, calls, used});
      r.returned.push_back(
          {g.lease, g.permits - calls, {g.tokens.input - used.input, g.tokens.output - used.output}});
      r.finished = calls;
      report(r);
      if (wanting_) ask(node);
    });
  }
  std::int64_t granted_between(time_point from, time_point to) const {
    std::int64_t sum = 0;
    for (const auto& [at, n] : grants) sum += at >= from && at < to ? n : 0;
    return sum;
  }

  referee requests;
  std::vector<std::pair<time_point, std::int64_t>> grants;
  duration longest_gap{};

 private:
  void ask(const std::string& node) {
    constexpr std::int64_t many = 1'000'000;
    lease_request r;
    r.node = node;
    if (wanting_) {
      r.permits = r.waiting = many;
      r.head = each_;
      r.tokens = {each_.input * many, each_.output * many};
    }
    request(r);
  }

  int nodes_;
  token_count each_;
  bool wanting_ = false;
  time_point last_ = start;
};

duration longest_allowed_gap(std::int64_t rpm) {
  return std::max<duration>(1s, std::chrono::duration_cast<duration>(90s) / rpm);
}

TEST(key_properties, a_saturated_key_is_used_evenly_and_nearly_whole) {
  for (const std::int64_t rpm : {1, 2, 3, 5, 8, 20, 60, 600, 5000}) {
    for (const int count : {1, 3}) {
      if (rpm > 1000 && count > 1) continue;
      SCOPED_TRACE(testing::Message() << "rpm " << rpm << ", nodes " << count);
      eager_nodes nodes({.rpm = rpm}, 301, count);
      nodes.want(true);
      nodes.run_until(start + 11min);
      EXPECT_LE(nodes.requests.most(60s), rpm);
      EXPECT_LE(seconds(nodes.longest_gap), seconds(longest_allowed_gap(rpm)));
      const auto minutes = nodes.granted_between(start + 1min, start + 11min);
      EXPECT_GE(minutes, static_cast<std::int64_t>(std::floor(0.97 * 10 * static_cast<double>(rpm))));
      // The burst of the first second is spread out before long.
      const auto late = nodes.granted_between(start + 10min, start + 10min + 10s);
      EXPECT_LE(late, rpm / 5 + 1);
    }
  }
}

TEST(key_properties, no_earlier_demand_leads_to_a_long_gap) {
  for (const std::int64_t rpm : {2, 3, 5, 13, 60, 600}) {
    for (unsigned seed = 401; seed < 409; ++seed) {
      SCOPED_TRACE(testing::Message() << "rpm " << rpm << ", seed " << seed);
      eager_nodes nodes({.rpm = rpm}, seed, 1);
      for (int phase = 0; phase < 30; ++phase) {
        nodes.want(true);
        nodes.run_until(nodes.now + nodes.within(nodes.pick(3) == 0 ? 90s : 2s));
        nodes.want(false);
        nodes.run_until(nodes.now + nodes.within(nodes.pick(3) == 0 ? 60s : 20s));
      }
      nodes.want(true);
      nodes.run_until(nodes.now + 3min);
      EXPECT_LE(nodes.requests.most(60s), rpm);
      EXPECT_LE(seconds(nodes.longest_gap), seconds(longest_allowed_gap(rpm)));
    }
  }
}

TEST(key_properties, a_token_limit_is_used_nearly_whole_whatever_the_size_of_requests) {
  for (const std::int64_t size : {100, 2'000, 10'000, 25'000, 50'000}) {
    SCOPED_TRACE(size);
    eager_nodes nodes({.tpm = 100'000}, 501, 2, {.input = size / 2, .output = size / 2});
    nodes.want(true);
    nodes.run_until(start + 11min);
    EXPECT_LE(nodes.requests.most(60s), 100'000 / size);
    const auto minutes = nodes.granted_between(start + 1min, start + 11min);
    EXPECT_GE(minutes,
              static_cast<std::int64_t>(std::floor(0.97 * 1'000'000 / static_cast<double>(size))) - 1);
  }
}

}  // namespace
}  // namespace millrace::engine
