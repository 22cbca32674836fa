#pragma once

#include <string>

#include "actors/actors.hpp"
#include "actors/mailbox_depths.hpp"

namespace millrace::actors {

/// The name of a shard's home: "cache/017".
std::string cache_name(std::size_t shard);

struct cache_state {
  engine::cache_shard* shard = nullptr;  ///< asked by the I/O threads, too, in place
  store_actor store;                     ///< null: memory only
  bool writing = false;                  ///< a batch is at the store; one at a time, so that nothing piles up
  mailbox_gauge mailbox;
  const char* name = "cache";
};

/// Home of one shard of the cache: sees to its disk and to purges. `shard` outlives it.
cache_actor::behavior_type cache(cache_actor::stateful_pointer<cache_state> self, engine::cache_shard* shard,
                                 store_actor store, const mailbox_depths_ptr& depths);

}  // namespace millrace::actors
