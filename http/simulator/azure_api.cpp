#include <algorithm>
#include <utility>

#include "http/simulator/dialect.hpp"
#include "http/simulator/errors.hpp"

/// Azure's OpenAI: OpenAI's bodies under other paths, with another header for the key, and errors of the
/// gateway that stands before it.
/// https://learn.microsoft.com/en-us/azure/ai-foundry/openai/reference
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using engine::route_kind;

constexpr std::string_view version_form = "dddd-dd-dd";

/// A date, and `-preview` or another word behind it.
bool is_azure_version(std::string_view text) {
  if (text.size() < version_form.size()) return false;
  for (size_t i = 0; i < version_form.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (version_form[i] == 'd' ? !digit : text[i] != '-') return false;
  }
  return text.size() == version_form.size() || text[version_form.size()] == '-';
}

std::string_view version_of(std::string_view query) {
  constexpr std::string_view name = "api-version=";
  while (!query.empty()) {
    const std::string_view field = query.substr(0, query.find('&'));
    if (field.starts_with(name)) return field.substr(name.size());
    query.remove_prefix(std::min(query.size(), field.size() + 1));
  }
  return {};
}

/// Errors of the gateway have neither type nor param.
api_error gateway_error(int status, std::string_view code, std::string message) {
  return make_error(status, "", code, std::move(message));
}

/// A stream of OpenAI's, behind the verdict on the prompt.
class azure_stream final : public event_stream {
 public:
  azure_stream(std::unique_ptr<event_stream> inner, bool chunked)
      : event_stream(chunked), inner_(std::move(inner)) {}

  bool done() const override { return events_written() > 0 && inner_->done(); }
  engine::duration due() const override { return events_written() > 0 ? inner_->due() : engine::duration{}; }
  void write_event(std::string& out, std::int64_t now_us) override {
    if (events_written() > 0) {
      inner_->write_event(out, now_us);
    } else {
      write_data(out,
                 "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\",\"object\":\"\","
                 "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results\":{\"hate\":"
                 "{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n");
    }
    count_event();
  }
  engine::usage used() const override { return inner_->used(); }

 private:
  std::unique_ptr<event_stream> inner_;
};

class azure_dialect_of_simulator final : public dialect {
 public:
  bool read(route_kind route, const http_request& request, question& q, api_error& error) const override;
  std::string_view key(const http_request& request) const override { return request.api_key; }

  api_error bad_key(bool /*missing*/) const override {
    return gateway_error(401, "401",
                         "Access denied due to invalid subscription key or wrong API endpoint. Make sure to "
                         "provide a valid key for an active subscription and use a correct regional API "
                         "endpoint for your resource.");
  }
  api_error error_of_status(int status) const override;
  api_error out_of_quota() const override { return openai_api().out_of_quota(); }
  api_error over_limit(const admission& a, const simulated_limits& limits) const override;
  api_error too_long(const question& q, std::int64_t limit) const override {
    return openai_api().too_long(q, limit);
  }
  api_error forbidden(const question& /*q*/, const identity& /*who*/,
                      std::string& /*answer*/) const override {
    api_error e = make_error(
        400, "invalid_request_error", "content_filter",
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. "
        "Please modify your prompt and retry.");
    e.param = "prompt";
    return e;
  }
  std::string error_body(const api_error& e, std::string_view request_id) const override;
  std::string error_event(const api_error& e, const question& q, std::int64_t number) const override {
    return openai_api().error_event(e, q, number);
  }

  void append_head(std::string& head, std::string_view request_id, engine::duration /*wait*/) const override {
    append_header(head, "apim-request-id", request_id);
    append_header(head, "x-ms-region", std::string_view("Simulated"));
  }
  void append_limits(std::string& head, const admission& a, const simulated_limits& limits) const override;
  void append_retry(std::string& head, engine::duration after) const override {
    openai_api().append_retry(head, after);
  }

  std::string id_of(route_kind route, std::uint64_t number) const override {
    return openai_api().id_of(route, number);
  }
  void append_answer(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us) const override {
    openai_api().append_answer(out, who, choices, q, now_us);
  }
  std::string_view stream_type(const question& q) const override { return openai_api().stream_type(q); }
  std::unique_ptr<event_stream> stream(identity who, reply_choices choices, const question& q,
                                       double tokens_per_second, bool chunked) const override;
};

bool azure_dialect_of_simulator::read(route_kind route, const http_request& request, question& q,
                                      api_error& error) const {
  if (!is_azure_version(version_of(request.query))) {
    error = gateway_error(404, "404", "Resource not found");
    return false;
  }
  if (!openai_api().read(route, request, q, error)) return false;
  if (!request.path.starts_with(azure_deployments)) return true;
  std::string_view deployment = request.path.substr(azure_deployments.size());
  deployment = deployment.substr(0, deployment.find('/'));
  q.facts.model = deployment;
  return true;
}

api_error azure_dialect_of_simulator::error_of_status(int status) const {
  switch (status) {
    case 401:
      return bad_key(false);
    case 404:
      return gateway_error(
          404, "DeploymentNotFound",
          "The API deployment for this resource does not exist. If you created the deployment "
          "within the last 5 minutes, please wait a moment and try again.");
    case 429:
      return gateway_error(429, "429", "Requests have exceeded the call rate limit. Please retry later.");
    default:
      return openai_api().error_of_status(status);
  }
}

api_error azure_dialect_of_simulator::over_limit(const admission& a,
                                                 const simulated_limits& /*limits*/) const {
  const bool requests = a.refused_by == limit_kind::requests;
  return gateway_error(429, "429",
                       std::string("Requests have exceeded the ") + (requests ? "call" : "token") +
                           " rate limit of your current OpenAI S0 pricing tier. Please retry after " +
                           std::to_string(ceil_seconds(a.retry_after)) + " seconds.");
}

std::string azure_dialect_of_simulator::error_body(const api_error& e, std::string_view request_id) const {
  if (!e.type.empty()) return openai_api().error_body(e, request_id);
  std::string out = R"({"error":{"code":")";
  append_escaped(out, e.code);
  out += R"(","message":")";
  append_escaped(out, e.message);
  return out + "\"}}";
}

/// -1: there is no such limit.
void azure_dialect_of_simulator::append_limits(std::string& head, const admission& a,
                                               const simulated_limits& limits) const {
  const auto tell = [&head](std::string_view kind, std::int64_t limit, std::int64_t remaining) {
    const bool none = limit == engine::unlimited;
    append_header(head, "x-ratelimit-limit-" + std::string(kind), none ? -1 : limit);
    append_header(head, "x-ratelimit-remaining-" + std::string(kind), none ? -1 : remaining);
  };
  tell("requests", limits.rpm, a.remaining_requests);
  tell("tokens", limits.tpm, a.remaining_tokens);
}

std::unique_ptr<event_stream> azure_dialect_of_simulator::stream(identity who, reply_choices choices,
                                                                 const question& q, double tokens_per_second,
                                                                 bool chunked) const {
  auto inner = openai_api().stream(std::move(who), std::move(choices), q, tokens_per_second, chunked);
  if (q.route == route_kind::responses) return inner;
  return std::make_unique<azure_stream>(std::move(inner), chunked);
}

}  // namespace

const dialect& azure_api() {
  static const azure_dialect_of_simulator instance;
  return instance;
}

}  // namespace millrace::http::simulation
