#include "http/simulator/anthropic_api.hpp"

#include <chrono>
#include <ctime>
#include <utility>

#include "http/dialects/anthropic_codec.hpp"
#include "http/simulator/dialect.hpp"
#include "http/simulator/errors.hpp"

/// Anthropic's way to say everything.
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using engine::route_kind;

/// RFC 3339, the next whole second at or after now and `d`.
std::string instant(engine::duration d) {
  const auto at = std::chrono::system_clock::now() + std::chrono::duration_cast<std::chrono::microseconds>(d);
  const std::time_t seconds = std::chrono::duration_cast<std::chrono::seconds>(
                                  std::chrono::ceil<std::chrono::seconds>(at).time_since_epoch())
                                  .count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts)};
}

std::string json_of(const api_error& e) {
  std::string out = R"({"type":"error","error":{"type":")";
  out += anthropic_error_type(e.status);
  out += R"(","message":")";
  append_escaped(out, e.message);
  return out + "\"}";
}

class anthropic_dialect_of_simulator final : public dialect {
 public:
  bool read(route_kind route, const http_request& request, question& q, api_error& error) const override {
    return read_anthropic_question(route, request, q, error);
  }
  std::string_view key(const http_request& request) const override { return request.x_api_key; }

  api_error bad_key(bool missing) const override {
    return make_error(401, "authentication_error", "invalid_api_key",
                      missing ? "x-api-key header is required" : "invalid x-api-key");
  }
  api_error error_of_status(int status) const override;
  /// It has no other status for that.
  api_error out_of_quota() const override {
    return make_error(
        400, "invalid_request_error", "insufficient_quota",
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing "
        "to upgrade or purchase credits.");
  }
  api_error over_limit(const admission& a, const simulated_limits& limits) const override;
  api_error too_long(const question& q, std::int64_t limit) const override {
    return make_error(400, "invalid_request_error", "invalid_request_error",
                      "prompt is too long: " + std::to_string(q.prompt_tokens) + " tokens > " +
                          std::to_string(limit) + " maximum");
  }
  api_error forbidden(const question& /*q*/, const identity& /*who*/,
                      std::string& /*answer*/) const override {
    return make_error(400, "invalid_request_error", "invalid_request_error",
                      "Output blocked by content filtering policy");
  }
  std::string error_body(const api_error& e, std::string_view request_id) const override {
    return json_of(e) + R"(,"request_id":"req_)" + std::string(request_id) + "\"}";
  }
  std::string error_event(const api_error& e, const question& /*q*/, std::int64_t /*number*/) const override {
    return "event: error\ndata: " + json_of(e) + "}\n\n";
  }

  void append_head(std::string& head, std::string_view request_id, engine::duration /*wait*/) const override {
    head.append("request-id: req_").append(request_id).append("\r\n");
    head += "anthropic-organization-id: 00000000-0000-0000-0000-000000000000\r\n";
  }
  void append_limits(std::string& head, const admission& a, const simulated_limits& limits) const override;
  void append_retry(std::string& head, engine::duration after) const override {
    append_header(head, "retry-after", ceil_seconds(after));
  }

  std::string id_of(route_kind /*route*/, std::uint64_t number) const override {
    std::string id = "msg_";
    append_hex(id, number);
    return id;
  }
  void append_answer(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us) const override {
    if (q.route == route_kind::count_tokens) {
      out += R"({"input_tokens":)";
      append_number(out, q.prompt_tokens);
      out += '}';
    } else {
      append_anthropic_message(out, who, choices, q, now_us);
    }
  }
  std::string_view stream_type(const question& /*q*/) const override {
    return "text/event-stream; charset=utf-8";
  }
  std::unique_ptr<event_stream> stream(identity who, reply_choices choices, const question& q,
                                       double tokens_per_second, bool chunked) const override {
    return std::make_unique<anthropic_stream>(std::move(who), std::move(choices), q, tokens_per_second,
                                              chunked);
  }
};

api_error anthropic_dialect_of_simulator::error_of_status(int status) const {
  switch (status) {
    case 401:
      return bad_key(false);
    case 402:
      return make_error(402, "billing_error", "billing_error", "There is an issue with your billing.");
    case 403:
      return make_error(403, "permission_error", "permission_error",
                        "Your API key does not have permission to use the specified resource.");
    case 404:
      return make_error(404, "not_found_error", "not_found_error", "The model does not exist.");
    case 413:
      return make_error(413, "request_too_large", "request_too_large",
                        "Request exceeds the maximum allowed number of bytes.");
    case 429:
      return make_error(429, "rate_limit_error", "rate_limit_error",
                        "This request would exceed your account's rate limit. Please try again later.");
    case 529:
      return make_error(529, "overloaded_error", "overloaded_error", "Overloaded");
    default:
      return status < 500 ? make_error(status, "invalid_request_error", "simulated", "A simulated error.")
                          : make_error(status, "api_error", "api_error", "Internal server error");
  }
}

api_error anthropic_dialect_of_simulator::over_limit(const admission& a,
                                                     const simulated_limits& limits) const {
  std::string what;
  switch (a.refused_by) {
    case limit_kind::requests:
      what = std::to_string(limits.rpm) + " requests";
      break;
    case limit_kind::tokens:
      what = std::to_string(limits.tpm) + " tokens";
      break;
    case limit_kind::input_tokens:
      what = std::to_string(limits.tpm_input) + " input tokens";
      break;
    case limit_kind::output_tokens:
      what = std::to_string(limits.tpm_output) + " output tokens";
  }
  return make_error(429, "rate_limit_error", "rate_limit_error",
                    "This request would exceed your organization's rate limit of " + what +
                        " per minute. For details, refer to: https://docs.claude.com/en/api/rate-limits.");
}

void anthropic_dialect_of_simulator::append_limits(std::string& head, const admission& a,
                                                   const simulated_limits& limits) const {
  std::string reset;
  const auto tell = [&](std::string_view kind, std::int64_t limit, std::int64_t remaining) {
    if (limit == engine::unlimited) return;
    if (reset.empty()) reset = instant(a.reset);
    const std::string prefix = "anthropic-ratelimit-" + std::string(kind) + "-";
    append_header(head, prefix + "limit", limit);
    append_header(head, prefix + "remaining", remaining);
    append_header(head, prefix + "reset", reset);
  };
  tell("requests", limits.rpm, a.remaining_requests);
  tell("tokens", limits.tpm, a.remaining_tokens);
  tell("input-tokens", limits.tpm_input, a.remaining_input_tokens);
  tell("output-tokens", limits.tpm_output, a.remaining_output_tokens);
}

}  // namespace

const dialect& anthropic_api() {
  static const anthropic_dialect_of_simulator instance;
  return instance;
}

}  // namespace millrace::http::simulation
