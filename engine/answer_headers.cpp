#include "engine/answer_headers.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "engine/calendar.hpp"

namespace millrace::engine {

namespace {

/// OpenAI's way to write a duration: `6m0s`, `1.5s`, `20ms`.
std::string reset_text(duration d) {
  const auto ms = std::chrono::ceil<std::chrono::milliseconds>(std::max(d, duration::zero())).count();
  if (ms < 1000) return fmt::format("{}ms", ms);
  const auto seconds = static_cast<double>(ms % 60000) / 1000;
  if (ms < 60000) return fmt::format("{:g}s", seconds);
  return fmt::format("{}m{:g}s", ms / 60000, seconds);
}

void add_window(header_list& headers, const client_window& w, std::string_view what) {
  if (w.limit < 0) return;
  headers.emplace_back(fmt::format("x-ratelimit-limit-{}", what), std::to_string(w.limit));
  headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", what),
                       std::to_string(std::max<std::int64_t>(0, w.remaining)));
  headers.emplace_back(fmt::format("x-ratelimit-reset-{}", what), reset_text(w.reset));
}

}  // namespace

void add_client_windows(header_list& headers, const acquire_reply& counted) {
  add_window(headers, counted.client_requests, "requests");
  add_window(headers, counted.client_tokens, "tokens");
}

answer error_answer(const api_error& error, const client_dialect& format) {
  answer a;
  a.status = error.status;
  a.body = format.error_body(error);
  if (error.retry_after > duration::zero()) {
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(error.retry_after).count();
    const auto millis = std::chrono::ceil<std::chrono::milliseconds>(error.retry_after).count();
    a.headers.emplace_back("retry-after", std::to_string(seconds));
    a.headers.emplace_back("retry-after-ms", std::to_string(millis));
  }
  if (error.no_retry) a.headers.emplace_back("x-should-retry", "false");
  return a;
}

bool give_whole(const client_dialect& format, route_kind route, const request_facts& asked,
                std::string_view body, std::string_view content_type, answer& out) {
  if (!asked.stream) {
    out.body = body;
    out.content_type = content_type;
    return true;
  }
  std::string events;
  if (!format.replay_stream(route, body, asked.include_usage, events)) return false;
  out.body = std::move(events);
  out.content_type = "text/event-stream; charset=utf-8";
  out.headers.emplace_back("cache-control", "no-cache");
  return true;
}

void add_upgrade(answer& out, bool upgraded, double confidence) {
  out.headers.emplace_back("x-millrace-upgraded", upgraded ? "true" : "false");
  if (confidence >= 0) out.headers.emplace_back("x-millrace-confidence", fmt::format("{:.4g}", confidence));
}

std::string dropped_text(const std::vector<std::string>& fields) {
  std::string out;
  for (const std::string& field : fields) out.append(out.empty() ? "" : ", ").append(field);
  return out;
}

void add_age(answer& out, const cached_answer& entry, wall_time now) {
  const auto age = std::chrono::duration_cast<std::chrono::seconds>(now - entry.stored_at).count();
  out.headers.emplace_back("age", std::to_string(std::max<std::int64_t>(0, age)));
}

api_error budget_error(const acquire_reply& refusal, wall_time now) {
  const bool tenant =
      refusal.budget == budget_kind::tenant_day || refusal.budget == budget_kind::tenant_month;
  const bool monthly =
      refusal.budget == budget_kind::key_month || refusal.budget == budget_kind::tenant_month;
  // The dispatcher tells how long; a millisecond on the way must not make it the day before.
  const auto resets = now + std::chrono::round<std::chrono::milliseconds>(refusal.retry_after) + 12h;
  api_error e;
  e.status = 402;
  e.type = "insufficient_quota";
  e.code = "budget_exceeded";
  e.message = fmt::format(
      "The {} budget of your {} has not enough left for what this request may cost. It begins anew at {}; "
      "until "
      "then ask for less (max_tokens) or for a cheaper model, or have budget_usd raised. GET /v1/usage tells "
      "what "
      "was spent.",
      monthly ? "monthly" : "daily", tenant ? "tenant" : "key", start_text(day_of(resets)));
  e.retry_after = refusal.retry_after;
  e.no_retry = true;
  return e;
}

api_error deadline_error() {
  return {504,
          "timeout_error",
          "deadline_exceeded",
          "The time given in x-millrace-timeout-ms ran out. Allow more time or try again.",
          "",
          {},
          true};
}

/// Time for the client to find another node, or this one to be there again.
constexpr duration stopping_pause = 1s;

api_error gone_error(const cancellation& gone) {
  if (gone.cancelled_for(cancel_cause::stopping)) {
    return {503,
            "server_error",
            "drain_timeout",
            "This node stops and could not wait for the answer any longer. Ask again, or another node.",
            "",
            stopping_pause,
            false};
  }
  return {499, "client_error", "client_gone", "The client closed the connection.", "", {}, true};
}

api_error internal_error() {
  return {500, "server_error", "internal_error", "Something went wrong inside; the log tells what.", "",
          {},  false};
}

bool is_retry_header(std::string_view name) {
  return name == "retry-after" || name == "retry-after-ms" || name == "x-should-retry";
}

}  // namespace millrace::engine
