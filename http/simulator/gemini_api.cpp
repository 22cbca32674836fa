#include "http/simulator/gemini_api.hpp"

#include <chrono>
#include <utility>

#include "http/simulator/dialect.hpp"
#include "http/simulator/errors.hpp"

/// Gemini's way to say everything.
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using engine::route_kind;
using std::chrono::milliseconds;

/// https://cloud.google.com/apis/design/errors
std::string_view status_name(int status) {
  switch (status) {
    case 400:
      return "INVALID_ARGUMENT";
    case 401:
      return "UNAUTHENTICATED";
    case 403:
      return "PERMISSION_DENIED";
    case 404:
      return "NOT_FOUND";
    case 409:
      return "ABORTED";
    case 429:
      return "RESOURCE_EXHAUSTED";
    case 499:
      return "CANCELLED";
    case 503:
      return "UNAVAILABLE";
    case 504:
      return "DEADLINE_EXCEEDED";
    default:
      return status < 500 ? "FAILED_PRECONDITION" : "INTERNAL";
  }
}

/// As protobuf writes a duration: "17s", "1.500s".
std::string retry_delay(engine::duration d) {
  const std::int64_t ms = std::chrono::ceil<milliseconds>(d).count();
  std::string out = std::to_string(ms / 1000);
  if (ms % 1000 != 0) {
    const std::string digits = std::to_string(1000 + ms % 1000);
    out += '.';
    out.append(digits, 1);
  }
  return out + "s";
}

std::string details_of(const api_error& e) {
  constexpr std::string_view type = R"({"@type":"type.googleapis.com/google.rpc.)";
  std::string details;
  const auto add = [&](const std::string& detail) {
    details.append(details.empty() ? "" : ",").append(type).append(detail);
  };
  std::string message;
  append_escaped(message, e.message);
  if (e.code == "API_KEY_INVALID")
    add(R"(ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com",)"
        R"("metadata":{"service":"generativelanguage.googleapis.com"}})");
  if (e.code == "unknown_field")
    add(R"(BadRequest","fieldViolations":[{"description":")" + message + "\"}]}");
  if (e.status == 429) add(R"(QuotaFailure","violations":[{"quotaMetric":")" + e.code + "\"}]}");
  if (e.retry_after > engine::duration::zero())
    add(R"(RetryInfo","retryDelay":")" + retry_delay(e.retry_after) + "\"}");
  return details;
}

class gemini_dialect_of_simulator final : public dialect {
 public:
  bool read(route_kind route, const http_request& request, question& q, api_error& error) const override {
    return read_gemini_question(route, request, q, error);
  }
  std::string_view key(const http_request& request) const override;

  /// It has no 401 for keys.
  api_error bad_key(bool missing) const override {
    if (missing)
      return make_error(
          403, "PERMISSION_DENIED", "permission_denied",
          "Method doesn't allow unregistered callers (callers without established identity). Please "
          "use API Key or other form of API consumer identity to call this API.");
    return make_error(400, "INVALID_ARGUMENT", "API_KEY_INVALID",
                      "API key not valid. Please pass a valid API key.");
  }
  api_error error_of_status(int status) const override;
  api_error out_of_quota() const override {
    return make_error(429, "RESOURCE_EXHAUSTED", "generativelanguage.googleapis.com/generate_requests",
                      "You exceeded your current quota, please check your plan and billing details.");
  }
  api_error over_limit(const admission& a, const simulated_limits& limits) const override;
  api_error too_long(const question& q, std::int64_t limit) const override {
    return make_error(400, "INVALID_ARGUMENT", "",
                      "The input token count (" + std::to_string(q.prompt_tokens) +
                          ") exceeds the maximum number of tokens allowed (" + std::to_string(limit) + ").");
  }
  api_error forbidden(const question& q, const identity& who, std::string& answer) const override {
    const std::string tokens = std::to_string(q.prompt_tokens);
    const std::string told = R"({"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},)"
                             R"("usageMetadata":{"promptTokenCount":)" +
                             tokens + R"(,"totalTokenCount":)" + tokens + R"(},"modelVersion":")" +
                             who.model + R"(","responseId":")" + who.id + "\"}";
    const bool events = q.facts.stream && !q.array_stream;
    answer = events ? "data: " + told + "\r\n\r\n" : q.facts.stream ? "[" + told + "]" : told;
    return {};
  }
  std::string error_body(const api_error& e, std::string_view request_id) const override;
  std::string error_event(const api_error& e, const question& q, std::int64_t /*number*/) const override {
    if (q.array_stream) return ",\r\n" + error_body(e, {}) + "\n]\n";
    return "data: " + error_body(e, {}) + "\r\n\r\n";
  }

  void append_head(std::string& head, std::string_view /*request_id*/, engine::duration wait) const override {
    append_header(head, "server-timing",
                  "gfet4t7; dur=" + std::to_string(std::chrono::duration_cast<milliseconds>(wait).count()));
    head += "vary: Origin\r\nvary: X-Origin\r\nvary: Referer\r\n";
  }
  /// Neither limits nor hints are told in headers.
  void append_limits(std::string& /*head*/, const admission& /*a*/,
                     const simulated_limits& /*limits*/) const override {}
  void append_retry(std::string& /*head*/, engine::duration /*after*/) const override {}

  std::string id_of(route_kind /*route*/, std::uint64_t number) const override {
    std::string id;
    append_hex(id, number);
    return id;
  }
  void append_answer(std::string& out, const identity& who, const reply_choices& choices, const question& q,
                     std::int64_t now_us) const override {
    if (q.route == route_kind::generate)
      append_gemini_answer(out, who, choices, q, now_us);
    else
      append_gemini_embeddings(out, q);
  }
  std::string_view stream_type(const question& q) const override {
    return q.array_stream ? "application/json; charset=UTF-8" : "text/event-stream";
  }
  std::unique_ptr<event_stream> stream(identity who, reply_choices choices, const question& q,
                                       double tokens_per_second, bool chunked) const override {
    return std::make_unique<gemini_stream>(std::move(who), std::move(choices), q, tokens_per_second, chunked);
  }
};

/// From the header, or else from the query.
std::string_view gemini_dialect_of_simulator::key(const http_request& request) const {
  if (!request.goog_key.empty()) return request.goog_key;
  std::string_view rest = request.query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    if (pair.starts_with("key=")) return pair.substr(4);
  }
  return {};
}

api_error gemini_dialect_of_simulator::error_of_status(int status) const {
  std::string message = "A simulated error.";
  if (status == 401)
    message =
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or "
        "other "
        "valid authentication credential.";
  if (status == 403) message = "The caller does not have permission";
  if (status == 404)
    message = "models/x is not found for API version v1beta, or is not supported for generateContent.";
  if (status == 429) message = "Resource has been exhausted (e.g. check quota).";
  if (status == 500) message = "An internal error has occurred. Please retry.";
  if (status == 503) message = "The model is overloaded. Please try again later.";
  if (status == 504) message = "Deadline expired before operation could complete.";
  return make_error(status, status_name(status), "simulated", message);
}

api_error gemini_dialect_of_simulator::over_limit(const admission& a, const simulated_limits& limits) const {
  const bool requests = a.refused_by == limit_kind::requests;
  const std::int64_t limit = requests                                   ? limits.rpm
                             : a.refused_by == limit_kind::tokens       ? limits.tpm
                             : a.refused_by == limit_kind::input_tokens ? limits.tpm_input
                                                                        : limits.tpm_output;
  const std::string metric = std::string("generativelanguage.googleapis.com/generate_content_") +
                             (requests ? "requests" : "input_token_count");
  return make_error(429, "RESOURCE_EXHAUSTED", metric,
                    "You exceeded your rate limit. * Quota exceeded for metric: " + metric + ", limit: " +
                        std::to_string(limit) + "\nPlease retry in " + retry_delay(a.retry_after) + ".");
}

std::string gemini_dialect_of_simulator::error_body(const api_error& e,
                                                    std::string_view /*request_id*/) const {
  std::string out = R"({"error":{"code":)" + std::to_string(e.status) + R"(,"message":")";
  append_escaped(out, e.message);
  out.append(R"(","status":")").append(status_name(e.status)).append("\"");
  if (const std::string details = details_of(e); !details.empty()) out += R"(,"details":[)" + details + "]";
  return out + "}}";
}

}  // namespace

const dialect& gemini_api() {
  static const gemini_dialect_of_simulator instance;
  return instance;
}

}  // namespace millrace::http::simulation
