#include <chrono>
#include <utility>

#include "http/openai.hpp"
#include "http/simulator/dialect.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/responses_api.hpp"

/// OpenAI's way to say everything.
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using engine::route_kind;
using std::chrono::milliseconds;

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

class openai_dialect_of_simulator final : public dialect {
 public:
  bool read(route_kind route, const http_request& request, question& q, api_error& error) const override {
    if (route == route_kind::responses)
      return read_responses_question(request.body, request_reader::padding_bytes, q, error);
    return read_openai_question(route, request.body, request_reader::padding_bytes, q, error);
  }
  std::string_view key(const http_request& request) const override { return request.key; }

  api_error bad_key(bool /*missing*/) const override { return error_of_status(401); }
  api_error error_of_status(int status) const override;
  api_error out_of_quota() const override {
    return make_error(429, "insufficient_quota", "insufficient_quota",
                      "You exceeded your current quota, please check your plan and billing details.");
  }
  api_error over_limit(const admission& a, const simulated_limits& limits) const override;
  api_error too_long(const question& q, std::int64_t limit) const override {
    const std::int64_t answer = std::max<std::int64_t>(q.max_tokens, 0);
    api_error e = make_error(
        400, "invalid_request_error", "context_length_exceeded",
        "This model's maximum context length is " + std::to_string(limit) +
            " tokens. However, you requested " + std::to_string(q.prompt_tokens + answer) + " tokens (" +
            std::to_string(q.prompt_tokens) + " in the messages, " + std::to_string(answer) +
            " in the completion). Please reduce the length of the messages or completion.");
    e.param = "messages";
    return e;
  }
  api_error forbidden(const question& /*q*/, const identity& /*who*/,
                      std::string& /*answer*/) const override {
    return make_error(400, "invalid_request_error", "content_policy_violation",
                      "Your request was rejected as a result of our safety system.");
  }
  std::string error_body(const api_error& e, std::string_view /*request_id*/) const override {
    return openai().error_body(e);
  }
  std::string error_event(const api_error& e, const question& q, std::int64_t number) const override {
    return q.route == route_kind::responses ? responses_error_event(e, number) : openai().error_event(e);
  }

  void append_head(std::string& head, std::string_view request_id, engine::duration wait) const override {
    head.append("x-request-id: req_").append(request_id).append("\r\nopenai-version: 2020-10-01\r\n");
    append_header(head, "openai-processing-ms", std::chrono::duration_cast<milliseconds>(wait).count());
  }
  void append_limits(std::string& head, const admission& a, const simulated_limits& limits) const override;
  void append_retry(std::string& head, engine::duration after) const override {
    append_header(head, "retry-after", ceil_seconds(after));
    append_header(head, "retry-after-ms", std::chrono::ceil<milliseconds>(after).count());
  }

  std::string id_of(route_kind route, std::uint64_t number) const override {
    std::string id = route == route_kind::chat        ? "chatcmpl-"
                     : route == route_kind::responses ? "resp_"
                                                      : "cmpl-";
    append_hex(id, number);
    return id;
  }
  void append_answer(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us) const override {
    if (q.route == route_kind::embeddings)
      append_embeddings(out, who, q);
    else if (q.route == route_kind::responses)
      append_response(out, who, choices, q, now_us);
    else
      append_completion(out, who, choices, now_us);
  }
  std::string_view stream_type(const question& /*q*/) const override {
    return "text/event-stream; charset=utf-8";
  }
  std::unique_ptr<event_stream> stream(identity who, reply_choices choices, const question& q,
                                       double tokens_per_second, bool chunked) const override {
    if (q.route == route_kind::responses)
      return std::make_unique<responses_stream>(std::move(who), std::move(choices), q, tokens_per_second,
                                                chunked);
    return std::make_unique<event_source>(std::move(who), std::move(choices), q.facts.include_usage,
                                          tokens_per_second, chunked);
  }
};

api_error openai_dialect_of_simulator::error_of_status(int status) const {
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

api_error openai_dialect_of_simulator::over_limit(const admission& a, const simulated_limits& limits) const {
  const bool requests = a.refused_by == limit_kind::requests;
  const std::string what = requests ? "requests" : "tokens";
  const std::string limit = std::to_string(requests                                   ? limits.rpm
                                           : a.refused_by == limit_kind::tokens       ? limits.tpm
                                           : a.refused_by == limit_kind::input_tokens ? limits.tpm_input
                                                                                      : limits.tpm_output);
  return make_error(429, what, "rate_limit_exceeded",
                    "Rate limit reached on " + what + " per minute: limit " + limit +
                        ". Please try again in " +
                        std::to_string(std::chrono::ceil<milliseconds>(a.retry_after).count()) + "ms.");
}

void openai_dialect_of_simulator::append_limits(std::string& head, const admission& a,
                                                const simulated_limits& limits) const {
  if (limits.rpm != engine::unlimited) {
    append_header(head, "x-ratelimit-limit-requests", limits.rpm);
    append_header(head, "x-ratelimit-remaining-requests", a.remaining_requests);
    append_reset(head, "x-ratelimit-reset-requests", a.reset);
  }
  if (limits.tpm != engine::unlimited) {
    append_header(head, "x-ratelimit-limit-tokens", limits.tpm);
    append_header(head, "x-ratelimit-remaining-tokens", a.remaining_tokens);
    append_reset(head, "x-ratelimit-reset-tokens", a.reset);
  }
}

}  // namespace

const dialect& openai_api() {
  static const openai_dialect_of_simulator instance;
  return instance;
}

}  // namespace millrace::http::simulation
