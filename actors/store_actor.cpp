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

void measure(store_pointer self) {
  auto& s = self->state;
  s.measured = self->clock().now();
  const auto usage = s.store->usage();
  s.seen->bytes = static_cast<std::int64_t>(usage.disk_bytes);
  s.seen->entries = static_cast<std::int64_t>(usage.entries);
  const auto bad = static_cast<std::int64_t>(usage.bad_records);
  if (const auto more = bad - s.seen->bad_records.exchange(bad); more > 0)
    engine::log_event(engine::log_level::warn, "cache_records_damaged", {{"count", more}});
}

/// Now, or when the last figures are old enough.
void measure_soon(store_pointer self) {
  auto& s = self->state;
  const auto now = self->clock().now();
  const auto due = s.measured + measure_every;
  if (now >= due) return measure(self);
  s.next.set(self, due, now);
}

/// Turns the layer off; whoever would ask or write does without.
void turn_off(store_pointer self, std::string_view why) {
  auto& s = self->state;
  const auto now = self->clock().now();
  if (s.seen->on.exchange(false)) {
    ++s.seen->failures;
    engine::log_event(engine::log_level::error, "cache_disk_off", {{"why", why}});
  }
  s.retry_at = now + pause_after_failure;
  s.next.set(self, s.retry_at, now);
}

void turn_on(store_pointer self) {
  if (!self->state.seen->on.exchange(true)) engine::log_event(engine::log_level::info, "cache_disk_on", {});
}

void judge(store_pointer self, result r) {
  if (r == result::no_space) turn_off(self, "the disk is full");
  if (r == result::failed) turn_off(self, "the disk does not serve");
}

/// Tries a disk that did not serve, when its pause is over.
void retry(store_pointer self) {
  auto& s = self->state;
  if (s.seen->on) return;
  const auto now = self->clock().now();
  if (now < s.retry_at) return s.next.set(self, s.retry_at, now);
  const auto r = s.store->resume();
  if (r == result::ok) return turn_on(self);
  judge(self, r == result::busy ? result::failed : r);
}

disk_answer look_up(store_pointer self, const disk_question& q) {
  auto& s = self->state;
  disk_answer answer{q.id, false, {}};
  engine::cached_answer_ptr entry;
  switch (s.store->get(q.key, wall(), entry)) {
    case answer_store::read_result::found: {
      const auto now = wall();
      const bool serves = entry->expires_at > now && now - entry->stored_at <= q.max_age;
      ++(serves ? s.seen->hits : s.seen->misses);
      answer.found = true;
      answer.entry = *entry;
      break;
    }
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
  measure(self);
  return {
      [=](const disk_question& q) {
        taken(self);
        self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()), look_up(self, q));
        measure_soon(self);
      },
      [=](const disk_batch_ptr& batch) {
        taken(self);
        write(self, *batch);
        measure_soon(self);
        self->send(caf::actor_cast<cache_actor>(self->current_sender()), done_atom_v);
      },
      [=](const purge_order& order) {
        taken(self);
        const auto r = self->state.store->purge(order.scope(), order.at);
        judge(self, r);
        measure(self);
        self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()),
                   purge_done{order.id, 0, r == result::ok});
      },
      [=](caf::flush_atom) { return self->state.store->flush() == result::ok; },
      [=](const tick& t) {
        if (!self->state.next.rings(t)) return;
        retry(self);
        measure_soon(self);
      },
  };
}

}  // namespace millrace::actors
