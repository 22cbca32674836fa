#include "http/documents/render_gate.hpp"

namespace millrace::http::documents {

render_gate::outcome render_gate::enter(int most, int most_waiting, engine::thread_port& thread,
                                        engine::time_point until, const engine::clock_port& time,
                                        engine::cancellation& gone, place& out, engine::yield y) {
  waiter self;
  self.most = most;
  {
    const std::lock_guard lock(mutex_);
    if (running_ < most && waiting_.empty()) {
      ++running_;
      out = place(*this);
      return outcome::entered;
    }
    if (waiting_.size() >= static_cast<std::size_t>(most_waiting)) return outcome::full;
    waiting_.push_back(&self);
  }
  const engine::cancellation::hook on_gone(gone, [&self] { self.point.wake(); });
  const auto alarm = thread.at(until, [&self] { self.point.wake(); });
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (self.admitted) break;
      const bool late = time.now() >= until;
      if (late || gone.cancelled()) {
        std::erase(waiting_, &self);
        return late ? outcome::late : outcome::gone;
      }
    }
    self.point.wait(y);
  }
  out = place(*this);
  return outcome::entered;
}

/// The next one gets the place. Woken under the lock: the waiter lives until it has taken it.
void render_gate::leave() {
  const std::lock_guard lock(mutex_);
  --running_;
  while (!waiting_.empty() && running_ < waiting_.front()->most) {
    ++running_;
    waiting_.front()->admitted = true;
    waiting_.front()->point.wake();
    waiting_.pop_front();
  }
}

std::int64_t render_gate::running() const {
  const std::lock_guard lock(mutex_);
  return running_;
}

std::int64_t render_gate::waiting() const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::int64_t>(waiting_.size());
}

}  // namespace millrace::http::documents
