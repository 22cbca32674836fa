#include "actors/store_actor.hpp"

#include <chrono>

#include "engine/log.hpp"

namespace millrace::actors {

namespace {

using store_pointer = store_actor::stateful_pointer<store_state>;
using storage::answer_store;
using result = answer_store::write_result;
using namespace std::chrono_literals;

/// How long a disk that did not serve is left alone.
constexpr auto pause_after_failure = 5s;
/// How old the figures for status and metrics may be.
constexpr auto measure_every = 1s;

engine::wall_time wall() {
  return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
}

void measure(store_pointer self, bool always) {
  auto& s = self->state;
  const auto now = wall();
  if (!always && now - s.measured < measure_every) return;
  s.measured = now;
  const auto usage = s.store->usage();
  s.seen->bytes = static_cast<std::int64_t>(usage.disk_bytes);
  s.seen->entries = static_cast<std::int64_t>(usage.entries);
  s.seen->bad_records = static_cast<std::int64_t>(usage.bad_records);
}

/// Turns the layer off; whoever would ask or write does without.
void turn_off(store_pointer self, std::string_view why) {
  auto& s = self->state;
  const auto now = self->clock().now();
  if (s.seen->on.exchange(false)) {
    ++s.seen->failures;
    engine::log_event(engine::log_level::error, "cache_disk_off", {{"why", why}});
  }
  s.retry.set(self, now + pause_after_failure, now);
}

void turn_on(store_pointer self) {
  if (!self->state.seen->on.exchange(true)) engine::log_event(engine::log_level::info, "cache_disk_on", {});
}

void judge(store_pointer self, result r) {
  if (r == result::no_space) turn_off(self, "the disk is full");
  if (r == result::failed) turn_off(self, "the disk does not serve");
}

disk_answer look_up(store_pointer self, const disk_question& q) {
  auto& s = self->state;
  disk_answer answer{q.id, false, {}};
  engine::cached_answer_ptr entry;
  switch (s.store->get(q.key, wall(), entry)) {
    case answer_store::read_result::found:
      ++s.seen->hits;
      answer.found = true;
      answer.entry = *entry;
      break;
    case answer_store::read_result::absent:
      ++s.seen->misses;
      break;
    case answer_store::read_result::failed:
      turn_off(self, "the disk cannot be read");
      break;
  }
  return answer;
}

void write(store_pointer self, const disk_batch& batch) {
  auto& s = self->state;
  const auto n = static_cast<std::int64_t>(batch.entries.size());
  const result r = s.seen->on ? s.store->write(batch.entries) : result::busy;
  (r == result::ok ? s.seen->written : s.seen->dropped) += n;
  judge(self, r);
}

}  // namespace

store_actor::behavior_type store(store_pointer self, answer_store* owned, engine::disk_state* seen,
                                 const mailbox_depths_ptr& depths) {
  auto& s = self->state;
  s.store.reset(owned);
  s.seen = seen;
  s.mailbox = {depths, &mailbox_depths::stores};
  turn_on(self);
  measure(self, true);
  return {
      [=](const disk_question& q) {
        taken(self);
        self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()), look_up(self, q));
      },
      [=](const disk_batch_ptr& batch) {
        taken(self);
        write(self, *batch);
        measure(self, false);
        self->send(caf::actor_cast<cache_actor>(self->current_sender()), done_atom_v);
      },
      [=](const purge_order& order) {
        taken(self);
        const auto r = self->state.store->purge(order.scope(), order.at);
        judge(self, r);
        measure(self, true);
        self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()),
                   purge_done{order.id, 0, r == result::ok});
      },
      [=](caf::flush_atom) { return self->state.store->flush() == result::ok; },
      [=](const tick& t) {
        if (!self->state.retry.rings(t)) return;
        const auto r = self->state.store->resume();
        if (r == result::ok) {
          turn_on(self);
        } else {
          judge(self, r == result::busy ? result::failed : r);
        }
      },
  };
}

}  // namespace millrace::actors
