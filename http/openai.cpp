#include "http/openai.hpp"

#include "http/json_scan.hpp"
#include "http/openai_answer.hpp"
#include "http/openai_collect.hpp"
#include "http/openai_replay.hpp"
#include "http/openai_request.hpp"
#include "http/openai_stream.hpp"
#include "http/retry_hints.hpp"

namespace millrace::http {

using engine::api_error;
using engine::route_kind;

namespace {

void add_optional(std::string_view name, const std::string& value, std::string& out) {
  out += name;
  if (value.empty()) {
    out += "null";
  } else {
    json_quote(value, out);
  }
}

}  // namespace

std::string openai_path(route_kind route, const engine::provider_config& provider, std::string_view model) {
  std::string path = provider.base_path;
  const bool azure = !provider.api_version.empty();
  if (azure && path.find("/deployments/") == std::string::npos) path.append("/deployments/").append(model);
  switch (route) {
    case route_kind::completions:
      path += "/completions";
      break;
    case route_kind::embeddings:
    case route_kind::embed:
    case route_kind::batch_embed:
      path += "/embeddings";
      break;
    default:
      path += "/chat/completions";
  }
  if (azure) path.append("?api-version=").append(provider.api_version);
  return path;
}

void add_openai_credentials(const engine::provider_config& provider, const engine::secret& key,
                            engine::header_list& headers) {
  if (key.empty()) return;
  if (provider.api_version.empty()) {
    headers.emplace_back("authorization", "Bearer " + key.reveal());
  } else {
    headers.emplace_back("api-key", key.reveal());
  }
}

bool openai_dialect::read_request(route_kind route, std::string_view body, engine::request_facts& facts,
                                  api_error& error) const {
  return read_openai_request(route, body, facts, error);
}

bool openai_dialect::replay_stream(route_kind route, std::string_view answer, bool client_wants_usage,
                                   std::string& out) const {
  return replay_openai_answer(route, answer, client_wants_usage, out);
}

std::string openai_dialect::error_body(const api_error& e) const {
  std::string out = "{\"error\":{\"message\":";
  json_quote(e.message, out);
  out += ",\"type\":";
  json_quote(e.type, out);
  add_optional(",\"param\":", e.param, out);
  add_optional(",\"code\":", e.code, out);
  out += "}}";
  return out;
}

std::string openai_dialect::error_event(const api_error& e) const {
  return "data: " + error_body(e) + "\n\n";
}

bool openai_dialect::encode_request(const question& q, engine::provider_request& out, api_error&) const {
  out.path = openai_path(q.route, q.provider, q.model);
  out.headers = q.forwarded;
  add_openai_credentials(q.provider, q.key, out.headers);
  encode_openai_request(q.route, q.body, q.facts, q.model, q.provider.stream_usage, out.body);
  return true;
}

bool openai_dialect::rewrite_answer(route_kind route, std::string_view body, const engine::answer_form& form,
                                    std::string& out, engine::usage& used) const {
  return rewrite_openai_answer(body, form.model, out, used,
                               route == route_kind::embeddings ? "data" : "choices");
}

void openai_dialect::rewrite_refusal(route_kind, int, std::string&, std::string&) const {}

std::unique_ptr<engine::stream_reader> openai_dialect::read_stream(route_kind,
                                                                   const engine::answer_form& form,
                                                                   bool client_wants_usage) const {
  return read_openai_stream(form.model, client_wants_usage);
}

bool openai_dialect::collect_answer(route_kind route, std::string_view stream,
                                    const engine::answer_form& form, std::string& out,
                                    engine::usage& used) const {
  return collect_openai_answer(route, stream, form.model, out, used);
}

engine::limit_hint openai_dialect::read_limits(const engine::upstream_head& head) const {
  return read_openai_limits(head);
}

engine::duration openai_dialect::read_retry_after(const engine::upstream_head& head, std::string_view) const {
  return read_retry_hint(head, std::chrono::system_clock::now());
}

bool openai_dialect::speaks_of_credit(std::string_view body, std::string_view request) const {
  return http::speaks_of_credit(body, request);
}

bool is_openai_reasoning_model(std::string_view model) {
  if (model.starts_with("gpt-5")) return !model.starts_with("gpt-5-chat");
  return model.size() > 1 && model[0] == 'o' && model[1] >= '1' && model[1] <= '9' &&
         (model.size() == 2 || model[2] == '-');
}

const openai_dialect& openai() {
  static const openai_dialect dialect;
  return dialect;
}

}  // namespace millrace::http
