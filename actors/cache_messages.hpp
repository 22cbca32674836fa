#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <caf/all.hpp>

#include "engine/cache_key.hpp"
#include "engine/cache_shard.hpp"
#include "engine/cached_answer.hpp"
#include "engine/messages.hpp"
#include "engine/purge_list.hpp"

/// What is said about kept answers. Plain values: they survive the wire.
namespace millrace::engine {

template <class Inspector>
auto inspect(Inspector& f, cache_key& x) {
  return f(x.bytes);
}

template <class Inspector>
auto inspect(Inspector& f, cached_answer& x) {
  return f(x.body, x.content_type, x.tenant, x.model, x.provider, x.upstream_model, x.key_id, x.input_tokens,
           x.output_tokens, x.stored_at, x.expires_at, x.stale_until, x.fallback, x.upgraded, x.confidence,
           x.coalesced);
}

}  // namespace millrace::engine

namespace millrace::actors {

/// "Is this on your disk?" `id` comes back with the answer.
struct disk_question {
  engine::ticket id = 0;
  engine::cache_key key;
  engine::duration max_age{};  ///< an older answer counts as a miss
};
template <class Inspector>
auto inspect(Inspector& f, disk_question& x) {
  return f(x.id, x.key, x.max_age);
}

struct disk_answer {
  engine::ticket id = 0;
  bool found = false;
  engine::cached_answer entry;
};
template <class Inspector>
auto inspect(Inspector& f, disk_answer& x) {
  return f(x.id, x.found, x.entry);
}

/// "Forget what this names." An empty name means all.
struct purge_order {
  engine::ticket id = 0;
  std::string tenant;
  std::string model;
  engine::wall_time at{};

  engine::purge_scope scope() const {
    const auto named = [](const std::string& s) {
      return s.empty() ? std::nullopt : std::optional<std::string>(s);
    };
    return {named(tenant), named(model)};
  }
};
template <class Inspector>
auto inspect(Inspector& f, purge_order& x) {
  return f(x.id, x.tenant, x.model, x.at);
}

struct purge_done {
  engine::ticket id = 0;
  std::uint64_t entries = 0;  ///< that were in memory
  bool lasting = true;        ///< false: after a restart, what is on disk may come back
};
template <class Inspector>
auto inspect(Inspector& f, purge_done& x) {
  return f(x.id, x.entries, x.lasting);
}

struct disk_batch {
  std::vector<std::pair<engine::cache_key, engine::cached_answer_ptr>> entries;
};
/// Stays on the node: shard and disk have the same home.
using disk_batch_ptr = std::shared_ptr<const disk_batch>;

/// "Who are the homes of names that begin so?"
struct homes_question {
  std::string prefix;
};
template <class Inspector>
auto inspect(Inspector& f, homes_question& x) {
  return f(x.prefix);
}

struct known_homes {
  std::map<std::string, caf::strong_actor_ptr> homes;
};
template <class Inspector>
auto inspect(Inspector& f, known_homes& x) {
  return f(x.homes);
}

}  // namespace millrace::actors
