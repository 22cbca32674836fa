#include "engine/coroutine.hpp"

#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include <sys/mman.h>
#include <unistd.h>

#include <spdlog/spdlog.h>
#include <boost/asio/dispatch.hpp>

namespace millrace::engine {

namespace {

using coroutine = yield::callee_type;
using bound_handler = boost::asio::executor_binder<void (*)(), boost::asio::io_context::executor_type>;

void nothing() {}

/// What Boost.Coroutine asks for stacks. Never destroyed: coroutines may end after everything static has.
stack_pool& stacks() {
  static auto& pool = *new stack_pool;
  return pool;
}

struct pooled_stack {
  static void allocate(boost::coroutines::stack_context& context, std::size_t bytes) {
    context.sp = stacks().take();
    context.size = bytes;
  }
  static void deallocate(boost::coroutines::stack_context& context) { stacks().give(context.sp); }
};

/// What boost::asio::spawn does, which does not let its stacks be chosen.
struct started {
  started(boost::asio::io_context& context, std::function<void(yield)> f)
      // Binding to the context's bare executor is what avoids a strand.
      : handler(boost::asio::executor_arg_t{}, context.get_executor(), &nothing), body(std::move(f)) {}

  bound_handler handler;
  std::function<void(yield)> body;
  std::weak_ptr<coroutine> self;
};

void begin(std::shared_ptr<started> s) {
  const auto main = [s](yield::caller_type& caller) {
    // Boost.Coroutine lets the lambda go when its body is suspended first.
    const auto kept = s;  // NOLINT(performance-unnecessary-copy-initialization)
    try {
      kept->body(yield(kept->self, caller, kept->handler));
    } catch (const std::exception& e) {
      spdlog::error("coroutine ended by an exception: {}", e.what());
    }
  };
  const boost::coroutines::attributes wish(coroutine_stack_bytes);
  const auto made = std::make_shared<coroutine>(main, wish, pooled_stack());
  s->self = made;
  s.reset();
  (*made)();
}

}  // namespace

void start_coroutine(boost::asio::io_context& context, std::function<void(yield)> body) {
  boost::asio::dispatch(context, [s = std::make_shared<started>(context, std::move(body))] { begin(s); });
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
