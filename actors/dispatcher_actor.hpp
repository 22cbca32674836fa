#pragma once

#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/actors.hpp"

namespace millrace::actors {

/// Most messages held back for one name while the directory looks it up; later ones are dropped, which the
/// protocol survives: leases expire as used, demand is repeated.
inline constexpr std::size_t max_held_messages = 4096;

struct dispatcher_state {
  /// An actor with one home, as far as this node knows it.
  struct peer {
    caf::strong_actor_ptr home;
    bool resolving = false;
    std::vector<caf::message> held;
  };
  engine::dispatcher_machine machine{std::random_device{}()};
  /// The newest configuration: its name table translates the machine's ids.
  engine::config_ptr config;
  directory_actor directory;
  std::unordered_map<engine::name_id, peer> peers;
  /// I/O threads' companions by desk number, and the answers being collected for each.
  std::vector<desk_actor> desks;
  std::vector<desk_replies_ptr> replies;
  engine::effects out;
  alarm wakeup;
  const char* name = "dispatcher";
};

/// The node's decider of who may call what now. See engine/dispatcher_machine.hpp.
dispatcher_actor::behavior_type dispatcher(dispatcher_actor::stateful_pointer<dispatcher_state> self,
                                           directory_actor directory);

}  // namespace millrace::actors
