#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/intrusive/list.hpp>

#include "http/answer_writer.hpp"
#include "http/edge.hpp"
#include "http/route_table.hpp"

namespace millrace::http {

class client_socket;
class connection;

/// On the context's own executor: the type-erased default costs an indirection per operation.
using tcp_socket =
    boost::asio::basic_stream_socket<boost::asio::ip::tcp, boost::asio::io_context::executor_type>;
using io_timer = boost::asio::basic_waitable_timer<engine::clock, boost::asio::wait_traits<engine::clock>,
                                                   boost::asio::io_context::executor_type>;

/// Membership in one of a thread's lists, ended by `unlink` or destruction.
using list_hook =
    boost::intrusive::list_base_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>;
/// Counts that one thread changes and any thread reads.
class counter {
 public:
  void add(std::int64_t n) { value_.store(get() + n, std::memory_order_relaxed); }
  std::int64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_ = 0;
};

struct edge_counters {
  counter serving, requests, gone, stalled, bodies_bytes;
  std::array<counter, refusals> refused;
};

/// What all threads of one edge share; nothing in it changes but the end.
struct edge_common {
  route_table routes;
  error_formatter format_error;
  engine::observer& watch;
  edge_limits limits;
  std::int64_t bodies_bytes_per_thread = 0;

  std::mutex mutex;
  std::condition_variable ended;  ///< signalled with `mutex` when a draining thread loses its last connection
};

/// What one I/O thread keeps for its connections: settings, deadlines, counters. All but the atomics belong
/// to it.
class edge_thread : public std::enable_shared_from_this<edge_thread> {
 public:
  edge_thread(boost::asio::io_context& context, size_t index, edge_common& common,
              std::shared_ptr<const engine::http_config> config);
  ~edge_thread();

  /// Serves an accepted socket, or with `refuse` tells it that the server is full. Both were already counted.
  void adopt(int native_socket, std::string remote, bool refuse);
  void drain();
  /// Cancels and closes every connection; those that wait for an answer get one that says why.
  void cancel_all();
  /// From the connection's destructor, as the last thing.
  void ended(connection& c);
  /// Ends the ticking; for when no connection is left.
  void quiesce() { timer_.cancel(); }

  /// Until it is unlinked, the socket looks every 50 ms whether its peer hung up.
  void watch(client_socket& s);

  /// Aborts the socket once all deadlines of this tick were checked.
  void cut_soon(client_socket& s);

  /// The current second as an HTTP date.
  std::string_view date();

  boost::asio::io_context& context;
  const size_t index;
  edge_common& common;
  std::shared_ptr<const engine::http_config> config;
  answer_writer writer;
  edge_counters counters;
  std::atomic<std::int64_t> open = 0;     ///< raised by the acceptor, lowered here
  std::atomic<std::int64_t> refused = 0;  ///< likewise, of `open`: those only told that the server is full
  bool draining = false;

 private:
  void start_ticking();
  void tick();

  struct lists;
  std::unique_ptr<lists> lists_;
  size_t next_slot_ = 0;
  size_t ticks_ = 0;
  bool ticking_ = false;
  io_timer timer_;
  std::time_t date_second_ = 0;
  std::array<char, 32> date_{};
};

}  // namespace millrace::http
