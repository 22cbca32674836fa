#pragma once

#include <functional>

#include <boost/asio/async_result.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>

#include "engine/stack_pool.hpp"

namespace millrace::engine {

/// A stackful coroutine of one I/O thread. Bound to the plain executor of the thread's io_context: with the
/// type-erased one of `boost::asio::yield_context` every operation copies it and allocates to resume.
using yield = boost::asio::basic_yield_context<
    boost::asio::executor_binder<void (*)(), boost::asio::io_context::executor_type>>;

/// Starts a coroutine on `context`, which must have one thread (so it makes no strand); at once when called
/// from that thread. Not named `spawn`, because a lambda would then choose boost's through its argument. What
/// `body` throws is logged and ends it. A suspended coroutine must never be destroyed: make it return before
/// its context goes.
void start_coroutine(boost::asio::io_context& context, std::function<void(yield)> body);

/// Gives back to the system what the calling coroutine's stack touched deeper than it is now: for a wait that
/// may be long. `outermost`: address of a local variable of the coroutine's body.
void trim_stack(const void* outermost);

/// Suspends the coroutine until the function that `park` is given is called: once, from any thread, and never
/// in place of the caller. `park` runs before the coroutine is suspended, on its thread.
void suspend(yield y, const std::function<void(std::function<void()> resume)>& park);

}  // namespace millrace::engine
