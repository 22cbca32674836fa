#pragma once

#include <deque>
#include <string>
#include <unordered_map>

#include "actors/actors.hpp"
#include "actors/mailbox_depths.hpp"

namespace millrace::actors {

struct directory_state {
  struct entry {
    caf::strong_actor_ptr home;      ///< null when it failed or was stopped
    std::uint64_t last_version = 0;  ///< the newest configuration that names it
    /// When the last home ended; time_point::min() when there was none before.
    engine::time_point ended = engine::time_point::min();
  };
  /// Every name ever configured: a name's next home has to know that it is not the first.
  std::unordered_map<std::string, entry> entries;
  /// What an earlier life of the node used of keys that have had no home here yet.
  std::unordered_map<std::string, engine::key_use> earlier;
  /// The newest one.
  engine::config_ptr config;
  /// For those it spawns.
  mailbox_depths_ptr depths;
  mailbox_gauge mailbox;
  /// The shards whose homes are here; none without a cache.
  cache_layout cache;
  const char* name = "directory";
};

/// Knows every actor that has one home, by name. On a node alone, every home is here.
/// One that fails is replaced by a fresh one, which waits out what its predecessor may have granted.
/// It and the homes add their mailboxes to `depths`, where that is not null.
directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self,
                                         const mailbox_depths_ptr& depths);

}  // namespace millrace::actors
