#include "http/upstream_wait.hpp"

namespace millrace::http {

using engine::upstream_failure;

void parking::wake() {
  woken_ = true;
  timer_.cancel();
}

upstream_failure parking::wait(const io_scope& scope) {
  const engine::cancellation::hook on_cancel(scope.gone, [this] { timer_.cancel(); });
  while (!woken_) {
    if (scope.gone.cancelled()) return upstream_failure::cancelled;
    if (engine::clock::now() >= scope.until) return upstream_failure::timeout;
    timer_.expires_at(scope.until);
    boost::system::error_code ignored;
    timer_.async_wait(scope.y[ignored]);
  }
  return upstream_failure::none;
}

}  // namespace millrace::http
