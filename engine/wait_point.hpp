#pragma once

#include <functional>
#include <mutex>

#include "engine/coroutine.hpp"

namespace millrace::engine {

/// Where one coroutine waits until somebody, on whatever thread, wakes it. A wake that finds nobody waiting
/// is kept for the next wait; several are one. Wakes may come for no reason: the waiter checks again what it
/// waits for. `wake` is thread-safe and never resumes in place; the object outlives its waiter.
class wait_point {
 public:
  void wait(yield y);
  void wake();

 private:
  std::mutex mutex_;
  bool woken_ = false;
  std::function<void()> resume_;
};

}  // namespace millrace::engine
