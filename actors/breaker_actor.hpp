#pragma once

#include <memory>
#include <random>
#include <string>

#include "actors/actors.hpp"
#include "actors/known_nodes.hpp"
#include "actors/mailbox_depths.hpp"
#include "engine/breaker_machine.hpp"

namespace millrace::actors {

struct breaker_state {
  /// The deciding machine; set before the behaviour is returned.
  std::unique_ptr<engine::breaker_machine> machine;
  /// "breaker/<provider>/<model>", as it appears in answers.
  std::string target;
  /// Nodes that reported or asked: they hear of every change.
  known_nodes nodes;
  /// Spreads the times breakers stay open.
  std::mt19937_64 random{std::random_device{}()};
  mailbox_gauge mailbox;
  const char* name = "breaker";
};

/// Home of one target's circuit breaker: the only one that opens it and grants probes. Adds its mailbox to
/// `depths`, where that is not null.
breaker_actor::behavior_type breaker(breaker_actor::stateful_pointer<breaker_state> self, std::string target,
                                     breaker_settings settings, const mailbox_depths_ptr& depths);

}  // namespace millrace::actors
