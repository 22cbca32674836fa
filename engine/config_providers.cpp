#include <algorithm>
#include <charconv>
#include <set>

#include "engine/config_reader.hpp"

/// The providers with their keys, and the models with their targets.
namespace millrace::engine {
namespace {

constexpr size_t max_providers = 256;
constexpr size_t max_targets = 32;  // the router orders no more candidates for one request
constexpr size_t max_fallbacks = 32;
constexpr size_t max_model_name_bytes = 256;
constexpr std::int64_t max_size_tokens = 1'000'000'000;

/// A model's name is any printable text, since providers use `/`, `:` and `@` in theirs; `*` is for our
/// wildcards.
void check_model_name(const config_value& value, const std::string& name) {
  const bool fit =
      std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c != 0x7f && c != '*'; });
  if (!name.empty() && name.size() <= max_model_name_bytes && fit) return;
  value.fail("a model's name is at most 256 ASCII characters, without spaces and without `*`");
}

void read_timeouts(const config_value& value, timeouts_config& t) {
  const config_section s(value, {"connect", "first_byte", "first_token", "idle", "total"});
  s.read("connect", t.connect, 1ms, 1h);
  s.read("first_byte", t.first_byte, 1ms, 24h);
  s.read("first_token", t.first_token, 1ms, 24h);
  s.read("idle", t.idle, 1ms, 24h);
  s.read("total", t.total, 1ms, 24h);
}

key_config read_key(const config_value& value, std::set<std::string>& ids) {
  const config_section s(value,
                         {"id", "secret", "rpm", "tpm", "tpm_input", "tpm_output", "rpd", "concurrency"});
  key_config key;
  const config_value& id = s.require("id", "every provider key has one, it is what logs and headers show");
  key.id = id.identifier();
  if (!ids.insert(key.id).second) id.fail("another key of this provider has this id already; choose another");
  static const std::string how =
      "write " + std::string(reference_forms) + "; any word where the provider wants none";
  key.key = s.require("secret", how).credential();
  s.read_limit("rpm", key.limits.rpm);
  s.read_limit("tpm", key.limits.tpm);
  s.read_limit("tpm_input", key.limits.tpm_input);
  s.read_limit("tpm_output", key.limits.tpm_output);
  s.read_limit("rpd", key.limits.rpd);
  s.read_limit("concurrency", key.limits.concurrency);
  if (const auto* tpm = s.find("tpm"); tpm && (s.find("tpm_input") || s.find("tpm_output"))) {
    tpm->fail("stands for input and output together; remove it, or remove `tpm_input` and `tpm_output`");
  }
  return key;
}

/// The provider inside this program has no address and no keys; what it sees stays here.
provider_config read_builtin(const config_section& s, provider_config p) {
  for (const char* name :
       {"base_url", "keys", "api_version", "responses", "stream_usage", "breaker", "timeouts"}) {
    if (const auto* v = s.find(name)) v->fail("has no meaning for the builtin provider; remove it");
  }
  p.base_url = "builtin";
  p.private_data = true;
  s.read("private", p.private_data);
  p.keys.push_back(builtin_key());
  return p;
}

void read_openai_options(const config_section& s, provider_config& p) {
  p.responses = p.kind == provider_kind::openai && is_openai_host(p.host);
  // Mistral tells it without being asked, and refuses to be asked.
  p.stream_usage = !p.host.ends_with("mistral.ai");
  for (const char* name : {"api_version", "responses", "stream_usage"}) {
    const auto* v = s.find(name);
    if (v && p.kind != provider_kind::openai) v->fail("belongs to providers of kind openai only; remove it");
  }
  s.read("responses", p.responses);
  s.read("stream_usage", p.stream_usage);
  if (const auto* v = s.find("api_version")) p.api_version = v->identifier();
}

provider_config read_provider(const std::string& name, const config_value& value, const config& c) {
  static const std::vector<std::string> kinds = {"openai", "anthropic", "gemini", "builtin"};
  if (!is_identifier(name)) value.fail("a provider's name is " + std::string(identifier_rule));
  const config_section s(value, {"kind", "base_url", "api_version", "responses", "stream_usage", "private",
                                 "timeouts", "breaker", "keys"});
  provider_config p;
  p.name = name;
  p.breaker = c.breaker;
  if (const auto* v = s.find("kind")) p.kind = provider_kind(v->choice(kinds));
  if (p.kind == provider_kind::builtin) return read_builtin(s, std::move(p));
  const config_value& url =
      s.require("base_url", "where the provider's API is, like https://api.openai.com/v1");
  if (const std::string problem = split_base_url(url.text(), p); !problem.empty()) url.fail(problem);
  read_openai_options(s, p);
  s.read("private", p.private_data);
  if (const auto* v = s.find("timeouts")) read_timeouts(*v, p.timeouts);
  if (const auto* v = s.find("breaker")) read_breaker(*v, p.breaker);
  const config_value& keys = s.require("keys", "list at least one key");
  std::set<std::string> ids;
  for (const config_value& element : keys.list()) p.keys.push_back(read_key(element, ids));
  if (p.keys.empty()) keys.fail("is empty; list at least one key");
  return p;
}

/// Prices and sizes: what the target says of them, and then what is known of its model.
void read_facts(const config_section& s, const config& c, target_config& t) {
  s.read("input_usd", t.input_usd, 0, max_usd);
  s.read("output_usd", t.output_usd, 0, max_usd);
  s.read("cached_usd", t.cached_usd, 0, max_usd);
  s.read("cache_write_usd", t.cache_write_usd, 0, max_usd);
  s.read("image_usd", t.image_usd, 0, max_usd);
  s.read("context_tokens", t.context_tokens, 1, max_size_tokens);
  s.read("max_output_tokens", t.max_output_tokens, 1, max_size_tokens);
  const auto names = [&s](std::string_view key) { return s.find(key) != nullptr; };
  const bool prices = names("input_usd") || names("output_usd") || names("cached_usd") ||
                      names("cache_write_usd") || names("image_usd");
  complete_target(c.known_models->find(c.providers[t.provider], t.model), prices, names("cached_usd"),
                  names("cache_write_usd"), t);
}

target_config read_target(const config_value& value, const std::vector<std::string>& providers,
                          const config& c, const model_config& m) {
  const config_section s(
      value, {"provider", "model", "input_usd", "output_usd", "cached_usd", "cache_write_usd", "image_usd",
              "context_tokens", "max_output_tokens", "quality", "weight", "group"});
  target_config t;
  t.provider = s.require("provider", "name one of " + join(providers)).choice(providers);
  const config_value& model = s.require("model", "the provider's name for the model");
  t.model = model.text();
  check_model_name(model, t.model);
  read_facts(s, c, t);
  s.read("quality", t.quality, 0, 1);
  s.read("weight", t.weight, 0, 1e6, true);
  t.group = read_target_group(s, m);
  return t;
}

std::vector<target_config> read_targets(const config_value& value, const std::vector<std::string>& providers,
                                        const config& c, const model_config& m) {
  std::vector<target_config> out;
  for (const config_value& element : value.list(max_targets)) {
    target_config t = read_target(element, providers, c, m);
    const auto same = [&](const target_config& o) { return o.provider == t.provider && o.model == t.model; };
    if (std::any_of(out.begin(), out.end(), same))
      element.fail("the same provider and model stand above; remove one");
    out.push_back(std::move(t));
  }
  if (out.empty()) value.fail("is empty; list at least one target, { provider: ..., model: ... }");
  return out;
}

void read_cache_rule(const config_value& value, cache_rule_config& cache) {
  const config_section s(value, {"any_temperature", "ttl", "enabled"});
  s.read("any_temperature", cache.any_temperature);
  s.read("ttl", cache.ttl, 1s, 24h * 365);
  s.read("enabled", cache.enabled);
}

model_config read_model(const std::string& name, const config_section& s,
                        const std::vector<std::string>& providers, const config& c) {
  model_config m;
  m.name = name;
  m.cache.ttl = c.cache.ttl;
  if (const auto* v = s.find("strategy")) m.strategy = strategy(v->choice(strategy_names));
  read_groups(s, m);
  m.targets =
      read_targets(s.require("targets", "list at least one, { provider: ..., model: ... }"), providers, c, m);
  if (const auto* v = s.find("cache")) read_cache_rule(*v, m.cache);
  s.read("coalesce", m.coalesce);
  if (const auto* v = s.find("degrade")) read_degrade(*v, m);
  if (const auto* v = s.find("hedge")) read_hedge(*v, m);
  static const std::vector<std::string> marking = {"off", "auto"};
  if (const auto* v = s.find("prompt_cache")) m.mark_prompt_cache = v->choice(marking) == 1;
  return m;
}

/// Second pass, when all models are known.
void read_fallbacks(const config_section& s, std::string_view key, const std::vector<std::string>& names,
                    const config& c, const model_config& m, std::vector<size_t>& listed) {
  const auto* value = s.find(key);
  if (value == nullptr) return;
  for (const config_value& element : value->list(max_fallbacks)) {
    const size_t model = other_model(element, names, c, m);
    if (std::find(listed.begin(), listed.end(), model) != listed.end()) element.fail("is listed twice");
    listed.push_back(model);
  }
}

}  // namespace

void read_providers(const config_value& value, config& c) {
  size_t keys = 0;
  for (const auto& [name, entry] : value.entries(max_providers)) {
    c.providers.push_back(read_provider(name, entry, c));
    keys += c.providers.back().keys.size();
    if (keys > max_config_entries) entry.fail("more than 10000 provider keys in all");
  }
  if (c.providers.empty())
    value.fail("names no provider; remove it to use those whose keys the environment holds");
}

void read_models(const config_value& value, config& c) {
  std::vector<config_section> sections;
  std::vector<std::string> names;
  std::vector<std::string> providers;
  for (const provider_config& p : c.providers) providers.push_back(p.name);
  for (const auto& [name, entry] : value.entries()) {
    check_model_name(entry, name);
    sections.emplace_back(
        entry, std::vector<std::string>{"strategy", "sticky", "private", "groups", "targets", "fallbacks",
                                        "context_fallbacks", "content_policy_fallbacks", "choose", "cache",
                                        "coalesce", "degrade", "upgrade", "hedge", "prompt_cache"});
    c.model_index.emplace(name, c.models.size());
    c.models.push_back(read_model(name, sections.back(), providers, c));
    names.push_back(name);
  }
  if (names.empty()) value.fail("names no model; remove it to resolve names by their prefix");
  for (size_t i = 0; i < sections.size(); ++i) {
    model_config& m = c.models[i];
    read_fallbacks(sections[i], "fallbacks", names, c, m, m.fallback_models);
    read_fallbacks(sections[i], "context_fallbacks", names, c, m, m.context_fallbacks);
    read_fallbacks(sections[i], "content_policy_fallbacks", names, c, m, m.content_policy_fallbacks);
    for (const size_t f : m.fallback_models) m.fallbacks.push_back(c.models[f].name);
    read_choose(sections[i], names, c, c.models[i]);
    check_choosing(sections[i], c, c.models[i]);
    if (const auto* v = sections[i].find("upgrade")) read_upgrade(*v, c, c.models[i]);
  }
  check_loops(sections, c);
}

key_config builtin_key() {
  key_config k;
  k.id = "builtin";
  return k;
}

bool is_openai_host(const std::string& host) {
  return host == "api.openai.com" || host.ends_with(".openai.com") || host.ends_with(".azure.com");
}

std::string split_base_url(const std::string& url, provider_config& p) {
  static const std::string expected =
      "must be http:// or https://, a host, perhaps a port and a path, like "
      "https://api.openai.com/v1";
  p.tls = url.starts_with("https://");
  if (!p.tls && !url.starts_with("http://")) return expected;
  if (url.find('@') != std::string::npos) return "must not hold credentials; put them into `keys`";
  if (url.find_first_of("?#") != std::string::npos) return "must not hold a query or a fragment";
  const auto printable = [](char c) { return c > ' ' && c != 0x7f && c != '\\'; };
  if (!std::all_of(url.begin(), url.end(), printable)) return expected;
  p.base_url = url.substr(0, url.find_last_not_of('/') + 1);
  const std::string rest = p.base_url.substr(std::min(p.base_url.size(), size_t{p.tls ? 8U : 7U}));
  const size_t slash = std::min(rest.find('/'), rest.size());
  p.base_path = rest.substr(slash);
  std::string authority = rest.substr(0, slash);
  p.port = p.tls ? 443 : 80;
  const size_t bracket = authority.find(']');
  const size_t colon = authority.find(':', bracket == std::string::npos ? 0 : bracket);
  if (colon != std::string::npos) {
    const char* const end = authority.data() + authority.size();
    const auto [stop, error] = std::from_chars(authority.data() + colon + 1, end, p.port);
    if (error != std::errc{} || stop != end || p.port == 0) return "has a port that is not from 1 to 65535";
    authority.resize(colon);
  }
  if (bracket != std::string::npos) {
    if (!authority.starts_with('[') || !authority.ends_with(']')) return expected;
    p.host = authority.substr(1, authority.size() - 2);
  } else {
    p.host = authority;
  }
  const std::string_view allowed = bracket != std::string::npos
                                       ? "0123456789abcdefABCDEF:."
                                       : "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._";
  if (p.host.empty() || p.host.find_first_not_of(allowed) != std::string::npos) return expected;
  return {};
}

}  // namespace millrace::engine
