#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "http/tls_context.hpp"
#include "http/upstream_client.hpp"
#include "http/upstream_wait.hpp"
#include "http/wake_point.hpp"

namespace millrace::http {

/// Adds to a counter that only its own thread writes: no locked instruction needed.
inline void bump(std::atomic<std::int64_t>& counter, std::int64_t by) {
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

/// One established connection: bytes in and out, TLS or not, each wait bounded by a deadline and a
/// cancellation. Used by one coroutine at a time; not thread-safe. After a failure it is closed. While it
/// rests, a read is under way: so a peer that closes is noticed at once, and the next answer comes without
/// another look at the socket.
class upstream_connection : public std::enable_shared_from_this<upstream_connection> {
 public:
  /// The read buffer starts with the first size and grows up to the second, which so bounds heads and chunk
  /// lines.
  static constexpr size_t initial_buffer_bytes = 8 << 10;
  static constexpr size_t max_buffer_bytes = 64 << 10;

  upstream_connection(upstream_socket socket, upstream_counters& counters);
  ~upstream_connection();
  upstream_connection(const upstream_connection&) = delete;
  upstream_connection& operator=(const upstream_connection&) = delete;

  /// Failures: tls, timeout, cancelled. `slot` as in tls_stream.
  engine::upstream_failure start_tls(SSL_CTX* context, const std::string& host,
                                     std::shared_ptr<tls_session_slot> slot, const io_scope& scope);

  /// Writes both parts, in one system call as far as the socket takes them. `head` is used as scratch space.
  /// Failures: reset, timeout, cancelled.
  engine::upstream_failure write(std::string& head, std::string_view body, const io_scope& scope);

  /// Waits for more bytes behind the buffered ones, or for the end: then `at_end`. Failures: reset, timeout,
  /// cancelled, too_large when the buffer is full already.
  engine::upstream_failure fill(const io_scope& scope);

  std::string_view buffered() const { return {buffer_.get() + begin_, end_ - begin_}; }
  void consume(size_t n);
  bool at_end() const { return at_end_; }

  /// Of a connection that rests: false when the peer closed it or sent something nobody asked for.
  bool usable_again();

  /// An answer that comes in small pieces with long waits between them, until `rest`: while it waits, the
  /// buffer is given back as far as nothing is in it.
  void expect_pauses();

  /// Nobody uses it until it is taken again. Gives back memory that an idle connection does not need, and
  /// listens: `under_load` only when all that is ready on this thread ran, because by then it has often been
  /// taken again, and the first look finds the next answer.
  void rest(bool under_load);

  /// A request's head is built here, so that its memory is reused.
  std::string& head_scratch() { return head_; }

 private:
  void close(engine::upstream_failure why);
  void arm(engine::time_point until);
  void on_timer();
  template <class Start>
  engine::upstream_failure suspend(const io_scope& scope, Start start);
  engine::upstream_failure wait(tls_stream::status wanted, const io_scope& scope);
  engine::upstream_failure write_plain(std::string_view head, std::string_view body, const io_scope& scope);
  engine::upstream_failure write_tls(std::string_view data, const io_scope& scope);
  void listen();
  void on_heard(const boost::system::error_code& error, size_t n);
  bool make_room();
  void give_back_buffer();
  engine::upstream_failure fill_plain(const io_scope& scope);
  engine::upstream_failure fill_tls(const io_scope& scope);
  engine::upstream_failure filled(size_t n, bool end, bool error);

  upstream_socket socket_;
  upstream_timer timer_;  ///< armed once for many waits: a later deadline only moves `until_`
  engine::time_point until_{};
  engine::time_point armed_until_{};
  bool armed_ = false;
  bool waiting_ = false;
  bool at_end_ = false;
  bool pauses_ = false;
  bool listening_ = false;  ///< a read that began while it rested is under way
  bool listens_soon_ = false;
  wake_point heard_;
  engine::upstream_failure failure_ = engine::upstream_failure::none;
  std::optional<tls_stream> tls_;
  std::unique_ptr<char[]> buffer_;
  size_t capacity_ = 0;
  size_t begin_ = 0;
  size_t end_ = 0;
  std::string head_;
  upstream_counters& counters_;
};

}  // namespace millrace::http
