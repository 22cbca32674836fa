#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "engine/time.hpp"

namespace millrace::actors {

/// How many messages wait for a node's actors, all of one kind together: as each of them last saw its own
/// mailbox, which it does with every message. Thread-safe.
struct mailbox_depths {
  std::atomic<std::int64_t> directory{0};
  std::atomic<std::int64_t> keys{0};
  std::atomic<std::int64_t> breakers{0};
  std::atomic<std::int64_t> caches{0};
  std::atomic<std::int64_t> stores{0};
};
using mailbox_depths_ptr = std::shared_ptr<mailbox_depths>;

/// One actor's part of such a sum; gone from it when the actor ends. Belongs to the actor.
class mailbox_gauge {
 public:
  mailbox_gauge() = default;
  mailbox_gauge(mailbox_depths_ptr of, std::atomic<std::int64_t> mailbox_depths::*kind)
      : of_(std::move(of)), kind_(kind) {}
  ~mailbox_gauge() { set(0); }
  mailbox_gauge(const mailbox_gauge&) = delete;
  mailbox_gauge& operator=(const mailbox_gauge&) = delete;
  mailbox_gauge(mailbox_gauge&& other) noexcept { *this = std::move(other); }
  mailbox_gauge& operator=(mailbox_gauge&& other) noexcept {
    std::swap(of_, other.of_);
    std::swap(kind_, other.kind_);
    std::swap(shown_, other.shown_);
    return *this;
  }

  /// With each message that the actor takes: how many are behind it.
  void set(std::size_t waiting) {
    const auto now = static_cast<std::int64_t>(waiting);
    if (now == shown_ || !of_) return;
    (*of_.*kind_).fetch_add(now - shown_, std::memory_order_relaxed);
    shown_ = now;
  }

 private:
  mailbox_depths_ptr of_;
  std::atomic<std::int64_t> mailbox_depths::*kind_ = nullptr;
  std::int64_t shown_ = 0;
};

/// The beginning of every handler of an actor with such a gauge; returns the time.
template <class Self>
engine::time_point taken(Self self) {
  self->state.mailbox.set(self->mailbox().size());
  return self->clock().now();
}

}  // namespace millrace::actors
