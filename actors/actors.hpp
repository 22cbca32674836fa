#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "actors/cache_messages.hpp"
#include "engine/cache_shards.hpp"
#include "engine/config.hpp"
#include "engine/dispatcher_machine.hpp"
#include "engine/key_use.hpp"
#include "engine/messages.hpp"
#include "engine/traffic_weights.hpp"

/// Every typed actor handle of the program, one sentence per message. An actor with one home (key, breaker)
/// is reached by name through the directory only, and is sent plain values; what never leaves the node (the
/// request coroutines' batches, the configuration) may travel as a pointer.
namespace millrace::actors {

/// A key's limits as the configuration has them; also lifts a quarantine.
struct key_settings {
  engine::key_limits limits;
  engine::duration margin{};
  engine::duration quarantine{};
};
template <class Inspector>
auto inspect(Inspector& f, key_settings& x) {
  return f(x.limits.rpm, x.limits.tpm, x.limits.tpm_input, x.limits.tpm_output, x.limits.rpd,
           x.limits.concurrency, x.margin, x.quarantine);
}

struct breaker_settings {
  engine::breaker_config config;
};
template <class Inspector>
auto inspect(Inspector& f, breaker_settings& x) {
  return f(x.config.consecutive_failures, x.config.failure_ratio, x.config.min_calls, x.config.window,
           x.config.open);
}

struct key_grant {
  std::string key;
  engine::lease_grant grant;
};
template <class Inspector>
auto inspect(Inspector& f, key_grant& x) {
  return f(x.key, x.grant);
}

struct probe_request {
  std::string node;
};
template <class Inspector>
auto inspect(Inspector& f, probe_request& x) {
  return f(x.node);
}

struct probe_answer {
  std::string target;
  bool granted = false;
};
template <class Inspector>
auto inspect(Inspector& f, probe_answer& x) {
  return f(x.target, x.granted);
}

struct resolve_name {
  std::string name;
};
template <class Inspector>
auto inspect(Inspector& f, resolve_name& x) {
  return f(x.name);
}

/// "What do your windows hold?"
struct use_question {
  std::string key;
};
template <class Inspector>
auto inspect(Inspector& f, use_question& x) {
  return f(x.key);
}

/// What homes of an earlier life of the node had used.
struct earlier_use {
  std::vector<engine::key_use> keys;
};
template <class Inspector>
auto inspect(Inspector& f, earlier_use& x) {
  return f(x.keys);
}

/// "Look at the time": see `alarm`.
struct tick {
  std::uint64_t epoch = 0;
};
template <class Inspector>
auto inspect(Inspector& f, tick& x) {
  return f(x.epoch);
}

/// What one I/O thread's coroutines had to say since its last batch. Order of effect: as the fields stand.
struct desk_batch {
  std::vector<engine::sent_report> sent;
  std::vector<engine::settlement> settled;
  std::vector<engine::acquire_request> acquires;
  std::vector<engine::ticket> cancelled;
  std::vector<engine::ticket> status;  ///< questions for the dispatcher's status
};
using desk_batch_ptr = std::shared_ptr<desk_batch>;

struct dispatcher_view {
  engine::dispatcher_status status;
  engine::config_ptr config;  ///< the one whose names and indices `status` uses
  std::size_t mailbox = 0;    ///< messages waiting for the dispatcher
};

/// The dispatcher's answers for one I/O thread.
struct desk_replies {
  std::vector<engine::acquire_reply> acquired;
  bool revoke_spares = false;  ///< give back every spare permit, those of this message included
  std::vector<std::pair<engine::ticket, std::shared_ptr<const dispatcher_view>>> status;
};
using desk_replies_ptr = std::shared_ptr<desk_replies>;

/// Makes an I/O thread's companion known to the dispatcher.
struct join_desk {
  std::uint16_t desk = 0;
  caf::strong_actor_ptr companion;
};
template <class Inspector>
auto inspect(Inspector& f, join_desk& x) {
  return f(x.desk, x.companion);
}

/// The shards whose homes this node is to have, and where their entries are written. Never leaves the node.
struct cache_layout {
  const engine::cache_shards* shards = nullptr;  ///< outlives the actors
  caf::actor store;                              ///< null: memory only
};

/// The desk a ticket belongs to is in its top bits.
inline constexpr int desk_shift = 48;

}  // namespace millrace::actors

CAF_BEGIN_TYPE_ID_BLOCK(millrace, caf::first_custom_type_id)
CAF_ADD_TYPE_ID(millrace, (millrace::engine::lease_request))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::lease_report))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::key_notice))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::breaker_report))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::breaker_notice))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::config_ptr))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::key_settings))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::breaker_settings))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::key_grant))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::probe_request))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::probe_answer))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::resolve_name))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::key_use))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::use_question))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::earlier_use))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::tick))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::weights_order))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::join_desk))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::cache_key))
CAF_ADD_TYPE_ID(millrace, (millrace::engine::cached_answer))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::disk_question))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::disk_answer))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::purge_order))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::purge_done))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::homes_question))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::known_homes))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::disk_batch_ptr))
CAF_ADD_ATOM(millrace, millrace::actors, write_atom, "write")
CAF_ADD_ATOM(millrace, millrace::actors, done_atom, "done")
CAF_ADD_TYPE_ID(millrace, (millrace::actors::cache_layout))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::desk_batch_ptr))
CAF_ADD_TYPE_ID(millrace, (millrace::actors::desk_replies_ptr))
CAF_END_TYPE_ID_BLOCK(millrace)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::engine::config_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::actors::disk_batch_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::actors::cache_layout)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::actors::desk_batch_ptr)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(millrace::actors::desk_replies_ptr)

namespace millrace::actors {

using key_actor = caf::typed_actor<
    /// A node wants permits: granted now or later with key_grant to the sender, each with a key_notice.
    caf::reacts_to<engine::lease_request>,
    /// What a node did with its permits, and what the provider said.
    caf::reacts_to<engine::lease_report>,
    /// The limits changed, or an operator reloaded.
    caf::reacts_to<key_settings>,
    /// What the windows hold, to be kept for a home after this one.
    caf::replies_to<use_question>::with<engine::key_use>,
    /// Something may be due: permits, expiries, the end of a cooldown.
    caf::reacts_to<tick>>;

using breaker_actor = caf::typed_actor<
    /// Outcomes of calls; every known node hears a breaker_notice when the state changes.
    caf::reacts_to<engine::breaker_report>,
    /// May I probe? Answered with probe_answer to the sender.
    caf::reacts_to<probe_request>,
    /// The thresholds changed.
    caf::reacts_to<breaker_settings>>;

/// An I/O thread's companion, see bridge.hpp.
using desk_actor = caf::typed_actor<
    /// The dispatcher's answers.
    caf::reacts_to<desk_replies_ptr>>;

using dispatcher_actor = caf::typed_actor<
    /// The requests of one I/O thread; answered with desk_replies_ptr to its companion.
    caf::reacts_to<desk_batch_ptr>,
    /// An I/O thread begins to ask.
    caf::reacts_to<join_desk>,
    /// A key's permits.
    caf::reacts_to<key_grant>,
    /// A key's state.
    caf::reacts_to<engine::key_notice>,
    /// A breaker's state.
    caf::reacts_to<engine::breaker_notice>,
    /// A breaker's answer about a probe.
    caf::reacts_to<probe_answer>,
    /// The first configuration, or a reloaded one.
    caf::reacts_to<engine::config_ptr>,
    /// An operator's weights for a model.
    caf::reacts_to<engine::weights_order>,
    /// Something may be due: a deadline, an expiring lease.
    caf::reacts_to<tick>>;

using store_actor = caf::typed_actor<
    /// Is this on disk? Answered with disk_answer to the sender.
    caf::reacts_to<disk_question>,
    /// Write these, then say `done` to the sender.
    caf::reacts_to<disk_batch_ptr>,
    /// Forget what this names; answered with purge_done to the sender.
    caf::reacts_to<purge_order>,
    /// Brings everything to the disk; false when it would not go.
    caf::replies_to<caf::flush_atom>::with<bool>,
    /// The disk may serve again.
    caf::reacts_to<tick>>;

using cache_actor = caf::typed_actor<
    /// Is this on your disk? Handed on; answered with disk_answer to the sender.
    caf::reacts_to<disk_question>,
    /// Forget what this names; answered with purge_done to the sender.
    caf::reacts_to<purge_order>,
    /// The shard has entries that are not on disk yet.
    caf::reacts_to<write_atom>,
    /// The store has dealt with the last batch.
    caf::reacts_to<done_atom>>;

/// An I/O thread's companion, see answer_desk.hpp.
using answer_desk_actor = caf::typed_actor<
    /// What the disk knows.
    caf::reacts_to<disk_answer>,
    /// A home or the store has forgotten what it was told to.
    caf::reacts_to<purge_done>,
    /// Who has a home here.
    caf::reacts_to<known_homes>>;

using directory_actor = caf::typed_actor<
    /// Name -> the actor that is its home; a null handle for a name nobody configured.
    caf::replies_to<resolve_name>::with<caf::strong_actor_ptr>,
    /// The homes of all names that begin so.
    caf::replies_to<homes_question>::with<known_homes>,
    /// The cache's shards have their homes here.
    caf::reacts_to<cache_layout>,
    /// For the first home of each of these keys that a later configuration names.
    caf::reacts_to<earlier_use>,
    /// Spawns what this configuration names, passes changed settings on, and stops what no recent one names.
    caf::reacts_to<engine::config_ptr>>;

/// Registers the message types and sets what CAF needs for low latency (see README).
class system_config : public caf::actor_system_config {
 public:
  system_config();
};

/// Ticks of an actor that looks at the time when something is due. A tick cannot be taken back, so one that
/// is under way serves for every due time that is not before it: whoever always scheduled the next one would
/// leave one behind for each due time that moved, some for a day. Owned by an actor's state; `Self` is its
/// pointer type.
class alarm {
 public:
  template <class Self>
  void set(Self self, engine::time_point due, engine::time_point now) {
    if (const auto t = arm(due))
      self->delayed_send(self, due > now ? due - now : engine::duration::zero(), *t);
  }

  /// The tick that must be scheduled for `due`; none where one rings by then. It may ring too early.
  std::optional<tick> arm(engine::time_point due) {
    if (due == engine::time_point::max() || (!under_way_.empty() && under_way_.back().due <= due))
      return std::nullopt;
    under_way_.push_back({due, ++epoch_});
    return tick{epoch_};
  }

  /// To be told of every tick that comes; true if it is one of this alarm's, which is then to be set again.
  bool rings(const tick& t) {
    return std::erase_if(under_way_, [&](const scheduled& s) { return s.epoch == t.epoch; }) > 0;
  }

 private:
  struct scheduled {
    engine::time_point due;
    std::uint64_t epoch;
  };
  std::vector<scheduled> under_way_;  ///< each is due before the one before it
  std::uint64_t epoch_ = 0;
};

}  // namespace millrace::actors
