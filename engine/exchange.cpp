#include "engine/exchange.hpp"

#include <utility>

namespace millrace::engine {

cancellation::hook::hook(cancellation& c, std::function<void()> action)
    : owner_(c), action_(std::move(action)) {
  if (owner_.cancelled_) return;  // nobody will call it
  previous_ = std::exchange(owner_.last_, this);
  (previous_ ? previous_->next_ : owner_.first_) = this;
}

cancellation::hook::~hook() {
  if (!previous_ && owner_.first_ != this) return;
  (previous_ ? previous_->next_ : owner_.first_) = next_;
  (next_ ? next_->previous_ : owner_.last_) = previous_;
  if (owner_.to_call_ == this) owner_.to_call_ = next_;
}

void cancellation::cancel(cancel_cause why) {
  if (std::exchange(cancelled_, true)) return;
  cause_ = why;
  for (to_call_ = first_; to_call_ != nullptr;) {
    const hook* const one = std::exchange(to_call_, to_call_->next_);
    one->action_();
  }
}

}  // namespace millrace::engine
