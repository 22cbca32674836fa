#pragma once

#include <utility>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "engine/exchange.hpp"
#include "engine/ports.hpp"
#include "engine/time.hpp"

namespace millrace::http {

/// Bound to the plain io_context executor: the type-erased default costs an indirection per operation.
using upstream_executor = boost::asio::io_context::executor_type;
using upstream_socket = boost::asio::basic_stream_socket<boost::asio::ip::tcp, upstream_executor>;
using upstream_timer =
    boost::asio::basic_waitable_timer<engine::clock, boost::asio::wait_traits<engine::clock>,
                                      upstream_executor>;

/// What ends a wait, apart from its purpose. Lives on the stack of the call that waits.
struct io_scope {
  engine::time_point until;
  engine::cancellation& gone;
  const engine::yield& y;
};

/// Parks one coroutine until somebody wakes it. For the phases before a connection exists; not on the hot
/// path.
class parking {
 public:
  explicit parking(boost::asio::io_context& io) : timer_(io.get_executor()) {}

  /// Ends the wait, also one that begins later.
  void wake();

  /// Returns none when woken, else timeout or cancelled.
  engine::upstream_failure wait(const io_scope& scope);

 private:
  upstream_timer timer_;
  bool woken_ = false;
};

}  // namespace millrace::http
