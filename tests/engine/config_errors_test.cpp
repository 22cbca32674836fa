#include "engine/config.hpp"

#include <gmock/gmock.h>

#include "tests/engine/config_texts.hpp"

/// Files that must not be accepted, and what is said about them.
namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::HasSubstr;

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
        bad_file{"node: {\n", 2, "this is not YAML", "map flow not found; perhaps a { or [ above"},
        bad_file{"node: {\n- a\n", 2, "this is not YAML", "perhaps a { or [ above is not closed"},
        bad_file{"node: { id: ${env:X} }\n", 1, "this is not YAML", "put quotes around ${...} inside { }"},
        bad_file{"node: { id: \"${env:X}\"\n", 2, "this is not YAML", "perhaps a { or [ above"},
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
        bad_file{"http: { ping_interval: 15 }\n", 1, "http.ping_interval: \"15\" is not a duration", ""},
        bad_file{"http: { ping_interval: 61m }\n", 1, "http.ping_interval: ", "out of range"},
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
        bad_file{"queue: { max_waiting: 100001 }\n", 1, "queue.max_waiting: ", "from 0 to 100000"},
        bad_file{"cache: { semantic: {} }\n", 1, "cache.semantic: ", "known here: exact"},
        bad_file{"usage: { keep: 12h }\n", 1, "usage.keep: ", "out of range"},
        bad_file{"usage: { keep: 400 }\n", 1, "usage.keep: ", "not a duration"},
        bad_file{"auth: { keys: [ { name: a, secret: s, budget_usd: 5 } ] }\n", 1,
                 "auth.keys[0].budget_usd: expected a mapping", ""},
        bad_file{"auth: { keys: [ { name: a, secret: s, budget_usd: {} } ] }\n", 1,
                 "auth.keys[0].budget_usd: ", "sets no bound"},
        bad_file{"auth: { keys: [ { name: a, secret: s, budget_usd: { day: -1 } } ] }\n", 1,
                 "auth.keys[0].budget_usd.day: ", "from 0"},
        bad_file{"auth: { keys: [ { name: a, secret: s, rph: 0 } ] }\n", 1, "auth.keys[0].rph: ", ""},
        bad_file{"auth: { keys: [ { name: a, secret: s, tenant: acme } ] }\ntenants: { amce: {} }\n", 2,
                 "tenants.amce: no client key has this tenant", "did you mean `acme`?"},
        bad_file{"tenants: { acme: {} }\n", 1, "tenants.acme: no client key has this tenant", "default"},
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
                             "auth.keys[0].rpm: \"0\" is out of range", "; leave it out for no limit"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${env:NOPE}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "variable NOPE is not set"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${file:/no/such/file}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "/no/such/file cannot be read"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${file:/}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "cannot be read"},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${vault:x}\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "must be \"${env:NAME}\" or \"${file:/path}\""},
                    bad_file{"auth: { keys: [ { name: a, secret: \"${env:X\" } ] }\n", 1,
                             "auth.keys[0].secret: ", "no closing"},
                    bad_file{"auth: { keys: [ { name: a, secret: $ACME_KEY } ] }\n", 1,
                             "auth.keys[0].secret: ", "did you mean \"${env:NAME}\"?"},
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
        bad_file{"providers: { p: { kind: bedrock, base_url: http://h, keys: [] } }\n", 1,
                 "providers.p.kind: ", "none of openai, anthropic, gemini, builtin"},
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
        bad_file{"providers: { p: { base_url: http://h, keys: [ { id: a, secret: s, rpm: "
                 "sk-live-0123456789abcdef } ] } }\n",
                 1, "providers.p.keys[0].rpm: \"sk-l...\" is not a whole number", ""},
        bad_file{"providers: { p: { base_url: http://h, keys: [ { id: a, secret: s, rpd: 0 } ] } }\n", 1,
                 "providers.p.keys[0].rpd: \"0\" is out of range", "; leave it out for no limit"},
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
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x } ], prompt_cache: on }\n", 6,
                 "models.m.prompt_cache: ", "is none of off, auto"},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x, context_tokens: 0 } ] }\n", 6,
                 "models.m.targets[0].context_tokens: ", "from 1"},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x, input_usd: -1 } ] }\n", 6,
                 "models.m.targets[0].input_usd: ", "from 0"},
        bad_file{PROVIDER "models:\n  m: { strategy: cheap, targets: [ { provider: p, model: x } ] }\n", 6,
                 "models.m.strategy: ", "none of cost"},
        bad_file{PROVIDER
                 "models:\n  mini:\n    targets: [ { provider: p, model: x } ]\n    fallbacks: [mimi]\n",
                 8, "models.mini.fallbacks[0]: there is no model \"mimi\"; did you mean `mini`?", ""},
        bad_file{PROVIDER
                 "models:\n  m:\n    targets: [ { provider: p, model: x } ]\n    fallbacks: [huge]\n",
                 8, "models.m.fallbacks[0]: there is no model \"huge\"; define it under `models`", ""},
        bad_file{PROVIDER "models:\n  m:\n    targets: [ { provider: p, model: x } ]\n    fallbacks: [m]\n",
                 8, "models.m.fallbacks[0]: a model cannot be its own", ""},
        bad_file{PROVIDER "models:\n  m: { targets: [ { provider: p, model: x } ], cache: { ttl: 60 } }\n", 6,
                 "models.m.cache.ttl: ", "not a duration"}));

#define MODEL PROVIDER "models:\n  m:\n    targets: [ { provider: p, model: x } ]\n"
INSTANTIATE_TEST_SUITE_P(
    degrade, bad_files,
    testing::Values(
        bad_file{MODEL "    degrade: { stale: 366d }\n", 8, "models.m.degrade.stale: ", "out of range"},
        bad_file{MODEL "    degrade: { stale: 24 }\n", 8, "models.m.degrade.stale: ", "not a duration"},
        bad_file{MODEL "    cache: { enabled: false }\n    degrade: { stale: 24h }\n", 9,
                 "models.m.degrade.stale: there is nothing stale to serve", ""},
        bad_file{MODEL "    degrade: { builtin: 1 }\n", 8, "models.m.degrade.builtin: ", ""},
        bad_file{MODEL "    degrade: { template: \"\" }\n", 8, "models.m.degrade.template: ", ""},
        bad_file{MODEL "    degrade: { templates: x }\n", 8,
                 "models.m.degrade.templates: ", "did you mean `template`?"}));
INSTANTIATE_TEST_SUITE_P(
    upgrade, bad_files,
    testing::Values(
        bad_file{MODEL "    upgrade: { threshold: 0.5 }\n", 8, "models.m.upgrade: `model` is missing", ""},
        bad_file{MODEL "    upgrade: { model: m }\n", 8, "models.m.upgrade.model: a model cannot be its own",
                 ""},
        bad_file{MODEL "    upgrade: { model: mm }\n", 8, "models.m.upgrade.model: there is no model \"mm\"",
                 "define it under `models`"},
        bad_file{
            MODEL
            "    upgrade: { model: n, threshold: 80 }\n  n: { targets: [ { provider: p, model: y } ] }\n",
            8, "models.m.upgrade.threshold: ", "from 0 to 1"},
        bad_file{
            MODEL
            "    upgrade: { model: n, confidence: high }\n  n: { targets: [ { provider: p, model: y } ] }\n",
            8, "models.m.upgrade.confidence: must be `logprobs`", "field:confidence"},
        bad_file{MODEL
                 "    upgrade: { model: n, confidence: \"field:a..b\" }\n  n: { targets: [ { provider: p, "
                 "model: y } ] }\n",
                 8, "models.m.upgrade.confidence: must be `logprobs`", ""},
        bad_file{MODEL
                 "    upgrade: { model: n, when_unreadable: ask }\n  n: { targets: [ { provider: p, model: y "
                 "} ] }\n",
                 8, "models.m.upgrade.when_unreadable: ", "keep, upgrade"}));
INSTANTIATE_TEST_SUITE_P(
    hedge, bad_files,
    testing::Values(bad_file{MODEL "    hedge: maybe\n", 8, "models.m.hedge: ", ""},
                    bad_file{MODEL "    hedge: { after: 0s }\n", 8, "models.m.hedge.after: ", "out of range"},
                    bad_file{MODEL "    hedge: { before: 1s }\n", 8, "models.m.hedge.before: ", "after"},
                    bad_file{"hedge: { budget: 5 }\n", 1, "hedge.budget: ", "from 0 to 1"}));
#undef MODEL
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

}  // namespace
}  // namespace millrace::engine
