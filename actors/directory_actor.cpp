#include "actors/directory_actor.hpp"

#include "actors/breaker_actor.hpp"
#include "actors/key_actor.hpp"

namespace millrace::actors {

namespace {

using pointer = directory_actor::stateful_pointer<directory_state>;

/// Spawns the actor `name` with `settings`, or hands it the settings.
template <class Handle, class Settings, class Behaviour>
void ensure(pointer self, const std::string& name, const Settings& settings, std::uint64_t version,
            Behaviour behaviour) {
  auto& entry = self->state.entries[name];
  // Two models may share one target: its breaker hears of a configuration once.
  if (entry.last_version == version) return;
  entry.last_version = version;
  if (entry.home) {
    self->send(caf::actor_cast<Handle>(entry.home), settings);
  } else {
    const auto spawned = self->spawn(behaviour, name, settings);
    self->monitor(spawned);
    entry.home = caf::actor_cast<caf::strong_actor_ptr>(spawned);
  }
}

void apply(pointer self, const engine::config& c) {
  for (const auto& provider : c.providers) {
    for (const auto& k : provider.keys) {
      ensure<key_actor>(self, c.names->text(k.name),
                        key_settings{k.limits, c.limits.margin, c.limits.quarantine}, c.version, key);
    }
  }
  for (const auto& model : c.models) {
    for (const auto& target : model.targets) {
      ensure<breaker_actor>(self, c.names->text(target.name),
                            breaker_settings{c.providers[target.provider].breaker}, c.version, breaker);
    }
  }
  // Requests in flight plan with the configuration they started under, as long as the dispatcher keeps it.
  std::erase_if(self->state.entries, [&](const auto& named) {
    const auto& entry = named.second;
    if (entry.last_version + engine::dispatcher_machine::max_snapshots > c.version) return false;
    self->send_exit(entry.home, caf::exit_reason::user_shutdown);
    return true;
  });
}

/// A home that failed is replaced, as long as the newest configuration names it.
void replace(pointer self, const caf::actor_addr& lost) {
  auto& s = self->state;
  const auto gone = std::erase_if(s.entries, [&](const auto& named) {
    return caf::actor_cast<caf::actor_addr>(named.second.home) == lost;
  });
  if (gone != 0) apply(self, *s.config);
}

}  // namespace

directory_actor::behavior_type directory(pointer self) {
  self->set_down_handler([self](const caf::down_msg& down) { replace(self, down.source); });
  self->set_exit_handler([self](caf::exit_msg& msg) {
    for (const auto& [name, entry] : self->state.entries) self->send_exit(entry.home, msg.reason);
    self->quit(msg.reason);
  });
  return {
      [=](const resolve_name& question) -> caf::strong_actor_ptr {
        const auto it = self->state.entries.find(question.name);
        return it == self->state.entries.end() ? nullptr : it->second.home;
      },
      [=](const engine::config_ptr& c) {
        self->state.config = c;
        apply(self, *c);
      },
  };
}

}  // namespace millrace::actors
