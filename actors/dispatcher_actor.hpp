#pragma once

#include <map>
#include <memory>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "actors/actors.hpp"
#include "engine/usage_ledger.hpp"

namespace millrace::actors {

/// Most messages held back for one name while the directory looks it up; later ones are dropped, which the
/// protocol survives: leases expire as used, demand is repeated.
inline constexpr std::size_t max_held_messages = 4096;

/// What clients and tenants spent in an earlier life of the node, as `usage_ledger::spent` tells.
using spent_by_account = std::map<std::string, engine::spent_money>;

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
  /// Until the first configuration, whose names it needs.
  spent_by_account earlier;
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
                                           directory_actor directory, spent_by_account earlier);

}  // namespace millrace::actors
