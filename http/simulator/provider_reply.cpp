#include <algorithm>
#include <chrono>
#include <ctime>
#include <utility>

#include "http/simulator/errors.hpp"
#include "http/simulator/provider.hpp"
#include "http/simulator/random.hpp"

/// How the provider puts a reply together: heads, refusals, and what faults leave of an answer.
namespace millrace::http::simulation {
namespace {

using engine::api_error;
using std::chrono::microseconds;

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
    case 529:
      return "Site Overloaded";
    default:
      return "Status";
  }
}

}  // namespace

void append_header(std::string& out, std::string_view name, std::int64_t value) {
  out.append(name).append(": ");
  append_number(out, value);
  out += "\r\n";
}

void append_header(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

std::int64_t ceil_seconds(engine::duration d) {
  return std::chrono::ceil<std::chrono::seconds>(d).count();
}

void provider::refuse(const http_request& request, const api_error& error, reply& out) {
  out.how = error.status == 429   ? outcome::limited
            : error.status == 401 ? outcome::unauthorized
                                  : outcome::failed;
  const std::string body = speaks_->error_body(error, request_id_);
  write_head(request, error.status, "application/json", body.size(), out);
  out.bytes += body;
}

/// Faults that leave nothing of the answer.
bool provider::replace_by_fault(const http_request& request, const simulated_fault& f, reply& out) {
  switch (f.kind) {
    case fault_kind::status: {
      const int status = static_cast<int>(f.argument);
      api_error error = speaks_->error_of_status(status);
      if (status == 429) {
        error.retry_after = std::chrono::seconds(1);
        speaks_->append_retry(extra_headers_, error.retry_after);
      }
      refuse(request, error, out);
      return true;
    }
    case fault_kind::quota:
      refuse(request, speaks_->out_of_quota(), out);
      return true;
    case fault_kind::error_event:
      if (question_.facts.stream) return false;
      refuse(request, speaks_->error_of_status(500), out);
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

/// What the model itself would not take: too much, or what its provider forbids.
bool provider::replace_by_refusal(const http_request& request, const model_behaviour& behaviour, reply& out) {
  const question& q = question_;
  const std::int64_t needed = q.prompt_tokens + std::max<std::int64_t>(q.max_tokens, 0);
  if (behaviour.context > 0 && needed > behaviour.context) {
    refuse(request, speaks_->too_long(q, behaviour.context), out);
    return true;
  }
  const auto end = q.text.begin() + static_cast<std::ptrdiff_t>(q.texts);
  const bool forbidden =
      !behaviour.refuse.empty() && std::any_of(q.text.begin(), end, [&](const std::string& text) {
        return text.find(behaviour.refuse) != std::string::npos;
      });
  if (!forbidden) return false;
  body_.clear();
  const api_error error = speaks_->forbidden(q, make_identity(), body_);
  if (body_.empty()) {
    refuse(request, error, out);
    return true;
  }
  const std::string_view type = q.facts.stream ? speaks_->stream_type(q) : "application/json";
  write_head(request, 200, type, body_.size(), out);
  out.bytes += body_;
  return true;
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

void provider::reply_streaming(const http_request& request, reply_choices choices,
                               const model_behaviour& behaviour, const simulated_fault& f, reply& out) {
  write_head(request, 200, speaks_->stream_type(question_), std::nullopt, out);
  out.stream = speaks_->stream(make_identity(), std::move(choices), question_, behaviour.tokens_per_second,
                               !request.http_1_0);
  if (request.http_1_0) out.then = reply::ending::close;
  switch (f.kind) {
    case fault_kind::slow_head:
      out.drip = microseconds(f.argument);
      return;
    case fault_kind::pause:
      out.pause = microseconds(f.argument);
      return;
    case fault_kind::stall_stream:
      out.broken_then = reply::ending::stall;
      break;
    case fault_kind::cut:
    case fault_kind::truncate:
      out.broken_then = reply::ending::close;
      break;
    case fault_kind::error_event:
      out.last_event = speaks_->error_event(speaks_->error_of_status(500), question_, f.argument);
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
  head.append("\r\ncontent-type: ").append(content_type).append("\r\n");
  speaks_->append_head(head, request_id_, out.wait);
  head += extra_headers_;
  if (!request.keep_alive) head += "connection: close\r\n";
  if (request.keep_alive && request.http_1_0 && length) head += "connection: keep-alive\r\n";
  if (length)
    append_header(head, "content-length", static_cast<std::int64_t>(*length));
  else if (!request.http_1_0)
    head += "transfer-encoding: chunked\r\n";
  head += "\r\n";
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
