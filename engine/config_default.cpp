#include <algorithm>
#include <array>
#include <set>

#include "engine/config_reader.hpp"
#include "engine/duration_text.hpp"

/// Configurations without a file, what names mean without configured models, and the summary for people.
namespace millrace::engine {
namespace {

constexpr size_t max_described = 20;
constexpr size_t max_upstream_name_bytes = 256;
constexpr std::string_view simulator_name = "simulator";

/// A provider that the environment alone configures.
struct known_provider {
  std::string_view name;
  std::string_view variable;
  std::string_view base_url;
  provider_kind kind;
};
constexpr std::array<known_provider, 3> known_providers = {{
    {"openai", "OPENAI_API_KEY", "https://api.openai.com/v1", provider_kind::openai},
    {"anthropic", "ANTHROPIC_API_KEY", "https://api.anthropic.com", provider_kind::anthropic},
    {"gemini", "GOOGLE_API_KEY", "https://generativelanguage.googleapis.com/v1beta", provider_kind::gemini},
}};

/// Whose models a bare name belongs to; empty when its prefix is nobody's.
std::string_view owner_of(std::string_view name) {
  for (const std::string_view prefix : {"gpt-", "chatgpt-", "text-", "dall-e-"}) {
    if (name.starts_with(prefix)) return "openai";
  }
  if (name.size() >= 2 && name[0] == 'o' && name[1] >= '0' && name[1] <= '9') return "openai";
  if (name.starts_with("claude-")) return "anthropic";
  if (name.starts_with("gemini-")) return "gemini";
  return {};
}

provider_config make_provider(std::string_view name, const std::string& base_url, secret key,
                              const config& c) {
  provider_config p;
  p.name = name;
  if (const std::string problem = split_base_url(base_url, p); !problem.empty()) throw config_error(problem);
  p.breaker = c.breaker;
  key_config k;
  k.id = p.name + "-1";
  k.key = std::move(key);
  p.keys.push_back(std::move(k));
  return p;
}

}  // namespace

void add_default_providers(config& c, const environment& env) {
  for (const known_provider& known : known_providers) {
    const std::string variable(known.variable);
    auto text = env(variable);
    if (!text || text->empty()) continue;
    const auto unfit = [](char x) { return x <= ' ' || static_cast<unsigned char>(x) > 0x7e; };
    if (std::any_of(text->begin(), text->end(), unfit)) {
      throw config_error(c.source + ":1: " + variable +
                         ": holds a space or a character outside ASCII; check how it "
                         "was copied, or unset it");
    }
    c.providers.push_back(
        make_provider(known.name, std::string(known.base_url), secret(std::move(*text)), c));
    c.providers.back().kind = known.kind;
    c.providers.back().responses = known.kind == provider_kind::openai;
  }
  c.wants_simulator = c.providers.empty();
}

void add_wildcard_models(config& c) {
  c.models_by_prefix = true;
  for (size_t i = 0; i < c.providers.size(); ++i) {
    model_config m;
    m.name = c.providers[i].name + "/*";
    m.cache.ttl = c.cache.ttl;
    target_config t;
    t.provider = i;
    m.targets.push_back(std::move(t));
    c.model_index.emplace(m.name, c.models.size());
    c.models.push_back(std::move(m));
  }
}

config_ptr with_simulator(const config& base, std::uint16_t port) {
  config c = base;
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/v1";
  c.providers.clear();
  c.providers.push_back(make_provider(simulator_name, url, secret("simulator"), c));
  c.models.clear();
  c.model_index.clear();
  c.wants_simulator = true;
  add_wildcard_models(c);
  const std::uint64_t version = c.version;
  link_names(c, std::make_shared<const config>(base));
  c.version = version;
  return std::make_shared<const config>(std::move(c));
}

std::optional<resolved_model> find_model(const config& c, const std::string& name) {
  if (!c.models_by_prefix) {
    const auto found = c.model_index.find(name);
    if (found == c.model_index.end()) return std::nullopt;
    return resolved_model{found->second, {}};
  }
  if (name.empty() || name.size() > max_upstream_name_bytes) return std::nullopt;
  const auto wildcard = [&](std::string_view provider,
                            std::string upstream) -> std::optional<resolved_model> {
    const auto found = c.model_index.find(std::string(provider) + "/*");
    if (found == c.model_index.end() || upstream.empty()) return std::nullopt;
    return resolved_model{found->second, std::move(upstream)};
  };
  if (auto m = wildcard(owner_of(name), name)) return m;
  if (const size_t slash = name.find('/'); slash != std::string::npos) {
    if (auto m = wildcard(std::string_view(name).substr(0, slash), name.substr(slash + 1))) return m;
  }
  // The simulator answers to any name, so that a first request works whatever model it names.
  if (c.wants_simulator) return wildcard(simulator_name, name);
  return std::nullopt;
}

// --- summary -------------------------------------------------------------------------------------

namespace {

std::string limits_text(const key_limits& l) {
  std::string out;
  const auto add = [&](std::int64_t limit, std::string_view name) {
    if (limit != unlimited)
      out.append(out.empty() ? "" : " ").append(name).append(" " + std::to_string(limit));
  };
  add(l.rpm, "rpm");
  add(l.tpm, "tpm");
  add(l.tpm_input, "tpm_input");
  add(l.tpm_output, "tpm_output");
  add(l.rpd, "rpd");
  add(l.concurrency, "concurrency");
  return out.empty() ? "no limits" : out;
}

/// Calls `line` for the first few of `list`, then says how many more there are.
template <class List, class Line>
void describe_list(std::string& out, const List& list, std::string_view indent, Line line) {
  for (size_t i = 0; i < list.size() && i < max_described; ++i)
    out.append(indent).append(line(list[i])).append("\n");
  if (list.size() <= max_described) return;
  out.append(indent).append("... and " + std::to_string(list.size() - max_described) + " more\n");
}

std::string describe_access(const config& c) {
  if (c.open) return "open: everybody on this machine, without keys";
  std::set<std::string> tenants;
  for (const client_config& client : c.clients) tenants.insert(client.tenant);
  return std::to_string(c.clients.size()) + " client keys of " + std::to_string(tenants.size()) + " tenants";
}

std::string describe_model(const config& c, const model_config& m) {
  static constexpr std::array<std::string_view, 5> strategies = {"cost", "quality", "speed", "weighted",
                                                                 "least_busy"};
  std::string out =
      "model " + m.name + ": by " + std::string(strategies[static_cast<size_t>(m.strategy)]) + ", ";
  for (const target_config& t : m.targets) {
    if (&t != &m.targets.front()) out += ", ";
    out += c.providers[t.provider].name + "/" + (t.model.empty() ? "*" : t.model);
  }
  if (!m.fallbacks.empty()) out += "; then " + join(m.fallbacks);
  return out;
}

/// Keys of one provider with one secret would count one limit several times.
std::string shared_secrets(const provider_config& p) {
  std::set<std::string> seen;
  for (const key_config& key : p.keys) {
    if (!seen.insert(key.key.reveal()).second) {
      return "  warning: " + key.id + " has the secret of another key, so its limit is counted twice\n";
    }
  }
  return {};
}

}  // namespace

std::string describe(const config& c) {
  const bool v6 = c.http.host.find(':') != std::string::npos;
  const std::string host = v6 ? "[" + c.http.host + "]" : c.http.host;
  std::string out = "configuration " + std::to_string(c.version) + " from " + c.source + "\n";
  out += "node " + c.node.id + ", data in " + c.node.data_dir + "\n";
  out += "http " + host + ":" + std::to_string(c.http.port) + ", " + describe_access(c) + "\n";
  if (c.wants_simulator) out += "no provider is configured: a simulator answers\n";
  for (const provider_config& p : c.providers) {
    out += "provider " + p.name + ": " + p.base_url + (p.private_data ? ", private" : "") + "\n";
    describe_list(out, p.keys, "  ",
                  [](const key_config& k) { return "key " + k.id + ": " + limits_text(k.limits); });
    out += shared_secrets(p);
  }
  describe_list(out, c.models, "", [&](const model_config& m) { return describe_model(c, m); });
  return out;
}

}  // namespace millrace::engine
