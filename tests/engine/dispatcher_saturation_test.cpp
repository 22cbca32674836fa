// Dispatchers and the owner of a key together, at saturation, judged by what a provider would see.
#include <algorithm>
#include <functional>
#include <map>
#include <queue>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "dispatch_world.hpp"
#include "engine/dispatcher_machine.hpp"
#include "engine/key_machine.hpp"

namespace millrace::engine {
namespace {

constexpr duration window = 60s;
constexpr duration margin = 500ms;
constexpr duration run_time = 5min;

/// What reached the provider, and when.
struct arrival {
  time_point at;
  std::int64_t permits;
  std::int64_t tokens;
};

struct setup {
  key_limits limits;
  size_t nodes = 1;
  std::uint64_t seed = 1;
  duration delay{};    ///< messages take up to this
  duration network{};  ///< requests take up to this to the provider
  int waiting = 40;    ///< requests that each node keeps waiting
  std::int64_t min_tokens = 10;
  std::int64_t max_tokens = 200;
};

/// One key, its owner, and nodes that always have somebody waiting. Deterministic for a seed.
class saturation {
 public:
  explicit saturation(const setup& s)
      : setup_(s), random_(s.seed), key_("key/a/k1", s.limits, margin, 10min, now_, {}), nodes_(s.nodes) {
    for (size_t n = 0; n < s.nodes; ++n) {
      config_builder b;
      b.c.node.id = "n" + std::to_string(n + 1);
      nodes_[n].machine = std::make_unique<dispatcher_machine>(s.seed + n);
      nodes_[n].config = b.provider("a", {s.limits}).model("m", {0}).build();
      effects out;
      nodes_[n].machine->apply(nodes_[n].config, now_, out);
      deliver(n, out);
    }
  }

  void run() {
    const time_point end = start + run_time;
    for (size_t n = 0; n < nodes_.size(); ++n) {
      for (int i = 0; i < setup_.waiting; ++i) ask(n);
    }
    while (!events_.empty() && events_.top().at <= end) {
      const event e = events_.top();
      events_.pop();
      now_ = e.at;
      e.what();
    }
    std::sort(arrivals.begin(), arrivals.end(), [](const auto& a, const auto& b) { return a.at < b.at; });
  }

  static constexpr time_point start{std::chrono::hours(1)};
  std::vector<arrival> arrivals;
  std::vector<time_point> grants;  ///< when requests were granted
  int late = 0;                    ///< granted with too little time to use it
  std::vector<int> granted_to{0, 0, 0, 0};

 private:
  struct event {
    time_point at;
    std::uint64_t number;
    std::function<void()> what;
    bool operator<(const event& other) const {
      return std::tie(other.at, other.number) < std::tie(at, number);
    }
  };
  struct node {
    std::unique_ptr<dispatcher_machine> machine;
    config_ptr config;
    time_point to_key{};  ///< messages keep their order
    time_point from_key{};
    time_point woken = time_point::max();
  };

  duration up_to(duration most) {
    return most == duration{} ? most : duration(static_cast<std::int64_t>(random_() % (most.count() + 1)));
  }
  void at(time_point t, std::function<void()> what) { events_.push({t, ++number_, std::move(what)}); }

  void ask(size_t n) {
    acquire_request r;
    r.id = ++tickets_;
    r.config_version = 1;
    r.model = nodes_[n].config->names->find("model/m");
    r.input_tokens = setup_.min_tokens / 2;
    r.max_output_tokens =
        std::uniform_int_distribution<std::int64_t>(setup_.min_tokens, setup_.max_tokens)(random_) -
        r.input_tokens;
    r.patience = 1h;
    effects out;
    nodes_[n].machine->acquire(r, now_, out);
    deliver(n, out);
  }

  void granted(size_t n, const acquire_reply& r) {
    ASSERT_EQ(r.verdict, verdict::granted);
    grants.push_back(now_);
    ++granted_to[n];
    const duration connect = std::min<duration>(up_to(setup_.delay), r.valid_for);
    at(now_ + connect, [this, n, r] {
      effects out;
      nodes_[n].machine->sent({r.id, {}}, now_, out);
      arrivals.push_back({now_ + up_to(setup_.network), 1, r.reserved.total()});
      deliver(n, out);
      at(now_ + 200ms + up_to(1s), [this, n, id = r.id] {
        settlement s;
        s.id = id;
        effects done;
        nodes_[n].machine->settle(s, now_, done);
        deliver(n, done);
      });
    });
    at(now_, [this, n] { ask(n); });
  }

  void deliver(size_t n, effects& out) {
    node& from = nodes_[n];
    for (const auto& r : out.replies) granted(n, r);
    for (auto& [key, report] : out.lease_reports) {
      from.to_key = std::max(from.to_key, now_ + up_to(setup_.delay));
      at(from.to_key,
         [this, r = std::move(report)] { with_key([&](auto& answers) { key_.report(r, now_, answers); }); });
    }
    for (auto& [key, request] : out.lease_requests) {
      from.to_key = std::max(from.to_key, now_ + up_to(setup_.delay));
      at(from.to_key, [this, r = std::move(request)] {
        with_key([&](auto& answers) { key_.request(r, now_, answers); });
      });
    }
    const time_point wake = from.machine->next_wakeup();
    if (wake >= from.woken) return;
    from.woken = wake;
    at(wake, [this, n, wake] {
      if (nodes_[n].woken != wake) return;  // an earlier one has taken its place
      nodes_[n].woken = time_point::max();
      effects due;
      nodes_[n].machine->tick(now_, due);
      deliver(n, due);
    });
  }

  void with_key(const std::function<void(key_machine::outbox&)>& act) {
    key_machine::outbox answers;
    act(answers);
    for (auto& a : answers) {
      const size_t n = static_cast<size_t>(a.node.back() - '1');
      node& to = nodes_[n];
      to.from_key = std::max(to.from_key, now_ + up_to(setup_.delay));
      at(to.from_key, [this, n, answer = std::move(a)] {
        effects out;
        if (answer.grant) {
          const name_id key = nodes_[n].config->names->find("key/a/k1");
          nodes_[n].machine->on_grant(key, *answer.grant, now_, out);
        }
        nodes_[n].machine->on_key_notice(answer.notice, now_, out);
        deliver(n, out);
      });
    }
    const time_point wake = key_.next_wakeup(now_);
    if (wake >= key_woken_) return;
    key_woken_ = wake;
    at(std::max(wake, now_), [this, wake] {
      if (key_woken_ != wake) return;
      key_woken_ = time_point::max();
      with_key([&](auto& out) { key_.advance(now_, out); });
    });
  }

  setup setup_;
  std::mt19937_64 random_;
  time_point now_ = start;
  key_machine key_;
  time_point key_woken_ = time_point::max();
  std::vector<node> nodes_;
  std::priority_queue<event> events_;
  std::uint64_t number_ = 0;
  ticket tickets_ = 0;
};

/// The most that `amount` sums to in any window of 60 s.
template <class Amount>
std::int64_t fullest_window(const std::vector<arrival>& arrivals, Amount amount) {
  std::int64_t most = 0;
  std::int64_t sum = 0;
  size_t oldest = 0;
  for (const arrival& a : arrivals) {
    sum += amount(a);
    while (arrivals[oldest].at <= a.at - window) sum -= amount(arrivals[oldest++]);
    most = std::max(most, sum);
  }
  return most;
}

duration longest_gap(const std::vector<time_point>& grants) {
  duration longest{};
  for (size_t i = 1; i < grants.size(); ++i) longest = std::max(longest, grants[i] - grants[i - 1]);
  return std::max(longest, saturation::start + run_time - grants.back());
}

/// Part of the limit used, from the first full window on.
template <class Amount>
double use(const std::vector<arrival>& arrivals, std::int64_t limit, Amount amount) {
  double sum = 0;
  for (const arrival& a : arrivals) {
    if (a.at > saturation::start + window && a.at <= saturation::start + run_time)
      sum += static_cast<double>(amount(a));
  }
  return sum / (static_cast<double>(limit) * static_cast<double>((run_time - window) / window));
}

std::int64_t one(const arrival& a) {
  return a.permits;
}
std::int64_t tokens(const arrival& a) {
  return a.tokens;
}

void check(const setup& s) {
  const std::int64_t limit = s.limits.rpm;
  SCOPED_TRACE("rpm " + std::to_string(limit) + ", nodes " + std::to_string(s.nodes) + ", seed " +
               std::to_string(s.seed));
  saturation world(s);
  world.run();
  EXPECT_LE(fullest_window(world.arrivals, one), limit);
  EXPECT_GE(use(world.arrivals, limit, one), 0.97);
  const duration allowed = std::max<duration>(1s, duration(window * 3 / 2) / limit);
  EXPECT_LE(longest_gap(world.grants), allowed + 3 * s.delay);
}

TEST(DispatcherSaturation, UsesTheLimitEvenlyAndNeverExceedsIt) {
  for (const std::int64_t limit : {5, 20, 60, 600, 10000}) check({.limits = rpm(limit), .seed = 41});
}

TEST(DispatcherSaturation, HoldsWhenEverythingTakesItsTime) {
  for (const std::int64_t limit : {5, 20, 60, 600, 10000}) {
    for (const std::uint64_t seed : {42U, 43U}) {
      check({.limits = rpm(limit), .seed = seed, .delay = 20ms, .network = margin});
    }
  }
}

TEST(DispatcherSaturation, HoldsWithTwoNodesWhichShareAlike) {
  for (const std::int64_t limit : {5, 20, 60, 600, 10000}) {
    setup s{.limits = rpm(limit), .nodes = 2, .seed = 44, .delay = 5ms, .network = 100ms};
    check(s);
    saturation world(s);
    world.run();
    const double all = world.granted_to[0] + world.granted_to[1];
    EXPECT_NEAR(world.granted_to[0] / all, 0.5, 0.1) << limit;
  }
}

TEST(DispatcherSaturation, TokensAreLimitedAsExactly) {
  for (const std::uint64_t seed : {45U, 46U}) {
    for (const size_t nodes : {1U, 2U}) {
      SCOPED_TRACE(seed);
      setup s{.limits = tpm(100'000), .nodes = nodes, .seed = seed, .delay = 5ms, .network = 100ms};
      s.min_tokens = 200;
      s.max_tokens = 3000;
      saturation world(s);
      world.run();
      EXPECT_LE(fullest_window(world.arrivals, tokens), s.limits.tpm);
      EXPECT_GE(use(world.arrivals, s.limits.tpm, tokens), 0.95);
      EXPECT_LE(longest_gap(world.grants), 4500ms);  // the largest is worth 1.8 s of the limit
    }
  }
}

TEST(DispatcherSaturation, ConcurrencyIsNeverExceeded) {
  key_limits limits;
  limits.concurrency = 8;
  saturation world({.limits = limits, .nodes = 2, .seed = 47, .delay = 2ms});
  world.run();
  // A call takes 0.2 to 1.2 s, 0.7 s on average: eight at a time are 3,400 in five minutes.
  EXPECT_LE(world.grants.size(), 3500U);
  EXPECT_GE(world.grants.size(), 3000U);
}

}  // namespace
}  // namespace millrace::engine
