#include "http/io_work.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

namespace millrace::http {

namespace {

/// The timer's handler may run after the alarm is gone: it was due already.
class timed_action final : public engine::thread_port::alarm {
 public:
  timed_action(boost::asio::io_context& io, engine::time_point when, std::function<void()> action)
      : action_(std::make_shared<std::function<void()>>(std::move(action))), timer_(io, when) {
    timer_.async_wait([weak = std::weak_ptr(action_)](const boost::system::error_code& error) {
      const auto armed = weak.lock();
      if (!error && armed) (*armed)();
    });
  }

 private:
  std::shared_ptr<std::function<void()>> action_;
  boost::asio::steady_timer timer_;
};

/// Counts a coroutine for as long as it runs, however it ends.
class counted {
 public:
  explicit counted(int& n) : n_(n) { ++n_; }
  ~counted() { --n_; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;

 private:
  int& n_;
};

}  // namespace

void io_work::start(std::function<void(engine::yield)> body) {
  engine::start_coroutine(io_, [this, body = std::move(body)](engine::yield y) {
    const counted mark(running_);
    body(y);
  });
}

void io_work::post(std::function<void()> action) {
  boost::asio::post(io_, std::move(action));
}

std::unique_ptr<engine::thread_port::alarm> io_work::at(engine::time_point when,
                                                        std::function<void()> action) {
  return std::make_unique<timed_action>(io_, when, std::move(action));
}

}  // namespace millrace::http
