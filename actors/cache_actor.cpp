#include "actors/cache_actor.hpp"

#include <fmt/format.h>

namespace millrace::actors {

namespace {

using cache_pointer = cache_actor::stateful_pointer<cache_state>;

/// Entries that go to the disk together.
constexpr std::size_t most_at_once = 256;

void write_on(cache_pointer self) {
  auto& s = self->state;
  if (s.writing || !s.store) return;
  auto batch = std::make_shared<disk_batch>();
  batch->entries = s.shard->take_unwritten(most_at_once);
  if (batch->entries.empty()) return;
  s.writing = true;
  self->send(s.store, disk_batch_ptr(std::move(batch)));
}

}  // namespace

std::string cache_name(std::size_t shard) {
  return fmt::format("cache/{:03}", shard);
}

cache_actor::behavior_type cache(cache_pointer self, engine::cache_shard* shard, store_actor store,
                                 const mailbox_depths_ptr& depths) {
  self->state.shard = shard;
  self->state.store = std::move(store);
  self->state.mailbox = {depths, &mailbox_depths::caches};
  write_on(self);  // whatever a predecessor left
  return {
      [=](const disk_question& q) {
        taken(self);
        const auto& asker = self->current_sender();
        if (!self->state.store) {
          self->send(caf::actor_cast<answer_desk_actor>(asker), disk_answer{q.id, false, {}});
          return;
        }
        // The store answers whoever asked here.
        caf::send_as(caf::actor_cast<caf::actor>(asker), self->state.store, q);
      },
      [=](const purge_order& order) {
        taken(self);
        const auto gone = self->state.shard->purge(order.scope(), order.at);
        self->send(caf::actor_cast<answer_desk_actor>(self->current_sender()),
                   purge_done{order.id, gone, true});
      },
      [=](write_atom) {
        taken(self);
        write_on(self);
      },
      [=](done_atom) {
        taken(self);
        self->state.writing = false;
        write_on(self);
      },
  };
}

}  // namespace millrace::actors
