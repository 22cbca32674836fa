#pragma once

#include <string>
#include <vector>

#include "actors/actors.hpp"
#include "actors/known_nodes.hpp"
#include "engine/key_machine.hpp"

namespace millrace::actors {

struct key_state {
  /// The deciding machine; set before the behaviour is returned.
  std::unique_ptr<engine::key_machine> machine;
  /// Nodes that asked or reported, and where to answer them.
  known_nodes nodes;
  /// Reused between messages.
  std::vector<engine::key_machine::outgoing> out;
  alarm wakeup;
  const char* name = "key";
};

/// Home of one provider key: grants its permits to nodes. `others_until`: until when permits of an earlier
/// home may be used; time_point::min() when there was none.
key_actor::behavior_type key(key_actor::stateful_pointer<key_state> self, std::string name,
                             key_settings settings, engine::time_point others_until);

}  // namespace millrace::actors
