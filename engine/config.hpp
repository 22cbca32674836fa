#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

#include "engine/call_policies.hpp"
#include "engine/complexity.hpp"
#include "engine/documents_config.hpp"
#include "engine/model_table.hpp"
#include "engine/money.hpp"
#include "engine/names.hpp"
#include "engine/secret.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

using namespace std::chrono_literals;

/// The three queues; the weights between them are configuration.
enum class queue_class : std::uint8_t { priority, standard, batch };
inline constexpr size_t queue_classes = 3;

/// How the targets of a model are ordered.
enum class strategy : std::uint8_t { cost, quality, speed, weighted, least_busy };

/// Whose weighted choices stay the same from request to request.
enum class stickiness : std::uint8_t { none, tenant, session };

/// No limit configured.
inline constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();

struct node_config {
  std::string id = "n1";
  std::string data_dir = "./data";
};

struct http_config {
  std::string host = "127.0.0.1";
  std::uint16_t port = 8080;
  unsigned threads = 0;  ///< 0: one per core
  std::int64_t max_body_bytes = 32LL << 20;
  std::int64_t max_connections = 20000;
  duration header_timeout = 10s;
  duration idle_timeout = 75s;
  duration drain_timeout = 30s;
  /// A streamed answer that had nothing to write for so long gets a comment; 0: never.
  duration ping_interval = 15s;
  std::vector<std::string> cors_origins;
};

struct log_config {
  std::string level = "info";  ///< trace, debug, info, warn, error, off
  bool access = true;
};

/// The most that may be spent in a day and in a calendar month, both of UTC. Absent: no bound.
struct budget_config {
  std::optional<money> day;
  std::optional<money> month;
  bool any() const { return day || month; }
};

/// What all client keys of one tenant have together.
struct tenant_config {
  std::string name;
  budget_config budget;
};

/// What is kept of who used what.
struct usage_config {
  duration keep = 24h * 400;  ///< days older than this are forgotten
};

/// A key that a client of Millrace presents.
struct client_config {
  std::string name;
  secret key;
  std::string tenant;
  std::string tier;
  queue_class queue = queue_class::standard;
  std::int64_t rpm = unlimited;
  std::int64_t tpm = unlimited;
  std::int64_t rph = unlimited;        ///< requests an hour
  std::int64_t route_rpm = unlimited;  ///< requests a minute on each route
  budget_config budget;
  bool admin = false;
  bool private_data = false;  ///< all its requests are private

  name_id id = no_name;         ///< of "client/<name>"
  name_id tenant_id = no_name;  ///< of "tenant/<tenant>"
};

/// What a provider allows one of its keys. Absent limits are `unlimited`. Either `tpm` or the input/output
/// pair.
struct key_limits {
  std::int64_t rpm = unlimited;
  std::int64_t tpm = unlimited;
  std::int64_t tpm_input = unlimited;
  std::int64_t tpm_output = unlimited;
  std::int64_t rpd = unlimited;
  std::int64_t concurrency = unlimited;
  bool operator==(const key_limits&) const = default;
};

struct key_config {
  std::string id;  ///< as configured, shown in x-millrace-key
  secret key;
  key_limits limits;
  name_id name = no_name;  ///< of "key/<provider>/<id>"
};

struct timeouts_config {
  duration connect = 2s;
  duration first_byte = 30s;
  duration first_token = 60s;
  duration idle = 30s;
  duration total = 600s;
};

struct breaker_config {
  int consecutive_failures = 5;
  double failure_ratio = 0.5;
  int min_calls = 10;
  duration window = 30s;
  duration open = 60s;
  bool operator==(const breaker_config&) const = default;
};

enum class provider_kind : std::uint8_t {
  openai,     ///< OpenAI, and everything that speaks its API
  anthropic,  ///< Messages
  gemini,     ///< generateContent
  builtin,    ///< inside this program: no network, no model weights
};

struct provider_config {
  std::string name;
  provider_kind kind = provider_kind::openai;
  std::string base_url;  ///< as configured, without a trailing slash
  bool tls = false;      ///< scheme of base_url
  std::string host;
  std::uint16_t port = 0;
  std::string base_path;  ///< path of base_url without a trailing slash, "/v1"
  bool private_data = false;
  /// Azure's: set, deployments are called with `api-version` and the key in `api-key`.
  std::string api_version;
  bool responses = false;    ///< speaks /responses itself; requests of others are put to its chat API
  bool stream_usage = true;  ///< streams are asked to tell what was used; some servers refuse to be
  timeouts_config timeouts;
  breaker_config breaker;
  std::vector<key_config> keys;
};

struct target_config {
  size_t provider = 0;    ///< index into config::providers
  std::string model;      ///< the provider's name for it
  double input_usd = 0;   ///< per 1M tokens; its own, or those of config::known_models, all prices alike
  double output_usd = 0;  ///< per 1M tokens
  double cached_usd = 0;  ///< per 1M tokens of input from the provider's cache; where not known, as input
  double cache_write_usd = 0;          ///< per 1M tokens of input to it; where not known, as input
  double image_usd = 0;                ///< each image of a request, beside its tokens
  std::int64_t context_tokens = 0;     ///< input and output together; 0: not known
  std::int64_t max_output_tokens = 0;  ///< of one answer; 0: not known
  double quality = 0.5;                ///< 0..1
  double weight = 1;
  size_t group = 0;         ///< index into model_config::groups, where there are any
  name_id name = no_name;   ///< of "breaker/<provider>/<model>"; two models of ours may share one target
  std::uint64_t place = 0;  ///< hash of the same, for weighted choices
};

/// Targets of a model that stand together: the model's strategy puts the groups in order, each group's own
/// its targets.
struct group_config {
  std::string name;
  double weight = 1;  ///< 0: only where no group with a weight can serve
  engine::strategy strategy = strategy::cost;
  std::uint64_t place = 0;  ///< hash of the name
};

/// Sends requests for a model on to another one. What is not said fits everything.
struct choose_rule {
  std::optional<engine::complexity> complexity;
  std::optional<std::string> tier;  ///< of the client
  std::optional<bool> code;
  size_t model = 0;  ///< index into config::models
};

struct cache_rule_config {
  bool enabled = true;
  bool any_temperature = false;
  duration ttl = 1h;
};

struct model_config {
  std::string name;  ///< as clients ask for it
  engine::strategy strategy = strategy::cost;
  stickiness sticky = stickiness::none;
  bool private_data = false;         ///< all requests for it are private
  std::vector<group_config> groups;  ///< none: the targets stand for themselves
  std::vector<target_config> targets;
  std::vector<std::string> fallbacks;
  std::vector<size_t> fallback_models;           ///< indices into config::models, same order
  std::vector<size_t> context_fallbacks;         ///< indices: asked when the request is too long for this one
  std::vector<size_t> content_policy_fallbacks;  ///< indices: asked when the provider forbids the content
  std::vector<choose_rule> choose;               ///< the first that fits counts; none: the model itself
  cache_rule_config cache;
  bool coalesce = false;
  degrade_config degrade;
  std::optional<upgrade_config> upgrade;
  hedge_config hedge;
  /// Long system prompts and tools are marked for Anthropic's prompt cache, where the client marked nothing.
  bool mark_prompt_cache = false;
  name_id id = no_name;  ///< of "model/<name>"
};

struct exact_cache_config {
  duration ttl = 1h;
  std::int64_t memory_bytes = 256LL << 20;
  std::int64_t disk_bytes = 4LL << 30;
  int shards = 16;
  bool operator==(const exact_cache_config&) const = default;
};

struct retry_config {
  int attempts = 3;  ///< upstream calls for one request on targets that were tried before
  duration base = 250ms;
  duration cap = 10s;
  double budget = 0.1;  ///< of the node's traffic
};

struct limits_config {
  double headroom = 0.8;        ///< above this part of a limit a target stands behind others
  duration margin = 500ms;      ///< added to each window, for the way to the provider
  duration quarantine = 10min;  ///< a quarantined key gets one probe after this
};

struct queue_config {
  std::array<int, queue_classes> weights = {10, 5, 1};
  /// More waiting requests than this cannot be configured.
  static constexpr std::int64_t most_waiting = 100'000;

  duration max_wait = 30s;
  std::int64_t max_waiting = 10000;  ///< 0 to `most_waiting`
};

/// One configuration: read once, validated, immutable, shared. A request keeps the one it started with.
struct config {
  std::uint64_t version = 1;  ///< counts the configurations applied since start
  std::string source;         ///< file name, or "embedded default"
  node_config node;
  http_config http;
  log_config log;
  bool open = true;  ///< no `auth`: every request is tenant `default`, queue `standard`, and admin
  std::vector<client_config> clients;  ///< with `open`, the single client "default"
  std::vector<tenant_config> tenants;  ///< those that have something together
  usage_config usage;
  std::unordered_map<std::string, queue_class> tiers;
  std::vector<provider_config> providers;
  std::vector<model_config> models;
  /// What is known of models by their names. Targets have it filled in; a wildcard's is found by the name
  /// that a client asked for.
  std::shared_ptr<const model_table> known_models;
  exact_cache_config cache;
  breaker_config breaker;
  retry_config retry;
  limits_config limits;
  queue_config queue;
  documents_config documents = default_documents();
  complexity_config complexity;
  std::shared_ptr<const prompt_judge> judge;  ///< of `complexity`; null where no model has rules
  double hedge_budget = 0.05;                 ///< most hedges, as a part of the calls of models that hedge
  /// Without configured `models`, names are resolved by prefix; `models` then holds one wildcard per
  /// provider, named
  /// "<provider>/*", whose only target has an empty `model`: what clients ask for makes no state here.
  bool models_by_prefix = false;
  /// Set when no provider is configured at all: `serve` starts a simulator and fills in its address.
  bool wants_simulator = false;

  std::shared_ptr<const name_table> names;
  std::unordered_map<std::string, size_t> model_index;  ///< name -> index into models
};

using config_ptr = std::shared_ptr<const config>;

/// A configuration that cannot be used; `what()` says file, line, key and what to do.
class config_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Where `${env:NAME}` is looked up; the process environment outside tests. Returns nullopt when unset.
using environment = std::function<std::optional<std::string>(const std::string&)>;
std::optional<std::string> process_environment(const std::string& name);

/// Reads and validates one YAML document. `previous` hands on its name table and version.
/// Throws config_error.
config_ptr parse_config(const std::string& yaml, const std::string& source, const environment& env,
                        const config_ptr& previous = nullptr);

/// parse_config over a file's text. Throws config_error, also when the file cannot be read.
config_ptr load_config(const std::string& path, const environment& env, const config_ptr& previous = nullptr);

/// Throws config_error when `c` is open and `bound`, the address that a running node keeps until it ends, may
/// be reached from other machines.
void require_safe_at(const config& c, const std::string& bound);

/// The configuration used without a file; see DESIGN of the folder's README.
config_ptr default_config(const environment& env, const config_ptr& previous = nullptr);

/// `base` with its providers replaced by a provider `simulator` at http://127.0.0.1:`port`/v1.
config_ptr with_simulator(const config& base, std::uint16_t port);

/// A few lines for people: where it listens, who may call, the providers with their keys and limits, the
/// models. Without secrets. Long lists are cut.
std::string describe(const config& c);

/// What a name that a client asked for stands for.
struct resolved_model {
  size_t model = 0;            ///< index into config::models
  std::string upstream_model;  ///< for a wildcard model: the name to send; empty: each target's own
};

/// Nullopt when no model has that name. With `models_by_prefix`, `gpt-*`, `chatgpt-*`, `text-*`, `dall-e-*`
/// and `o<digit>*` are openai's, any other name must be `provider/model`; both resolve to that provider's
/// wildcard model.
std::optional<resolved_model> find_model(const config& c, const std::string& name);

}  // namespace millrace::engine
