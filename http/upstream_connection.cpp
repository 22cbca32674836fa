#include "http/upstream_connection.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <boost/asio/buffer.hpp>
#include <boost/asio/post.hpp>

namespace millrace::http {

using boost::asio::ip::tcp;
using boost::system::error_code;
using engine::upstream_failure;

namespace {

/// What fits into one TLS record (RFC 8446, section 5.1).
constexpr size_t tls_record_bytes = 16 << 10;

/// An idle connection keeps no larger request head than this.
constexpr size_t resting_head_bytes = 4 << 10;

}  // namespace

upstream_connection::upstream_connection(upstream_socket socket, upstream_counters& counters)
    : socket_(std::move(socket)), timer_(socket_.get_executor()), counters_(counters) {
  error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);
  bump(counters_.open, 1);
  bump(counters_.created, 1);
}

upstream_connection::~upstream_connection() {
  bump(counters_.open, -1);
}

upstream_failure upstream_connection::start_tls(SSL_CTX* context, const std::string& host,
                                                std::shared_ptr<tls_session_slot> slot,
                                                const io_scope& scope) {
  tls_.emplace(context, socket_.native_handle(), host, std::move(slot));
  for (;;) {
    const auto status = tls_->handshake();
    if (status == tls_stream::status::done) return upstream_failure::none;
    if (status != tls_stream::status::want_read && status != tls_stream::status::want_write) {
      close(upstream_failure::tls);
      return failure_;
    }
    if (const auto f = wait(status, scope); f != upstream_failure::none) return f;
  }
}

upstream_failure upstream_connection::write(std::string& head, std::string_view body, const io_scope& scope) {
  if (!tls_) return write_plain(head, body, scope);
  // The body's beginning shares the head's record, and with it the system call and the packet.
  const size_t together = std::min(body.size(), tls_record_bytes - std::min(head.size(), tls_record_bytes));
  head.append(body.substr(0, together));
  if (const auto f = write_tls(head, scope); f != upstream_failure::none) return f;
  return write_tls(body.substr(together), scope);
}

upstream_failure upstream_connection::fill(const io_scope& scope) {
  if (failure_ != upstream_failure::none) return failure_;
  if (pauses_ && !tls_ && !listening_) {
    give_back_buffer();
    if (const auto f = wait(tls_stream::status::want_read, scope); f != upstream_failure::none) return f;
  }
  if (!make_room()) return upstream_failure::too_large;
  return tls_ ? fill_tls(scope) : fill_plain(scope);
}

void upstream_connection::consume(size_t n) {
  begin_ += n;
  if (begin_ == end_) begin_ = end_ = 0;
}

bool upstream_connection::usable_again() {
  if (failure_ != upstream_failure::none || at_end_ || begin_ != end_) return false;
  if (!tls_) return listening_ || listens_soon_;
  // Session tickets may come while nobody reads; OpenSSL takes them here.
  char byte = 0;
  size_t n = 0;
  return tls_->read(&byte, 1, n) == tls_stream::status::want_read;
}

void upstream_connection::expect_pauses() {
  pauses_ = true;
  std::string().swap(head_);
}

void upstream_connection::rest(bool under_load) {
  pauses_ = false;
  if (capacity_ > initial_buffer_bytes) give_back_buffer();
  head_.clear();
  if (head_.capacity() > resting_head_bytes) head_.shrink_to_fit();
  if (tls_ || listening_ || listens_soon_) return;
  if (!under_load) return listen();
  listens_soon_ = true;
  boost::asio::post(socket_.get_executor(), [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (!self) return;
    self->listens_soon_ = false;
    self->listen();
    if (!self->listening_) self->heard_.wake();
  });
}

void upstream_connection::listen() {
  if (listening_ || failure_ != upstream_failure::none || at_end_ || begin_ != end_ || !make_room()) return;
  listening_ = true;
  socket_.async_read_some(boost::asio::buffer(buffer_.get() + end_, capacity_ - end_),
                          [weak = weak_from_this()](const error_code& error, size_t n) {
                            if (const auto self = weak.lock()) self->on_heard(error, n);
                          });
}

void upstream_connection::on_heard(const error_code& error, size_t n) {
  listening_ = false;
  filled(n, error == boost::asio::error::eof, error.failed());
  heard_.wake();
}

void upstream_connection::close(upstream_failure why) {
  if (failure_ == upstream_failure::none) failure_ = why;
  error_code ignored;
  socket_.close(ignored);
}

/// The timer is pushed only towards an earlier deadline; towards a later one it finds out itself when it
/// fires.
void upstream_connection::arm(engine::time_point until) {
  until_ = until;
  if (armed_ && armed_until_ <= until) return;
  armed_ = true;
  armed_until_ = until;
  timer_.expires_at(until);
  timer_.async_wait([weak = weak_from_this()](error_code e) {
    if (e) return;
    if (const auto self = weak.lock()) self->on_timer();
  });
}

void upstream_connection::on_timer() {
  armed_ = false;
  if (!waiting_) return;
  if (engine::clock::now() >= until_) {
    close(upstream_failure::timeout);
  } else {
    arm(until_);
  }
}

/// Runs one asynchronous operation. Deadline and cancellation close the socket, which ends the operation.
template <class Start>
upstream_failure upstream_connection::suspend(const io_scope& scope, Start start) {
  if (scope.gone.cancelled()) close(upstream_failure::cancelled);
  if (failure_ != upstream_failure::none) return failure_;
  arm(scope.until);
  waiting_ = true;
  {
    const engine::cancellation::hook on_cancel(scope.gone, [this] { close(upstream_failure::cancelled); });
    start(scope.y);
  }
  waiting_ = false;
  return failure_;
}

upstream_failure upstream_connection::wait(tls_stream::status wanted, const io_scope& scope) {
  const auto direction =
      wanted == tls_stream::status::want_write ? tcp::socket::wait_write : tcp::socket::wait_read;
  return suspend(scope, [&](const engine::yield& y) {
    error_code ignored;  // The operation that is tried next will say what is wrong.
    socket_.async_wait(direction, y[ignored]);
  });
}

upstream_failure upstream_connection::write_plain(std::string_view head, std::string_view body,
                                                  const io_scope& scope) {
  while (!head.empty() || !body.empty()) {
    if (failure_ != upstream_failure::none) return failure_;
    const std::array<boost::asio::const_buffer, 2> parts = {boost::asio::buffer(head),
                                                            boost::asio::buffer(body)};
    error_code error;
    const size_t n = socket_.write_some(parts, error);
    if (error == boost::asio::error::would_block) {
      if (const auto f = wait(tls_stream::status::want_write, scope); f != upstream_failure::none) return f;
      continue;
    }
    if (error) return upstream_failure::reset;
    const size_t of_head = std::min(n, head.size());
    head.remove_prefix(of_head);
    body.remove_prefix(n - of_head);
  }
  return upstream_failure::none;
}

upstream_failure upstream_connection::write_tls(std::string_view data, const io_scope& scope) {
  while (!data.empty()) {
    if (failure_ != upstream_failure::none) return failure_;
    size_t n = 0;
    const auto status = tls_->write(data.data(), data.size(), n);
    if (status == tls_stream::status::done) {
      data.remove_prefix(n);
    } else if (status == tls_stream::status::want_read || status == tls_stream::status::want_write) {
      if (const auto f = wait(status, scope); f != upstream_failure::none) return f;
    } else {
      return upstream_failure::reset;
    }
  }
  return upstream_failure::none;
}

/// Moves what is buffered to the front and grows a buffer that is full.
bool upstream_connection::make_room() {
  if (end_ < capacity_) return true;
  if (begin_ > 0) {
    std::memmove(buffer_.get(), buffer_.get() + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    return true;
  }
  if (capacity_ >= max_buffer_bytes) return false;
  const size_t capacity = std::clamp(2 * capacity_, initial_buffer_bytes, max_buffer_bytes);
  auto larger = std::make_unique_for_overwrite<char[]>(capacity);
  if (end_ > 0) std::memcpy(larger.get(), buffer_.get(), end_);
  buffer_ = std::move(larger);
  capacity_ = capacity;
  return true;
}

/// Keeps what is in it: nothing, or the end of a chunk, whose parser wants it together with the next one.
void upstream_connection::give_back_buffer() {
  const size_t left = end_ - begin_;
  auto smaller = left > 0 ? std::make_unique_for_overwrite<char[]>(left) : nullptr;
  if (left > 0) std::memcpy(smaller.get(), buffer_.get() + begin_, left);
  buffer_ = std::move(smaller);
  begin_ = 0;
  end_ = capacity_ = left;
}

upstream_failure upstream_connection::fill_plain(const io_scope& scope) {
  if (listening_ || listens_soon_) {
    return suspend(scope, [this](const engine::yield& y) {
      while (listening_ || listens_soon_) heard_.wait(y);
    });
  }
  error_code error;
  size_t n = 0;
  const auto f = suspend(scope, [&](const engine::yield& y) {
    n = socket_.async_read_some(boost::asio::buffer(buffer_.get() + end_, capacity_ - end_), y[error]);
  });
  if (f != upstream_failure::none) return f;
  return filled(n, error == boost::asio::error::eof, error.failed());
}

upstream_failure upstream_connection::fill_tls(const io_scope& scope) {
  for (;;) {
    size_t n = 0;
    const auto status = tls_->read(buffer_.get() + end_, capacity_ - end_, n);
    if (status != tls_stream::status::want_read && status != tls_stream::status::want_write) {
      // An end without TLS's own goodbye may be an attacker's cut: it counts as a reset.
      return filled(n, status == tls_stream::status::closed, status != tls_stream::status::done);
    }
    if (pauses_) give_back_buffer();
    if (const auto f = wait(status, scope); f != upstream_failure::none) return f;
    make_room();
  }
}

upstream_failure upstream_connection::filled(size_t n, bool end, bool error) {
  end_ += n;
  at_end_ = end;
  if (error && !end) close(upstream_failure::reset);
  return failure_;
}

}  // namespace millrace::http
