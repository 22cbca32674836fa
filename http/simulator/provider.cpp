#include "http/simulator/provider.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <numbers>
#include <stdexcept>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/openai.hpp"
#include "http/simulator/random.hpp"

namespace millrace::http::simulation {
namespace {

using engine::api_error;
using engine::route_kind;
using std::chrono::microseconds;
using std::chrono::milliseconds;

/// Names a thread remembers; above, it forgets them all and looks them up anew.
constexpr size_t max_cached_names = 4096;
/// Draws of one request: its latency takes two, each fault one.
constexpr std::uint64_t draws_per_request = 64;

constexpr std::string_view html_page =
    "<!doctype html><html><head><title>Down for maintenance</title></head><body>Please come back "
    "later.</body></html>";

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

api_error make_error(int status, std::string_view type, std::string_view code, std::string message) {
  api_error e;
  e.status = status;
  e.type = type;
  e.code = code;
  e.message = std::move(message);
  return e;
}

/// What OpenAI says with a status.
api_error error_of_status(int status) {
  switch (status) {
    case 401:
      return make_error(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.");
    case 402:
      return make_error(402, "insufficient_quota", "insufficient_quota",
                        "You have no credit left. Please check your plan and billing details.");
    case 403:
      return make_error(403, "permission_error", "permission_denied", "This key may not use this model.");
    case 404:
      return make_error(404, "invalid_request_error", "model_not_found", "The model does not exist.");
    case 429:
      return make_error(429, "requests", "rate_limit_exceeded",
                        "Rate limit reached. Please try again later.");
    case 503:
      return make_error(503, "server_error", "engine_overloaded", "The engine is currently overloaded.");
    default:
      return status < 500 ? make_error(status, "invalid_request_error", "simulated", "A simulated error.")
                          : make_error(status, "server_error", "server_error", "The server had an error.");
  }
}

void append_number(std::string& out, std::int64_t n) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void append_header(std::string& out, std::string_view name, std::int64_t value) {
  out.append(name).append(": ");
  append_number(out, value);
  out += "\r\n";
}

/// As OpenAI writes a reset: `6m0s`, `1.5s` to the millisecond, `20ms`.
void append_reset(std::string& out, std::string_view name, engine::duration d) {
  const std::int64_t ms = std::chrono::ceil<milliseconds>(d).count();
  out.append(name).append(": ");
  if (ms < 1000) {
    append_number(out, ms);
    out += "ms\r\n";
    return;
  }
  if (ms >= 60'000) {
    append_number(out, ms / 60'000);
    out += 'm';
  }
  append_number(out, ms / 1000 % 60);
  if (const auto rest = ms % 1000; rest != 0) {
    const std::string digits = std::to_string(1000 + rest);
    out += '.';
    out.append(digits, 1);
  }
  out += "s\r\n";
}

void append_hex(std::string& out, std::uint64_t n) {
  for (int shift = 60; shift >= 0; shift -= 4) out += "0123456789abcdef"[(n >> shift) & 15];
}

std::int64_t monotonic_us() {
  return std::chrono::duration_cast<microseconds>(engine::clock::now().time_since_epoch()).count();
}

std::optional<route_kind> question_route(std::string_view path) {
  if (path == "/v1/chat/completions") return route_kind::chat;
  if (path == "/v1/completions") return route_kind::completions;
  if (path == "/v1/embeddings") return route_kind::embeddings;
  return std::nullopt;
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
  if (!request.keep_alive) out.then = reply::ending::close;
  const auto route = question_route(request.path);
  if (!route) return answer_other(request, out);
  if (request.method != "POST")
    return refuse(request, make_error(405, "invalid_request_error", "method_not_allowed", "Use POST."), out);
  answer_question(*route, request, out);
}

void provider::refresh() {
  const std::uint64_t version = shared_.version();
  if (version == version_) return;
  version_ = version;
  settings_ = shared_.settings();
  keys_.clear();
  models_.clear();
}

const provider::key_entry& provider::key(std::string_view name) {
  if (name.empty()) name = "anonymous";
  if (const auto found = keys_.find(name); found != keys_.end()) return found->second;
  if (keys_.size() >= max_cached_names) keys_.clear();
  const auto& required = settings_->require_keys;
  const auto limits = settings_->keys.find(name);
  const key_entry entry = {
      .ledger = &shared_.stats.key(name),
      .limits = limits == settings_->keys.end() ? settings_->limits : limits->second,
      .allowed = required.empty() || std::find(required.begin(), required.end(), name) != required.end()};
  return keys_.emplace(name, entry).first->second;
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
  const key_entry& k = key(request.key);
  out.ledger = k.ledger;
  if (!k.allowed) {
    out.ledger = nullptr;
    k.ledger->turn_away(outcome::unauthorized);
    return refuse(request, error_of_status(401), out);
  }
  api_error error;
  question& q = question_;
  if (!read_question(route, request.body, request_reader::padding_bytes, q, error)) {
    out.ledger = nullptr;
    k.ledger->turn_away(outcome::failed);
    return refuse(request, error, out);
  }
  const model_entry_cached& m = model(q.facts.model);
  m.requests->fetch_add(1, std::memory_order_relaxed);

  reply_choices choices{
      .route = route, .texts = {}, .copies = q.choices, .prompt_tokens = q.facts.input_tokens};
  if (route != route_kind::embeddings)
    for (size_t i = 0; i < q.texts; ++i) choices.texts.emplace_back(q, i, *m.behaviour);
  const std::int64_t completion = choices.completion_tokens();
  const std::int64_t estimated =
      q.facts.input_tokens + (q.facts.max_output_tokens >= 0 ? q.facts.max_output_tokens : completion);
  const admission a = k.ledger->arrive(k.limits, estimated);
  limit_headers(a, k.limits);
  if (!a.accepted) return refuse_limit(request, a, k.limits, out);

  const fault f = draw_fault(m, ordinal_);
  out.wait = draw_latency(m.behaviour->latency, ordinal_);
  if (f.kind == fault_kind::slow) out.wait += microseconds(f.argument);
  if (replace_by_fault(request, f, out)) return;
  if (q.facts.stream && route != route_kind::embeddings)
    return reply_streaming(request, make_identity(q), std::move(choices), *m.behaviour, f, out);
  out.prompt_tokens = q.facts.input_tokens;
  out.completion_tokens = completion;
  if (m.behaviour->tokens_per_second > 0 && route != route_kind::embeddings)
    out.wait += std::chrono::duration_cast<engine::duration>(std::chrono::duration<double>(
        static_cast<double>(completion / std::max<std::int64_t>(1, choices.count())) /
        m.behaviour->tokens_per_second));
  body_.clear();
  if (route == route_kind::embeddings)
    append_embeddings(body_, make_identity(q), q);
  else
    append_completion(body_, make_identity(q), choices, monotonic_us());
  reply_plainly(request, body_, f, out);
}

void provider::answer_other(const http_request& request, reply& out) {
  constexpr std::string_view models = "/v1/models";
  const bool get = request.method == "GET";
  if (request.path == "/stats" && request.method == "DELETE") {
    shared_.stats.reset();
    return reply_plainly(request, "{}", {}, out);
  }
  if (request.path == "/stats" && get) return reply_plainly(request, shared_.stats.json(), {}, out);
  if (request.path == "/control") return answer_control(request, out);
  if (get && request.path == models) {
    std::vector<std::string> names = {"gpt-4o", "gpt-4o-mini", "text-embedding-3-large",
                                      "text-embedding-3-small"};
    for (const auto& [name, behaviour] : settings_->models) names.push_back(name);
    return reply_plainly(request, model_list(names), {}, out);
  }
  if (get && request.path.starts_with(models) && request.path.size() > models.size() + 1)
    return reply_plainly(request, model_entry(std::string(request.path.substr(models.size() + 1))), {}, out);
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

void provider::refuse(const http_request& request, const api_error& error, reply& out) {
  out.how = error.status == 429   ? outcome::limited
            : error.status == 401 ? outcome::unauthorized
                                  : outcome::failed;
  const std::string body = openai().error_body(error);
  write_head(request, error.status, "application/json", body.size(), out);
  out.bytes += body;
}

void provider::refuse_limit(const http_request& request, const admission& a, const simulated_limits& limits,
                            reply& out) {
  // The ledger has counted it.
  out.ledger = nullptr;
  append_header(extra_headers_, "retry-after",
                std::chrono::ceil<std::chrono::seconds>(a.retry_after).count());
  append_header(extra_headers_, "retry-after-ms", std::chrono::ceil<milliseconds>(a.retry_after).count());
  const std::string limit = std::to_string(a.by_tokens ? limits.tpm : limits.rpm);
  refuse(request,
         make_error(429, a.by_tokens ? "tokens" : "requests", "rate_limit_exceeded",
                    std::string("Rate limit reached on ") + (a.by_tokens ? "tokens" : "requests") +
                        " per minute: limit " + limit + ". Please try again in " +
                        std::to_string(std::chrono::ceil<milliseconds>(a.retry_after).count()) + "ms."),
         out);
}

/// Faults that leave nothing of the answer.
bool provider::replace_by_fault(const http_request& request, const fault& f, reply& out) {
  switch (f.kind) {
    case fault_kind::status: {
      const int status = static_cast<int>(f.argument);
      if (status == 429) extra_headers_ += "retry-after: 1\r\nretry-after-ms: 1000\r\n";
      refuse(request, error_of_status(status), out);
      return true;
    }
    case fault_kind::quota:
      refuse(request,
             make_error(429, "insufficient_quota", "insufficient_quota",
                        "You exceeded your current quota, please check your plan and billing details."),
             out);
      return true;
    case fault_kind::error_event:
      if (question_.facts.stream) return false;
      refuse(request, error_of_status(500), out);
      return true;
    case fault_kind::content_type:
      out.how = outcome::failed;
      write_head(request, 200, "text/html", html_page.size(), out);
      out.bytes += html_page;
      return true;
    case fault_kind::reset:
    case fault_kind::stall:
      out.how = outcome::failed;
      out.then = f.kind == fault_kind::reset ? reply::ending::reset : reply::ending::stall;
      return true;
    default:
      return false;
  }
}

void provider::reply_plainly(const http_request& request, std::string_view body, const fault& f, reply& out) {
  write_head(request, 200, "application/json", body.size(), out);
  if (f.kind == fault_kind::slow_head) out.drip = microseconds(f.argument);
  const bool stalls = f.kind == fault_kind::stall_stream;
  if (stalls || f.kind == fault_kind::cut || f.kind == fault_kind::truncate) {
    body = body.substr(0, body.size() / 2);
    out.how = outcome::failed;
    out.then = stalls ? reply::ending::stall : reply::ending::close;
  }
  out.bytes += body;
}

void provider::reply_streaming(const http_request& request, identity who, reply_choices choices,
                               const model_behaviour& behaviour, const fault& f, reply& out) {
  write_head(request, 200, "text/event-stream; charset=utf-8", std::nullopt, out);
  out.prompt_tokens = choices.prompt_tokens;
  out.stream =
      std::make_unique<event_source>(std::move(who), std::move(choices), question_.facts.include_usage,
                                     behaviour.tokens_per_second, !request.http_1_0);
  if (request.http_1_0) out.then = reply::ending::close;
  switch (f.kind) {
    case fault_kind::slow_head:
      out.drip = microseconds(f.argument);
      return;
    case fault_kind::stall_stream:
      out.broken_then = reply::ending::stall;
      break;
    case fault_kind::cut:
    case fault_kind::truncate:
      out.broken_then = reply::ending::close;
      break;
    case fault_kind::error_event:
      out.last_event = openai().error_event(error_of_status(500));
      out.broken_then = out.then;
      break;
    default:
      return;
  }
  out.stop_after = f.argument;
}

fault provider::draw_fault(const model_entry_cached& m, std::uint64_t ordinal) {
  std::uint64_t draw = ordinal * draws_per_request + 2;
  const auto strikes = [&](const fault& f) {
    if (f.kind == fault_kind::none || unit_interval(mix(settings_->seed, draw++)) >= f.probability)
      return false;
    return !f.times || f.times->fetch_sub(1, std::memory_order_relaxed) > 0;
  };
  if (strikes(m.named)) return m.named;
  for (const fault& f : m.behaviour->faults)
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

void provider::write_head(const http_request& request, int status, std::string_view content_type,
                          std::optional<size_t> length, reply& out) {
  std::string& head = out.bytes;
  head.reserve(512 + length.value_or(0));
  head = "HTTP/1.1 ";
  append_number(head, status);
  head.append(" ").append(reason(status)).append("\r\ndate: ").append(date());
  head.append("\r\ncontent-type: ").append(content_type).append("\r\nx-request-id: req_");
  append_hex(head, mix(settings_->seed, ordinal_));
  head += "\r\nopenai-version: 2020-10-01\r\n";
  append_header(head, "openai-processing-ms", std::chrono::duration_cast<milliseconds>(out.wait).count());
  head += extra_headers_;
  if (!request.keep_alive) head += "connection: close\r\n";
  if (request.keep_alive && request.http_1_0 && length) head += "connection: keep-alive\r\n";
  if (length)
    append_header(head, "content-length", static_cast<std::int64_t>(*length));
  else if (!request.http_1_0)
    head += "transfer-encoding: chunked\r\n";
  head += "\r\n";
}

void provider::limit_headers(const admission& a, const simulated_limits& limits) {
  if (limits.rpm != engine::unlimited) {
    append_header(extra_headers_, "x-ratelimit-limit-requests", limits.rpm);
    append_header(extra_headers_, "x-ratelimit-remaining-requests", a.remaining_requests);
    append_reset(extra_headers_, "x-ratelimit-reset-requests", a.reset);
  }
  if (limits.tpm != engine::unlimited) {
    append_header(extra_headers_, "x-ratelimit-limit-tokens", limits.tpm);
    append_header(extra_headers_, "x-ratelimit-remaining-tokens", a.remaining_tokens);
    append_reset(extra_headers_, "x-ratelimit-reset-tokens", a.reset);
  }
}

std::string_view provider::date() {
  const std::time_t now = std::time(nullptr);
  if (now != now_s_) {
    now_s_ = now;
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    date_.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  }
  return date_;
}

identity provider::make_identity(const question& q) const {
  identity who;
  who.id = q.route == route_kind::chat ? "chatcmpl-" : "cmpl-";
  append_hex(who.id, mix(~settings_->seed, ordinal_));
  who.created = std::time(nullptr);
  append_escaped(who.model, q.facts.model);
  return who;
}

}  // namespace millrace::http::simulation
