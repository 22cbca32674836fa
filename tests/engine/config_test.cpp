#include "engine/config.hpp"

#include <filesystem>
#include <fstream>
#include <map>

#include <gmock/gmock.h>
#include <unistd.h>

#include "engine/duration_text.hpp"

namespace millrace::engine {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

environment variables(std::map<std::string, std::string> values) {
  return [values = std::move(values)](const std::string& name) -> std::optional<std::string> {
    const auto it = values.find(name);
    if (it == values.end()) return std::nullopt;
    return it->second;
  };
}

config_ptr parse(const std::string& yaml, std::map<std::string, std::string> env = {}) {
  return parse_config(yaml, "c.yaml", variables(std::move(env)));
}

/// What parse_config says about a bad file; empty when it is accepted.
std::string complaint(const std::string& yaml, std::map<std::string, std::string> env = {}) {
  try {
    parse(yaml, std::move(env));
  } catch (const config_error& e) {
    return e.what();
  }
  return {};
}

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

const std::string two_providers = R"(providers:
  openai:
    kind: openai
    base_url: https://api.openai.com/v1/
    timeouts: { first_byte: 5s }
    breaker: { open: 300s }
    keys:
      - { id: openai-1, secret: sk-one, rpm: 10000, tpm: 2000000, rpd: 1000000, concurrency: 500 }
      - { id: openai-2, secret: sk-two, tpm_input: 10, tpm_output: 20 }
  local:
    base_url: http://[::1]:8000
    private: true
    keys: [ { id: k, secret: none } ]
models:
  gpt-4o-mini:
    strategy: speed
    targets:
      - { provider: openai, model: gpt-4o-mini, input_usd: 0.15, output_usd: 0.60, quality: 0.92, weight: 2 }
      - { provider: local, model: "llama:8b" }
    fallbacks: [gpt-4o]
    cache: { any_temperature: true, ttl: 2h, enabled: false }
    coalesce: true
  gpt-4o:
    targets: [ { provider: openai, model: gpt-4o } ]
)";

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
        drain_timeout: 0s, cors_origins: ["*", "https://a.example:444"] }
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
      EXPECT_THAT(e.what(), AllOf(HasSubstr(path), HasSubstr("cannot be read")));
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

// --- bad files -----------------------------------------------------------------------------------

struct bad_file {
  const char* yaml;
  int line;
  const char* key;   ///< the path that the message names
  const char* says;  ///< a part of the message
};

class bad_files : public testing::TestWithParam<bad_file> {};

TEST_P(bad_files, are_refused_with_line_key_and_reason) {
  const bad_file& bad = GetParam();
  const std::string said = complaint(bad.yaml);
  EXPECT_THAT(said, testing::StartsWith("c.yaml:" + std::to_string(bad.line) + ": " + bad.key)) << bad.yaml;
  EXPECT_THAT(said, HasSubstr(bad.says)) << bad.yaml;
}

#define PROVIDER "providers:\n  p:\n    base_url: http://h/v1\n    keys: [ { id: a, secret: s } ]\n"

INSTANTIATE_TEST_SUITE_P(
    structure, bad_files,
    testing::Values(
        bad_file{"", 1, "is empty", "is empty"}, bad_file{"# nothing\n", 1, "is empty", "is empty"},
        bad_file{"node: {\n", 2, "this is not YAML", "map flow"},
        bad_file{"node:\n\tid: x\n", 2, "this is not YAML", ""},
        bad_file{"just text", 1, "expected a mapping", ""}, bad_file{"- a\n", 1, "expected a mapping", ""},
        bad_file{"node: { id: a }\n---\nnode: { id: b }\n", 2, "a second document", ""},
        bad_file{"node: { id: a }\n\nnode: { id: b }\n", 3, "node: is given twice", "line 1"},
        bad_file{",node: {}\n", 1, "a second document begins here, or something that is not YAML", ""},
        bad_file{"[a]: 1\n", 1, "a key must be", ""},
        bad_file{"jobs: {}\n", 1, "jobs: this version knows no such key", "known here: node"},
        bad_file{"node: {}\nprovider: {}\n", 2, "provider: ", "did you mean `providers`?"},
        bad_file{"http:\n  lisen: 127.0.0.1:1\n", 2, "http.lisen: ", "did you mean `listen`?"},
        bad_file{"http: 8080\n", 1, "http: expected a mapping", ""},
        bad_file{"node: { id: }\n", 1, "node.id: expected a text, found nothing", ""},
        bad_file{"node: { id: [x] }\n", 1, "node.id: expected a text, found a list", ""},
        bad_file{"node: { id: \"a b\" }\n", 1, "node.id: is not a name", ""},
        bad_file{"node: { data_dir: \"\" }\n", 1, "node.data_dir: is empty", ""}));

INSTANTIATE_TEST_SUITE_P(
    units, bad_files,
    testing::Values(
        bad_file{"http: { header_timeout: 10 }\n", 1, "http.header_timeout: \"10\" is not a duration",
                 "ms, s, m, h"},
        bad_file{"http: { drain_timeout: 0 }\n", 1, "http.drain_timeout: \"0\" is not a duration", ""},
        bad_file{"http: { idle_timeout: 10 s }\n", 1, "http.idle_timeout: ", "not a duration"},
        bad_file{"http: { idle_timeout: 1.5s }\n", 1, "http.idle_timeout: ", "not a duration"},
        bad_file{"http: { idle_timeout: -1s }\n", 1, "http.idle_timeout: ", "not a duration"},
        bad_file{"http: { idle_timeout: 10000d }\n", 1, "http.idle_timeout: ", "out of range"},
        bad_file{"http: { header_timeout: 0s }\n", 1, "http.header_timeout: ", "out of range"},
        bad_file{"http: { max_body: 32MB }\n", 1, "http.max_body: \"32MB\" is not a size", "KiB, MiB or GiB"},
        bad_file{"http: { max_body: 33554432 }\n", 1, "http.max_body: ", "not a size"},
        bad_file{"http: { max_body: 0 }\n", 1, "http.max_body: ", "not a size"},
        bad_file{"http: { max_body: 0KiB }\n", 1, "http.max_body: ", "out of range"},
        bad_file{"http: { threads: 1.5 }\n", 1, "http.threads: \"1.5\" is not a whole number", ""},
        bad_file{"http: { threads: -1 }\n", 1, "http.threads: ", "out of range"},
        bad_file{"http: { max_connections: 99999999999999999999 }\n", 1,
                 "http.max_connections: ", "out of range"},
        bad_file{"log: { access: yes }\n", 1, "log.access: ", "neither true nor false"},
        bad_file{"log: { level: inof }\n", 1, "log.level: \"inof\" is none of", "did you mean `info`?"},
        bad_file{"breaker: { failure_ratio: 0 }\n", 1, "breaker.failure_ratio: ", "above 0"},
        bad_file{"breaker: { failure_ratio: .nan }\n", 1, "breaker.failure_ratio: ", "not a number"},
        bad_file{"retry: { budget: 1.1 }\n", 1, "retry.budget: ", "from 0 to 1"},
        bad_file{"retry:\n  base: 20s\n", 2, "retry.base: ", "`cap` must not be below `base`"},
        bad_file{"limits: { headroom: high }\n", 1, "limits.headroom: ", "not a number"},
        bad_file{"queue: { weights: { urgent: 1 } }\n", 1, "queue.weights.urgent: ", "known here: priority"},
        bad_file{"queue: { weights: { batch: 0 } }\n", 1, "queue.weights.batch: ", "from 1 to 1000"},
        bad_file{"cache: { semantic: {} }\n", 1, "cache.semantic: ", "known here: exact"},
        bad_file{"tiers:\n  gold: urgent\n", 2, "tiers.gold: \"urgent\" is none of", ""}));

INSTANTIATE_TEST_SUITE_P(
    addresses, bad_files,
    testing::Values(
        bad_file{"http: { listen: 8080 }\n", 1, "http.listen: must be an IP address", ""},
        bad_file{"http: { listen: \"127.0.0.1:\" }\n", 1, "http.listen: must be", ""},
        bad_file{"http: { listen: 127.0.0.1:65536 }\n", 1, "http.listen: must be", ""},
        bad_file{"http: { listen: \"::1:80\" }\n", 1, "http.listen: must be", ""},
        bad_file{"http: { listen: example.com:80 }\n", 1, "http.listen: must be", ""},
        bad_file{"node: {}\nhttp:\n  listen: 0.0.0.0:8080\n", 3, "http.listen: without `auth`", "127.0.0.1"},
        bad_file{"http: { cors_origins: [\"https://a/\"] }\n", 1, "http.cors_origins[0]: an origin is", ""},
        bad_file{"http: { cors_origins: \"*\" }\n", 1, "http.cors_origins: expected a list", ""}));

INSTANTIATE_TEST_SUITE_P(
    clients, bad_files,
    testing::Values(bad_file{"auth:\n", 1, "auth: `keys` is missing", ""},
                    bad_file{"auth: { keys: [] }\n", 1, "auth.keys: is empty", "remove `auth`"},
                    bad_file{"auth: { keys: [ { secret: s } ] }\n", 1, "auth.keys[0]: `name` is missing", ""},
                    bad_file{"auth:\n  keys:\n    - { name: a, secret: s }\n    - { name: a, secret: t }\n",
                             4, "auth.keys[1].name: another client", ""},
                    bad_file{"auth:\n  keys:\n    - { name: a, secret: s }\n    - { name: b, secret: s }\n",
                             4, "auth.keys[1].secret: the client a has the same secret", ""},
                    bad_file{"auth: { keys: [ { name: a, secret: s, tier: gold } ] }\n", 1,
                             "auth.keys[0].tier: ", "basic, enterprise, free, pro"},
                    bad_file{"auth: { keys: [ { name: a, secret: s, rpm: 0 } ] }\n", 1,
                             "auth.keys[0].rpm: ", "from 1 to"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${env:NOPE}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "variable NOPE is not set"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${file:/no/such/file}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "/no/such/file cannot be read"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${file:/}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "cannot be read"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${vault:x}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "must be ${env:NAME} or ${file:/path}"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${env:X\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "no closing"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"s\\n\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "line break"}));

INSTANTIATE_TEST_SUITE_P(
    providers, bad_files,
    testing::Values(
        bad_file{"providers: {}\n", 1, "providers: names no provider", ""},
        bad_file{"providers:\n  p: { base_url: http://h }\n", 2, "providers.p: `keys` is missing", ""},
        bad_file{"providers:\n  p:\n    keys: [ { id: a, secret: s } ]\n", 2,
                 "providers.p: `base_url` is missing", ""},
        bad_file{"providers: { p: { base_url: http://h, keys: [] } }\n", 1, "providers.p.keys: is empty", ""},
        bad_file{"providers: { \"a/b\": { base_url: http://h, keys: [] } }\n", 1,
                 "providers.a/b: a provider's name", ""},
        bad_file{"providers: { p: { kind: gemini, base_url: http://h, keys: [] } }\n", 1,
                 "providers.p.kind: ", "none of openai"},
        bad_file{"providers: { p: { base_url: ftp://h, keys: [] } }\n", 1,
                 "providers.p.base_url: must be http", ""},
        bad_file{"providers: { p: { base_url: \"http://\", keys: [] } }\n", 1,
                 "providers.p.base_url: must be http", ""},
        bad_file{"providers: { p: { base_url: \"http://h:0\", keys: [] } }\n", 1,
                 "providers.p.base_url: has a port", ""},
        bad_file{"providers: { p: { base_url: \"http://u:p@h\", keys: [] } }\n", 1,
                 "providers.p.base_url: must not hold credentials", ""},
        bad_file{"providers: { p: { base_url: \"http://h/?a=b\", keys: [] } }\n", 1,
                 "providers.p.base_url: must not hold a query", ""},
        bad_file{PROVIDER "      \n    timeout: { connect: 1s }\n", 6,
                 "providers.p.timeout: ", "did you mean `timeouts`?"},
        bad_file{PROVIDER "    timeouts: { total: 600 }\n", 5,
                 "providers.p.timeouts.total: ", "not a duration"},
        bad_file{PROVIDER "    breaker: { open: 0s }\n", 5, "providers.p.breaker.open: ", "out of range"},
        bad_file{"providers:\n  p:\n    base_url: http://h\n    keys:\n      - { id: a, secret: s }\n"
                 "      - { id: a, secret: t }\n",
                 6, "providers.p.keys[1].id: another key", ""},
        bad_file{"providers: { p: { base_url: http://h, keys: [ { id: a, secret: s, tpm: 1, tpm_input: 1 } ] "
                 "} }\n",
                 1, "providers.p.keys[0].tpm: stands for input and output", ""},
        bad_file{"providers: { p: { base_url: http://h, keys: [ { id: a, secret: s, rpm: abc } ] } }\n", 1,
                 "providers.p.keys[0].rpm: \"abc\" is not a whole number", ""},
        bad_file{"providers: { p: { base_url: http://h, keys: [ { id: a } ] } }\n", 1,
                 "providers.p.keys[0]: `secret` is missing", ""}));

INSTANTIATE_TEST_SUITE_P(
    models, bad_files,
    testing::Values(
        bad_file{"models: { m: { targets: [] } }\n", 1, "models: needs `providers`", ""},
        bad_file{PROVIDER "models: {}\n", 5, "models: names no model", ""},
        bad_file{PROVIDER "models:\n  m: {}\n", 6, "models.m: `targets` is missing", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [] }\n", 6, "models.m.targets: is empty", ""},
        bad_file{PROVIDER "models:\n  \"p/*\": { targets: [ { provider: p, model: x } ] }\n", 6,
                 "models.p/*: a model's name", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: q, model: x } ] }\n", 6,
                 "models.m.targets[0].provider: \"q\" is none of p", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p } ] }\n", 6,
                 "models.m.targets[0]: `model` is missing", ""},
        bad_file{PROVIDER
                 "models:\n  m: { targets: [ { provider: p, model: x }, { provider: p, model: x } ] }\n",
                 6, "models.m.targets[1]: the same provider and model", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x, quality: 2 } ] }\n", 6,
                 "models.m.targets[0].quality: ", "from 0 to 1"},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x, weight: 0 } ] }\n", 6,
                 "models.m.targets[0].weight: ", "above 0"},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x, input_usd: -1 } ] }\n", 6,
                 "models.m.targets[0].input_usd: ", "from 0"},
        bad_file{PROVIDER "models:\n  m: { strategy: cheap, targets: [ { provider: p, model: x } ] }\n", 6,
                 "models.m.strategy: ", "none of cost"},
        bad_file{PROVIDER
                 "models:\n  mini:\n    targets: [ { provider: p, model: x } ]\n    fallbacks: [mimi]\n",
                 8, "models.mini.fallbacks[0]: there is no model of this name; did you mean `mini`?", ""},
        bad_file{PROVIDER "models:\n  m:\n    targets: [ { provider: p, model: x } ]\n    fallbacks: [m]\n",
                 8, "models.m.fallbacks[0]: a model cannot be its own", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x } ], cache: { ttl: 60 } }\n", 6,
                 "models.m.cache.ttl: ", "not a duration"}));
#undef PROVIDER

TEST(config, oversized_and_explosive_files_are_refused) {
  EXPECT_THAT(complaint(std::string(2 << 20, '#')), HasSubstr("larger than 1MiB"));
  EXPECT_NE(complaint(std::string(100'000, '[')), "");
  std::string bomb = "node: &a [x,x,x,x,x,x,x,x,x,x]\n";
  for (char name = 'b'; name <= 'z'; ++name) {
    const std::string before = std::string("*") + static_cast<char>(name - 1);
    bomb += std::string(1, name) + ": &" + name + " [" + before + "," + before + "," + before + "]\n";
  }
  EXPECT_NE(complaint(bomb), "");
}

TEST(config, a_large_file_of_distinct_clients_is_accepted) {
  std::string yaml = "auth:\n  keys:\n";
  for (int i = 0; i < 5000; ++i) {
    yaml += "    - { name: c" + std::to_string(i) + ", secret: s" + std::to_string(i) + " }\n";
  }
  EXPECT_EQ(parse(yaml)->clients.size(), 5000u);
}

// --- without a file, and names without configured models -----------------------------------------

TEST(default_config, takes_the_providers_whose_keys_the_environment_holds) {
  const auto c = default_config(variables({{"OPENAI_API_KEY", "sk-env"}}));
  EXPECT_EQ(c->source, "embedded default");
  EXPECT_FALSE(c->wants_simulator);
  EXPECT_TRUE(c->open);
  ASSERT_EQ(c->providers.size(), 1u);
  EXPECT_EQ(c->providers[0].name, "openai");
  EXPECT_EQ(c->providers[0].host, "api.openai.com");
  EXPECT_EQ(c->providers[0].keys[0].id, "openai-1");
  EXPECT_EQ(c->providers[0].keys[0].key.reveal(), "sk-env");
  EXPECT_EQ(c->names->text(c->models[0].targets[0].name), "breaker/openai/*");
}

TEST(default_config, without_keys_asks_for_the_simulator) {
  EXPECT_TRUE(default_config(variables({}))->wants_simulator);
  EXPECT_TRUE(default_config(variables({{"OPENAI_API_KEY", ""}}))->wants_simulator);
  EXPECT_TRUE(parse("log: { level: warn }")->wants_simulator);
  EXPECT_FALSE(parse("log: { level: warn }", {{"OPENAI_API_KEY", "k"}})->wants_simulator);
}

TEST(default_config, refuses_a_key_that_no_header_can_carry) {
  try {
    default_config(variables({{"OPENAI_API_KEY", "CANARY\r\nx: y"}}));
    ADD_FAILURE();
  } catch (const config_error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("OPENAI_API_KEY"), Not(HasSubstr("CANARY"))));
  }
}

TEST(with_simulator, answers_any_model_name) {
  const auto base = default_config(variables({}));
  const auto c = with_simulator(*base, 4321);
  EXPECT_EQ(c->version, base->version);
  ASSERT_EQ(c->providers.size(), 1u);
  EXPECT_EQ(c->providers[0].name, "simulator");
  EXPECT_EQ(c->providers[0].base_url, "http://127.0.0.1:4321/v1");
  EXPECT_EQ(c->providers[0].port, 4321);
  EXPECT_NE(c->providers[0].keys[0].name, no_name);
  for (const std::string name : {"gpt-4o-mini", "claude-x", "anything", "a/b"}) {
    const auto found = find_model(*c, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->upstream_model, name);
    EXPECT_EQ(c->models[found->model].name, "simulator/*");
  }
  EXPECT_EQ(find_model(*c, "simulator/x")->upstream_model, "x");
  EXPECT_FALSE(find_model(*c, ""));
}

TEST(find_model, knows_the_configured_names_only) {
  const auto c = parse(two_providers);
  EXPECT_EQ(find_model(*c, "gpt-4o")->model, 1u);
  EXPECT_EQ(find_model(*c, "gpt-4o")->upstream_model, "");
  EXPECT_FALSE(find_model(*c, "gpt-5"));
  EXPECT_FALSE(find_model(*c, "openai/gpt-4o"));
}

TEST(find_model, goes_by_prefix_without_configured_models) {
  const auto c = parse(
      "providers:\n"
      "  openai: { base_url: http://h, keys: [ { id: a, secret: s } ] }\n"
      "  local: { base_url: http://l, keys: [ { id: a, secret: s } ] }\n");
  for (const std::string name :
       {"gpt-5", "chatgpt-4o-latest", "text-embedding-3-small", "dall-e-3", "o1", "o3-mini"}) {
    const auto found = find_model(*c, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->model, 0u);
    EXPECT_EQ(found->upstream_model, name);
  }
  EXPECT_EQ(find_model(*c, "local/llama/8b")->model, 1u);
  EXPECT_EQ(find_model(*c, "local/llama/8b")->upstream_model, "llama/8b");
  EXPECT_EQ(find_model(*c, "openai/other")->upstream_model, "other");
  for (const std::string name : {"llama", "omega", "o", "gpt", "claude-3", "nobody/x", "local/", "/x", ""}) {
    EXPECT_FALSE(find_model(*c, name)) << name;
  }
  EXPECT_FALSE(find_model(*c, "gpt-" + std::string(300, 'x')));
}

// --- units ---------------------------------------------------------------------------------------

TEST(duration_text, reads_back_what_it_writes) {
  for (const duration d :
       {duration(1ms), duration(90s), duration(2min), duration(25h), duration(48h), duration(0s)}) {
    EXPECT_EQ(parse_duration(duration_text(d)), d);
  }
  EXPECT_EQ(duration_text(2min), "2m");
  EXPECT_EQ(duration_text(48h), "2d");
  EXPECT_EQ(size_text(3LL << 30), "3GiB");
  EXPECT_EQ(parse_size("5MiB"), 5 << 20);
}

TEST(duration_text, refuses_what_does_not_fit) {
  EXPECT_FALSE(parse_duration("9223372036854775807d"));
  EXPECT_FALSE(parse_duration("99999999999999999999s"));
  EXPECT_FALSE(parse_size("9223372036854775807KiB"));
  for (const char* text : {"", "s", "+1s", "1", "1S", "1ss", " 1s", "1s ", "0x1s"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace millrace::engine
