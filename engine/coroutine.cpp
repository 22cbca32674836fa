#include "engine/coroutine.hpp"

#include <exception>
#include <utility>

#include <spdlog/spdlog.h>

namespace millrace::engine {

namespace {

void nothing() {}

}  // namespace

void start_coroutine(boost::asio::io_context& context, std::function<void(yield)> body,
                     std::size_t stack_bytes) {
  // Binding to the context's bare executor is what avoids the strand.
  boost::asio::executor_binder<void (*)(), boost::asio::io_context::executor_type> handler(
      boost::asio::executor_arg_t{}, context.get_executor(), &nothing);
  boost::asio::spawn(
      std::move(handler),
      [body = std::move(body)](yield y) {
        try {
          body(y);
        } catch (const std::exception& e) {
          spdlog::error("coroutine ended by an exception: {}", e.what());
        }
      },
      boost::coroutines::attributes(stack_bytes));
}

}  // namespace millrace::engine
