#include "actors/bridge.hpp"

#include <functional>
#include <mutex>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <caf/actor_companion.hpp>

namespace millrace::actors {

/// A coroutine that waits; lives on its stack.
struct bridge::waiter {
  engine::ticket id = 0;
  bool answered = false;
  engine::acquire_reply reply;
  std::shared_ptr<const dispatcher_view> view;
  std::function<void()> resume;

  void wake() {
    // Taken out first: the coroutine, and this with it, may be gone when the call returns.
    if (auto continue_ = std::exchange(resume, nullptr)) continue_();
  }
};

/// Where the actor side leaves its answers; outlives the bridge while messages are under way.
struct bridge::inbox {
  std::mutex mutex;
  std::vector<desk_replies_ptr> replies;
  bridge* owner = nullptr;  ///< null once the bridge is closing
};

bridge::bridge(caf::actor_system& system, dispatcher_actor dispatcher, boost::asio::io_context& io, std::uint16_t desk)
    : io_(io), dispatcher_(std::move(dispatcher)), desk_(desk), inbox_(std::make_shared<inbox>()) {
  inbox_->owner = this;
  companion_ = system.spawn<caf::actor_companion, caf::hidden>();
  auto* companion = caf::actor_cast<caf::actor_companion*>(companion_);
  companion->on_enqueue([shared = inbox_](caf::mailbox_element_ptr element) {
    auto content = element->move_content_to_message();
    if (!content.match_elements<desk_replies_ptr>()) return;
    const std::lock_guard lock(shared->mutex);
    if (!shared->owner) return;
    shared->replies.push_back(content.get_mutable_as<desk_replies_ptr>(0));
    // One wake-up carries everything that arrives until the thread gets to it.
    if (shared->replies.size() == 1) boost::asio::post(shared->owner->io_, [b = shared->owner] { b->drain(); });
  });
  caf::anon_send(dispatcher_, join_desk{desk_, caf::actor_cast<caf::strong_actor_ptr>(companion_)});
}

bridge::~bridge() {
  {
    const std::lock_guard lock(inbox_->mutex);
    inbox_->owner = nullptr;
  }
  if (pending_) caf::anon_send(dispatcher_, std::move(pending_));
  // Debian's library lacks actor_companion::disconnect; without a handler the companion drops what still arrives.
  caf::actor_cast<caf::actor_companion*>(companion_)->on_enqueue(nullptr);
}

engine::acquire_reply bridge::acquire(const engine::acquire_request& request, engine::cancellation& gone,
                                      engine::yield y) {
  waiter w;
  w.id = request.id;
  if (!gone.cancelled()) {
    outgoing().acquires.push_back(request);
    wait(w, gone, y);
    if (!w.answered) outgoing().cancelled.push_back(request.id);
  }
  w.reply.id = request.id;
  return w.reply;
}

std::shared_ptr<const dispatcher_view> bridge::status(engine::cancellation& gone, engine::yield y) {
  waiter w;
  w.id = new_ticket();
  outgoing().status.push_back(w.id);
  wait(w, gone, y);
  return w.view;
}

void bridge::sent(const engine::sent_report& report) { outgoing().sent.push_back(report); }

void bridge::settle(const engine::settlement& s) { outgoing().settled.push_back(s); }

void bridge::wait(waiter& w, engine::cancellation& gone, engine::yield y) {
  waiters_.emplace(w.id, &w);
  const engine::cancellation::hook on_gone(gone, [&] { w.wake(); });
  boost::asio::async_initiate<engine::yield, void()>(
      [&](auto&& handler) {
        w.resume = [h = std::forward<decltype(handler)>(handler)]() mutable {
          const auto executor = boost::asio::get_associated_executor(h);
          boost::asio::post(executor, std::move(h));
        };
      },
      y);
  waiters_.erase(w.id);
}

desk_batch& bridge::outgoing() {
  if (!pending_) {
    pending_ = std::make_shared<desk_batch>();
    // Posted behind everything that is ready now, so that all of it travels together.
    boost::asio::post(io_, [this] { flush(); });
  }
  return *pending_;
}

void bridge::flush() {
  if (pending_) caf::anon_send(dispatcher_, std::exchange(pending_, nullptr));
}

void bridge::drain() {
  std::vector<desk_replies_ptr> arrived;
  {
    const std::lock_guard lock(inbox_->mutex);
    arrived.swap(inbox_->replies);
  }
  for (const auto& replies : arrived) {
    for (auto& reply : replies->acquired) {
      const auto it = waiters_.find(reply.id);
      if (it == waiters_.end()) continue;
      it->second->reply = std::move(reply);
      it->second->answered = true;
      it->second->wake();
    }
    for (auto& [ticket, view] : replies->status) {
      const auto it = waiters_.find(ticket);
      if (it == waiters_.end()) continue;
      it->second->view = view;
      it->second->answered = true;
      it->second->wake();
    }
  }
}

}  // namespace millrace::actors
