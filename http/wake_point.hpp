#pragma once

#include <optional>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/spawn.hpp>

#include "engine/exchange.hpp"

namespace millrace::http {

/// Where one coroutine waits until somebody on its own thread wakes it. Wakes are not counted and may come
/// for no reason: the waiter checks again what it waits for. Must not be destroyed while somebody waits.
class wake_point {
 public:
  void wait(const engine::yield& y) {
    auto token = y;
    boost::asio::async_initiate<engine::yield, void()>(
        [this](auto&& resume) { waiting_.emplace(std::forward<decltype(resume)>(resume)); }, token);
  }

  /// Runs the waiting coroutine up to its next suspension, before this returns; it may destroy this object.
  void wake() {
    if (!waiting_) return;
    auto resume = std::move(*waiting_);
    waiting_.reset();
    resume();
  }

  /// Wakes it from the event loop instead.
  template <class Context>
  void wake_later(Context& context) {
    if (!waiting_) return;
    boost::asio::post(context, std::move(*waiting_));
    waiting_.reset();
  }

 private:
  using resumption = boost::asio::async_completion<engine::yield, void()>::completion_handler_type;
  std::optional<resumption> waiting_;
};

}  // namespace millrace::http
