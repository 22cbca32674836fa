#include "actors/actors.hpp"

namespace millrace::actors {

system_config::system_config() {
  add_message_types<caf::id_block::millrace>();
  // Stealing lets idle workers sleep up to milliseconds before they look again; sharing wakes one at once.
  set("scheduler.policy", caf::atom("sharing"));
  // One busy actor must not keep a worker for itself.
  set("scheduler.max-throughput", static_cast<std::size_t>(300));
  set("middleman.app-identifiers", std::vector<std::string>{"millrace"});

  set("logger.verbosity", caf::atom("quiet"));
}

}  // namespace millrace::actors
