#include "engine/wait_point.hpp"

#include <utility>

namespace millrace::engine {

void wait_point::wait(yield y) {
  suspend(y, [this](std::function<void()> resume) {
    const std::lock_guard lock(mutex_);
    if (std::exchange(woken_, false)) {
      resume();
    } else {
      resume_ = std::move(resume);
    }
  });
}

void wait_point::wake() {
  const std::lock_guard lock(mutex_);
  if (resume_) {
    std::exchange(resume_, nullptr)();
  } else {
    woken_ = true;
  }
}

}  // namespace millrace::engine
