#include "http/io_pool.hpp"

#include <algorithm>
#include <exception>
#include <latch>

#include <spdlog/spdlog.h>
#include <boost/asio/bind_executor.hpp>
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

namespace {

void nothing() {}

}  // namespace

void start_coroutine(asio::io_context& context, std::function<void(engine::yield)> body, size_t stack_bytes) {
  // The handler's type is yield_context's own; binding it to the context's bare executor is what avoids the
  // strand.
  asio::executor_binder<void (*)(), asio::any_io_executor> handler(asio::executor_arg_t{},
                                                                   context.get_executor(), &nothing);
  asio::spawn(
      std::move(handler),
      [body = std::move(body)](engine::yield y) {
        try {
          body(y);
        } catch (const std::exception& e) {
          spdlog::error("coroutine ended by an exception: {}", e.what());
        }
      },
      boost::coroutines::attributes(stack_bytes));
}

}  // namespace millrace::http
