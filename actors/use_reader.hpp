#pragma once

#include <optional>
#include <string>

#include "actors/actors.hpp"

namespace millrace::actors {

/// Asks keys' homes what their windows hold, and waits for the answer: for threads that may wait, which those
/// of actors and of I/O may not. Use from one thread at a time.
class use_reader {
 public:
  use_reader(caf::actor_system& system, directory_actor directory);

  /// Nullopt when the key has no home, or one that does not answer in time.
  std::optional<engine::key_use> read(const std::string& key);

 private:
  caf::actor_system& system_;
  directory_actor directory_;
};

}  // namespace millrace::actors
