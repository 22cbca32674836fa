#include "http/simulator/settings.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>

#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using nlohmann::json;

[[noreturn]] void refuse(std::string_view text, std::string_view why) {
  throw std::invalid_argument("'" + std::string(text) + "': " + std::string(why));
}

template <class T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

struct fault_name {
  fault_kind kind;
  std::string_view name;
  enum class argument : std::uint8_t { none, status, events, duration } takes;
  std::int64_t fallback;  ///< the argument where none is written
};
using argument = fault_name::argument;
constexpr std::array fault_names = {
    fault_name{fault_kind::status, "status", argument::status, 500},
    fault_name{fault_kind::quota, "quota", argument::none, 0},
    fault_name{fault_kind::reset, "reset", argument::none, 0},
    fault_name{fault_kind::stall, "stall", argument::none, 0},
    fault_name{fault_kind::stall_stream, "stall-stream", argument::events, 3},
    fault_name{fault_kind::cut, "cut", argument::events, 3},
    fault_name{fault_kind::content_type, "content-type", argument::none, 0},
    fault_name{fault_kind::truncate, "truncate", argument::events, 3},
    fault_name{fault_kind::error_event, "error-event", argument::events, 3},
    fault_name{fault_kind::slow_head, "slow-head", argument::duration, 50'000},
    fault_name{fault_kind::slow, "slow", argument::duration, 5'000'000},
    fault_name{fault_kind::pause, "pause", argument::duration, 200'000},
};

std::int64_t microseconds(engine::duration d) {
  return std::chrono::duration_cast<std::chrono::microseconds>(d).count();
}

std::string format(engine::duration d) {
  const std::int64_t us = microseconds(d);
  if (us % 1'000'000 == 0) return std::to_string(us / 1'000'000) + "s";
  if (us % 1'000 == 0) return std::to_string(us / 1'000) + "ms";
  return std::to_string(us) + "us";
}

std::string format(const latency_model& l) {
  switch (l.kind) {
    case latency_model::shape::uniform:
      return format(l.low) + "-" + format(l.high);
    case latency_model::shape::lognormal:
      return format(l.low) + "~" + json(l.sigma).dump();
    case latency_model::shape::fixed:
      break;
  }
  return format(l.low);
}

std::string format(const simulated_fault& f) {
  std::string out;
  for (const auto& known : fault_names) {
    if (known.kind != f.kind) continue;
    out = known.name;
    if (known.takes == argument::duration) out += "=" + format(std::chrono::microseconds(f.argument));
    if (known.takes == argument::status || known.takes == argument::events)
      out += "=" + std::to_string(f.argument);
  }
  if (f.probability < 1) out += ":" + json(f.probability).dump();
  if (f.times_configured >= 0) out += ":x" + std::to_string(f.times_configured);
  return out;
}

void read_argument(simulated_fault& f, const fault_name& known, std::string_view value,
                   std::string_view text) {
  switch (known.takes) {
    case argument::none:
      refuse(text, "this fault takes no argument");
    case argument::duration:
      f.argument = microseconds(parse_simulated_duration(value));
      return;
    case argument::status:
    case argument::events: {
      const auto n = number<std::int64_t>(value);
      const bool status = known.takes == argument::status;
      if (!n || (status ? *n < 400 || *n > 599 : *n < 0))
        refuse(text, status ? "the status must be 400 to 599" : "the argument is a count of events");
      f.argument = *n;
    }
  }
}

void read_chance(simulated_fault& f, std::string_view value, std::string_view text) {
  if (value.starts_with('x')) {
    const auto n = number<std::int64_t>(value.substr(1));
    if (!n || *n < 0) refuse(text, "x is followed by a count of requests");
    f.times_configured = *n;
    f.times = std::make_shared<std::atomic<std::int64_t>>(*n);
    return;
  }
  const auto p = number<double>(value);
  if (!p || !(*p >= 0 && *p <= 1)) refuse(text, "the probability must be 0 to 1");
  f.probability = *p;
}

// --- members of JSON and of options
// ------------------------------------------------------------------------------

std::int64_t checked_tokens(std::int64_t n) {
  if (n < 0 || n > max_simulated_tokens)
    throw std::invalid_argument("tokens must be 0 to " + std::to_string(max_simulated_tokens));
  return n;
}

std::string checked_text(std::string text) {
  if (text.size() > max_said_bytes)
    throw std::invalid_argument("say must be at most " + std::to_string(max_said_bytes) + " bytes");
  return text;
}

double checked_probability(double p) {
  if (!(p >= 0 && p <= 1)) throw std::invalid_argument("probability must be 0 to 1");
  return p;
}

std::int64_t checked_context(std::int64_t n) {
  if (n < 0 || n > max_simulated_context)
    throw std::invalid_argument("context must be 0 (no bound) to " + std::to_string(max_simulated_context));
  return n;
}

double checked_rate(double r) {
  if (!(r >= 0 && r <= 1e6)) throw std::invalid_argument("tokens_per_second must be 0 to 1000000");
  return r;
}

std::int64_t limit_of(std::int64_t n) {
  if (n < 0) throw std::invalid_argument("a limit must be 0 (unlimited) or more");
  return n == 0 ? engine::unlimited : n;
}

bool read_member(model_behaviour& b, const std::string& name, const json& value) {
  if (name == "latency") {
    b.latency = parse_latency(value.get<std::string>());
  } else if (name == "tokens_per_second") {
    b.tokens_per_second = checked_rate(value.get<double>());
  } else if (name == "tokens") {
    b.tokens = checked_tokens(value.get<std::int64_t>());
  } else if (name == "say") {
    b.say = checked_text(value.get<std::string>());
  } else if (name == "probability") {
    b.probability = checked_probability(value.get<double>());
  } else if (name == "context") {
    b.context = checked_context(value.get<std::int64_t>());
  } else if (name == "refuse") {
    b.refuse = checked_text(value.get<std::string>());
  } else if (name == "stamp") {
    b.stamp = value.get<bool>();
  } else if (name == "usage") {
    b.usage = value.get<bool>();
  } else if (name == "faults") {
    b.faults.clear();
    for (const auto& f : value) b.faults.push_back(parse_fault(f.get<std::string>()));
  } else {
    return false;
  }
  return true;
}

bool read_member(simulated_limits& l, const std::string& name, const json& value) {
  std::int64_t* const limit = name == "rpm"          ? &l.rpm
                              : name == "tpm"        ? &l.tpm
                              : name == "tpm_input"  ? &l.tpm_input
                              : name == "tpm_output" ? &l.tpm_output
                                                     : nullptr;
  if (limit == nullptr) return false;
  *limit = limit_of(value.get<std::int64_t>());
  return true;
}

/// Every member of `from`, by name, into an entry of `into`; null removes the entry.
template <class Map, class Value>
void read_map(Map& into, const json& from, const Value& fresh) {
  for (const auto& [name, members] : from.items()) {
    if (members.is_null()) {
      into.erase(name);
      continue;
    }
    auto& entry = into.try_emplace(name, fresh).first->second;
    for (const auto& [member, value] : members.items())
      if (!read_member(entry, member, value)) refuse(member, "unknown setting of '" + name + "'");
  }
}

json members(const model_behaviour& b) {
  json faults = json::array();
  for (const auto& f : b.faults) faults.push_back(format(f));
  json out = {{"latency", format(b.latency)},
              {"tokens_per_second", b.tokens_per_second},
              {"tokens", b.tokens},
              {"stamp", b.stamp},
              {"usage", b.usage},
              {"faults", std::move(faults)}};
  if (!b.say.empty()) out["say"] = b.say;
  if (b.probability > 0) out["probability"] = b.probability;
  if (b.context > 0) out["context"] = b.context;
  if (!b.refuse.empty()) out["refuse"] = b.refuse;
  return out;
}

json members(const simulated_limits& l) {
  const auto shown = [](std::int64_t n) { return n == engine::unlimited ? 0 : n; };
  json out = {{"rpm", shown(l.rpm)}, {"tpm", shown(l.tpm)}};
  if (l.tpm_input != engine::unlimited) out["tpm_input"] = l.tpm_input;
  if (l.tpm_output != engine::unlimited) out["tpm_output"] = l.tpm_output;
  return out;
}

/// Splits `NAME:key=value,...` and hands each pair to `take`.
template <class Take>
std::string read_option(std::string_view text, Take take) {
  // The name may hold colons itself; what follows the last one before the first '=' are the pairs.
  const size_t equals = text.find('=');
  const size_t colon = equals == std::string_view::npos ? equals : text.rfind(':', equals);
  if (colon == std::string_view::npos || colon == 0) refuse(text, "expected NAME:key=value,...");
  std::string_view rest = text.substr(colon + 1);
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find(','));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const size_t split = pair.find('=');
    if (split == std::string_view::npos) refuse(text, "expected key=value between the commas");
    take(std::string(pair.substr(0, split)), pair.substr(split + 1));
  }
  return std::string(text.substr(0, colon));
}

}  // namespace

engine::duration parse_simulated_duration(std::string_view text) {
  struct unit {
    std::string_view name;
    double us;
  };
  constexpr std::array units = {unit{"us", 1}, unit{"ms", 1e3}, unit{"s", 1e6}, unit{"m", 60e6},
                                unit{"h", 3600e6}};
  for (const auto& u : units) {
    if (!text.ends_with(u.name)) continue;
    const auto value = number<double>(text.substr(0, text.size() - u.name.size()));
    if (!value) continue;  // "50ms" also ends with "s"
    if (!(*value >= 0 && *value * u.us <= 24 * 3600e6)) refuse(text, "a duration is 0 to 24h");
    return std::chrono::microseconds(std::llround(*value * u.us));
  }
  refuse(text, "a duration is a number and us, ms, s, m or h, like 50ms");
}

latency_model parse_latency(std::string_view text) {
  latency_model l;
  if (const size_t tilde = text.find('~'); tilde != std::string_view::npos) {
    const auto sigma = number<double>(text.substr(tilde + 1));
    if (!sigma || !(*sigma >= 0 && *sigma <= 5)) refuse(text, "the sigma after ~ must be 0 to 5");
    l.kind = latency_model::shape::lognormal;
    l.low = parse_simulated_duration(text.substr(0, tilde));
    l.sigma = *sigma;
  } else if (const size_t dash = text.find('-', 1); dash != std::string_view::npos) {
    l.kind = latency_model::shape::uniform;
    l.low = parse_simulated_duration(text.substr(0, dash));
    l.high = parse_simulated_duration(text.substr(dash + 1));
    if (l.high < l.low) refuse(text, "the second duration must not be below the first");
  } else {
    l.low = parse_simulated_duration(text);
  }
  return l;
}

simulated_fault parse_fault(std::string_view text) {
  std::string_view head = text.substr(0, text.find(':'));
  std::string_view chances = text.substr(head.size());
  const size_t equals = head.find('=');
  const std::string_view name = head.substr(0, equals);
  for (const auto& known : fault_names) {
    if (known.name != name) continue;
    simulated_fault f{.kind = known.kind,
                      .argument = known.fallback,
                      .probability = 1,
                      .times = nullptr,
                      .times_configured = -1};
    if (equals != std::string_view::npos) read_argument(f, known, head.substr(equals + 1), text);
    while (!chances.empty()) {
      chances.remove_prefix(1);
      const std::string_view chance = chances.substr(0, chances.find(':'));
      read_chance(f, chance, text);
      chances.remove_prefix(chance.size());
    }
    return f;
  }
  std::string kinds;
  for (const auto& known : fault_names) kinds.append(kinds.empty() ? "" : ", ").append(known.name);
  refuse(text, "unknown fault; the kinds are " + kinds);
}

simulated_fault fault_of_model_name(std::string_view model) {
  constexpr std::string_view prefix = "fault-";
  if (!model.starts_with(prefix)) return {};
  const std::string_view asked = model.substr(prefix.size());
  const std::string_view name = asked.substr(0, asked.find(':'));
  try {
    if (number<int>(name)) return parse_fault("status=" + std::string(asked));
    if (name == "html") return parse_fault("content-type" + std::string(asked.substr(name.size())));
    return parse_fault(asked);
  } catch (const std::invalid_argument&) {
    return {};
  }
}

void apply_model_option(simulator_settings& settings, std::string_view text) {
  model_behaviour b = settings.behaviour;
  bool own_faults = false;
  const auto behaviour_of = [&](const std::string& key, std::string_view value) {
    if (key == "latency") {
      b.latency = parse_latency(value);
    } else if (key == "fault") {
      if (!std::exchange(own_faults, true)) b.faults.clear();
      b.faults.push_back(parse_fault(value));
    } else if (key == "tokens_per_second") {
      const auto n = number<double>(value);
      if (!n) refuse(text, "tokens_per_second must be a number");
      b.tokens_per_second = checked_rate(*n);
    } else if (key == "say") {
      b.say = checked_text(std::string(value));
    } else if (key == "probability") {
      const auto n = number<double>(value);
      if (!n) refuse(text, "probability must be a number");
      b.probability = checked_probability(*n);
    } else if (key == "refuse") {
      b.refuse = checked_text(std::string(value));
    } else if (key == "tokens" || key == "stamp" || key == "usage" || key == "context") {
      const auto n = number<std::int64_t>(value);
      if (!n) refuse(text, key + " must be a number");
      if (key == "tokens") b.tokens = checked_tokens(*n);
      if (key == "stamp") b.stamp = *n != 0;
      if (key == "usage") b.usage = *n != 0;
      if (key == "context") b.context = checked_context(*n);
    } else {
      refuse(text, "unknown key '" + key + "'");
    }
  };
  const std::string name = read_option(text, behaviour_of);
  settings.models.insert_or_assign(name, std::move(b));
}

void apply_key_option(simulator_settings& settings, std::string_view text) {
  simulated_limits limits;
  const std::string name = read_option(text, [&](const std::string& key, std::string_view value) {
    const auto n = number<std::int64_t>(value);
    if (!n || !read_member(limits, key, json(*n)))
      refuse(text, "expected rpm=N, tpm=N, tpm_input=N or tpm_output=N");
  });
  settings.keys.insert_or_assign(name, limits);
}

void apply_settings_json(simulator_settings& settings, std::string_view text) {
  try {
    const json document = json::parse(text);
    if (!document.is_object()) throw std::invalid_argument("the settings must be a JSON object");
    simulator_settings changed = settings;
    for (const auto& [name, value] : document.items()) {
      if (read_member(changed.behaviour, name, value) || read_member(changed.limits, name, value)) continue;
      if (name == "require_keys")
        changed.require_keys = value.get<std::vector<std::string>>();
      else if (name == "seed")
        changed.seed = value.get<std::uint64_t>();
      else if (name != "models" && name != "keys")
        refuse(name, "unknown setting");
    }
    // Last, because a model that is new starts from the general behaviour.
    if (document.contains("models")) read_map(changed.models, document["models"], changed.behaviour);
    if (document.contains("keys")) read_map(changed.keys, document["keys"], changed.limits);
    settings = std::move(changed);
  } catch (const json::exception& e) {
    throw std::invalid_argument(e.what());
  }
}

std::string to_json(const simulator_settings& settings) {
  json out = members(settings.behaviour);
  out.update(members(settings.limits));
  out["require_keys"] = settings.require_keys;
  out["seed"] = settings.seed;
  out["models"] = json::object();
  for (const auto& [name, behaviour] : settings.models) out["models"][name] = members(behaviour);
  out["keys"] = json::object();
  for (const auto& [name, limits] : settings.keys) out["keys"][name] = members(limits);
  return out.dump();
}

}  // namespace millrace::http
