#include <utility>

#include "http/client_socket.hpp"

#include <algorithm>
#include <array>

#include <linux/sockios.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>

namespace millrace::http {

namespace asio = boost::asio;
using boost::system::error_code;

namespace {

/// Output memory that a connection keeps between answers.
constexpr size_t kept_output_bytes = 16 * 1024;
/// Read at once where the input is only dropped.
constexpr size_t drop_bytes = 16 * 1024;

}  // namespace

client_socket::client_socket(edge_thread& thread, tcp_socket socket)
    : thread_(thread), socket_(std::move(socket)) {}

bool client_socket::wait_for_input(const engine::yield& y, size_t want) {
  if (!usable() || expired_) return false;
  arm_read(want);
  wake_.wait(y);
  return usable() && !expired_;
}

void client_socket::set_deadline(engine::time_point t) {
  deadline_ = t;
  expired_ = false;
}

void client_socket::begin_request(engine::cancellation& gone) {
  request_ = &gone;
  expects_nothing_ = false;
  // Most requests end before the next look; to read at once would find nothing.
  if (!reading_ && !is_linked()) thread_.watch(*this);
}

void client_socket::pass_turn(const engine::yield& y) {
  const bool alone = thread_.counters.serving.get() == 0;
  if (!alone && usable() && input_.empty() && !reading_) asio::post(thread_.context, y);
}

void client_socket::end_request(const engine::yield& y) {
  // Hooks may resume this coroutine while `cancel` still walks through them.
  while (cancelling_) wake_.wait(y);
  request_ = nullptr;
}

void client_socket::expect_nothing() {
  if (expects_nothing_ || !input_.empty() || !usable()) return;
  expects_nothing_ = true;
  output_.shrink_to_fit();  // it was a head's
  error_code ignored;
  if (reading_) socket_.cancel(ignored);  // a read needs its buffer; `on_read` waits without one instead
}

void client_socket::arm_read(size_t want) {
  if (reading_ || peer_gone_ || closing_) return;
  if (expects_nothing_ && input_.empty()) {
    unlink();
    input_.release();
    reading_ = true;
    return socket_.async_wait(tcp_socket::wait_read, [this](const error_code& ec) {
      if (!ec) expects_nothing_ = false;
      on_read(ec, 0);
    });
  }
  const auto room = input_.prepare(want, thread_.common.limits.read_ahead_bytes);
  if (room.empty()) {
    if (!is_linked()) thread_.watch(*this);
    return;
  }
  unlink();
  reading_ = true;
  socket_.async_read_some(asio::buffer(room.data(), room.size()),
                          [this](const error_code& ec, size_t n) { on_read(ec, n); });
}

void client_socket::on_read(const error_code& ec, size_t n) {
  reading_ = false;
  input_.commit(n);
  const bool swapped = ec == asio::error::operation_aborted && expects_nothing_ && socket_.is_open();
  if (swapped || (!ec && request_ != nullptr)) {
    arm_read(input_buffer::least_room);
  } else if (ec == asio::error::operation_aborted) {
    peer_gone_ = true;
    wake_.wake();
  } else if (ec) {
    peer_disappeared();
  } else {
    wake_.wake();
  }
}

void client_socket::peer_disappeared() {
  peer_gone_ = true;
  if (request_ != nullptr) {
    if (!broken_) thread_.counters.gone.add(1);
    cancel_request(engine::cancel_cause::client_gone);
  } else {
    wake_.wake();
  }
}

void client_socket::cancel_request(engine::cancel_cause why) {
  if (request_ == nullptr || request_->cancelled()) return;
  cancelling_ = true;
  request_->cancel(why);
  cancelling_ = false;
  error_code ignored;
  if (waiting_to_write_) socket_.cancel(ignored);
  wake_.wake();
}

void client_socket::check(engine::time_point now) {
  if (!comment_.empty() && now >= comment_due_) break_silence(now);
  if (now >= deadline_ && !expired_) expire();
}

void client_socket::expire() {
  expired_ = true;
  error_code ignored;
  if (waiting_to_write_) {
    socket_.cancel(ignored);
  } else {
    wake_.wake_later(thread_.context);
  }
}

void client_socket::begin_silence(std::string_view comment, engine::duration interval) {
  comment_ = comment;
  comment_interval_ = interval;
  comment_due_ = engine::clock::now() + interval;
  untaken_bytes_ = 0;
}

void client_socket::break_silence(engine::time_point now) {
  if (!usable() || (request_ != nullptr && request_->cancelled()) || !reader_takes(now)) return;
  if (output_.empty()) output_ = comment_;
  error_code ec;
  const size_t n = socket_.write_some(asio::buffer(output_), ec);
  if (ec && ec != asio::error::would_block) return thread_.cut_soon(*this);
  // What does not fit goes out with the next comment or before the stream's next bytes.
  output_.erase(0, n);
  if (output_.empty()) comment_due_ = now + comment_interval_;
}

/// True when nothing written before is still on its way. A reader that stopped reading shows only here: the
/// kernel would take comments for it for hours.
bool client_socket::reader_takes(engine::time_point now) {
  int untaken = 0;
  if (ioctl(socket_.native_handle(), SIOCOUTQ, &untaken) != 0 || untaken == 0) {
    untaken_bytes_ = 0;
    return true;
  }
  if (untaken_bytes_ == 0 || untaken < untaken_bytes_) {
    untaken_bytes_ = untaken;
    untaken_since_ = now;
  } else if (now - untaken_since_ >= thread_.common.limits.write_stall) {
    thread_.counters.stalled.add(1);
    thread_.cut_soon(*this);
  }
  return false;
}

void client_socket::stop_waiting() {
  closing_ = true;
  wake_.wake_later(thread_.context);
}

void client_socket::look() {
  arm_read(input_buffer::least_room);
  if (!is_linked()) return;
  pollfd p{socket_.native_handle(), POLLRDHUP, 0};
  if (poll(&p, 1, 0) != 1) return;
  unlink();
  peer_disappeared();
}

void client_socket::abort(engine::cancel_cause why) {
  closing_ = true;
  reset();
  wake_.wake_later(thread_.context);
  cancel_request(why);
}

bool client_socket::send(std::string_view bytes, const engine::yield& y) {
  if (broken_) return false;
  if (output_.size() + bytes.size() <= thread_.common.limits.write_buffer_bytes) {
    output_.append(bytes);
    return true;
  }
  const bool written = write_all(output_, bytes, y);
  output_.clear();
  return written;
}

bool client_socket::flush(const engine::yield& y) {
  const bool written = write_all(output_, {}, y);
  output_.clear();
  if (output_.capacity() > kept_output_bytes) output_.shrink_to_fit();
  return written;
}

bool client_socket::write_all(std::string_view first, std::string_view second, const engine::yield& y) {
  while (!broken_ && !(first.empty() && second.empty())) {
    error_code ec;
    size_t n = 0;
    if (second.empty()) {
      n = socket_.write_some(asio::buffer(first), ec);
    } else {
      n = socket_.write_some(std::array{asio::buffer(first), asio::buffer(second)}, ec);
    }
    if (ec == asio::error::would_block) {
      broken_ = !wait_until_writable(y);
    } else if (ec) {
      if (request_ != nullptr && usable()) thread_.counters.gone.add(1);
      broken_ = true;
    }
    const auto of_first = std::min(n, first.size());
    first.remove_prefix(of_first);
    second.remove_prefix(n - of_first);
  }
  return !broken_;
}

bool client_socket::wait_until_writable(const engine::yield& y) {
  if (request_ != nullptr && request_->cancelled()) return false;
  set_deadline(engine::clock::now() + thread_.common.limits.write_stall);
  waiting_to_write_ = true;
  error_code ec;
  socket_.async_wait(tcp_socket::wait_write, y[ec]);
  waiting_to_write_ = false;
  stalled_ = expired_;
  if (stalled_) thread_.counters.stalled.add(1);
  const bool writable = !expired_ && !ec && !(request_ != nullptr && request_->cancelled());
  clear_deadline();
  return writable;
}

bool client_socket::has_input() {
  int unread = 0;
  return !input_.empty() || (ioctl(socket_.native_handle(), FIONREAD, &unread) == 0 && unread > 0);
}

void client_socket::linger(const engine::yield& y) {
  if (!usable()) return;
  error_code ignored;
  socket_.shutdown(tcp_socket::shutdown_send, ignored);
  set_deadline(engine::clock::now() + thread_.common.limits.linger);
  do {
    input_.consume(input_.size());
  } while (wait_for_input(y, drop_bytes));
}

void client_socket::reset() {
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  socket_.close(ignored);
  broken_ = true;
}

void client_socket::close(const engine::yield& y) {
  error_code ignored;
  socket_.close(ignored);
  while (reading_) wake_.wait(y);
}

}  // namespace millrace::http
