#include <algorithm>

#include "engine/flight.hpp"

namespace millrace::engine {

namespace {

attempt_failure upstream_error(attempt_outcome outcome, std::string_view reason, std::string code,
                               std::string message) {
  attempt_failure f;
  f.outcome = outcome;
  f.reason = reason;
  f.error.status = 502;
  f.error.type = "upstream_error";
  f.error.code = std::move(code);
  f.error.message = std::move(message);
  f.error.no_retry = true;
  return f;
}

}  // namespace

std::optional<attempt_failure> judge_status(const upstream_head& head, std::string_view body,
                                            std::string_view request, const provider_dialect& format) {
  const int status = head.status;
  if (status >= 200 && status < 300) return std::nullopt;
  const bool may_be_credit = status == 400 || status == 403 || status == 429;
  if (status == 402 || (may_be_credit && format.speaks_of_credit(body, request))) {
    return upstream_error(
        attempt_outcome::no_credit, "no_credit", "upstream_no_credit",
        "The provider says that the account of this key has no credit left. Top it up or add "
        "another key, then reload the configuration.");
  }
  if (status == 401 || status == 403 || (status == 400 && format.refuses_key(body))) {
    return upstream_error(
        attempt_outcome::unauthorized, "unauthorized", "upstream_unauthorized",
        "The provider refused Millrace's key. Your own key is fine; the operator must correct the "
        "provider key named in /v1/status.");
  }
  if (status == 429) {
    auto f =
        upstream_error(attempt_outcome::rate_limited, "rate_limited", "upstream_rate_limited",
                       "Every provider key is at its rate limit. Retry after the time given in retry-after.");
    f.error.status = 429;
    f.error.type = "rate_limit_error";
    f.error.no_retry = false;
    f.retry_after = format.read_retry_after(head, body);
    f.error.retry_after = std::max<duration>(f.retry_after, 1s);
    return f;
  }
  if (status >= 500 || status == 408 || status == 425) {
    auto f =
        upstream_error(attempt_outcome::failed, "server_error", "upstream_error",
                       "The provider answered with status " + std::to_string(status) + ". Try again later.");
    f.retry_after = format.read_retry_after(head, body);
    f.error.retry_after = f.retry_after;
    f.error.no_retry = f.retry_after <= duration::zero();  // at that time nothing was tried in vain yet
    return f;
  }
  if (status < 400) {
    return upstream_error(
        attempt_outcome::failed, "redirect", "upstream_redirect",
        "The provider answered with a redirect, which is never followed. Correct base_url in the "
        "configuration.");
  }
  return std::nullopt;
}

}  // namespace millrace::engine
