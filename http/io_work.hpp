#pragma once

#include <utility>

#include <boost/asio/io_context.hpp>

#include "engine/ports.hpp"

namespace millrace::http {

/// Work on one I/O thread that outlives the request that asks for it. Outlives what it starts: `running` must
/// be 0 before it is destroyed.
class io_work final : public engine::thread_port {
 public:
  explicit io_work(boost::asio::io_context& io) : io_(io) {}

  void start(std::function<void(engine::yield)> body) override;
  void post(std::function<void()> action) override;
  std::unique_ptr<alarm> at(engine::time_point when, std::function<void()> action) override;

  /// Coroutines that were started and have not ended. On the thread itself only.
  int running() const { return running_; }

 private:
  boost::asio::io_context& io_;
  int running_ = 0;
};

}  // namespace millrace::http
