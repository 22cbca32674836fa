#include "actors/directory_actor.hpp"

#include <limits>

#include "actors/breaker_actor.hpp"
#include "actors/cache_actor.hpp"
#include "actors/failure.hpp"
#include "actors/key_actor.hpp"

namespace millrace::actors {

namespace {

using directory_pointer = directory_actor::stateful_pointer<directory_state>;

void lose(directory_state::entry& e, engine::time_point now) {
  e.home = nullptr;
  e.ended = now;
}

/// Hands the actor `name` its settings; spawns it where there is none.
template <class Handle, class Settings, class Spawn>
void ensure(directory_pointer self, const std::string& name, const Settings& settings, std::uint64_t version,
            Spawn spawn) {
  auto& entry = self->state.entries[name];
  // Two models may share one target: its breaker hears of a configuration once.
  if (entry.home && entry.last_version == version) return;
  entry.last_version = version;
  if (entry.home) {
    self->send(caf::actor_cast<Handle>(entry.home), settings);
  } else {
    const auto spawned = spawn(name, settings, entry);
    self->monitor(spawned);
    entry.home = caf::actor_cast<caf::strong_actor_ptr>(spawned);
  }
}

/// What the next home of the key `name` has to know: what the node's earlier life used, or, when there was a
/// home in this life, until when permits that it granted may be used.
key_heritage heritage(directory_state& s, const std::string& name, const directory_state::entry& e) {
  key_heritage h;
  if (e.ended != engine::time_point::min()) h.others_until = e.ended + engine::key_machine::lease_life;
  if (auto earlier = s.earlier.extract(name)) h.use = std::move(earlier.mapped());
  return h;
}

void apply(directory_pointer self, const engine::config& c) {
  using entry = directory_state::entry;
  const auto spawn_key = [&](const std::string& name, const key_settings& settings, const entry& e) {
    return self->spawn(key, name, settings, heritage(self->state, name, e), self->state.depths);
  };
  const auto spawn_breaker = [&](const std::string& name, const breaker_settings& settings, const entry&) {
    return self->spawn(breaker, name, settings, self->state.depths);
  };
  for (const auto& provider : c.providers) {
    for (const auto& k : provider.keys) {
      ensure<key_actor>(self, c.names->text(k.name),
                        key_settings{k.limits, c.limits.margin, c.limits.quarantine}, c.version, spawn_key);
    }
  }
  for (const auto& model : c.models) {
    for (const auto& target : model.targets) {
      ensure<breaker_actor>(self, c.names->text(target.name),
                            breaker_settings{c.providers[target.provider].breaker}, c.version, spawn_breaker);
    }
  }
  // Requests in flight plan with the configuration they started under, as long as the dispatcher keeps it.
  for (auto& [name, e] : self->state.entries) {
    if (!e.home || e.last_version > c.version) continue;
    if (e.last_version + engine::dispatcher_machine::max_snapshots > c.version) continue;
    self->send_exit(e.home, caf::exit_reason::user_shutdown);
    lose(e, self->clock().now());
  }
}

/// Sees to it that every shard of the cache has its home. What a shard holds is not the actor's, so a fresh
/// one goes on where the last one failed.
void house_shards(directory_pointer self) {
  auto& s = self->state;
  if (!s.cache.shards) return;
  const auto store = caf::actor_cast<store_actor>(s.cache.store);
  for (std::size_t i = 0; i < s.cache.shards->size(); ++i) {
    auto& e = s.entries[cache_name(i)];
    e.last_version = std::numeric_limits<std::uint64_t>::max();  // stays, whatever is configured
    if (e.home) continue;
    const auto spawned = self->spawn(cache, &s.cache.shards->at(i), store, s.depths);
    self->monitor(spawned);
    e.home = caf::actor_cast<caf::strong_actor_ptr>(spawned);
  }
}

known_homes homes_of(const directory_state& s, const std::string& prefix) {
  known_homes known;
  for (const auto& [name, e] : s.entries) {
    if (e.home && name.compare(0, prefix.size(), prefix) == 0) known.homes.emplace(name, e.home);
  }
  return known;
}

/// A home that failed is replaced, as long as the newest configuration names it.
void replace(directory_pointer self, const caf::actor_addr& lost) {
  auto& s = self->state;
  for (auto& [name, e] : s.entries) {
    if (!e.home || caf::actor_cast<caf::actor_addr>(e.home) != lost) continue;
    lose(e, self->clock().now());
    house_shards(self);
    if (s.config) apply(self, *s.config);
    return;
  }
}

/// Without the directory nobody finds them any more.
void end_homes(directory_pointer self, const caf::error& why) {
  for (const auto& [name, entry] : self->state.entries) {
    if (entry.home) self->send_exit(entry.home, why);
  }
}

}  // namespace

directory_actor::behavior_type directory(directory_pointer self, const mailbox_depths_ptr& depths) {
  self->state.depths = depths;
  self->state.mailbox = {depths, &mailbox_depths::directory};
  self->set_down_handler([self](const caf::down_msg& down) {
    taken(self);
    replace(self, down.source);
  });
  self->set_exit_handler([self](caf::exit_msg& msg) {
    end_homes(self, msg.reason);
    self->quit(msg.reason);
  });
  self->set_exception_handler([self](std::exception_ptr& thrown) {
    caf::error why = failure_of(thrown);
    end_homes(self, why);
    return why;
  });
  return {
      [=](const resolve_name& question) -> caf::strong_actor_ptr {
        taken(self);
        const auto it = self->state.entries.find(question.name);
        return it == self->state.entries.end() ? nullptr : it->second.home;
      },
      [=](const homes_question& question) { return homes_of(self->state, question.prefix); },
      [=](const cache_layout& layout) {
        self->state.cache = layout;
        house_shards(self);
      },
      [=](const earlier_use& use) {
        taken(self);
        auto& s = self->state;
        for (const auto& u : use.keys) {
          if (s.entries.count(u.key) == 0) s.earlier.insert_or_assign(u.key, u);
        }
      },
      [=](const engine::config_ptr& c) {
        taken(self);
        self->state.config = c;
        apply(self, *c);
      },
  };
}

}  // namespace millrace::actors
