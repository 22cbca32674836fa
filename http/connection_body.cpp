#include <utility>

#include "http/connection.hpp"

#include <algorithm>
#include <chrono>
#include <string_view>

/// How a connection reads a request's body.
namespace millrace::http {

namespace {

/// Memory that a connection keeps of each string between requests.
constexpr size_t kept_bytes = 16 * 1024;
/// Read at once while a long body comes in.
constexpr size_t body_read_bytes = 64 * 1024;

constexpr std::string_view continue_line = "HTTP/1.1 100 Continue\r\n\r\n";

constexpr fault body_too_large{refusal::request_too_large, "the body is too large; send a smaller one"};
constexpr fault body_too_slow{refusal::request_timeout, "the body took too long; send it faster"};
constexpr fault bodies_too_many{refusal::overloaded, "too many request bodies are held; try again shortly"};

}  // namespace

void clear_bulk(std::string& s) {
  s.clear();
  if (s.capacity() > kept_bytes) s.shrink_to_fit();
}

/// False: the connection ends.
bool connection::read_body(const engine::yield& y) {
  const auto& head = in_.head;
  if (head.framing == framing::none) return true;
  const auto max_body = config_->max_body_bytes;
  if (head.content_length > max_body) return refuse(body_too_large, y);
  in_.remaining = head.content_length;
  in_.chunks = chunk_decoder(max_body);
  if (!take_body() && !await_body(y)) return false;
  return !in_.wrong || refuse(*in_.wrong, y);
}

/// For what did not come with the head. False: the connection ends.
bool connection::await_body(const engine::yield& y) {
  if (!in_.arrived) in_.arrived = engine::clock::now();
  if (!admit(y)) return false;
  half_sent_ = true;
  const bool came = invite_body(y) && wait_for_body(y);
  half_sent_ = false;
  if (came) return true;
  if (socket_.expired()) {
    if (engine::clock::now() >= in_.due) return answer_unread(in_.route->deadline.missed(head_alone()), y);
    return refuse(thread_.draining ? node_stops : body_too_slow, y);
  }
  report_left();
  return false;
}

/// Its client left before the request was whole.
void connection::report_left() {
  thread_.counters.gone.add(1);
  const auto now = engine::clock::now();
  report(given_request_id(), client_gone, "client_gone", *in_.arrived, now - *in_.arrived);
}

/// False: the route refused the request by its head alone, and the connection ends.
bool connection::admit(const engine::yield& y) {
  const auto& route = *in_.route;
  if (route.admit) {
    if (auto refused = route.admit(head_alone())) return answer_unread(std::move(*refused), y);
  }
  if (route.deadline.at) in_.due = route.deadline.at(head_alone());
  return true;
}

edge_request connection::head_alone() {
  gone_.emplace();
  auto r = request();
  r.body = {};
  return r;
}

/// The route's answer to a request whose body is not read; always false: the connection ends after it.
bool connection::answer_unread(engine::answer a, const engine::yield& y) {
  thread_.counters.requests.add(1);
  a.close = linger_ = true;
  socket_.clear_deadline();
  write_answer(a, y);
  return false;
}

/// Tells a client that waits for it that its body is wanted. False: it cannot be told.
bool connection::invite_body(const engine::yield& y) {
  if (!in_.head.expect_continue || !in_.body.empty()) return true;
  return socket_.send(continue_line, y) && socket_.flush(y);
}

/// Reads until `take_body` has enough. False: there is no more, or not in time.
bool connection::wait_for_body(const engine::yield& y) {
  const auto& limits = thread_.common.limits;
  const auto begun = engine::clock::now();
  do {
    const auto received = static_cast<std::int64_t>(in_.body.size());
    const auto earned = std::chrono::seconds(received / limits.body_bytes_per_second);
    const auto gap = thread_.draining ? limits.half_sent_grace : limits.body_progress;
    socket_.set_deadline(std::min({engine::clock::now() + gap, begun + limits.body_grace + earned, in_.due}));
    const bool chunked = in_.head.framing == framing::chunked;
    const auto want = chunked ? body_read_bytes : static_cast<size_t>(in_.remaining);
    if (!socket_.wait_for_input(y, std::min(want, body_read_bytes))) return false;
  } while (!take_body());
  socket_.clear_deadline();
  return true;
}

/// Moves what came in into the body. True at its end, or when something is wrong with it.
bool connection::take_body() {
  auto& input = socket_.input();
  bool done = false;
  if (in_.head.framing == framing::length) {
    const auto remaining = static_cast<size_t>(in_.remaining);
    const auto bytes = input.view().substr(0, remaining);
    // The length is only a claim: memory for it is taken as it comes true.
    if (in_.body.empty()) in_.body.reserve(std::min(remaining, body_read_bytes));
    in_.body.append(bytes);
    input.consume(bytes.size());
    in_.remaining -= static_cast<std::int64_t>(bytes.size());
    done = in_.remaining == 0;
  } else {
    input.consume(in_.chunks.feed(input.view(), in_.body));
    if (in_.chunks.state() == progress::refused) in_.wrong = in_.chunks.fault();
    done = in_.chunks.state() != progress::incomplete;
  }
  if (!in_.wrong && !count_body()) in_.wrong = bodies_too_many;
  return done || in_.wrong;
}

/// False when this thread's bodies together have more than their share of memory.
bool connection::count_body() {
  const auto more = static_cast<std::int64_t>(in_.body.size()) - in_.counted_bytes;
  if (thread_.counters.bodies_bytes.get() + more > thread_.common.bodies_bytes_per_thread) return false;
  thread_.counters.bodies_bytes.add(more);
  in_.counted_bytes += more;
  return true;
}

void connection::drop_body() {
  thread_.counters.bodies_bytes.add(-in_.counted_bytes);
  in_.counted_bytes = 0;
  clear_bulk(in_.body);
}

}  // namespace millrace::http
