#include "http/api.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <optional>

#include <fmt/format.h>

#include "engine/answer_headers.hpp"
#include "http/answers.hpp"
#include "http/cache_control.hpp"
#include "http/choosing.hpp"
#include "http/dialects/formats.hpp"
#include "http/documents/classify_file.hpp"
#include "http/plain_request.hpp"
#include "http/prompt_text.hpp"
#include "http/request_key.hpp"
#include "http/route_table.hpp"
#include "http/traffic_routes.hpp"
#include "http/usage_routes.hpp"

namespace millrace::http {

namespace {

using engine::answer;
using engine::api_error;
using engine::route_kind;
using namespace std::chrono_literals;

/// Request headers that go on to a provider; besides, everything that starts with "anthropic-".
constexpr std::array<std::string_view, 7> forwarded_headers = {
    "content-type",   "accept",      "openai-beta", "openai-organization",
    "openai-project", "traceparent", "user-agent"};

/// The longest time that may be asked for in x-millrace-timeout-ms.
constexpr std::int64_t max_timeout_ms = 24LL * 3600 * 1000;

bool read_strategy(std::string_view text, std::uint8_t& out) {
  constexpr std::array<std::string_view, 5> names = {"cost", "quality", "speed", "weighted", "least_busy"};
  const auto it = std::find(names.begin(), names.end(), text);
  if (it == names.end()) return false;
  out = static_cast<std::uint8_t>(it - names.begin());
  return true;
}

bool read_queue(std::string_view text, engine::queue_class& out) {
  constexpr std::array<std::string_view, engine::queue_classes> names = {"priority", "standard", "batch"};
  const auto it = std::find(names.begin(), names.end(), text);
  if (it == names.end()) return false;
  out = static_cast<engine::queue_class>(it - names.begin());
  return true;
}

/// When the client wants its answer at the latest; nullopt when what it says of that cannot be read.
std::optional<engine::time_point> deadline_of(const edge_request& r) {
  if (!r.has_header("x-millrace-timeout-ms")) return engine::time_point::max();
  const auto text = r.header("x-millrace-timeout-ms");
  std::int64_t ms = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), ms);
  if (ec != std::errc{} || end != text.data() + text.size() || ms < 1 || ms > max_timeout_ms)
    return std::nullopt;
  return r.received + std::chrono::milliseconds(ms);
}

/// Reads Millrace's own request headers into `c`.
bool read_wishes(const edge_request& r, engine::call& c, api_error& error) {
  const auto bad = [&](std::string code, std::string message) {
    error = {400, "invalid_request_error", std::move(code), std::move(message), "", {}, false};
    return false;
  };
  const auto deadline = deadline_of(r);
  if (!deadline) {
    return bad("invalid_timeout",
               "x-millrace-timeout-ms must be a whole number of milliseconds from 1 to 86400000.");
  }
  c.deadline = *deadline;
  if (r.has_header("x-millrace-strategy") && !read_strategy(r.header("x-millrace-strategy"), c.strategy)) {
    return bad("invalid_strategy",
               "x-millrace-strategy must be cost, quality, speed, weighted or least_busy.");
  }
  if (r.has_header("x-millrace-priority") && !read_queue(r.header("x-millrace-priority"), c.asked_queue)) {
    return bad("invalid_priority", "x-millrace-priority must be priority, standard or batch.");
  }
  for (const auto& h : r.headers) {
    if (h.name == "x-millrace-private") {
      if (h.value != "true" && h.value != "false")
        return bad("invalid_private", "x-millrace-private must be true or false.");
      // A proxy may mark what its client said is not: whoever wants it private is heard.
      c.private_only = c.private_only || h.value == "true";
    }
    if (h.name == "cache-control" && !read_cache_control(h.value, c.cache))
      return bad("invalid_cache_control",
                 "max-age and stale-if-error in Cache-Control must be whole numbers of seconds.");
  }
  const auto encoding = r.header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    error = {415,
             "invalid_request_error",
             "unsupported_content_encoding",
             "Compressed request bodies are not accepted. Send the body without content-encoding.",
             "",
             {},
             false};
    return false;
  }
  return true;
}

void forward_headers(const edge_request& r, engine::header_list& out) {
  for (const auto& h : r.headers) {
    const bool known =
        std::find(forwarded_headers.begin(), forwarded_headers.end(), h.name) != forwarded_headers.end();
    if (known || h.name.starts_with("anthropic-")) out.emplace_back(h.name, h.value);
  }
}

/// The headers among those that go on which change what a provider answers: its API's version, and what it
/// only tries out.
std::string versions_of(const engine::header_list& forwarded) {
  std::string out;
  for (const auto& [name, value] : forwarded) {
    if (name.ends_with("-beta") || name == "anthropic-version")
      out.append(name).append(":").append(value).append("\n");
  }
  return out;
}

/// Whether a provider of the model counts tokens itself, and may see the request.
bool counts_tokens(const engine::call& call) {
  const auto& targets = call.config->models[call.model.model].targets;
  return std::any_of(targets.begin(), targets.end(), [&call](const engine::target_config& t) {
    const auto& provider = call.config->providers[t.provider];
    return (provider.private_data || !call.private_only) &&
           all_formats().between(route_kind::count_tokens, provider) != nullptr;
  });
}

/// Millrace's own estimate, where nobody can be asked.
answer token_count(const engine::request_facts& facts) {
  answer a;
  a.body = fmt::format(R"({{"input_tokens":{}}})", facts.input_tokens);
  return a;
}

/// Gemini names model and streaming in the path.
bool read_path(route_kind kind, bool streamed, const edge_request& r, engine::request_facts& facts,
               api_error& error) {
  if (kind != route_kind::generate && kind != route_kind::embed && kind != route_kind::batch_embed)
    return true;
  facts.model = r.param;
  facts.stream = streamed;
  if (!streamed || r.query.find("alt=sse") != std::string_view::npos) return true;
  error = {400,
           "invalid_request_error",
           "unsupported_stream",
           "A stream is sent as server-sent events only. Add ?alt=sse, as Google's SDKs do.",
           "alt",
           {},
           true};
  return false;
}

/// Fills in what every call has, with its configuration there; the refusal, when the client is unknown or
/// wishes what there is not.
std::optional<answer> begin_call(const edge_request& r, plain_request& plain, engine::call& c) {
  c.received = r.received;
  c.upload = r.upload;
  c.gone = &r.gone;
  c.client = authenticate(*c.config, r);
  if (!c.client) return plain.refuse(invalid_key());
  plain.set_client(*c.client);
  api_error error;
  if (!read_wishes(r, c, error)) return plain.refuse(error);
  if (c.received + c.upload >= c.deadline) return plain.refuse(engine::deadline_error());
  c.id = plain.id();
  c.body = r.body;
  return std::nullopt;
}

answer complete(api_services& services, route_kind kind, bool streamed, const edge_request& r,
                engine::yield y) {
  const auto& thread = services.threads[r.thread];
  plain_request plain(services, r);
  engine::call c;
  c.config = thread.config;
  c.route = kind;
  if (auto refusal = begin_call(r, plain, c)) return std::move(*refusal);
  api_error error;
  if (!read_path(kind, streamed, r, c.facts, error)) return plain.refuse(error);
  if (!all_formats().of(kind).read_request(kind, r.body, c.facts, error)) return plain.refuse(error);
  const auto model = engine::find_model(*c.config, c.facts.model);
  if (!model) {
    return plain.refuse({404,
                         "invalid_request_error",
                         "model_not_found",
                         "The model `" + c.facts.model.substr(0, 128) +
                             "` is not configured here. GET /v1/models lists those that are.",
                         "model",
                         {},
                         false});
  }
  c.model = *model;
  if (!apply_model(r, has_prompt(kind), c, error)) return plain.refuse(error);
  if (kind == route_kind::count_tokens && !counts_tokens(c)) return plain.finish(token_count(c.facts));
  const std::string chosen = c.model.model == c.asked ? std::string() : question_model(c);
  forward_headers(r, c.forwarded);
  c.key = request_key(kind, c.client->tenant, chosen.empty() ? c.facts.model : chosen, c.private_only, r.body,
                      versions_of(c.forwarded));
  answer a = thread.pipeline->run(std::move(c), y);
  a.comments = kind != route_kind::generate;
  return a;
}

answer classify(api_services& services, const edge_request& r, engine::yield y) {
  const auto& thread = services.threads[r.thread];
  plain_request plain(services, r);
  engine::call c;
  c.config = thread.config;
  if (auto refusal = begin_call(r, plain, c)) return std::move(*refusal);
  c.private_only = c.private_only || c.client->private_data;
  if (const auto model = engine::find_model(*c.config, c.config->documents.model)) {
    c.model = *model;
    api_error error;
    if (!apply_model(r, false, c, error)) return plain.refuse(error);
  }
  if (r.has_header("traceparent")) c.forwarded.emplace_back("traceparent", r.header("traceparent"));
  return documents::classify_file(*thread.pipeline, services.documents, std::move(c),
                                  r.header("content-type"), r.query, y);
}

answer see_node(api_services& services, const edge_request& r, engine::yield y, bool as_metrics) {
  plain_request plain(services, r);
  if (auto refusal = refuse_unless_admin(r, plain)) return std::move(*refusal);
  const auto view = services.look(r.thread, r.gone, y);
  answer a;
  services.documents.metrics.working(services.documents.gate.running(), services.documents.gate.waiting());
  if (!view) return plain.give_up();
  if (as_metrics) {
    a.content_type = "text/plain; version=0.0.4; charset=utf-8";
    a.body = services.metrics->render(gauges(*view));
  } else {
    a.body = status_body(*view);
  }
  return plain.finish(std::move(a));
}

/// Cuts off what stands before the first `mark`, or all, and the mark.
std::string_view take_until(std::string_view& text, char mark) {
  const auto at = text.find(mark);
  const auto taken = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return taken;
}

/// Reads `tenant` and `model` of a query; false when it has anything else, or one of them empty or twice.
bool read_purge(std::string_view query, std::string& tenant, std::string& model) {
  while (!query.empty()) {
    std::string_view value = take_until(query, '&');
    const auto name = take_until(value, '=');
    std::string* into = name == "tenant" ? &tenant : name == "model" ? &model : nullptr;
    if (!into || !into->empty()) return false;
    std::string text(value);
    std::replace(text.begin(), text.end(), '+', ' ');
    if (!percent_decode(text, *into) || into->empty()) return false;
  }
  return true;
}

answer purge_cache(api_services& services, const edge_request& r, engine::yield y) {
  plain_request plain(services, r);
  if (auto refusal = refuse_unless_admin(r, plain)) return std::move(*refusal);
  std::string tenant;
  std::string model;
  if (!read_purge(r.query, tenant, model)) {
    return plain.refuse({400,
                         "invalid_request_error",
                         "invalid_query",
                         "Name what to forget as ?tenant=NAME, ?model=NAME, both, or nothing for everything.",
                         "",
                         {},
                         false});
  }
  const auto done = services.purge(r.thread, tenant, model, r.gone, y);
  if (!done.complete) {
    return plain.refuse(
        {500,
         "server_error",
         "purge_incomplete",
         "Memory has forgotten, the disk has not confirmed; it does not serve those answers now "
         "but may after a restart. Look for cache_disk_off in the log, and send this again.",
         "",
         {},
         false});
  }
  answer a;
  a.body = fmt::format(R"({{"object":"cache.purged","entries_in_memory":{}}})", done.entries);
  return plain.finish(std::move(a));
}

answer models(api_services& services, const edge_request& r) {
  plain_request plain(services, r);
  const auto& c = *services.threads[r.thread].config;
  const auto* client = authenticate(c, r);
  if (!client) return plain.refuse(invalid_key());
  plain.set_client(*client);
  static const std::int64_t created = std::time(nullptr);
  answer a;
  if (r.param.empty()) {
    a.body = models_body(c, created);
    return plain.finish(std::move(a));
  }
  const std::string id(r.param);
  auto body = model_body(c, id, created);
  if (!body) {
    return plain.refuse(
        {404,
         "invalid_request_error",
         "model_not_found",
         "The model `" + id.substr(0, 128) + "` is not configured here. GET /v1/models lists those that are.",
         "model",
         {},
         false});
  }
  a.body = std::move(*body);
  return plain.finish(std::move(a));
}

answer probe(api_services& services, const edge_request& r, bool good, std::string_view word) {
  plain_request plain(services, r);
  answer a;
  a.status = good ? 200 : 503;
  a.body = fmt::format(R"({{"status":"{}"}})", word);
  return plain.finish(std::move(a), good ? "" : word);
}

/// Probes need no key, so nothing is awaited for them.
answer refuse_body(api_services& services, const edge_request& r) {
  plain_request plain(services, r);
  return plain.refuse({413,
                       "invalid_request_error",
                       "request_too_large",
                       "This route takes no body. Send the request without one.",
                       "",
                       {},
                       true});
}

/// To a client that did not send its request within the time that it gave it.
answer miss_deadline(api_services& services, const edge_request& r) {
  plain_request plain(services, r);
  if (const auto* client = authenticate(plain.config(), r)) plain.set_client(*client);
  return plain.refuse(engine::deadline_error());
}

/// Nobody's body is awaited before it is known whose it is: bodies take memory. Nor for longer than the
/// client itself would wait; what it says of that unreadably is refused with the whole request.
void guard_bodies(api_services& s, std::vector<route>& routes) {
  for (auto& r : routes) {
    const bool is_probe = r.pattern == "/health" || r.pattern == "/ready";
    r.admit = [&s, is_probe](const edge_request& q) {
      return is_probe ? std::optional(refuse_body(s, q)) : refuse_stranger(s, q);
    };
    if (r.method != "POST") continue;  // only these ask providers
    r.deadline = {[](const edge_request& q) { return deadline_of(q).value_or(engine::time_point::max()); },
                  [&s](const edge_request& q) { return miss_deadline(s, q); }};
  }
}

}  // namespace

std::string_view to_string(readiness r) {
  constexpr std::array<std::string_view, 3> names = {"ready", "storage_not_open", "draining"};
  return names.at(static_cast<size_t>(r));
}

std::string format_error(const api_error& error, std::string_view path) {
  const bool google =
      path.starts_with("/v1beta/") ||
      (path.starts_with("/v1/models/") && (path.ends_with("Content") || path.ends_with("Contents")));
  const auto route = path.starts_with("/v1/messages") ? route_kind::messages
                     : google                         ? route_kind::generate
                                                      : route_kind::chat;
  return all_formats().of(route).error_body(error);
}

namespace {

/// Gemini's routes, under both names that Google's SDKs use for the version.
void add_gemini_routes(api_services& s, std::vector<route>& out) {
  struct verb {
    std::string_view name;
    route_kind kind;
    bool streamed;
  };
  constexpr std::array<verb, 4> verbs = {{{"generateContent", route_kind::generate, false},
                                          {"streamGenerateContent", route_kind::generate, true},
                                          {"embedContent", route_kind::embed, false},
                                          {"batchEmbedContents", route_kind::batch_embed, false}}};
  for (const std::string prefix : {"/v1beta/models/{model}:", "/v1/models/{model}:"}) {
    for (const verb& v : verbs) {
      out.push_back({"POST", prefix + std::string(v.name), [&s, v](const edge_request& r, engine::yield y) {
                       return complete(s, v.kind, v.streamed, r, y);
                     }});
    }
  }
}

}  // namespace

std::vector<route> api_routes(api_services& s) {
  const auto completion = [&s](route_kind kind) {
    return route{"POST", std::string(to_string(kind)), [&s, kind](const edge_request& r, engine::yield y) {
                   return complete(s, kind, false, r, y);
                 }};
  };
  std::vector<route> routes = {
      completion(route_kind::chat),
      completion(route_kind::completions),
      completion(route_kind::embeddings),
      completion(route_kind::responses),
      completion(route_kind::messages),
      completion(route_kind::count_tokens),
      {"POST", "/classify_file", [&s](const edge_request& r, engine::yield y) { return classify(s, r, y); }},
      {"GET", "/v1/models", [&s](const edge_request& r, engine::yield) { return models(s, r); }},
      {"GET", "/v1/models/{id}", [&s](const edge_request& r, engine::yield) { return models(s, r); }},
      {"GET", "/health", [&s](const edge_request& r, engine::yield) { return probe(s, r, true, "ok"); }},
      {"GET", "/ready",
       [&s](const edge_request& r, engine::yield) {
         const auto now = s.ready.load(std::memory_order_relaxed);
         return probe(s, r, now == readiness::ready, to_string(now));
       }},
      {"GET", "/v1/status",
       [&s](const edge_request& r, engine::yield y) { return see_node(s, r, y, false); }},
      {"DELETE", "/v1/cache", [&s](const edge_request& r, engine::yield y) { return purge_cache(s, r, y); }},
      {"GET", "/metrics", [&s](const edge_request& r, engine::yield y) { return see_node(s, r, y, true); }},
  };
  add_gemini_routes(s, routes);
  add_traffic_routes(s, routes);
  add_usage_routes(s, routes);
  guard_bodies(s, routes);
  return routes;
}

}  // namespace millrace::http
