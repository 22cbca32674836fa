#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "http/openai.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/provider.hpp"
#include "http/simulator/random.hpp"

/// How the provider puts a reply together: heads, refusals, and what faults leave of an answer.
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using std::chrono::microseconds;
using std::chrono::milliseconds;

constexpr std::string_view html_page =
    "<!doctype html><html><head><title>Down for maintenance</title></head><body>Please come back "
    "later.</body></html>";

std::string_view reason(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 204:
      return "No Content";
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 402:
      return "Payment Required";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 429:
      return "Too Many Requests";
    case 500:
      return "Internal Server Error";
    case 503:
      return "Service Unavailable";
    default:
      return "Status";
  }
}

void append_header(std::string& out, std::string_view name, std::int64_t value) {
  out.append(name).append(": ");
  append_number(out, value);
  out += "\r\n";
}

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

}  // namespace

void provider::refuse(const http_request& request, const api_error& error, reply& out) {
  out.how = error.status == 429   ? outcome::limited
            : error.status == 401 ? outcome::unauthorized
                                  : outcome::failed;
  const std::string body = openai().error_body(error);
  write_head(request, error.status, "application/json", body.size(), out);
  out.bytes += body;
}

void provider::refuse_limit(const http_request& request, const admission& a, const simulated_limits& limits,
                            reply& out) {
  append_header(extra_headers_, "retry-after",
                std::chrono::ceil<std::chrono::seconds>(a.retry_after).count());
  append_header(extra_headers_, "retry-after-ms", std::chrono::ceil<milliseconds>(a.retry_after).count());
  const std::string limit = std::to_string(a.by_tokens ? limits.tpm : limits.rpm);
  refuse(request,
         make_error(429, a.by_tokens ? "tokens" : "requests", "rate_limit_exceeded",
                    std::string("Rate limit reached on ") + (a.by_tokens ? "tokens" : "requests") +
                        " per minute: limit " + limit + ". Please try again in " +
                        std::to_string(std::chrono::ceil<milliseconds>(a.retry_after).count()) + "ms."),
         out);
}

/// Faults that leave nothing of the answer.
bool provider::replace_by_fault(const http_request& request, const simulated_fault& f, reply& out) {
  switch (f.kind) {
    case fault_kind::status: {
      const int status = static_cast<int>(f.argument);
      if (status == 429) extra_headers_ += "retry-after: 1\r\nretry-after-ms: 1000\r\n";
      refuse(request, error_of_status(status), out);
      return true;
    }
    case fault_kind::quota:
      refuse(request,
             make_error(429, "insufficient_quota", "insufficient_quota",
                        "You exceeded your current quota, please check your plan and billing details."),
             out);
      return true;
    case fault_kind::error_event:
      if (question_.facts.stream) return false;
      refuse(request, error_of_status(500), out);
      return true;
    case fault_kind::content_type:
      out.how = outcome::failed;
      write_head(request, 200, "text/html", html_page.size(), out);
      out.bytes += html_page;
      return true;
    case fault_kind::reset:
    case fault_kind::stall:
      out.how = outcome::failed;
      out.then = f.kind == fault_kind::reset ? reply::ending::reset : reply::ending::stall;
      return true;
    default:
      return false;
  }
}

void provider::reply_plainly(const http_request& request, std::string_view body, const simulated_fault& f,
                             reply& out) {
  write_head(request, 200, "application/json", body.size(), out);
  if (f.kind == fault_kind::slow_head) out.drip = microseconds(f.argument);
  const bool stalls = f.kind == fault_kind::stall_stream;
  if (stalls || f.kind == fault_kind::cut || f.kind == fault_kind::truncate) {
    body = body.substr(0, body.size() / 2);
    out.how = outcome::failed;
    out.then = stalls ? reply::ending::stall : reply::ending::close;
  }
  out.bytes += body;
}

void provider::reply_streaming(const http_request& request, identity who, reply_choices choices,
                               const model_behaviour& behaviour, const simulated_fault& f, reply& out) {
  write_head(request, 200, "text/event-stream; charset=utf-8", std::nullopt, out);
  out.prompt_tokens = choices.prompt_tokens;
  out.stream =
      std::make_unique<event_source>(std::move(who), std::move(choices), question_.facts.include_usage,
                                     behaviour.tokens_per_second, !request.http_1_0);
  if (request.http_1_0) out.then = reply::ending::close;
  switch (f.kind) {
    case fault_kind::slow_head:
      out.drip = microseconds(f.argument);
      return;
    case fault_kind::stall_stream:
      out.broken_then = reply::ending::stall;
      break;
    case fault_kind::cut:
    case fault_kind::truncate:
      out.broken_then = reply::ending::close;
      break;
    case fault_kind::error_event:
      out.last_event = openai().error_event(error_of_status(500));
      out.broken_then = out.then;
      break;
    default:
      return;
  }
  out.stop_after = f.argument;
}

void provider::write_head(const http_request& request, int status, std::string_view content_type,
                          std::optional<size_t> length, reply& out) {
  std::string& head = out.bytes;
  head.reserve(512 + length.value_or(0));
  head = "HTTP/1.1 ";
  append_number(head, status);
  head.append(" ").append(reason(status)).append("\r\ndate: ").append(date());
  head.append("\r\ncontent-type: ").append(content_type).append("\r\nx-request-id: req_");
  append_hex(head, mix(settings_->seed, ordinal_));
  head += "\r\nopenai-version: 2020-10-01\r\n";
  append_header(head, "openai-processing-ms", std::chrono::duration_cast<milliseconds>(out.wait).count());
  head += extra_headers_;
  if (!request.keep_alive) head += "connection: close\r\n";
  if (request.keep_alive && request.http_1_0 && length) head += "connection: keep-alive\r\n";
  if (length)
    append_header(head, "content-length", static_cast<std::int64_t>(*length));
  else if (!request.http_1_0)
    head += "transfer-encoding: chunked\r\n";
  head += "\r\n";
}

void provider::limit_headers(const admission& a, const simulated_limits& limits) {
  if (limits.rpm != engine::unlimited) {
    append_header(extra_headers_, "x-ratelimit-limit-requests", limits.rpm);
    append_header(extra_headers_, "x-ratelimit-remaining-requests", a.remaining_requests);
    append_reset(extra_headers_, "x-ratelimit-reset-requests", a.reset);
  }
  if (limits.tpm != engine::unlimited) {
    append_header(extra_headers_, "x-ratelimit-limit-tokens", limits.tpm);
    append_header(extra_headers_, "x-ratelimit-remaining-tokens", a.remaining_tokens);
    append_reset(extra_headers_, "x-ratelimit-reset-tokens", a.reset);
  }
}

std::string_view provider::date() {
  const std::time_t now = std::time(nullptr);
  if (now != now_s_) {
    now_s_ = now;
    std::tm parts{};
    gmtime_r(&now, &parts);
    char text[40];
    date_.assign(text, std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts));
  }
  return date_;
}

}  // namespace millrace::http::simulation
