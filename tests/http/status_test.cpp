#include "http/status.hpp"

#include <algorithm>

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

/// Two providers, one of them with a model name that has a slash in it.
node_view a_node() {
  node_view v;
  v.config = engine::parse_config(R"(
auth: { keys: [ { name: acme, secret: canary-client } ] }
providers:
  p: { base_url: "http://a/v1", keys: [ { id: k1, secret: canary-one, rpm: 60, tpm: 1000, concurrency: 4 },
                                        { id: k2, secret: canary-two } ] }
  q: { base_url: "http://b/v1", private: true, keys: [ { id: k1, secret: canary-three, rpd: 7 } ] }
models:
  m: { targets: [ { provider: p, model: org/m }, { provider: q, model: m } ] }
)",
                                  "c.yaml", [](const std::string&) { return std::nullopt; });
  for (size_t p = 0; p < 2; ++p) {
    const auto& keys = v.config->providers[p].keys;
    for (size_t i = 0; i < keys.size(); ++i) {
      auto& k = v.dispatcher.keys.emplace_back();
      k.name = keys[i].name;
      k.provider = p;
      k.index = i;
    }
  }
  for (const auto& t : v.config->models[0].targets) v.dispatcher.targets.emplace_back().name = t.name;
  return v;
}

json status(const node_view& v) {
  return json::parse(status_body(v));
}

TEST(status, shows_each_key_by_its_id_with_the_limits_it_has) {
  auto v = a_node();
  v.dispatcher.keys[0].used.requests = 12;
  v.dispatcher.keys[0].in_flight = 3;
  v.dispatcher.keys[0].next_permit = 1500ms;
  const auto providers = status(v)["providers"];
  ASSERT_EQ(providers.size(), 2U);
  EXPECT_EQ(providers[0]["name"], "p");
  EXPECT_EQ(providers[1]["private"], true);
  const auto& first = providers[0]["keys"][0];
  EXPECT_EQ(first["id"], "k1");
  EXPECT_EQ(first["limits"], (json{{"rpm", 60}, {"tpm", 1000}, {"concurrency", 4}}));
  EXPECT_EQ(first["requests_used"], 12);
  EXPECT_EQ(first["in_flight"], 3);
  EXPECT_EQ(first["next_permit_s"], 1.5);
  EXPECT_EQ(providers[0]["keys"][1]["limits"], json::object()) << "no limit is no number";
  EXPECT_EQ(providers[1]["keys"][0]["limits"], json({{"rpd", 7}}));
}

TEST(status, says_why_a_key_is_not_used) {
  auto v = a_node();
  v.dispatcher.keys[0].cooldowns.push_back({"p/org/m", 2s});
  v.dispatcher.keys[1].quarantine = engine::quarantine_reason::no_credit;
  v.dispatcher.keys[1].cooldowns.push_back({"", 1s});
  const auto s = status(v);
  const auto& keys = s["providers"][0]["keys"];
  EXPECT_EQ(keys[0]["state"], "cooldown");
  EXPECT_EQ(keys[0]["cooldowns"][0], (json{{"target", "p/org/m"}, {"remaining_s", 2.0}}));
  EXPECT_EQ(keys[1]["state"], "quarantined");
  EXPECT_EQ(keys[1]["quarantine"], "no_credit");
  EXPECT_EQ(s["providers"][1]["keys"][0]["state"], "active");
}

TEST(status, shows_breakers_and_when_they_are_probed) {
  auto v = a_node();
  v.dispatcher.targets[0].breaker = engine::breaker_state::open;
  v.dispatcher.targets[0].retry_in = 30s;
  v.dispatcher.targets[0].consecutive_failures = 5;
  const auto breakers = status(v)["breakers"];
  ASSERT_EQ(breakers.size(), 2U);
  EXPECT_EQ(breakers[0]["target"], "p/org/m");
  EXPECT_EQ(breakers[0]["state"], "open");
  EXPECT_EQ(breakers[0]["retry_in_s"], 30.0);
  EXPECT_EQ(breakers[0]["consecutive_failures"], 5);
  EXPECT_EQ(breakers[1]["state"], "closed");
  EXPECT_FALSE(breakers[1].contains("retry_in_s"));
}

TEST(status, shows_what_waits_by_queue) {
  auto v = a_node();
  v.dispatcher.lanes[1].depth = 8;
  v.dispatcher.lanes[1].oldest = 250ms;
  const auto queues = status(v)["queues"];
  ASSERT_EQ(queues.size(), 3U);
  EXPECT_EQ(queues[0]["queue"], "priority");
  EXPECT_EQ(queues[1]["queue"], "standard");
  EXPECT_EQ(queues[1]["depth"], 8);
  EXPECT_EQ(queues[1]["oldest_s"], 0.25);
  EXPECT_EQ(queues[2]["queue"], "batch");
}

TEST(status, no_secret_is_ever_shown) {
  auto v = a_node();
  for (auto& k : v.dispatcher.keys) k.quarantine = engine::quarantine_reason::unauthorized;
  EXPECT_THAT(status_body(v), Not(HasSubstr("canary")));
  EXPECT_THAT(engine::metrics(v.config).render(gauges(v)), Not(HasSubstr("canary")));
}

TEST(status, a_key_that_the_dispatcher_does_not_know_yet_is_shown_as_configured) {
  auto v = a_node();
  v.dispatcher.keys.clear();
  v.dispatcher.targets.clear();
  const auto s = status(v);
  EXPECT_EQ(s["providers"][0]["keys"][0]["limits"]["rpm"], 60);
  EXPECT_EQ(s["breakers"], json::array());
}

TEST(gauges, every_configured_limit_of_a_key_has_its_use) {
  auto v = a_node();
  auto c = *v.config;
  c.providers[0].keys[0].limits = {
      .rpm = 1, .tpm = 2, .tpm_input = 3, .tpm_output = 4, .rpd = 5, .concurrency = 6};
  v.config = std::make_shared<engine::config>(c);
  v.dispatcher.keys[0].used = {
      .requests = 10, .tokens = 20, .input_tokens = 30, .output_tokens = 40, .day_requests = 50};
  v.dispatcher.keys[0].in_flight = 60;
  const auto g = gauges(v);
  std::vector<std::tuple<std::string, std::int64_t, std::int64_t>> seen;
  for (const auto& l : g.keys[0].limits) seen.emplace_back(l.name, l.limit, l.used);
  using testing::ElementsAre;
  using testing::FieldsAre;
  EXPECT_THAT(seen, ElementsAre(FieldsAre("rpm", 1, 10), FieldsAre("tpm", 2, 20),
                                FieldsAre("tpm_input", 3, 30), FieldsAre("tpm_output", 4, 40),
                                FieldsAre("rpd", 5, 50), FieldsAre("concurrency", 6, 60)));
}

TEST(gauges, are_what_metrics_expect) {
  auto v = a_node();
  v.dispatcher.keys[0].used.requests = 12;
  v.dispatcher.keys[0].used.tokens = 34;
  v.dispatcher.keys[0].in_flight = 2;
  v.dispatcher.keys[1].quarantine = engine::quarantine_reason::unauthorized;
  v.dispatcher.lanes[2].joined.add(7);
  v.edge.refused[static_cast<size_t>(refusal::request_too_large)] = 6;
  v.mailboxes = {{"dispatcher", 1}, {"key", 8}};
  v.edge.open = 5;
  v.edge.gone = 3;
  v.edge.stalled = 2;
  v.upstream_open = 9;
  v.upstream_idle = 4;
  const auto g = gauges(v);
  ASSERT_EQ(g.keys.size(), 3U);
  EXPECT_EQ(g.keys[0].provider, "p");
  EXPECT_EQ(g.keys[0].key, "k1");
  ASSERT_EQ(g.keys[0].limits.size(), 3U);
  EXPECT_EQ(g.keys[0].limits[0].used, 12);
  EXPECT_EQ(g.keys[0].limits[1].used, 34);
  EXPECT_EQ(g.keys[0].limits[2].used, 2);
  EXPECT_TRUE(g.keys[1].limits.empty());
  EXPECT_TRUE(g.keys[1].quarantined);
  ASSERT_EQ(g.breakers.size(), 2U);
  EXPECT_EQ(g.breakers[0].provider, "p");
  EXPECT_EQ(g.breakers[0].model, "org/m");
  const auto large = std::ranges::find(g.refusals, "request_too_large", &engine::named_count::name);
  ASSERT_NE(large, g.refusals.end());
  EXPECT_EQ(large->count, 6);
  EXPECT_EQ(g.refusals.size(), refusals);
  ASSERT_EQ(g.queues.size(), 3U);
  EXPECT_EQ(g.queues[2].joined.sum, 7U);
  EXPECT_EQ(g.queues[1].joined.sum, 0U);
  ASSERT_EQ(g.mailboxes.size(), 2U);
  EXPECT_EQ(g.mailboxes[1].name, "key");
  EXPECT_EQ(g.mailboxes[1].count, 8);
  EXPECT_EQ(g.connections, 5);
  ASSERT_EQ(g.connections_lost.size(), 2U);
  EXPECT_EQ(g.connections_lost[0].count, 3);
  EXPECT_EQ(g.connections_lost[1].count, 2);
  EXPECT_EQ(g.upstream_active, 5);
}

}  // namespace
}  // namespace millrace::http
