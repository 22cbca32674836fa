#pragma once

#include <memory>

#include "actors/actors.hpp"
#include "actors/mailbox_depths.hpp"
#include "engine/disk_state.hpp"
#include "storage/answer_store.hpp"

namespace millrace::actors {

struct store_state {
  std::unique_ptr<storage::answer_store> store;
  engine::disk_state* seen = nullptr;
  alarm next;
  engine::time_point retry_at{};  ///< while the disk does not serve
  engine::time_point measured = engine::time_point::min();
  mailbox_gauge mailbox;
  const char* name = "store";
};

/// The node's answers on disk. Spawn it detached: it blocks. A disk that is full or fails turns the layer
/// off, with one log line; it is tried again every few seconds. `seen` outlives it.
store_actor::behavior_type store(store_actor::stateful_pointer<store_state> self,
                                 storage::answer_store* owned, engine::disk_state* seen,
                                 const mailbox_depths_ptr& depths);

}  // namespace millrace::actors
