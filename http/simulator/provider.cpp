#include "http/simulator/provider.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/simulator/errors.hpp"
#include "http/simulator/random.hpp"

namespace millrace::http::simulation {
namespace {

using engine::route_kind;
using std::chrono::microseconds;

/// Names a thread remembers; above, it forgets them all and looks them up anew.
constexpr size_t max_cached_names = 4096;
/// Draws of one request: its latency takes two, each simulated_fault one. Faults beyond these share draws
/// with the next request.
constexpr std::uint64_t draws_per_request = 64;

std::int64_t monotonic_us() {
  return std::chrono::duration_cast<microseconds>(engine::clock::now().time_since_epoch()).count();
}

/// Whether it is answered with words.
bool has_texts(route_kind route) {
  return route != route_kind::embeddings && route != route_kind::count_tokens && route != route_kind::embed &&
         route != route_kind::batch_embed;
}

struct api_route {
  route_kind route;
  const dialect* speaks;
};

std::optional<api_route> find_route(std::string_view path) {
  if (path == "/v1/chat/completions") return api_route{route_kind::chat, &openai_api()};
  if (path == "/v1/responses") return api_route{route_kind::responses, &openai_api()};
  if (path == "/v1/completions") return api_route{route_kind::completions, &openai_api()};
  if (path == "/v1/embeddings") return api_route{route_kind::embeddings, &openai_api()};
  if (path == "/v1/messages") return api_route{route_kind::messages, &anthropic_api()};
  if (path == "/v1/messages/count_tokens") return api_route{route_kind::count_tokens, &anthropic_api()};
  if (path == "/openai/responses") return api_route{route_kind::responses, &azure_api()};
  if (path.starts_with(azure_deployments)) {
    if (path.ends_with("/chat/completions")) return api_route{route_kind::chat, &azure_api()};
    if (path.ends_with("/completions")) return api_route{route_kind::completions, &azure_api()};
    if (path.ends_with("/embeddings")) return api_route{route_kind::embeddings, &azure_api()};
  }
  constexpr std::string_view gemini = "/v1beta/models/";
  if (!path.starts_with(gemini)) return std::nullopt;
  const std::string_view method = path.substr(std::min(path.rfind(':'), path.size()));
  if (method == ":generateContent" || method == ":streamGenerateContent")
    return api_route{route_kind::generate, &gemini_api()};
  if (method == ":embedContent") return api_route{route_kind::embed, &gemini_api()};
  if (method == ":batchEmbedContents") return api_route{route_kind::batch_embed, &gemini_api()};
  return std::nullopt;
}

/// Who answers what is no question.
const dialect& dialect_of(const http_request& request) {
  if (request.path.starts_with("/v1beta/")) return gemini_api();
  if (request.path.starts_with("/openai/")) return azure_api();
  return request.path.starts_with("/v1/messages") || !request.anthropic_version.empty() ? anthropic_api()
                                                                                        : openai_api();
}

}  // namespace

shared_state::shared_state(const simulator_settings& settings)
    : settings_(std::make_shared<const simulator_settings>(settings)) {}

void shared_state::configure(const simulator_settings& settings) {
  auto fresh = std::make_shared<const simulator_settings>(settings);
  const std::lock_guard lock(mutex_);
  settings_ = std::move(fresh);
  version_.fetch_add(1, std::memory_order_release);
}

std::shared_ptr<const simulator_settings> shared_state::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

provider::provider(shared_state& shared) : shared_(shared) {}

void provider::answer(const http_request& request, reply& out) {
  refresh();
  ordinal_ = shared_.next_ordinal();
  extra_headers_.clear();
  request_id_.clear();
  append_hex(request_id_, mix(settings_->seed, ordinal_));
  if (!request.keep_alive) out.then = reply::ending::close;
  const auto found = find_route(request.path);
  speaks_ = found ? found->speaks : &dialect_of(request);
  if (!found) return answer_other(request, out);
  if (request.method != "POST")
    return refuse(request, make_error(405, "invalid_request_error", "method_not_allowed", "Use POST."), out);
  answer_question(found->route, request, out);
}

void provider::refresh() {
  const std::uint64_t version = shared_.version();
  if (version == version_) return;
  version_ = version;
  settings_ = shared_.settings();
  keys_.clear();
  models_.clear();
}

provider::key_entry& provider::key(std::string_view name) {
  if (name.empty()) name = "anonymous";
  if (const auto found = keys_.find(name); found != keys_.end()) return found->second;
  if (keys_.size() >= max_cached_names) keys_.clear();
  const auto& required = settings_->require_keys;
  const auto limits = settings_->keys.find(name);
  key_entry entry;
  entry.ledger = &shared_.stats.key(name);
  entry.limits = limits == settings_->keys.end() ? settings_->limits : limits->second;
  entry.allowed = required.empty() || std::find(required.begin(), required.end(), name) != required.end();
  return keys_.emplace(name, std::move(entry)).first->second;
}

model_bill& provider::bill(key_entry& k, std::string_view model) {
  if (k.last_bill != nullptr && k.last_model == model) return *k.last_bill;
  if (k.bills.size() >= max_cached_names) k.bills.clear();
  model_bill*& known = k.bills[std::string(model)];
  if (known == nullptr) known = &k.ledger->bill(model);
  k.last_model = model;
  k.last_bill = known;
  return *known;
}

const provider::model_entry_cached& provider::model(std::string_view name) {
  if (const auto found = models_.find(name); found != models_.end()) return found->second;
  if (models_.size() >= max_cached_names) models_.clear();
  const auto special = settings_->models.find(name);
  model_entry_cached entry = {
      .requests = &shared_.stats.model(name),
      .behaviour = special == settings_->models.end() ? &settings_->behaviour : &special->second,
      .named = fault_of_model_name(name)};
  return models_.emplace(name, std::move(entry)).first->second;
}

void provider::answer_question(route_kind route, const http_request& request, reply& out) {
  const std::string_view name = speaks_->key(request);
  key_entry& k = key(name);
  if (!k.allowed) {
    k.ledger->turn_away(outcome::unauthorized);
    return refuse(request, speaks_->bad_key(name.empty()), out);
  }
  question& q = question_;
  clear(q, route);
  reply_choices choices;
  engine::api_error error;
  if (!speaks_->read(route, request, q, error) || !choose_texts(model(q.facts.model), choices, error)) {
    k.ledger->turn_away(outcome::failed);
    return refuse(request, error, out);
  }
  const model_entry_cached& m = model(q.facts.model);
  m.requests->fetch_add(1, std::memory_order_relaxed);
  const std::int64_t most_output = q.facts.max_output_tokens;
  const admission a = k.ledger->arrive(k.limits, q.facts.input_tokens,
                                       most_output >= 0 ? most_output : choices.completion_tokens());
  speaks_->append_limits(extra_headers_, a, k.limits);
  if (!a.accepted) {
    speaks_->append_retry(extra_headers_, a.retry_after);
    error = speaks_->over_limit(a, k.limits);
    error.retry_after = a.retry_after;
    return refuse(request, error, out);
  }
  out.ledger = k.ledger;
  out.bill = &bill(k, q.facts.model);

  const simulated_fault f = draw_fault(m, ordinal_);
  out.wait = draw_latency(m.behaviour->latency, ordinal_);
  if (f.kind == fault_kind::slow) out.wait += microseconds(f.argument);
  if (replace_by_fault(request, f, out) || replace_by_refusal(request, *m.behaviour, out)) return;
  look_up_prompt(choices);
  if (q.facts.stream && route != route_kind::embeddings)
    return reply_streaming(request, std::move(choices), *m.behaviour, f, out);
  reply_completely(request, choices, *m.behaviour, f, out);
}

void provider::look_up_prompt(reply_choices& choices) {
  const auto& points = question_.cache_points;
  if (points.empty()) return;
  choices.cached_tokens = shared_.prompts.read(points);
  if (question_.writes_cache) choices.cache_write_tokens = points.back().tokens - choices.cached_tokens;
}

bool provider::choose_texts(const model_entry_cached& m, reply_choices& choices, engine::api_error& error) {
  const question& q = question_;
  choices.route = q.route;
  choices.copies = q.choices;
  choices.tells_usage = m.behaviour->usage;
  choices.prompt_tokens = q.prompt_tokens;
  if (!has_texts(q.route)) return true;
  try {
    choices.texts.reserve(q.texts);
    for (size_t i = 0; i < q.texts; ++i) choices.texts.emplace_back(q, i, *m.behaviour);
    return true;
  } catch (const nlohmann::json::exception& e) {
    error = make_error(400, "invalid_request_error", "invalid_schema", e.what());
    return false;
  }
}

void provider::reply_completely(const http_request& request, const reply_choices& choices,
                                const model_behaviour& behaviour, const simulated_fault& f, reply& out) {
  out.used = choices.usage();
  // Counting is free.
  if (choices.route == route_kind::count_tokens) out.used = {};
  body_.clear();
  speaks_->append_answer(body_, make_identity(), choices, question_, monotonic_us());
  if (!choices.texts.empty())
    out.wait += due_of_token(choices.texts.front().tokens(), behaviour.tokens_per_second);
  reply_plainly(request, body_, f, out);
}

void provider::answer_other(const http_request& request, reply& out) {
  const bool get = request.method == "GET";
  if (request.path == "/stats" && request.method == "DELETE") {
    shared_.stats.reset();
    return reply_plainly(request, "{}", {}, out);
  }
  if (request.path == "/stats" && get) return reply_plainly(request, shared_.stats.json(), {}, out);
  if (request.path == "/control") return answer_control(request, out);
  if (get && (request.path == "/v1/models" || request.path.starts_with("/v1/models/") ||
              request.path == "/v1beta/models" || request.path.starts_with("/v1beta/models/")))
    return list_models(request, out);
  const std::string what = std::string(request.method) + " " + std::string(request.path);
  refuse(request,
         make_error(404, "invalid_request_error", "unknown_url", "Unknown request URL: " + what + "."), out);
}

void provider::answer_control(const http_request& request, reply& out) {
  if (request.method == "POST") {
    try {
      shared_.change([&](simulator_settings& s) { apply_settings_json(s, request.body); });
    } catch (const std::invalid_argument& e) {
      return refuse(request, make_error(400, "invalid_request_error", "invalid_settings", e.what()), out);
    }
  } else if (request.method != "GET") {
    return refuse(request, make_error(405, "invalid_request_error", "method_not_allowed", "Use GET or POST."),
                  out);
  }
  reply_plainly(request, to_json(*shared_.settings()), {}, out);
}

simulated_fault provider::draw_fault(const model_entry_cached& m, std::uint64_t ordinal) {
  std::uint64_t draw = ordinal * draws_per_request + 2;
  const auto strikes = [&](const simulated_fault& f) {
    if (f.kind == fault_kind::none || unit_interval(mix(settings_->seed, draw++)) >= f.probability)
      return false;
    return !f.times || f.times->fetch_sub(1, std::memory_order_relaxed) > 0;
  };
  if (strikes(m.named)) return m.named;
  for (const simulated_fault& f : m.behaviour->faults)
    if (strikes(f)) return f;
  return {};
}

engine::duration provider::draw_latency(const latency_model& l, std::uint64_t ordinal) const {
  if (l.kind == latency_model::shape::fixed) return l.low;
  const double u = unit_interval(mix(settings_->seed, ordinal * draws_per_request));
  const double v = unit_interval(mix(settings_->seed, ordinal * draws_per_request + 1));
  double factor = 0;
  if (l.kind == latency_model::shape::uniform) {
    const auto range = static_cast<double>((l.high - l.low).count());
    return l.low + engine::duration(static_cast<engine::duration::rep>(range * u));
  }
  // Box and Muller: A Note on the Generation of Random Normal Deviates (1958). 1 - u is never 0.
  factor = std::exp(l.sigma * std::sqrt(-2 * std::log(1 - u)) * std::cos(2 * std::numbers::pi * v));
  return engine::duration(static_cast<engine::duration::rep>(static_cast<double>(l.low.count()) * factor));
}

identity provider::make_identity() const {
  identity who;
  who.id = speaks_->id_of(question_.route, mix(~settings_->seed, ordinal_));
  who.created = std::time(nullptr);
  append_escaped(who.model, question_.facts.model);
  return who;
}

}  // namespace millrace::http::simulation
