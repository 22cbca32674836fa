#pragma once

#include <string>
#include <vector>

#include "actors/actors.hpp"
#include "actors/known_nodes.hpp"
#include "actors/mailbox_depths.hpp"
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
  mailbox_gauge mailbox;
  const char* name = "key";
};

/// What a home knows of those before it, see key_machine::origin.
struct key_heritage {
  engine::time_point others_until = engine::time_point::min();
  engine::key_use use = {};
};

/// Home of one provider key: grants its permits to nodes. Adds its mailbox to `depths`, where that is not
/// null.
key_actor::behavior_type key(key_actor::stateful_pointer<key_state> self, std::string name,
                             key_settings settings, const key_heritage& from,
                             const mailbox_depths_ptr& depths);

}  // namespace millrace::actors
