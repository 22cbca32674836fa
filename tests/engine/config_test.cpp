#include "engine/config.hpp"

#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <unistd.h>

#include "tests/engine/config_texts.hpp"

namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

/// A directory of this test's own, removed at the end.
class scratch_directory {
 public:
  scratch_directory() {
    std::string name = (std::filesystem::temp_directory_path() / "millrace-config-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~scratch_directory() { std::filesystem::remove_all(path_); }
  scratch_directory(const scratch_directory&) = delete;
  scratch_directory& operator=(const scratch_directory&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const auto file = path_ / name;
    std::ofstream(file, std::ios::binary) << text;
    return file.string();
  }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

TEST(config, defaults_are_those_of_the_contract) {
  const auto c = parse("log: {}");
  EXPECT_EQ(c->version, 1u);
  EXPECT_EQ(c->node.id, "n1");
  EXPECT_EQ(c->node.data_dir, "./data");
  EXPECT_EQ(c->http.host, "127.0.0.1");
  EXPECT_EQ(c->http.port, 8080);
  EXPECT_EQ(c->http.max_body_bytes, 32 << 20);
  EXPECT_EQ(c->http.max_connections, 20000);
  EXPECT_EQ(c->http.header_timeout, 10s);
  EXPECT_EQ(c->http.idle_timeout, 75s);
  EXPECT_EQ(c->http.drain_timeout, 30s);
  EXPECT_EQ(c->http.ping_interval, 15s);
  EXPECT_EQ(c->log.level, "info");
  EXPECT_TRUE(c->log.access);
  EXPECT_EQ(c->tiers, (std::unordered_map<std::string, queue_class>{{"enterprise", queue_class::priority},
                                                                    {"pro", queue_class::priority},
                                                                    {"basic", queue_class::standard},
                                                                    {"free", queue_class::batch}}));
  EXPECT_EQ(c->cache.ttl, 1h);
  EXPECT_EQ(c->cache.memory_bytes, 256LL << 20);
  EXPECT_EQ(c->cache.disk_bytes, 4LL << 30);
  EXPECT_EQ(c->cache.shards, 16);
  EXPECT_EQ(c->breaker, (breaker_config{5, 0.5, 10, 30s, 60s}));
  EXPECT_EQ(c->retry.attempts, 3);
  EXPECT_EQ(c->retry.base, 250ms);
  EXPECT_EQ(c->retry.cap, 10s);
  EXPECT_EQ(c->retry.budget, 0.1);
  EXPECT_EQ(c->limits.headroom, 0.8);
  EXPECT_EQ(c->limits.margin, 500ms);
  EXPECT_EQ(c->limits.quarantine, 10min);
  EXPECT_EQ(c->queue.weights, (std::array<int, 3>{10, 5, 1}));
  EXPECT_EQ(c->queue.max_wait, 30s);
  EXPECT_EQ(c->queue.max_waiting, 10000);
}

TEST(config, every_general_key_is_read) {
  const auto c = parse(R"(
node: { id: n7, data_dir: /var/lib/x }
http: { listen: "[::1]:0", threads: 3, max_body: 1MiB, max_connections: 7, header_timeout: 1s, idle_timeout: 2m,
        drain_timeout: 0s, ping_interval: 7s, cors_origins: ["*", "https://a.example:444"] }
log: { level: debug, access: false }
tiers: { gold: priority, tin: batch }
cache: { exact: { ttl: 1d, memory: 1GiB, disk: 2GiB, shards: 4 } }
breaker: { consecutive_failures: 2, failure_ratio: 0.25, min_calls: 4, window: 10s, open: 5m }
retry: { attempts: 5, base: 0ms, cap: 1s, budget: 0 }
limits: { headroom: 1, margin: 1s, quarantine: 1h }
queue: { weights: { priority: 3, batch: 2 }, max_wait: 100ms, max_waiting: 0 }
)");
  EXPECT_EQ(c->node.id, "n7");
  EXPECT_EQ(c->node.data_dir, "/var/lib/x");
  EXPECT_EQ(c->http.host, "::1");
  EXPECT_EQ(c->http.port, 0);
  EXPECT_EQ(c->http.threads, 3u);
  EXPECT_EQ(c->http.max_body_bytes, 1 << 20);
  EXPECT_EQ(c->http.max_connections, 7);
  EXPECT_EQ(c->http.header_timeout, 1s);
  EXPECT_EQ(c->http.idle_timeout, 2min);
  EXPECT_EQ(c->http.drain_timeout, 0s);
  EXPECT_EQ(c->http.ping_interval, 7s);
  EXPECT_EQ(c->http.cors_origins, (std::vector<std::string>{"*", "https://a.example:444"}));
  EXPECT_EQ(c->log.level, "debug");
  EXPECT_FALSE(c->log.access);
  EXPECT_EQ(c->tiers.size(), 2u);
  EXPECT_EQ(c->cache.ttl, 24h);
  EXPECT_EQ(c->cache.memory_bytes, 1LL << 30);
  EXPECT_EQ(c->cache.disk_bytes, 2LL << 30);
  EXPECT_EQ(c->cache.shards, 4);
  EXPECT_EQ(c->breaker, (breaker_config{2, 0.25, 4, 10s, 300s}));
  EXPECT_EQ(c->retry.attempts, 5);
  EXPECT_EQ(c->retry.base, 0ms);
  EXPECT_EQ(c->retry.cap, 1s);
  EXPECT_EQ(c->retry.budget, 0);
  EXPECT_EQ(c->limits.headroom, 1);
  EXPECT_EQ(c->limits.margin, 1s);
  EXPECT_EQ(c->limits.quarantine, 1h);
  EXPECT_EQ(c->queue.weights, (std::array<int, 3>{3, 5, 2}));
  EXPECT_EQ(c->queue.max_wait, 100ms);
  EXPECT_EQ(c->queue.max_waiting, 0);
}

TEST(config, providers_and_models_are_read_in_order) {
  const auto c = parse(two_providers);
  ASSERT_EQ(c->providers.size(), 2u);
  const provider_config& openai = c->providers[0];
  EXPECT_EQ(openai.base_url, "https://api.openai.com/v1");
  EXPECT_TRUE(openai.tls);
  EXPECT_EQ(openai.host, "api.openai.com");
  EXPECT_EQ(openai.port, 443);
  EXPECT_EQ(openai.base_path, "/v1");
  EXPECT_EQ(openai.timeouts.first_byte, 5s);
  EXPECT_EQ(openai.timeouts.total, 600s);
  EXPECT_EQ(openai.breaker, (breaker_config{5, 0.5, 10, 30s, 300s}));
  EXPECT_EQ(openai.keys[0].limits, (key_limits{10000, 2000000, unlimited, unlimited, 1000000, 500}));
  EXPECT_EQ(openai.keys[1].limits, (key_limits{unlimited, unlimited, 10, 20, unlimited, unlimited}));
  EXPECT_EQ(openai.keys[0].key.reveal(), "sk-one");
  const provider_config& local = c->providers[1];
  EXPECT_FALSE(local.tls);
  EXPECT_EQ(local.host, "::1");
  EXPECT_EQ(local.port, 8000);
  EXPECT_EQ(local.base_path, "");
  EXPECT_TRUE(local.private_data);
  ASSERT_EQ(c->models.size(), 2u);
  const model_config& mini = c->models[0];
  EXPECT_EQ(mini.strategy, strategy::speed);
  ASSERT_EQ(mini.targets.size(), 2u);
  EXPECT_EQ(mini.targets[0].output_usd, 0.60);
  EXPECT_EQ(mini.targets[0].weight, 2);
  EXPECT_EQ(mini.targets[1].provider, 1u);
  EXPECT_EQ(mini.targets[1].quality, 0.5);
  EXPECT_EQ(mini.fallback_models, std::vector<size_t>{1});
  EXPECT_TRUE(mini.cache.any_temperature);
  EXPECT_FALSE(mini.cache.enabled);
  EXPECT_EQ(mini.cache.ttl, 2h);
  EXPECT_TRUE(mini.coalesce);
  EXPECT_EQ(c->models[1].strategy, strategy::cost);
  EXPECT_FALSE(c->models_by_prefix);
  EXPECT_FALSE(c->wants_simulator);
}

TEST(config, a_model_degrades_as_it_says) {
  const auto c = parse(R"(providers: { p: { base_url: http://h, keys: [ { id: a, secret: s } ] } }
models:
  m: { targets: [ { provider: p, model: x } ], degrade: { stale: 24h, builtin: true, template: "Try later." } }
  n: { targets: [ { provider: p, model: x } ] }
)");
  EXPECT_EQ(c->models[0].degrade, (degrade_config{24h, true, "Try later."}));
  EXPECT_EQ(c->models[1].degrade, degrade_config{});
}

TEST(config, streams_are_asked_for_usage_unless_the_provider_would_refuse) {
  const auto asks = [](const std::string& options) {
    return parse("providers: { p: { " + options +
                 ", keys: [ { id: a, secret: s } ] } }\n"
                 "models: { m: { targets: [ { provider: p, model: x } ] } }\n")
        ->providers[0]
        .stream_usage;
  };
  EXPECT_TRUE(asks("base_url: http://h"));
  EXPECT_FALSE(asks("base_url: http://h, stream_usage: false"));
  EXPECT_FALSE(asks("base_url: https://api.mistral.ai/v1"));
  EXPECT_TRUE(asks("base_url: https://api.mistral.ai/v1, stream_usage: true"));
}

TEST(config, a_model_hedges_as_it_says) {
  const auto c = parse(R"(hedge: { budget: 0.1 }
providers: { p: { base_url: http://h, keys: [ { id: a, secret: s } ] } }
models:
  a: { targets: [ { provider: p, model: x } ] }
  b: { targets: [ { provider: p, model: x } ], hedge: true }
  c: { targets: [ { provider: p, model: x } ], hedge: { after: 800ms } }
  d: { targets: [ { provider: p, model: x } ], hedge: { enabled: false, after: 1s } }
)");
  EXPECT_EQ(c->hedge_budget, 0.1);
  EXPECT_EQ(parse(two_providers)->hedge_budget, 0.05);
  EXPECT_EQ(c->models[0].hedge, (hedge_config{false, 0s}));
  EXPECT_EQ(c->models[1].hedge, (hedge_config{true, 0s}));
  EXPECT_EQ(c->models[2].hedge, (hedge_config{true, 800ms}));
  EXPECT_FALSE(c->models[3].hedge.enabled);
}

TEST(config, a_model_has_an_upgrade) {
  const std::string head = R"(providers: { p: { base_url: http://h, keys: [ { id: a, secret: s } ] } }
models:
  big: { targets: [ { provider: p, model: x } ] }
  small: { targets: [ { provider: p, model: y } ], upgrade: )";
  const auto plain = parse(head + "{ model: big } }\n");
  EXPECT_FALSE(plain->models[0].upgrade);
  ASSERT_TRUE(plain->models[1].upgrade);
  const upgrade_config& u = *plain->models[1].upgrade;
  EXPECT_EQ(u.model_index, 0u);
  EXPECT_EQ(u.threshold, 0.8);
  EXPECT_EQ(u.confidence, (confidence_source{false, "confidence"}));
  EXPECT_FALSE(u.when_unreadable);
  EXPECT_EQ(u.max_wait, 1s);
  EXPECT_EQ(u.sample, 0);
  const auto full =
      parse(head +
            "{ model: big, threshold: 0.5, confidence: \"field:a.b\", when_unreadable: upgrade, "
            "max_wait: 0s, sample: 0.05 } }\n");
  const upgrade_config& v = *full->models[1].upgrade;
  EXPECT_EQ(v.threshold, 0.5);
  EXPECT_EQ(v.confidence, (confidence_source{false, "a.b"}));
  EXPECT_TRUE(v.when_unreadable);
  EXPECT_EQ(v.max_wait, 0s);
  EXPECT_EQ(v.sample, 0.05);
  EXPECT_TRUE(
      parse(head + "{ model: big, confidence: logprobs } }\n")->models[1].upgrade->confidence.logprobs);
}

TEST(config, without_auth_the_only_client_is_admin_and_standard) {
  const auto c = parse(two_providers);
  EXPECT_TRUE(c->open);
  ASSERT_EQ(c->clients.size(), 1u);
  EXPECT_EQ(c->clients[0].tenant, "default");
  EXPECT_EQ(c->clients[0].queue, queue_class::standard);
  EXPECT_TRUE(c->clients[0].admin);
  EXPECT_EQ(c->names->text(c->clients[0].id), "client/default");
  EXPECT_EQ(c->names->text(c->clients[0].tenant_id), "tenant/default");
}

TEST(config, clients_get_the_queue_of_their_tier) {
  const auto c = parse(R"(
http: { listen: 0.0.0.0:80 }
auth:
  keys:
    - { name: a, secret: one, tenant: acme, tier: pro, rpm: 600, tpm: 200000, admin: true }
    - { name: b, secret: two, tier: free }
    - { name: c, secret: three }
)");
  EXPECT_FALSE(c->open);
  ASSERT_EQ(c->clients.size(), 3u);
  EXPECT_EQ(c->clients[0].queue, queue_class::priority);
  EXPECT_EQ(c->clients[0].rpm, 600);
  EXPECT_EQ(c->clients[0].tpm, 200000);
  EXPECT_TRUE(c->clients[0].admin);
  EXPECT_EQ(c->clients[1].queue, queue_class::batch);
  EXPECT_EQ(c->clients[1].tenant, "b");
  EXPECT_FALSE(c->clients[1].admin);
  EXPECT_EQ(c->clients[2].queue, queue_class::standard);
  EXPECT_EQ(c->clients[2].rpm, unlimited);
}

TEST(config, localhost_is_loopback) {
  EXPECT_EQ(parse("http: { listen: localhost:81 }")->http.host, "127.0.0.1");
}

TEST(config, an_open_one_is_safe_only_where_the_node_is_bound_to_loopback) {
  const auto open = parse("http: { listen: 127.0.0.1:81 }");
  const auto closed = parse("auth: { keys: [ { name: a, secret: s } ] }");
  for (const char* bound : {"127.0.0.1", "127.1.2.3", "::1"}) EXPECT_NO_THROW(require_safe_at(*open, bound));
  for (const char* bound : {"0.0.0.0", "::", "10.0.0.1", "fe80::1"}) {
    EXPECT_NO_THROW(require_safe_at(*closed, bound));
    try {
      require_safe_at(*open, bound);
      FAIL() << bound;
    } catch (const config_error& e) {
      EXPECT_NE(std::string(e.what()).find(bound), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find("`auth`"), std::string::npos) << e.what();
    }
  }
}

TEST(config, a_tier_may_be_defined_below_the_clients_that_have_it) {
  const auto c = parse("auth: { keys: [ { name: a, secret: s, tier: gold } ] }\ntiers: { gold: batch }\n");
  EXPECT_EQ(c->clients[0].queue, queue_class::batch);
}

TEST(config, references_are_expanded_in_any_value) {
  const scratch_directory dir;
  const std::string file = dir.write("key", "sk-from-file\r\n");
  const auto c = parse(
      "node: { id: \"${env:POD}-x\" }\n"
      "http: { threads: \"${env:THREADS}\" }\n"
      "auth: { keys: [ { name: a, secret: \"${file:" +
          file + "}\" } ] }\n",
      {{"POD", "pod-3"}, {"THREADS", "2"}});
  EXPECT_EQ(c->node.id, "pod-3-x");
  EXPECT_EQ(c->http.threads, 2u);
  EXPECT_EQ(c->clients[0].key.reveal(), "sk-from-file");
}

TEST(config, what_a_reference_expands_to_is_not_expanded_again) {
  const auto c =
      parse("auth: { keys: [ { name: a, secret: \"${env:A}\" } ] }", {{"A", "${env:B}"}, {"B", "no"}});
  EXPECT_EQ(c->clients[0].key.reveal(), "${env:B}");
}

TEST(config, a_secret_may_begin_with_a_dollar) {
  for (const char* key : {"$aB3", "$", "$1A", "$A-B", "a$B"}) {
    const auto c = parse("auth: { keys: [ { name: a, secret: \"" + std::string(key) + "\" } ] }");
    EXPECT_EQ(c->clients[0].key.reveal(), key);
  }
  const auto c = parse("auth: { keys: [ { name: a, secret: \"${env:A}\" } ] }", {{"A", "$B"}});
  EXPECT_EQ(c->clients[0].key.reveal(), "$B");
}

TEST(config, names_keep_their_numbers_across_reloads) {
  const auto env = variables({});
  const auto first = parse_config(two_providers, "c.yaml", env);
  const auto second =
      parse_config("auth: { keys: [ { name: new, secret: s } ] }\n" + two_providers, "c.yaml", env, first);
  EXPECT_EQ(second->version, 2u);
  EXPECT_EQ(second->providers[0].keys[1].name, first->providers[0].keys[1].name);
  EXPECT_EQ(second->models[1].targets[0].name, first->models[1].targets[0].name);
  EXPECT_EQ(second->models[1].id, first->models[1].id);
  EXPECT_EQ(first->names->find("client/new"), no_name);
  EXPECT_NE(second->names->find("client/new"), no_name);
  EXPECT_EQ(second->names->text(first->clients[0].id), "client/default");
  EXPECT_EQ(first->names->text(first->providers[0].keys[0].name), "key/openai/openai-1");
  EXPECT_EQ(first->names->text(first->models[0].targets[1].name), "breaker/local/llama:8b");
  EXPECT_EQ(first->names->text(first->models[0].id), "model/gpt-4o-mini");
}

TEST(config, load_config_names_a_file_that_cannot_be_read) {
  const scratch_directory dir;
  for (const std::string& path : {dir.path() + "/absent.yaml", dir.path()}) {
    try {
      load_config(path, variables({}));
      ADD_FAILURE() << path;
    } catch (const config_error& e) {
      EXPECT_THAT(e.what(), testing::StartsWith(path + ": cannot be read"));
    }
  }
  EXPECT_EQ(load_config(dir.write("ok.yaml", "node: { id: x }"), variables({}))->node.id, "x");
}

TEST(config, provider_and_client_secrets_never_reach_a_message_or_the_summary) {
  const std::string canary = "CANARY-4711";
  const std::vector<std::string> bad = {
      "auth: { keys: [ { name: a, secret: CANARY-4711, rpm: 0 } ] }",
      "auth: { keys: [ { name: a, secret: \"CANARY-4711 x\" } ] }",
      "auth: { keys: [ { name: a, secret: [CANARY-4711] } ] }",
      "auth: { keys: [ { name: a, secret: \"${CANARY-4711}\" } ] }",
      "auth: { keys: [ { name: a, secert: CANARY-4711 } ] }",
      "auth: { keys: [ CANARY-4711 ] }",
      "auth: { keys: { a: CANARY-4711 } }",
      "auth: { keys: [ { name: a, secret: CANARY-4711 }, { name: b, secret: CANARY-4711 } ] }",
      "auth: { keys: [ { name: a, secret: \"${env:E}\" }, { name: b, secret: \"${env:E}\" } ] }",
      "node: { id: \"${env:E} \" }",
      "http: { threads: \"${env:E}\" }",
      "log: { level: \"${env:E}\" }",
      "providers: { p: { base_url: \"https://me:CANARY-4711@host/v1\", keys: [ { id: a, secret: s } ] } }",
      "providers: { p: { base_url: \"https://host/v1?key=CANARY-4711\", keys: [ { id: a, secret: s } ] } }",
      "providers: { p: { base_url: \"CANARY-4711\", keys: [ { id: a, secret: s } ] } }",
  };
  for (const std::string& yaml : bad) {
    const std::string said = complaint(yaml, {{"E", canary}});
    EXPECT_NE(said, "") << yaml;
    EXPECT_THAT(said, Not(HasSubstr(canary))) << yaml;
  }
  const auto c = parse(
      "auth: { keys: [ { name: a, secret: CANARY-4711 } ] }\n"
      "providers: { p: { base_url: \"http://h\", keys: [ { id: k, secret: CANARY-4711, rpm: 5 } ] } }");
  EXPECT_THAT(describe(*c), AllOf(Not(HasSubstr(canary)), HasSubstr("rpm 5"), HasSubstr("1 client keys")));
}

}  // namespace
}  // namespace millrace::engine
