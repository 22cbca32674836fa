#include <tuple>

#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

using namespace engine;

// Every member of every message, so that one that is forgotten in an `inspect` is missed here: the bindings
// no longer compile when a member is added. Vectors are compared by their elements' members.
template <class T>
const T& members(const T& x) {
  return x;
}
auto members(const lease_request& x) {
  const auto& [node, permits, tokens, waiting, head, target] = x;
  return std::tuple(node, permits, tokens.input, tokens.output, waiting, head.input, head.output, target);
}
auto members(const lease_grant& x) {
  const auto& [lease, permits, tokens, life, probe] = x;
  return std::tuple(lease, permits, tokens.input, tokens.output, life, probe);
}
auto members(const lease_use& x) {
  const auto& [lease, age, permits, tokens] = x;
  return std::tuple(lease, age, permits, tokens.input, tokens.output);
}
auto members(const lease_return& x) {
  const auto& [lease, permits, tokens] = x;
  return std::tuple(lease, permits, tokens.input, tokens.output);
}
auto members(const limit_hint& x) {
  const auto& [limit_requests, requests, limit_tokens, tokens, reset_requests, reset_tokens, limit, left,
               input, output] = x;
  return std::tuple(limit_requests, requests, limit_tokens, tokens, reset_requests, reset_tokens, limit.input,
                    limit.output, left.input, left.output, input, output);
}
auto members(const key_event& x) {
  const auto& [kind, target, retry_after] = x;
  return std::tuple(kind, target, retry_after);
}
auto members(const cooldown& x) {
  const auto& [target, remaining] = x;
  return std::tuple(target, remaining);
}
auto members(const aged_use& x) {
  const auto& [age, amount] = x;
  return std::tuple(age, amount);
}
template <class T>
auto members(const std::vector<T>& list) {
  std::vector<decltype(members(list.front()))> result;
  for (const auto& x : list) result.push_back(members(x));
  return result;
}
auto members(const window_use& x) {
  const auto& [uses, soon] = x;
  return std::tuple(members(uses), soon);
}
auto members(const key_use& x) {
  const auto& [key, changes, rpm, tpm, input, output, rpd, cooldowns] = x;
  return std::tuple(key, changes, members(rpm), members(tpm), members(input), members(output), members(rpd),
                    members(cooldowns));
}
auto members(const lease_report& x) {
  const auto& [node, used, returned, finished, debt, hints, events] = x;
  return std::tuple(node, members(used), members(returned), finished, debt.input, debt.output, members(hints),
                    members(events));
}
auto members(const key_notice& x) {
  const auto& [key, cooldowns, quarantine, probe_in, fraction, next, apart, spent, in_flight] = x;
  return std::tuple(key, members(cooldowns), quarantine, probe_in, fraction, next, apart, spent, in_flight);
}
auto members(const breaker_report& x) {
  const auto& [node, successes, failures, probe, probe_unused] = x;
  return std::tuple(node, successes, failures, probe, probe_unused);
}
auto members(const breaker_notice& x) {
  const auto& [target, state, retry_in, consecutive] = x;
  return std::tuple(target, state, retry_in, consecutive);
}
auto members(const key_settings& x) {
  const auto& [limits, margin, quarantine] = x;
  const auto& [rpm, tpm, input, output, rpd, concurrency] = limits;
  return std::tuple(rpm, tpm, input, output, rpd, concurrency, margin, quarantine);
}
auto members(const breaker_settings& x) {
  const auto& [failures, ratio, calls, window, open] = x.config;
  return std::tuple(failures, ratio, calls, window, open);
}
auto members(const key_grant& x) {
  return std::tuple_cat(std::tuple(x.key), members(x.grant));
}
auto members(const probe_request& x) {
  const auto& [node] = x;
  return std::tuple(node);
}
auto members(const probe_answer& x) {
  const auto& [target, granted] = x;
  return std::tuple(target, granted);
}
auto members(const resolve_name& x) {
  const auto& [name] = x;
  return std::tuple(name);
}
auto members(const use_question& x) {
  const auto& [key] = x;
  return std::tuple(key);
}
auto members(const earlier_use& x) {
  const auto& [keys] = x;
  std::vector<decltype(members(keys.front()))> all;
  for (const auto& k : keys) all.push_back(members(k));
  return std::tuple(all);
}
auto members(const engine::weights_order& x) {
  const auto& [model, version, groups, targets] = x;
  return std::tuple(model, version, groups, targets);
}
auto members(const tick& x) {
  const auto& [epoch] = x;
  return std::tuple(epoch);
}

struct messages : testing::Test {
  actors_world w;

  /// As between nodes: a whole message, its type found by name.
  template <class T>
  void survives(const T& sent) {
    SCOPED_TRACE(caf::deep_to_string(sent));
    std::vector<char> wire;
    caf::binary_serializer sink(w.system, wire);
    auto out = caf::make_message(sent);
    ASSERT_FALSE(sink(out));
    caf::message in;
    caf::binary_deserializer source(w.system, wire);
    ASSERT_FALSE(source(in));
    EXPECT_EQ(source.remaining(), 0U);
    ASSERT_TRUE(in.match_elements<T>());
    EXPECT_TRUE(members(in.get_as<T>(0)) == members(sent));
    EXPECT_FALSE(members(T{}) == members(sent)) << "an empty message proves nothing";
  }
};

constexpr duration odd{1'234'567'891};

TEST_F(messages, OfLeasesSurviveTheWire) {
  survives(lease_request{"n1", 7, {1, 2}, 3, {4, 5}, "p/m"});
  survives(key_grant{"key/p/k1", {1ULL << 63, 10, {-1, 9}, odd, true}});
  lease_report report{"n1", {}, {}, 3, {4, 5}, {}, {}};
  report.used = {{1, odd, 2, {3, 4}}, {5, -odd, 6, {7, 8}}};
  report.returned = {{9, 10, {11, 12}}};
  report.hints = {{1, 2, 3, 4, odd, 2 * odd, {5, 6}, {7, 8}, 3 * odd, 4 * odd}};
  report.events = {{key_event_kind::rate_limited, "p/m", odd}, {key_event_kind::no_credit, "", {}}};
  survives(report);
}

TEST_F(messages, OfKeysSurviveTheWire) {
  survives(key_notice{"key/p/k1",
                      {{"p/m", odd}, {"p/n", 2 * odd}},
                      quarantine_reason::no_credit,
                      odd,
                      0.125,
                      3 * odd,
                      5 * odd,
                      7 * odd,
                      4});
  survives(key_settings{{1, 2, 3, 4, 5, unlimited}, odd, 2 * odd});
}

TEST_F(messages, OfEarlierUseSurviveTheWire) {
  const key_use use{"key/p/k1",
                    1,
                    {{{odd, 2}, {-odd, 3}}, 4},
                    {{{odd, 5}}, 6},
                    {{{odd, 7}}, 8},
                    {{{odd, 9}}, 10},
                    {{{odd, 11}}, 12},
                    {{"p/m", odd}, {"p/n", 2 * odd}}};
  survives(use_question{"key/p/k1"});
  survives(use);
  survives(earlier_use{{use, use}});
}

TEST_F(messages, OfBreakersSurviveTheWire) {
  survives(breaker_report{"n1", 1, 2, true, true});
  survives(breaker_notice{"breaker/p/m", engine::breaker_state::half_open, odd, 5});
  survives(breaker_settings{{6, 0.25, 7, odd, 2 * odd}});
  survives(probe_request{"n1"});
  survives(probe_answer{"breaker/p/m", true});
}

TEST_F(messages, OfTheDirectorySurviveTheWire) {
  survives(resolve_name{std::string("key/p/\0\xc3\xa4", 9)});
  survives(tick{~0ULL});
  survives(engine::weights_order{"m", 3, {0.5, 2}, {1, 0, 4}});
}

TEST_F(messages, ThatAreCutOffNeverArrive) {
  std::vector<char> wire;
  caf::binary_serializer sink(w.system, wire);
  auto out = caf::make_message(lease_request{"n1", 7, {1, 2}, 3, {4, 5}, "p/m"});
  ASSERT_FALSE(sink(out));
  for (std::size_t n = 0; n < wire.size(); ++n) {
    const std::vector<char> part(wire.begin(), wire.begin() + static_cast<std::ptrdiff_t>(n));
    caf::message in;
    caf::binary_deserializer source(w.system, part);
    // The library may call this a success; then the message is empty, which no actor takes.
    const bool refused = static_cast<bool>(source(in));
    EXPECT_TRUE(refused || in.empty()) << "after " << n << " bytes";
  }
}

}  // namespace
}  // namespace millrace::actors
