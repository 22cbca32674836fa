#include <utility>

#include "http/connection.hpp"

#include <algorithm>
#include <chrono>
#include <exception>

#include <spdlog/spdlog.h>
#include <boost/coroutine/exceptions.hpp>

#include "engine/log.hpp"
#include "http/cors.hpp"
#include "http/request_id.hpp"

namespace millrace::http {

namespace {

/// A comment of an event stream (WHATWG HTML, section 9.2.6), and the same as a chunk.
constexpr std::string_view ping = ": ping\n\n";
constexpr std::string_view ping_chunk = "8\r\n: ping\n\n\r\n";
/// The end of an event without fields, which is none.
constexpr std::string_view no_event = "\n";
constexpr std::string_view no_event_chunk = "1\r\n\n\r\n";

constexpr std::string_view anthropic_routes = "/v1/messages";
constexpr auto overload_pause = std::chrono::seconds(1);

constexpr fault head_too_slow{refusal::request_timeout, "the headers took too long; send them at once"};
constexpr fault no_connection_left{refusal::overloaded, "all connections are taken; try again shortly"};
constexpr fault no_such_route{refusal::unknown_route, "there is no such route; check the path"};
constexpr fault other_methods{refusal::method_not_allowed, "use a method that the allow header names"};
constexpr fault options_with_body{refusal::bad_request, "an OPTIONS request has no body here"};
constexpr fault handler_failed{refusal::internal_error, "something went wrong inside; the log tells what"};

/// A fault's phrase as it is told to clients.
std::string sentence(std::string_view phrase) {
  std::string out(phrase);
  if (!out.empty() && out[0] >= 'a' && out[0] <= 'z') out[0] = static_cast<char>(out[0] - 'a' + 'A');
  return out += '.';
}

/// Anthropic's SDKs look for the request's id under another name than OpenAI's, and in errors. It is only
/// here that an error is one client's: those who share a call share its body.
void name_request_again(engine::answer& a) {
  std::string id;
  for (const auto& [name, value] : a.headers) {
    if (name == "x-request-id") id = value;
  }
  if (id.empty()) return;
  if (a.status >= 400 && a.body.ends_with(unnamed_request)) {
    a.body.resize(a.body.size() - unnamed_request.size());
    a.body.append(R"("request_id":")").append(id).append("\"}");
  }
  a.headers.emplace_back("request-id", std::move(id));
}

/// Counts a request for as long as it is served.
class served {
 public:
  explicit served(counter& c) : counter_(c) { counter_.add(1); }
  ~served() { counter_.add(-1); }
  served(const served&) = delete;
  served& operator=(const served&) = delete;

 private:
  counter& counter_;
};

}  // namespace

/// Lets the answer writer write to this connection from its coroutine.
class connection::output : public answer_sink {
 public:
  /// `comment`: for a stream that is silent; empty: none.
  output(connection& c, engine::answer& a, std::string_view comment, const engine::yield& y)
      : c_(c), answer_(a), comment_(comment), y_(y) {}

  bool write(std::string_view bytes) override { return c_.socket_.send(bytes, y_); }

  pulled pull(std::string& out) override {
    do {
      // What was read before is taken by the client before more is read: this is the backpressure.
      if (!c_.socket_.flush(y_)) return pulled::failed;
      out.clear();
      const bool more = read(out);
      if (c_.gone_->cancelled_for(engine::cancel_cause::client_gone)) return pulled::failed;
      if (!more) return pulled::end;
    } while (out.empty());
    return pulled::bytes;
  }

 private:
  /// The stream's next bytes. What it throws ends the connection, and with it the silence.
  bool read(std::string& out) {
    if (!std::exchange(settled_, true)) c_.settle_down(answer_);
    if (!comment_.empty()) c_.socket_.begin_silence(comment_, c_.config_->ping_interval);
    c_.asking_ = true;
    const bool more = answer_.stream->read(out, y_);
    c_.asking_ = false;
    c_.socket_.end_silence();
    return more;
  }

  connection& c_;
  engine::answer& answer_;
  std::string_view comment_;
  bool settled_ = false;
  const engine::yield& y_;
};

connection::connection(edge_thread& thread, tcp_socket socket, std::string remote, bool refuse)
    : thread_(thread),
      socket_(thread, std::move(socket)),
      remote_(std::move(remote)),
      refuse_(refuse),
      guard_(thread.common.limits.head) {}

connection::~connection() {
  thread_.ended(*this);
}

void connection::run(const engine::yield& y) {
  bool failed = true;
  stack_ = &failed;
  try {
    converse(y);
    failed = false;
  } catch (const boost::coroutines::detail::forced_unwind&) {
    throw;
  } catch (const std::exception& e) {
    spdlog::error("a connection ended by an exception, perhaps of an answer's stream: {}", e.what());
  }
  // Outside the catch clause: a coroutine must not be suspended within one.
  if (failed) socket_.reset();
  socket_.end_request(y);
  forget_request();
  if (linger_ || socket_.has_input()) socket_.linger(y);
  socket_.close(y);
}

void connection::converse(const engine::yield& y) {
  config_ = thread_.config;
  if (refuse_) {
    refuse(no_connection_left, y);
  } else {
    while (serve_one(y)) {
      forget_request();
      socket_.pass_turn(y);
    }
  }
}

void connection::drain() {
  const auto& limits = thread_.common.limits;
  if (half_sent_) return socket_.hasten(engine::clock::now() + limits.half_sent_grace);
  if (!idle_ || socket_.has_input()) return;
  if (newcomer_) {
    socket_.set_deadline(engine::clock::now() + limits.newcomer_grace);
  } else {
    socket_.stop_waiting();
  }
}

void connection::cut() {
  if (half_sent_) return socket_.expire();
  if (!asking_) return socket_.abort(engine::cancel_cause::stopping);
  socket_.cancel_request(engine::cancel_cause::stopping);
}

/// True when another request may follow.
bool connection::serve_one(const engine::yield& y) {
  if (!read_head(y)) return false;
  if (!find_route(y)) return !linger_ && socket_.usable() && in_.head.keep_alive && !thread_.draining;
  return read_body(y) && serve(y);
}

bool connection::read_head(const engine::yield& y) {
  guard_.reset();
  auto& input = socket_.input();
  idle_ = true;
  if (thread_.draining && !newcomer_ && !socket_.has_input()) return false;
  socket_.set_deadline(engine::clock::now() + (thread_.draining ? thread_.common.limits.newcomer_grace
                                                                : thread_.config->idle_timeout));
  auto state = progress::incomplete;
  while (input.empty() || (state = guard_.advance(input.view())) == progress::incomplete) {
    if (idle_ && !input.empty()) {
      // Counted from the first byte; the following do not extend it.
      idle_ = false;
      half_sent_ = true;
      in_.arrived = engine::clock::now();
      socket_.set_deadline(*in_.arrived + thread_.config->header_timeout);
      if (thread_.draining) socket_.hasten(*in_.arrived + thread_.common.limits.half_sent_grace);
    }
    if (socket_.wait_for_input(y)) continue;
    half_sent_ = false;
    if (idle_ || !socket_.expired()) return false;
    break;
  }
  idle_ = newcomer_ = half_sent_ = false;
  socket_.clear_deadline();
  config_ = thread_.config;
  in_.head_bytes.assign(input.view().substr(0, state == progress::complete ? guard_.size() : input.size()));
  input.consume(in_.head_bytes.size());
  in_.head = guard_.take(in_.head_bytes, in_.fields);
  if (state == progress::complete) return true;
  if (state == progress::refused) return refuse(guard_.fault(), y);
  return refuse(thread_.draining ? node_stops : head_too_slow, y);
}

/// False: the request was answered in place of a route.
bool connection::find_route(const engine::yield& y) {
  const auto& head = in_.head;
  // A body that nobody wants is not read; the connection ends instead.
  const bool keep =
      head.framing == framing::none || (head.framing == framing::length && head.content_length == 0);
  const auto match = thread_.common.routes.find(head.method, head.path);
  if (head.method == "OPTIONS" && (!match.allow.empty() || head.path == "*")) {
    return keep ? answer_options(match.allow, y) : refuse(options_with_body, y);
  }
  if (match.allow.empty() || !percent_decode(match.param, in_.param)) return refuse(no_such_route, y, keep);
  if (match.route == nullptr) return refuse(other_methods, y, keep, match.allow);
  in_.route = match.route;
  return true;
}

/// Runs the handler and writes its answer. True when another request may follow.
bool connection::serve(const engine::yield& y) {
  socket_.begin_request(gone_.emplace());
  thread_.counters.requests.add(1);
  bool keep = false;
  {
    const served mark(thread_.counters.serving);
    asking_ = true;
    auto a = handle(y);
    asking_ = false;
    keep = write_answer(a, y);
  }
  socket_.end_request(y);
  return keep;
}

/// The request as handlers see it.
edge_request connection::request() {
  const auto& head = in_.head;
  const auto now = engine::clock::now();
  const auto received = in_.arrived.value_or(now);
  return edge_request{.method = head.method,
                      .path = head.path,
                      .query = head.query,
                      .param = in_.param,
                      .pattern = in_.route->pattern,
                      .version = head.version,
                      .headers = head.fields,
                      .body = in_.body,
                      .remote = remote_,
                      .received = received,
                      .upload = now - received,
                      .gone = *gone_,
                      .thread = thread_.index};
}

engine::answer connection::handle(const engine::yield& y) {
  const edge_request request = this->request();
  try {
    return in_.route->handler(request, y);
  } catch (const boost::coroutines::detail::forced_unwind&) {
    throw;
  } catch (const std::exception& e) {
    spdlog::error("the handler of {} {} threw: {}", request.method, in_.route->pattern, e.what());
  } catch (...) {
    spdlog::error("the handler of {} {} threw", request.method, in_.route->pattern);
  }
  return error_answer(handler_failed, request.received, request.upload);
}

bool connection::answer_options(std::string_view allow, const engine::yield& y) {
  engine::answer a;
  a.status = 204;
  a.headers.emplace_back("x-request-id", given_request_id());
  if (!allow.empty()) {
    a.headers.emplace_back("Allow", allow);
    add_preflight(in_.head.fields, config_->cors_origins, allow, a.headers);
  }
  write_answer(a, y);
  return false;
}

std::string connection::given_request_id() const {
  std::string_view given;
  for (const auto& field : in_.head.fields) {
    if (field.name == "x-request-id") given = field.value;
  }
  return request_id(given);
}

/// Answers in place of a handler; always false. Unless `keep`, the connection ends after it.
bool connection::refuse(const fault& f, const engine::yield& y, bool keep, std::string_view allow) {
  const auto now = engine::clock::now();
  const auto received = in_.arrived.value_or(now);
  auto a = error_answer(f, received, now - received);
  a.close = linger_ = !keep;
  if (!allow.empty()) a.headers.emplace_back("Allow", allow);
  socket_.clear_deadline();
  write_answer(a, y);
  return false;
}

/// The answer to a request that has no other, counted and reported.
engine::answer connection::error_answer(const fault& f, engine::time_point received,
                                        engine::duration upload) {
  engine::api_error e;
  e.status = status_of(f.reason);
  e.type = e.status < 500 ? "invalid_request_error" : "server_error";
  e.code = to_string(f.reason);
  e.message = sentence(f.message);
  engine::answer a;
  a.status = e.status;
  a.headers.emplace_back("x-request-id", given_request_id());
  if (f.reason == refusal::overloaded) {
    e.retry_after = overload_pause;
    a.headers.emplace_back("Retry-After", std::to_string(overload_pause.count()));
  }
  a.body = thread_.common.format_error(e, in_.head.path);
  thread_.counters.refused[static_cast<size_t>(f.reason)].add(1);
  report(a.headers.front().second, e.status, e.code, received, upload);
  return a;
}

/// Of a request that no handler reports.
void connection::report(std::string_view id, int status, std::string_view code, engine::time_point received,
                        engine::duration upload) const {
  engine::request_record r;
  r.id = id;
  r.method = in_.head.method;
  if (in_.route != nullptr) r.route = in_.route->pattern;
  r.error_code = code;
  r.status = status;
  r.client_gone = status == client_gone;
  r.total = engine::clock::now() - received;
  r.overhead = r.total - upload;
  thread_.common.watch.request_done(r);
}

/// Of a request whose answer was reported before it was written.
void connection::report_not_taken(const engine::answer& a) const {
  if (a.status == client_gone) return;
  std::string_view id;
  for (const auto& [name, value] : a.headers) {
    if (name == "x-request-id") id = value;
  }
  engine::log_event(
      engine::log_level::info, "answer_not_taken",
      {{"request_id", id}, {"status", a.status}, {"bytes", a.body.size()}, {"why", socket_.loss()}});
}

/// True when the answer went out whole and the connection is kept.
bool connection::write_answer(engine::answer& a, const engine::yield& y) {
  const bool cancelled = gone_ && gone_->cancelled_for(engine::cancel_cause::client_gone);
  const bool old = in_.head.version == "HTTP/1.0";
  const bool without_body = in_.head.method == "HEAD";
  bool keep = in_.head.keep_alive && !a.close && !thread_.draining && !(a.stream && old);
  bool written = false;
  if (!cancelled) {
    if (in_.head.path.starts_with(anthropic_routes)) name_request_again(a);
    add_cors(in_.head.fields, config_->cors_origins, a.headers);
    output out(*this, a, comment_for(a, old), y);
    written = thread_.writer.write(a, {without_body, old, keep, thread_.date()}, out) && socket_.flush(y);
  }
  if (a.stream && (!written || without_body)) a.stream->abandon();
  if (written) return keep && !(a.stream && a.stream->broken());
  if (!a.stream && gone_) report_not_taken(a);
  // A reset, so that what was sent so far cannot pass for the whole.
  socket_.reset();
  return false;
}

/// From now on the answer's stream is waited for, perhaps for minutes and beside thousands of others: what
/// only the handler and the head needed goes.
void connection::settle_down(engine::answer& a) {
  drop_body();
  std::exchange(a.headers, {});  // an assignment alone would keep the memory
  socket_.expect_nothing();
  engine::trim_stack(stack_);
}

/// What a client hears while the answer's stream is silent; empty: nothing.
std::string_view connection::comment_for(const engine::answer& a, bool old) const {
  const bool events = a.stream && a.content_type.starts_with("text/event-stream");
  if (!events || config_->ping_interval <= engine::duration::zero()) return {};
  if (!a.comments) return old ? no_event : no_event_chunk;
  return old ? ping : ping_chunk;
}

void connection::forget_request() {
  drop_body();
  clear_bulk(in_.head_bytes);
  in_.param.clear();
  in_.head = {};
  in_.route = nullptr;
  in_.arrived.reset();
  in_.wrong.reset();
  in_.due = engine::time_point::max();
  gone_.reset();
}

}  // namespace millrace::http
