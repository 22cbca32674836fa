#include "actors/bridge.hpp"

#include <functional>
#include <mutex>
#include <utility>

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

bridge::bridge(caf::actor_system& system, dispatcher_actor dispatcher, boost::asio::io_context& io,
               std::uint16_t desk)
    : io_(io),
      dispatcher_(std::move(dispatcher)),
      desk_(desk),
      inbox_(std::make_shared<inbox>()),
      timer_(io) {
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
    if (shared->replies.size() == 1)
      boost::asio::post(shared->owner->io_, [b = shared->owner] { b->drain(); });
  });
  caf::anon_send(dispatcher_, join_desk{desk_, caf::actor_cast<caf::strong_actor_ptr>(companion_)});
}

bridge::~bridge() {
  {
    const std::lock_guard lock(inbox_->mutex);
    inbox_->owner = nullptr;
  }
  if (pending_) caf::anon_send(dispatcher_, std::move(pending_));
  // Debian's library lacks actor_companion::disconnect; without a handler the companion drops what still
  // arrives.
  caf::actor_cast<caf::actor_companion*>(companion_)->on_enqueue(nullptr);
}

engine::acquire_reply bridge::acquire(const engine::acquire_request& request, engine::cancellation& gone,
                                      engine::yield y) {
  waiter w;
  w.id = request.id;
  if (!gone.cancelled()) {
    if (const auto spare = spares_.take(request, engine::clock::now())) return *spare;
    auto& asked = outgoing(hurry::yes).acquires.emplace_back(request);
    if (engine::spare_permits::suits(request)) {
      asked.spares = spares_.wish();
      asked.first_spare = new_ticket();
      last_ticket_ += asked.spares;
    }
    wait(w, gone, y);
    if (!w.answered) outgoing(hurry::yes).cancelled.push_back(request.id);
  }
  w.reply.id = request.id;
  return w.reply;
}

std::shared_ptr<const dispatcher_view> bridge::status(engine::cancellation& gone, engine::yield y) {
  if (gone.cancelled()) return nullptr;
  waiter w;
  w.id = new_ticket();
  outgoing(hurry::yes).status.push_back(w.id);
  wait(w, gone, y);
  return w.view;
}

void bridge::sent(const engine::sent_report& report) {
  outgoing(hurry::no).sent.push_back(report);
  sent_at_.push_back(engine::clock::now() - report.age);
}

void bridge::settle(const engine::settlement& s) {
  const bool well = s.outcome == engine::attempt_outcome::ok;
  outgoing(hurry::no).settled.push_back(s);
  if (well && !s.probe) return;
  if (!well && s.outcome != engine::attempt_outcome::cancelled &&
      s.outcome != engine::attempt_outcome::unused) {
    // What was plenty a moment ago may be spoilt: the next request shall ask.
    back_.clear();
    spares_.drop_all(back_);
    give_back(back_, hurry::no);
  }
  // At once, before the client can see the answer: its next request may come through another thread, and must
  // find what this one learned.
  flush();
}

void bridge::give_back(const std::vector<engine::ticket>& spares, hurry h) {
  for (const auto ticket : spares) {
    engine::settlement unused;
    unused.id = ticket;
    unused.outcome = engine::attempt_outcome::unused;
    outgoing(h).settled.push_back(unused);
  }
}

void bridge::wait(waiter& w, engine::cancellation& gone, engine::yield y) {
  waiters_.emplace(w.id, &w);
  const engine::cancellation::hook on_gone(gone, [&] { w.wake(); });
  engine::suspend(y, [&](std::function<void()> resume) { w.resume = std::move(resume); });
  waiters_.erase(w.id);
}

desk_batch& bridge::outgoing(hurry h) {
  if (!pending_) pending_ = std::make_shared<desk_batch>();
  const bool full = pending_->sent.size() + pending_->settled.size() >= lazy_items;
  if ((h == hurry::yes || full) && !std::exchange(flush_posted_, true)) {
    // Posted behind everything that is ready now, so that all of it travels together.
    boost::asio::post(io_, [this] { flush(); });
  }
  if (h == hurry::no) arm();
  return *pending_;
}

/// Sees to it that what waits for company goes soon, and that unused spares go back.
void bridge::arm() {
  if (std::exchange(timer_armed_, true)) return;
  timer_.expires_after(spares_.empty() ? lazy_delay : lazier_delay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    timer_armed_ = false;
    if (error) return;
    if (!spares_.empty()) {
      back_.clear();
      spares_.drop_ended(engine::clock::now(), back_);
      give_back(back_, hurry::no);
      arm();
    }
    flush();
  });
}

void bridge::flush() {
  flush_posted_ = false;
  if (!pending_) return;
  const auto now = engine::clock::now();
  for (std::size_t i = 0; i < sent_at_.size(); ++i) pending_->sent[i].age = now - sent_at_[i];
  sent_at_.clear();
  caf::anon_send(dispatcher_, std::exchange(pending_, nullptr));
}

void bridge::drain() {
  std::vector<desk_replies_ptr> arrived;
  {
    const std::lock_guard lock(inbox_->mutex);
    arrived.swap(inbox_->replies);
  }
  back_.clear();
  const auto now = engine::clock::now();
  for (const auto& replies : arrived) {
    for (auto& reply : replies->acquired) {
      if (reply.spare) {
        spares_.add(reply, now, back_);
        continue;
      }
      const auto it = waiters_.find(reply.id);
      if (it == waiters_.end()) continue;
      it->second->reply = reply;
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
    if (replies->revoke_spares) spares_.drop_all(back_);
  }
  give_back(back_, hurry::yes);
  if (!spares_.empty()) arm();
}

}  // namespace millrace::actors
