#include "engine/exchange.hpp"

#include <algorithm>

namespace millrace::engine {

cancellation::hook::hook(cancellation& c, std::function<void()> action)
    : owner_(c), action_(std::move(action)) {
  owner_.hooks_.push_back(this);
}

cancellation::hook::~hook() {
  std::erase(owner_.hooks_, this);
}

void cancellation::cancel() {
  if (std::exchange(cancelled_, true)) return;
  const auto hooks = hooks_;
  for (auto* h : hooks) {
    if (std::find(hooks_.begin(), hooks_.end(), h) != hooks_.end()) h->action_();
  }
}

}  // namespace millrace::engine
