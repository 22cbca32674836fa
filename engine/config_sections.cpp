#include <algorithm>
#include <charconv>
#include <unordered_set>

#include <arpa/inet.h>

#include "engine/config_reader.hpp"

/// The sections of the document with fixed keys, and the client keys.
namespace millrace::engine {
namespace {

constexpr duration one_day = 24h;
constexpr size_t max_tiers = 256;
/// Far below what `money` can hold.
constexpr double max_budget_usd = 1e9;

const std::vector<std::string> queue_names = {"priority", "standard", "batch"};

/// Splits "host:port" or "[v6]:port". False when it is neither.
bool split_address(const std::string& text, std::string& host, std::uint16_t& port) {
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos) return false;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
  if (error != std::errc{} || stop != end || colon + 1 == text.size()) return false;
  host = text.substr(0, colon);
  if (host == "localhost") host = "127.0.0.1";
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    in6_addr v6{};
    return inet_pton(AF_INET6, host.c_str(), &v6) == 1;
  }
  in_addr v4{};
  return inet_pton(AF_INET, host.c_str(), &v4) == 1;
}

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "::1";
}

void read_node(const config_value& value, config& c) {
  const config_section s(value, {"id", "data_dir"});
  if (const auto* v = s.find("id")) c.node.id = v->identifier();
  if (const auto* v = s.find("data_dir")) c.node.data_dir = v->text();
}

void read_origins(const config_value& value, config& c) {
  for (const config_value& element : value.list()) {
    const std::string origin = element.text();
    const size_t scheme = origin.find("://");
    const bool complete = scheme != std::string::npos && scheme > 0 && scheme + 3 < origin.size();
    if (origin != "*" && (!complete || origin.find_first_of("/ ", scheme + 3) != std::string::npos)) {
      element.fail("an origin is `*` or a scheme and host without a path, like https://app.example.com");
    }
    c.http.cors_origins.push_back(origin);
  }
}

void read_http(const config_value& value, config& c) {
  const config_section s(value, {"listen", "threads", "max_body", "max_connections", "header_timeout",
                                 "idle_timeout", "drain_timeout", "ping_interval", "cors_origins"});
  if (const auto* v = s.find("listen"); v && !split_address(v->text(), c.http.host, c.http.port)) {
    v->fail(
        "must be an IP address and a port from 0 to 65535, like 127.0.0.1:8080, 0.0.0.0:8080 or [::1]:8080");
  }
  int threads = 0;
  s.read("threads", threads, 0, 1024);
  c.http.threads = static_cast<unsigned>(threads);
  s.read_bytes("max_body", c.http.max_body_bytes, 1LL << 10, 1LL << 30);
  s.read("max_connections", c.http.max_connections, 1, 10'000'000);
  s.read("header_timeout", c.http.header_timeout, 100ms, 1h);
  s.read("idle_timeout", c.http.idle_timeout, 100ms, one_day);
  s.read("drain_timeout", c.http.drain_timeout, 0s, one_day);
  s.read("ping_interval", c.http.ping_interval, 0s, 1h);
  if (const auto* v = s.find("cors_origins")) read_origins(*v, c);
}

void read_log(const config_value& value, config& c) {
  static const std::vector<std::string> levels = {"trace", "debug", "info", "warn", "error", "off"};
  const config_section s(value, {"level", "access"});
  if (const auto* v = s.find("level")) c.log.level = levels[v->choice(levels)];
  s.read("access", c.log.access);
}

void read_tiers(const config_value& value, config& c) {
  c.tiers.clear();
  for (const auto& [name, entry] : value.entries(max_tiers))
    c.tiers.emplace(name, queue_class(entry.choice(queue_names)));
}

void read_budget(const config_value& value, budget_config& budget) {
  const config_section s(value, {"day", "month"});
  const auto read = [&s](std::string_view key, std::optional<money>& into) {
    if (const auto* v = s.find(key)) into = money::of_usd(v->number(0, max_budget_usd));
  };
  read("day", budget.day);
  read("month", budget.month);
  if (!budget.any()) value.fail("sets no bound; write { day: USD } or { month: USD }, or remove it");
}

/// After the clients, whose tenants they are.
void read_tenants(const config_value& value, config& c) {
  std::vector<std::string> known;
  if (c.open) known.emplace_back("default");
  for (const client_config& client : c.clients) {
    if (std::find(known.begin(), known.end(), client.tenant) == known.end()) known.push_back(client.tenant);
  }
  for (const auto& [name, entry] : value.entries()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      entry.fail("no client key has this tenant; name one of " + join(known) + suggestion(name, known));
    }
    const config_section s(entry, {"budget_usd"});
    tenant_config tenant;
    tenant.name = name;
    if (const auto* v = s.find("budget_usd")) read_budget(*v, tenant.budget);
    c.tenants.push_back(std::move(tenant));
  }
}

void read_usage(const config_value& value, config& c) {
  const config_section s(value, {"keep"});
  s.read("keep", c.usage.keep, one_day, 10 * 365 * one_day);
}

/// The tiers, and what the clients read so far use up, so that a list of thousands is checked in linear time.
struct client_index {
  std::vector<std::string> tiers;
  std::unordered_set<std::string> names;
  std::unordered_map<std::string, std::string> name_of_secret;
};

client_config read_client(const config_value& value, const config& c, client_index& seen) {
  const config_section s(value, {"name", "secret", "tenant", "tier", "rpm", "tpm", "rph", "route_rpm",
                                 "budget_usd", "admin", "private"});
  client_config client;
  const config_value& name = s.require("name", "every client key has one, it is what logs and metrics show");
  client.name = name.identifier();
  if (!seen.names.insert(client.name).second)
    name.fail("another client key has this name already; choose another");
  const config_value& key = s.require("secret", "write " + std::string(reference_forms));
  client.key = key.credential();
  const auto [other, fresh] = seen.name_of_secret.emplace(client.key.reveal(), client.name);
  if (!fresh) key.fail("the client " + other->second + " has the same secret; give each client its own");
  client.tenant = client.name;
  if (const auto* v = s.find("tenant")) client.tenant = v->identifier();
  if (const auto* v = s.find("tier")) {
    client.tier = seen.tiers[v->choice(seen.tiers)];
    client.queue = c.tiers.at(client.tier);
  }
  s.read_limit("rpm", client.rpm);
  s.read_limit("tpm", client.tpm);
  s.read_limit("rph", client.rph);
  s.read_limit("route_rpm", client.route_rpm);
  if (const auto* v = s.find("budget_usd")) read_budget(*v, client.budget);
  s.read("admin", client.admin);
  s.read("private", client.private_data);
  return client;
}

void read_auth(const config_value& value, config& c) {
  const config_section s(value, {"keys"});
  const config_value& keys =
      s.require("keys", "list the client keys, or remove `auth` to be open on loopback");
  const auto list = keys.list();
  if (list.empty())
    keys.fail("is empty, so nobody could call; add a key, or remove `auth` to be open on loopback");
  client_index seen;
  for (const auto& tier : c.tiers) seen.tiers.push_back(tier.first);
  std::sort(seen.tiers.begin(), seen.tiers.end());
  for (const config_value& element : list) c.clients.push_back(read_client(element, c, seen));
  c.open = false;
}

void read_cache(const config_value& value, config& c) {
  const config_section cache(value, {"exact"});
  const auto* exact = cache.find("exact");
  if (exact == nullptr) return;
  const config_section s(*exact, {"ttl", "memory", "disk", "shards"});
  s.read("ttl", c.cache.ttl, 1s, 365 * one_day);
  s.read_bytes("memory", c.cache.memory_bytes, 1LL << 20, 1LL << 40);
  s.read_bytes("disk", c.cache.disk_bytes, 1LL << 20, 1LL << 50);
  s.read("shards", c.cache.shards, 1, 4096);
}

void read_retry(const config_value& value, config& c) {
  const config_section s(value, {"attempts", "base", "cap", "budget"});
  s.read("attempts", c.retry.attempts, 1, 20);
  s.read("base", c.retry.base, 0ms, 1h);
  s.read("cap", c.retry.cap, 0ms, one_day);
  s.read("budget", c.retry.budget, 0, 1);
  if (c.retry.cap < c.retry.base) {
    const auto* culprit = s.find("cap") != nullptr ? s.find("cap") : s.find("base");
    culprit->fail("`cap` must not be below `base`");
  }
}

void read_limits(const config_value& value, config& c) {
  const config_section s(value, {"headroom", "margin", "quarantine"});
  s.read("headroom", c.limits.headroom, 0, 1, true);
  s.read("margin", c.limits.margin, 0ms, 30s);
  s.read("quarantine", c.limits.quarantine, 1s, 30 * one_day);
}

void read_queue(const config_value& value, config& c) {
  const config_section s(value, {"weights", "max_wait", "max_waiting"});
  if (const auto* v = s.find("weights")) {
    const config_section weights(*v, queue_names);
    for (size_t i = 0; i < queue_classes; ++i) weights.read(queue_names[i], c.queue.weights[i], 1, 1000);
  }
  s.read("max_wait", c.queue.max_wait, 0s, 1h);
  s.read("max_waiting", c.queue.max_waiting, 0, queue_config::most_waiting);
}

/// An open node answers everybody, so only this machine may reach it.
void require_loopback(const config_section& root, const config& c) {
  if (!c.open || is_loopback(c.http.host)) return;
  for (const auto& [key, value] : root.require("http", "it names the address").entries()) {
    if (key != "listen") continue;
    value.fail(
        "without `auth` anybody who reaches this address could use the provider keys; add `auth.keys`, or "
        "listen on 127.0.0.1");
  }
}

}  // namespace

void require_safe_at(const config& c, const std::string& bound) {
  if (!c.open || is_loopback(bound)) return;
  throw config_error(c.source + ": without `auth` anybody who reaches " + bound +
                     ", where this node listens until it is restarted, could use the provider keys; keep "
                     "`auth`, or restart the node to listen on 127.0.0.1");
}

void read_breaker(const config_value& value, breaker_config& b) {
  const config_section s(value, {"consecutive_failures", "failure_ratio", "min_calls", "window", "open"});
  s.read("consecutive_failures", b.consecutive_failures, 1, 10'000);
  s.read("failure_ratio", b.failure_ratio, 0, 1, true);
  s.read("min_calls", b.min_calls, 1, 1'000'000);
  s.read("window", b.window, 1s, 1h);
  s.read("open", b.open, 1s, one_day);
}

void read_document(const config_value& root, config& c) {
  const config_section s(
      root, {"node", "http", "log", "auth", "tenants", "usage", "tiers", "model_data", "providers", "models",
             "cache", "breaker", "retry", "limits", "queue", "documents", "complexity", "hedge"});
  const auto with = [&](std::string_view key, auto read) {
    if (const auto* v = s.find(key)) read(*v);
  };
  const auto section = [&](std::string_view key, void (*read)(const config_value&, config&)) {
    with(key, [&](const config_value& v) { read(v, c); });
  };
  section("node", read_node);
  section("http", read_http);
  section("log", read_log);
  section("tiers", read_tiers);
  section("auth", read_auth);
  section("tenants", read_tenants);
  section("usage", read_usage);
  with("breaker", [&](const config_value& v) { read_breaker(v, c.breaker); });
  section("model_data", read_model_data);
  section("providers", read_providers);
  if (const auto* v = s.find("models"); v && c.providers.empty())
    v->fail("needs `providers` that its targets can name");
  section("cache", read_cache);
  section("models", read_models);
  section("retry", read_retry);
  section("limits", read_limits);
  section("complexity", read_complexity);
  section("queue", read_queue);
  section("hedge", read_hedge_budget);
  require_loopback(s, c);
}

}  // namespace millrace::engine
