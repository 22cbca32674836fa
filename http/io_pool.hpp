#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>

namespace millrace::http {

/// The I/O threads, each with an `io_context` of its own. Whatever belongs to a connection stays on its
/// thread, so nothing in here needs a lock. The threads run from `start` to `stop`.
///
/// Order at the end: stop whatever uses the pool (so that no coroutine is suspended any more), `stop`,
/// destroy. `start`, `stop` and the destructor are called from one thread that is not an I/O thread; the rest
/// is thread-safe.
class io_pool {
 public:
  /// 0 threads: one per core.
  explicit io_pool(unsigned threads);
  ~io_pool();
  io_pool(const io_pool&) = delete;
  io_pool& operator=(const io_pool&) = delete;

  size_t size() const { return threads_.size(); }
  boost::asio::io_context& context(size_t i) { return threads_[i]->context; }

  void start();
  /// Ends the threads and waits for them. Idempotent.
  void stop();

  /// Runs `f` on thread `i`, soon.
  void post(size_t i, std::function<void()> f);
  /// Runs `f(i)` on every thread and waits until all have. Needs running threads; never from an I/O thread.
  void on_each(const std::function<void(size_t)>& f);

 private:
  struct io_thread {
    /// Sockets and timers are used by this thread alone; only `post` comes from others.
    boost::asio::io_context context{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{context.get_executor()};
    std::thread thread;
  };
  std::vector<std::unique_ptr<io_thread>> threads_;
};

}  // namespace millrace::http
