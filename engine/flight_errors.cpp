#include <algorithm>

#include "engine/answer_headers.hpp"
#include "engine/flight.hpp"
#include "engine/model_choice.hpp"

/// What the client is told when a request fails, and what a failed connection means.
namespace millrace::engine {

namespace {

/// Nobody is down: it is the configuration that has nobody for this.
api_error no_private_target(const std::string& model) {
  return {503,
          "server_error",
          "no_private_target",
          "This request is private (by x-millrace-private, its client key or its model), and no provider of "
          "the model `" +
              model.substr(0, 128) +
              "` may see private requests. Ask for another model, or have a provider marked `private: true`.",
          "model",
          {},
          true};
}

}  // namespace

bool flight::begins_object(std::string_view body) {
  const size_t first = body.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && body[first] == '{';
}

/// What a whole answer means that cannot be told to the client.
attempt_failure flight::no_answer(bool json, std::string_view body) {
  attempt_failure f;
  f.reason = json ? "bad_body" : "content_type";
  f.error = {502, "upstream_error", "upstream_bad_answer", "", "", {}, true};
  const bool object = json && begins_object(body);
  if (object && body.find("\"error\"") != std::string_view::npos) {
    f.error.message = "The provider sent an error with a status of success. Try again later.";
    return f;
  }
  f.error.message =
      object
          ? "The provider's answer is not one of its API, or calls a tool with arguments that are not an "
            "object. Check that base_url and kind name the same API; if they do, ask again or ask another "
            "model."
          : "The provider's answer is not a JSON object. Check that base_url names an API, not a web page.";
  return f;
}

attempt_failure flight::io_failure(upstream_failure failure, std::string_view phase) const {
  attempt_failure f;
  f.error = {502, "upstream_error", "upstream_unreachable", "", "", {}, true};
  std::string during = " while " + std::string(phase);
  if (exchange_ && !exchange_->proxy_variable().empty())
    during.append(" through the proxy of ").append(exchange_->proxy_variable());
  during += ". ";
  const auto tell = [&](std::string_view usual) {
    f.error.message = unreached_.empty() ? usual : unreached_;
  };
  switch (failure) {
    case upstream_failure::timeout: {
      const bool callers = ports_.time.now() >= call_.deadline;
      const bool total = ports_.time.now() >= attempt_start_ + provider_->timeouts.total;
      f.outcome = callers || total ? attempt_outcome::out_of_time : attempt_outcome::timed_out;
      f.reason = "timeout";
      f.error = deadline_error();
      if (callers) return f;
      f.error.code = "upstream_timeout";
      tell("The provider took too long" + during + "Try again later.");
      return f;
    }
    case upstream_failure::cancelled:
      f.outcome = attempt_outcome::cancelled;
      f.reason = "cancelled";
      f.error = gone_error(*call_.gone);
      return f;
    case upstream_failure::resolve:
      f.reason = "resolve";
      tell("The provider's host name could not be resolved. Check base_url and the name service.");
      return f;
    case upstream_failure::connect:
      f.reason = "connect";
      tell("The provider could not be reached. Check base_url and the network, or try again later.");
      return f;
    case upstream_failure::tls:
      f.reason = "tls";
      tell(
          "No trusted TLS connection to the provider could be made. Check its certificate and the "
          "system's certificate store.");
      return f;
    case upstream_failure::too_large:
      f.reason = "too_large";
      f.error.code = "upstream_bad_answer";
      f.error.message = "The provider's answer is too large. Ask for fewer tokens or choices.";
      return f;
    case upstream_failure::head_too_large:
      f.reason = "too_large";
      f.error.code = "upstream_bad_answer";
      f.error.message =
          "The head of the provider's answer is too large. Check what stands before the provider's API and "
          "adds headers, or try again later.";
      return f;
    case upstream_failure::protocol:
      f.reason = "protocol";
      f.error.code = "upstream_bad_answer";
      f.error.message =
          "The provider sent something that is not a proper answer" + during + "Try again later.";
      return f;
    case upstream_failure::reset:
    case upstream_failure::none:
      break;
  }
  f.reason = "reset";
  f.error.code = "upstream_reset";
  tell("The provider broke the connection" + during + "Try again later.");
  return f;
}

/// What a stream that failed before its first content means. What a provider says of its key counts as in an
/// answer; anything else is the provider's failure, told in the provider's words.
attempt_failure flight::stream_failure() const {
  if (auto f = judge_status({reader_->failure_status(), {}}, reader_->failure(), call_.body, *wire_);
      f && f->outcome != attempt_outcome::failed) {
    return *f;
  }
  attempt_failure f;
  f.reason = "server_error";
  f.error = {502, "upstream_error", "upstream_error", "", "", {}, true};
  f.error.message = "The provider's stream failed before any content; try again later. What failed: " +
                    without_key(reader_->failure());
  return f;
}

/// What the provider said, without the key that it was called with.
std::string flight::without_key(std::string text) const {
  const std::string& key = key_->key.reveal();
  // Shorter ones are no secrets, and would be found in common words.
  constexpr size_t shortest_secret = 4;
  if (key.size() < shortest_secret) return text;
  for (size_t at = text.find(key); at != std::string::npos; at = text.find(key, at))
    text.replace(at, key.size(), "[key]");
  return text;
}

api_error flight::failure() const {
  return call_.gone->cancelled() || !last_failure_ ? gone_error(*call_.gone) : last_failure_->error;
}

api_error flight::route_not_served() const {
  return {400,
          "invalid_request_error",
          "route_not_supported",
          "No provider of the model `" + call_.facts.model.substr(0, 128) + "` can answer " +
              std::string(to_string(call_.route)) + " requests. Ask for another model.",
          "model",
          {},
          true};
}

/// What the dispatcher's refusal means for the client.
api_error flight::reason_of(const acquire_reply& reply) {
  api_error e{503, "overloaded_error", "", "", "", reply.retry_after, false};
  switch (reply.verdict) {
    case verdict::client_limited: {
      personal_ = true;
      const bool requests = reply.client_requests.limit >= 0 && reply.client_requests.remaining <= 0;
      const bool tokens = reply.client_tokens.limit >= 0 && !requests;
      e.status = 429;
      e.type = "rate_limit_error";
      e.code = "rate_limit_exceeded";
      e.message = std::string("Your key's limit of ") + (tokens ? "tokens per minute" : "requests") +
                  " is reached. Retry after the time given in retry-after.";
      break;
    }
    case verdict::over_budget:
      personal_ = true;
      e = budget_error(reply, ports_.time.wall());
      break;
    case verdict::no_permit:
      // How long it waited, and where, is the leader's own: its deadline, its tier, its tenant's turn.
      personal_ = true;
      e.status = 429;
      e.type = "rate_limit_error";
      e.code = "no_capacity";
      e.message =
          "No provider key had room before the deadline. Retry after the time given in retry-after, or allow "
          "more time with queue.max_wait and x-millrace-timeout-ms.";
      break;
    case verdict::too_large:
      personal_ = true;
      e.status = 429;
      e.type = "rate_limit_error";
      e.code = "request_too_large_for_limit";
      e.message =
          "This request needs more tokens than your key, or any provider key, may use in a minute. Shorten "
          "it "
          "or lower max_tokens.";
      e.no_retry = true;
      break;
    case verdict::queue_full:
      e.code = "queue_full";
      e.message = "Too many requests are waiting for a provider. Retry after the time given in retry-after.";
      break;
    case verdict::breakers_open:
      if (last_failure_) return last_failure_->error;
      e.code = "providers_unavailable";
      e.message =
          "Every provider for this model is failing and rests. Retry after the time given in retry-after.";
      break;
    case verdict::keys_unusable:
      if (last_failure_) return last_failure_->error;
      e.code = "provider_keys_unusable";
      e.message =
          "Every provider key for this model was refused by its provider. The operator finds them in "
          "/v1/status.";
      break;
    case verdict::granted:
    case verdict::no_candidate:
      if (call_.gone->cancelled()) return gone_error(*call_.gone);
      if (last_failure_) return last_failure_->error;
      if (unsayable_) return *unsayable_;
      if (call_.private_only && !serves_private(*call_.config, model_))
        return no_private_target(call_.facts.model);
      if (!barred_.empty()) return route_not_served();
      e.code = "no_target";
      e.message = "No provider can serve this model at present. Try again later.";
      break;
  }
  return e;
}

/// Nobody answered: the client gets what there is without a provider, else the reason.
answer flight::refuse(yield y) {
  if (held_) return tell_refusal();
  const api_error& error = *refusal_;
  personal_ = personal_ || error.code == "deadline_exceeded" || call_.gone->cancelled();
  answer a;
  answer_source giver;
  step_ = answer_in_outage(ports_, call_, error, a, giver, y);
  if (step_ == degrade_step::none) {
    a = error_answer(error, format());
    add_headers(a, true);
  } else {
    if (step_ != degrade_step::local) call_.cache_word = to_string(step_);
    add_headers(a, true, &giver);
  }
  finish(a.status, error.code);
  return a;
}

}  // namespace millrace::engine
