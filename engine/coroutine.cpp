#include "engine/coroutine.hpp"

#include <cstdint>
#include <exception>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

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

void trim_stack(const void* outermost) {
  static const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  // Frames between the stack's end and `outermost`, and below this one: far less than a page each.
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const auto lowest = reinterpret_cast<std::uintptr_t>(outermost) - coroutine_stack_bytes;
  const auto begin = (lowest + 2 * page - 1) / page * page;
  const auto end = (here - page / 4) / page * page;
  if (begin < end) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

void suspend(yield y, const std::function<void(std::function<void()>)>& park) {
  boost::asio::async_initiate<yield, void()>(
      [&](auto&& handler) {
        park([h = std::forward<decltype(handler)>(handler)]() mutable {
          const auto executor = boost::asio::get_associated_executor(h);
          boost::asio::post(executor, std::move(h));
        });
      },
      y);
}

}  // namespace millrace::engine
