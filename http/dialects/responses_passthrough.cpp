#include "http/dialects/responses_passthrough.hpp"

#include "http/dialects/foreign_thoughts.hpp"
#include "http/dialects/responses_wire.hpp"
#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/openai_request.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

class responses_client_dialect final : public engine::client_dialect {
 public:
  bool read_request(route_kind /*route*/, std::string_view body, engine::request_facts& facts,
                    engine::api_error& error) const override {
    return read_openai_request(route_kind::responses, body, facts, error);
  }

  bool replay_stream(route_kind /*route*/, std::string_view answer, bool /*client_wants_usage*/,
                     std::string& out) const override {
    return replay_responses_answer(answer, out);
  }

  std::string error_body(const engine::api_error& e) const override { return openai().error_body(e); }

  /// The SDKs look for `error`, others for what the API's own event has.
  std::string error_event(const engine::api_error& e) const override {
    std::string out = "event: error\ndata: {\"type\":\"error\",";
    const std::string body = error_body(e);
    out.append(body, 1, body.size() - 2);
    const auto member = [&out](std::string_view name, std::string_view value) {
      out.append(",\"").append(name).append("\":");
      if (value.empty()) {
        out += "null";
      } else {
        json_quote(value, out);
      }
    };
    member("code", e.code);
    out += ",\"message\":";
    json_quote(e.message, out);
    member("param", e.param);
    out += ",\"sequence_number\":0}\n\n";
    return out;
  }
};

class responses_provider_dialect final : public engine::provider_dialect {
 public:
  bool encode_request(const question& q, engine::provider_request& out,
                      engine::api_error& /*error*/) const override {
    out = {};
    out.path = responses_path(q.provider);
    out.headers = q.forwarded;
    add_openai_credentials(q.provider, q.key, out.headers);
    encode_openai_request(route_kind::responses, q.body, q.facts, q.model, q.provider.stream_usage, out.body);
    if (drop_foreign_reasoning(out.body)) out.dropped.emplace_back("thinking");
    return true;
  }

  bool rewrite_answer(route_kind /*route*/, std::string_view body, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    return rewrite_responses_answer(body, form.model, out, used);
  }

  void rewrite_refusal(route_kind /*route*/, int /*status*/, std::string& /*body*/,
                       std::string& /*content_type*/) const override {
    // It is in the client's dialect.
  }

  std::unique_ptr<engine::stream_reader> read_stream(route_kind /*route*/, const engine::answer_form& form,
                                                     bool /*client_wants_usage*/) const override {
    return read_responses_stream(form.model);
  }

  bool collect_answer(route_kind /*route*/, std::string_view stream, const engine::answer_form& form,
                      std::string& out, engine::usage& used) const override {
    return collect_responses_answer(stream, form.model, out, used);
  }

  engine::limit_hint read_limits(const engine::upstream_head& head) const override {
    return openai().read_limits(head);
  }

  engine::duration read_retry_after(const engine::upstream_head& head, std::string_view body) const override {
    return openai().read_retry_after(head, body);
  }

  bool speaks_of_credit(std::string_view body, std::string_view request) const override {
    return openai().speaks_of_credit(body, request);
  }
};

}  // namespace

std::string responses_path(const engine::provider_config& provider) {
  if (provider.api_version.empty()) return provider.base_path + "/responses";
  return provider.base_path.substr(0, provider.base_path.find("/deployments/")) +
         "/responses?api-version=" + provider.api_version;
}

const engine::client_dialect& responses_client() {
  static const responses_client_dialect dialect;
  return dialect;
}

const engine::provider_dialect& responses_passthrough() {
  static const responses_provider_dialect dialect;
  return dialect;
}

}  // namespace millrace::http
