#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "engine/ports.hpp"
#include "engine/wait_point.hpp"

namespace millrace::http::documents {

/// Lets so many documents of a node be opened at once, in the order in which they came, and so many wait.
/// Thread-safe; outlives all places.
class render_gate {
 public:
  enum class outcome : std::uint8_t { entered, full, late, gone };

  /// Gives its place back when destroyed.
  class place {
   public:
    place() = default;
    explicit place(render_gate& g) : gate_(&g) {}
    place(place&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    place& operator=(place&& other) noexcept {
      std::swap(gate_, other.gate_);
      return *this;
    }
    ~place() {
      if (gate_) gate_->leave();
    }

   private:
    render_gate* gate_ = nullptr;
  };

  /// Waits for a place until `until`. `most` at once and `most_waiting` waiting are the configuration of the
  /// request.
  outcome enter(int most, int most_waiting, engine::thread_port& thread, engine::time_point until,
                const engine::clock_port& time, engine::cancellation& gone, place& out, engine::yield y);

  std::int64_t running() const;
  std::int64_t waiting() const;

 private:
  struct waiter {
    engine::wait_point point;
    int most = 0;
    bool admitted = false;
  };

  void leave();

  mutable std::mutex mutex_;
  int running_ = 0;
  std::deque<waiter*> waiting_;
};

}  // namespace millrace::http::documents
