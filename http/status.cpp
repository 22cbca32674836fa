#include "http/status.hpp"

#include <cmath>

#include <nlohmann/json.hpp>

#include "http/traffic_routes.hpp"

namespace millrace::http {

namespace {

using json = nlohmann::ordered_json;
using engine::unlimited;

double seconds(engine::duration d) {
  return std::chrono::duration<double>(d).count();
}

const char* text(engine::breaker_state s) {
  switch (s) {
    case engine::breaker_state::closed:
      return "closed";
    case engine::breaker_state::open:
      return "open";
    case engine::breaker_state::half_open:
      return "half_open";
  }
  return "";
}

constexpr std::array<const char*, engine::queue_classes> queue_names = {"priority", "standard", "batch"};

json limits_of(const engine::key_limits& l) {
  json out = json::object();
  const auto add = [&](const char* name, std::int64_t value) {
    if (value != unlimited) out[name] = value;
  };
  add("rpm", l.rpm);
  add("tpm", l.tpm);
  add("tpm_input", l.tpm_input);
  add("tpm_output", l.tpm_output);
  add("rpd", l.rpd);
  add("concurrency", l.concurrency);
  return out;
}

json key_of(const engine::key_config& k, const engine::dispatcher_status& s) {
  json out = {{"id", k.id}, {"limits", limits_of(k.limits)}};
  for (const auto& state : s.keys) {
    if (state.name != k.name) continue;
    out["requests_used"] = state.used.requests;
    out["tokens_used"] = state.used.tokens;
    out["used_fraction"] = state.used_fraction;
    out["in_flight"] = state.in_flight;
    out["permits_in_hand"] = state.permits_in_hand;
    out["waiting"] = state.waiting;
    out["granted"] = state.granted;
    out["next_permit_s"] = seconds(state.next_permit);
    const bool quarantined = state.quarantine != engine::quarantine_reason::none;
    out["state"] = quarantined ? "quarantined" : state.cooldowns.empty() ? "active" : "cooldown";
    if (quarantined) out["quarantine"] = to_string(state.quarantine);
    for (const auto& c : state.cooldowns) {
      out["cooldowns"].push_back({{"target", c.target}, {"remaining_s", seconds(c.remaining)}});
    }
  }
  return out;
}

json providers_of(const engine::config& c, const engine::dispatcher_status& s) {
  json out = json::array();
  for (const auto& p : c.providers) {
    json keys = json::array();
    for (const auto& k : p.keys) keys.push_back(key_of(k, s));
    out.push_back(
        {{"name", p.name}, {"base_url", p.base_url}, {"private", p.private_data}, {"keys", std::move(keys)}});
  }
  return out;
}

/// "openai/gpt-4o" of "breaker/openai/gpt-4o".
std::string target_of(const engine::config& c, engine::name_id name) {
  const std::string& full = c.names->text(name);
  return full.substr(full.find('/') + 1);
}

json breakers_of(const engine::config& c, const engine::dispatcher_status& s) {
  json out = json::array();
  for (const auto& t : s.targets) {
    json b = {{"target", target_of(c, t.name)},
              {"state", text(t.breaker)},
              {"consecutive_failures", t.consecutive_failures},
              {"in_flight", t.in_flight},
              {"first_token_ms", seconds(t.first_token) * 1000},
              {"tokens_per_second", t.tokens_per_second}};
    if (t.breaker != engine::breaker_state::closed) b["retry_in_s"] = seconds(t.retry_in);
    out.push_back(std::move(b));
  }
  return out;
}

/// Of the models that look at weights.
json weights_of(const engine::config& c, const engine::dispatcher_status& s) {
  json out = json::array();
  for (std::size_t i = 0; i < c.models.size(); ++i) {
    const auto& m = c.models[i];
    if (!engine::uses_weights(m)) continue;
    const auto changed = s.weights.find(static_cast<std::uint32_t>(i));
    const bool is_changed = changed != s.weights.end();
    const auto weights = is_changed ? changed->second : engine::configured_weights(m);
    out.push_back(weights_json(c, m, weights, is_changed));
  }
  return out;
}

json queues_of(const engine::dispatcher_status& s) {
  json out = json::array();
  for (size_t i = 0; i < engine::queue_classes; ++i) {
    const auto& lane = s.lanes[i];
    out.push_back({{"queue", queue_names[i]},
                   {"depth", lane.depth},
                   {"oldest_s", seconds(lane.oldest)},
                   {"granted", lane.granted},
                   {"refused", lane.refused},
                   {"total_wait_s", seconds(lane.total_wait)}});
  }
  return out;
}

json cache_of(const engine::cache_view& c) {
  const auto asked = c.hits + c.misses;
  return {{"shards", c.shards},
          {"entries", c.entries},
          {"memory_bytes", c.memory_bytes},
          {"memory_limit_bytes", c.memory_limit_bytes},
          {"hits", c.hits},
          {"misses", c.misses},
          {"hit_ratio", asked > 0 ? static_cast<double>(c.hits) / static_cast<double>(asked) : 0.0},
          {"evictions", c.evictions},
          {"expirations", c.expirations},
          {"calls_in_flight", c.flights},
          {"transcript_bytes", c.transcript_bytes},
          {"disk",
           {{"state", c.disk_on ? "on" : "off"},
            {"bytes", c.disk_bytes},
            {"entries", c.disk_entries},
            {"hits", c.disk_hits},
            {"misses", c.disk_misses},
            {"written", c.disk_written},
            {"dropped", c.disk_dropped + c.unwritten_dropped},
            {"waiting", c.unwritten},
            {"bad_records", c.disk_bad_records},
            {"failures", c.disk_failures}}}};
}

json bin_of(const engine::upgrade_book::bin& b) {
  const auto pairs = static_cast<double>(b.asked - b.failed);
  return {{"answers", b.answers},
          {"asked", b.asked},
          {"failed", b.failed},
          {"upgraded", b.upgraded},
          {"changed", b.changed},
          {"mean_before", pairs > 0 ? json(b.before / pairs) : json()},
          {"mean_after", pairs > 0 ? json(b.after / pairs) : json()}};
}

/// How often upgrades changed the answer, by how sure the first one was: a threshold is chosen from it.
json upgrades_of(const engine::config& c, const std::vector<engine::upgrade_book::row>& rows) {
  constexpr double width = 1.0 / engine::upgrade_book::bins;
  json out = json::array();
  for (const auto& row : rows) {
    json bins = json::array();
    for (size_t i = 0; i < row.by_confidence.size(); ++i) {
      json bin = bin_of(row.by_confidence[i]);
      bin["from"] = std::round(static_cast<double>(i) * width * 10) / 10;
      bins.push_back(std::move(bin));
    }
    json entry = {{"model", row.model}, {"route", row.route}, {"unreadable", bin_of(row.unreadable)}};
    entry["bins"] = std::move(bins);
    const auto found = c.model_index.find(row.model);
    if (found != c.model_index.end() && c.models[found->second].upgrade) {
      entry["upgrade"] = c.models[found->second].upgrade->model;
      entry["threshold"] = c.models[found->second].upgrade->threshold;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

}  // namespace

std::string status_body(const node_view& node) {
  const engine::config& c = *node.config;
  json models = json::array();
  for (const auto& m : c.models) models.push_back(m.name);
  const json out = {
      {"node", c.node.id},
      {"version", MILLRACE_VERSION},
      {"ready", node.ready},
      {"uptime_s", seconds(node.uptime)},
      {"config", {{"version", c.version}, {"source", c.source}}},
      {"models", std::move(models)},
      {"weights", weights_of(c, node.dispatcher)},
      {"providers", providers_of(c, node.dispatcher)},
      {"breakers", breakers_of(c, node.dispatcher)},
      {"queues", queues_of(node.dispatcher)},
      {"cache", cache_of(node.cache)},
      {"upgrades", upgrades_of(c, node.upgrades)},
      {"connections",
       {{"open", node.edge.open},
        {"max", node.edge.max_connections},
        {"serving", node.edge.serving},
        {"accepted", node.edge.accepted},
        {"gone", node.edge.gone},
        {"stalled", node.edge.stalled}}},
      {"upstream",
       {{"open", node.upstream_open},
        {"idle", node.upstream_idle},
        {"created", node.upstream_created},
        {"reused", node.upstream_reused}}},
  };
  return out.dump();
}

engine::node_gauges gauges(const node_view& node) {
  const engine::config& c = *node.config;
  engine::node_gauges g;
  for (const auto& state : node.dispatcher.keys) {
    const auto& provider = c.providers.at(state.provider);
    const auto& k = provider.keys.at(state.index);
    engine::key_gauge out{provider.name, k.id, {}, state.in_flight, false};
    out.quarantined = state.quarantine != engine::quarantine_reason::none;
    const auto add = [&](const char* name, std::int64_t limit, std::int64_t used) {
      if (limit != unlimited) out.limits.push_back({name, limit, used});
    };
    add("rpm", k.limits.rpm, state.used.requests);
    add("tpm", k.limits.tpm, state.used.tokens);
    add("tpm_input", k.limits.tpm_input, state.used.input_tokens);
    add("tpm_output", k.limits.tpm_output, state.used.output_tokens);
    add("rpd", k.limits.rpd, state.used.day_requests);
    add("concurrency", k.limits.concurrency, state.in_flight);
    g.keys.push_back(std::move(out));
  }
  for (size_t i = 0; i < engine::queue_classes; ++i) {
    const auto& lane = node.dispatcher.lanes[i];
    g.queues.push_back({static_cast<engine::queue_class>(i), static_cast<std::int64_t>(lane.depth),
                        lane.oldest, lane.joined});
  }
  for (const auto& t : node.dispatcher.targets) {
    const std::string target = target_of(c, t.name);
    const auto slash = target.find('/');
    g.breakers.push_back({target.substr(0, slash), target.substr(slash + 1), t.breaker});
  }
  for (const auto& b : node.dispatcher.budgets) {
    const std::string& account = c.names->text(b.account);
    const auto slash = account.find('/');
    g.budgets.push_back({account.substr(0, slash), account.substr(slash + 1), b.monthly ? "month" : "day",
                         b.limit.usd(), b.spent.usd(), b.reserved.usd()});
  }
  g.usage = node.usage;
  g.connections = node.edge.open;
  g.connections_accepted = node.edge.accepted;
  g.connections_lost = {{"gone", node.edge.gone}, {"stalled", node.edge.stalled}};
  for (size_t i = 0; i < refusals; ++i) {
    g.refusals.push_back({std::string(to_string(static_cast<refusal>(i))), node.edge.refused[i]});
  }
  g.upstream_active = node.upstream_open - node.upstream_idle;
  g.upstream_idle = node.upstream_idle;
  g.mailboxes = node.mailboxes;
  g.cache = node.cache;
  g.actors = node.actors;
  g.log_lines_dropped = node.log_lines_dropped;
  g.config_version = c.version;
  g.ready = node.ready;
  return g;
}

}  // namespace millrace::http
