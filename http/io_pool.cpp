#include "http/io_pool.hpp"

#include <algorithm>
#include <latch>

#include <boost/asio/post.hpp>

namespace millrace::http {

namespace asio = boost::asio;

io_pool::io_pool(unsigned threads) {
  const auto count = threads != 0 ? threads : std::max(1U, std::thread::hardware_concurrency());
  for (unsigned i = 0; i < count; ++i) threads_.push_back(std::make_unique<io_thread>());
}

io_pool::~io_pool() {
  stop();
}

void io_pool::start() {
  for (auto& t : threads_) {
    t->thread = std::thread([&context = t->context] { context.run(); });
  }
}

void io_pool::stop() {
  for (auto& t : threads_) t->context.stop();
  for (auto& t : threads_) {
    if (t->thread.joinable()) t->thread.join();
  }
}

void io_pool::post(size_t i, std::function<void()> f) {
  asio::post(context(i), std::move(f));
}

void io_pool::on_each(const std::function<void(size_t)>& f) {
  std::latch done(static_cast<std::ptrdiff_t>(size()));
  for (size_t i = 0; i < size(); ++i) {
    post(i, [&, i] {
      f(i);
      done.count_down();
    });
  }
  done.wait();
}

}  // namespace millrace::http
