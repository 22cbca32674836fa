#include "engine/degrade.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "engine/answer_headers.hpp"

namespace millrace::engine {

namespace {

/// Providers that stay in the house.
bool in_house(const provider_config& p) {
  return p.private_data || p.kind == provider_kind::builtin;
}

bool give_stale(const pipeline::ports& ports, const call& c, answer& out, answer_source& source) {
  const wall_time now = ports.time.wall();
  if (!c.stale || !may_serve_stale(*c.stale, c.plan, now)) return false;
  const cached_answer& entry = *c.stale;
  if (ports.answers.of(c.key).purged(entry)) return false;
  if (!give_whole(ports.formats.of(c.route), c.route, c.facts, entry.body, entry.content_type, out))
    return false;
  add_age(out, entry, now);
  source = source_of(entry);
  return true;
}

const model_config& model_of(const call& c) {
  return c.config->models.at(c.model.model);
}

const provider_config& builtin_provider() {
  static const provider_config provider = [] {
    provider_config p;
    p.name = "builtin";
    p.kind = provider_kind::builtin;
    p.private_data = true;
    p.keys.emplace_back().id = "builtin";
    return p;
  }();
  return provider;
}

bool keys_refused(const api_error& e) {
  constexpr std::array<std::string_view, 3> codes = {"upstream_unauthorized", "upstream_no_credit",
                                                     "provider_keys_unusable"};
  return std::find(codes.begin(), codes.end(), e.code) != codes.end();
}

/// The whole body that the builtin provider answers with; false when it refuses. It answers in place.
bool ask_builtin(const pipeline::ports& ports, const call& c, const provider_request& asked,
                 std::string& body, yield y) {
  const provider_config& builtin = builtin_provider();
  const time_point latest = ports.time.now() + builtin.timeouts.first_byte;
  std::unique_ptr<upstream_exchange> exchange;
  if (ports.upstream.connect(builtin, latest, false, *c.gone, exchange, y) != upstream_failure::none)
    return false;
  upstream_request request;
  request.target = asked.path;
  request.headers = asked.headers;
  request.body = asked.body;
  upstream_head head;
  if (exchange->send(request, latest, head, y) != upstream_failure::none || head.status != 200) return false;
  std::string piece;
  while (exchange->read(piece, latest, y) == upstream_failure::none) {
    if (piece.empty()) return true;
    body += piece;
  }
  return false;
}

bool give_builtin(const pipeline::ports& ports, const call& c, answer& out, answer_source& source, yield y) {
  if (!model_of(c).degrade.builtin || has_one_answer(c.route)) return false;
  const provider_config& builtin = builtin_provider();
  const provider_dialect* wire = ports.formats.between(c.route, builtin);
  provider_request asked;
  api_error unsayable;
  const provider_dialect::question q{c.route,  c.body, c.facts, c.forwarded, builtin, builtin.keys[0].key,
                                     "builtin"};
  if (wire == nullptr || !wire->encode_request(q, asked, unsayable)) return false;
  std::string body;
  if (!ask_builtin(ports, c, asked, body, y)) return false;
  std::string told;
  usage used;
  if (c.facts.stream) {
    const auto reader = wire->read_stream(c.route, c.facts, c.facts.include_usage);
    if (reader->feed(body, told) != stream_reader::state::done) return false;
    out.content_type = "text/event-stream; charset=utf-8";
    out.headers.emplace_back("cache-control", "no-cache");
  } else if (!wire->rewrite_answer(c.route, body, c.facts, told, used)) {
    return false;
  }
  out.body = std::move(told);
  source = {
      builtin.name, builtin.name, builtin.keys[0].id, true, wire, dropped_text(asked.dropped), false, -1};
  return true;
}

bool give_text(const pipeline::ports& ports, const call& c, answer& out) {
  const std::string& text = model_of(c).degrade.text;
  if (text.empty()) return false;
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(ports.time.wall().time_since_epoch());
  std::string body;
  return ports.formats.text_answer(c.route, c.facts.model, text, now.count(), body) &&
         give_whole(ports.formats.of(c.route), c.route, c.facts, body, "application/json", out);
}

}  // namespace

degrade_step step_of(const config& c, const model_config& model, std::string_view provider, bool fallback) {
  if (!fallback) return degrade_step::none;
  const auto& all = c.providers;
  const auto answered =
      std::find_if(all.begin(), all.end(), [&](const provider_config& p) { return p.name == provider; });
  if (answered == all.end() || !in_house(*answered)) return degrade_step::fallback;
  const bool left_the_cloud = std::any_of(model.targets.begin(), model.targets.end(),
                                          [&](const target_config& t) { return !in_house(all[t.provider]); });
  return left_the_cloud ? degrade_step::local : degrade_step::fallback;
}

bool is_outage(const api_error& e) {
  // A 429 is an outage where it is the providers' limit that is reached, not the client's.
  if (e.status == 429) return e.code == "no_capacity" || e.code == "upstream_rate_limited";
  const bool providers = e.status == 502 || e.status == 503 || e.status == 504;
  return providers && e.code != "no_target" && e.code != "no_private_target" && e.code != "drain_timeout";
}

degrade_step answer_in_outage(const pipeline::ports& ports, const call& c, const api_error& error,
                              answer& out, answer_source& source, yield y) {
  if (!is_outage(error)) return degrade_step::none;
  if (!keys_refused(error) && give_builtin(ports, c, out, source, y)) return degrade_step::local;
  if (give_stale(ports, c, out, source)) return degrade_step::stale;
  return give_text(ports, c, out) ? degrade_step::text : degrade_step::none;
}

}  // namespace millrace::engine
