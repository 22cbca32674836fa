#include <utility>

#include "actors/answer_desk.hpp"

#include <mutex>
#include <variant>

#include <boost/asio/post.hpp>
#include <caf/actor_companion.hpp>

#include "actors/cache_actor.hpp"
#include "engine/cache_shards.hpp"
#include "engine/wait_point.hpp"

namespace millrace::actors {

/// A coroutine that waits; lives on its stack.
struct answer_desk::waiter {
  std::size_t missing = 1;  ///< answers that are yet to come
  bool found = false;
  engine::cached_answer entry;
  purge_report report;
  engine::wait_point point;
};

/// Where the actor side leaves its answers; outlives the desk while messages are under way.
struct answer_desk::inbox {
  using message = std::variant<disk_answer, purge_done, known_homes>;
  std::mutex mutex;
  std::vector<message> arrived;
  answer_desk* owner = nullptr;  ///< null once the desk is closing

  template <class T>
  bool take(caf::message& content, std::vector<message>& out) {
    if (!content.match_elements<T>()) return false;
    out.emplace_back(std::move(content.get_mutable_as<T>(0)));
    return true;
  }
};

answer_desk::answer_desk(caf::actor_system& system, directory_actor directory, store_actor store,
                         std::size_t shards, const engine::disk_state& disk, boost::asio::io_context& io,
                         engine::thread_port& thread)
    : io_(io),
      thread_(thread),
      directory_(std::move(directory)),
      store_(std::move(store)),
      shards_(shards),
      disk_(disk),
      inbox_(std::make_shared<inbox>()),
      homes_(shards) {
  inbox_->owner = this;
  companion_ = system.spawn<caf::actor_companion, caf::hidden>();
  auto* companion = caf::actor_cast<caf::actor_companion*>(companion_);
  companion->on_enqueue([shared = inbox_](caf::mailbox_element_ptr element) {
    auto content = element->move_content_to_message();
    const std::lock_guard lock(shared->mutex);
    if (!shared->owner) return;
    auto& arrived = shared->arrived;
    const bool known = shared->take<disk_answer>(content, arrived) ||
                       shared->take<purge_done>(content, arrived) ||
                       shared->take<known_homes>(content, arrived);
    // One wake-up carries everything that arrives until the thread gets to it.
    if (known && arrived.size() == 1)
      boost::asio::post(shared->owner->io_, [d = shared->owner] { d->drain(); });
  });
  ask_for_homes();
}

answer_desk::~answer_desk() {
  {
    const std::lock_guard lock(inbox_->mutex);
    inbox_->owner = nullptr;
  }
  caf::actor_cast<caf::actor_companion*>(companion_)->on_enqueue(nullptr);
}

engine::cached_answer_ptr answer_desk::find(const engine::cache_key& key, engine::duration max_age,
                                            engine::cancellation& gone, engine::yield y) {
  if (!disk_.on || gone.cancelled()) return nullptr;
  waiter w;
  const engine::ticket id = ++last_ticket_;
  waiters_.emplace(id, &w);
  const bool sent = send(home_of(engine::shard_of(key, shards_)), disk_question{id, key, max_age});
  const bool answered = sent && wait(w, disk_patience, gone, y);
  waiters_.erase(id);
  if (!answered && !gone.cancelled()) ask_for_homes();
  if (!w.found) return nullptr;
  return std::make_shared<const engine::cached_answer>(std::move(w.entry));
}

purge_report answer_desk::purge(const std::string& tenant, const std::string& model, engine::wall_time now,
                                engine::cancellation& gone, engine::yield y) {
  waiter w;
  const engine::ticket id = ++last_ticket_;
  const purge_order order{id, tenant, model, now};
  waiters_.emplace(id, &w);
  w.missing = shards_ + (store_ ? 1 : 0);
  for (std::size_t i = 0; i < shards_; ++i) send(home_of(i), order);
  if (store_) send(caf::actor_cast<caf::strong_actor_ptr>(store_), order);
  w.report.complete = true;
  if (!wait(w, purge_patience, gone, y)) w.report.complete = false;
  waiters_.erase(id);
  return w.report;
}

void answer_desk::write(std::size_t shard) {
  if (const auto home = home_of(shard)) caf::anon_send(caf::actor_cast<cache_actor>(home), write_atom_v);
}

template <class Message>
bool answer_desk::send(const caf::strong_actor_ptr& to, Message message) {
  if (!to) return false;
  caf::send_as(companion_, caf::actor_cast<caf::actor>(to), std::move(message));
  return true;
}

caf::strong_actor_ptr answer_desk::home_of(std::size_t shard) const {
  return homes_[shard];
}

void answer_desk::ask_for_homes() {
  caf::send_as(companion_, directory_, homes_question{"cache/"});
}

/// Suspends until all answers are there; false when they are not in time, or nobody wants them any more.
bool answer_desk::wait(waiter& w, engine::duration patience, engine::cancellation& gone, engine::yield y) {
  const auto until = engine::clock::now() + patience;
  const auto alarm = thread_.at(until, [&w] { w.point.wake(); });
  const engine::cancellation::hook on_gone(gone, [&w] { w.point.wake(); });
  while (w.missing > 0 && !gone.cancelled() && engine::clock::now() < until) w.point.wait(y);
  return w.missing == 0;
}

void answer_desk::drain() {
  std::vector<inbox::message> arrived;
  {
    const std::lock_guard lock(inbox_->mutex);
    arrived.swap(inbox_->arrived);
  }
  const auto waiting = [&](engine::ticket id) -> waiter* {
    const auto it = waiters_.find(id);
    return it == waiters_.end() ? nullptr : it->second;
  };
  for (auto& m : arrived) {
    waiter* w = nullptr;
    if (auto* answer = std::get_if<disk_answer>(&m)) {
      if ((w = waiting(answer->id)) != nullptr) {
        w->found = answer->found;
        w->entry = std::move(answer->entry);
      }
    } else if (const auto* done = std::get_if<purge_done>(&m)) {
      if ((w = waiting(done->id)) != nullptr) {
        w->report.entries += done->entries;
        w->report.complete = w->report.complete && done->lasting;
      }
    } else {
      for (std::size_t i = 0; i < shards_; ++i) {
        const auto& homes = std::get<known_homes>(m).homes;
        const auto it = homes.find(cache_name(i));
        if (it == homes.end() || it->second == homes_[i]) continue;
        homes_[i] = it->second;
        // What was said while this home was not known is lost, and a shard speaks up only once.
        write(i);
      }
    }
    if (w == nullptr) continue;
    --w->missing;
    w->point.wake();
  }
}

}  // namespace millrace::actors
