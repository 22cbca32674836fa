#pragma once

#include <deque>
#include <string>
#include <unordered_map>

#include "actors/actors.hpp"

namespace millrace::actors {

struct directory_state {
  struct entry {
    caf::strong_actor_ptr home;
    std::uint64_t last_version = 0;  ///< the newest configuration that names it
  };
  std::unordered_map<std::string, entry> entries;
  /// The newest one.
  engine::config_ptr config;
  const char* name = "directory";
};

/// Knows every actor that has one home, by name. On a node alone, every home is here.
/// One that fails is replaced by a fresh one, which knows nothing of what its predecessor granted.
directory_actor::behavior_type directory(directory_actor::stateful_pointer<directory_state> self);

}  // namespace millrace::actors
