#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/cache_key.hpp"
#include "engine/cache_memory.hpp"
#include "engine/cache_policy.hpp"
#include "engine/purge_list.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::engine {

/// What a request finds out about its question.
struct cache_finding {
  cached_answer_ptr entry;   ///< known; nothing else is set then
  shared_answer_ptr flight;  ///< an identical call is under way, or begins here
  bool leads = false;        ///< the flight is the one that was made for this request
  cached_answer_ptr stale;   ///< expired, but of use if no provider answers
  bool too_old = false;      ///< what is known is older than this client takes
};

/// Entries that are on their way to the disk.
using unwritten_entries = std::vector<std::pair<cache_key, cached_answer_ptr>>;

struct cache_shard_stats {
  cache_memory::stats memory;
  std::size_t memory_limit = 0;  ///< bytes
  std::int64_t flights = 0;
  std::int64_t unwritten = 0;
  std::int64_t unwritten_dropped = 0;  ///< entries the disk was too slow for, since start
};

/// One shard's answers and calls in flight. Thread-safe: the node's I/O threads ask it in place, under a lock
/// that is held for less than a microsecond, while its `cache_actor` sees to the disk, to purges, and to
/// whatever other nodes ask. Going through the actor's mailbox would cost each request a crossing.
class cache_shard {
 public:
  /// The most entries, and bytes of them, that wait to be written; beyond, the oldest are not written.
  static constexpr std::size_t max_unwritten = 4096;
  static constexpr std::size_t max_unwritten_bytes = 16u << 20;

  explicit cache_shard(std::size_t memory_bytes) : memory_(memory_bytes) {}

  /// Answers from memory, or names the call under way, or takes up the one that `lead` makes. Called with the
  /// shard locked, `lead` must not come back to it.
  cache_finding enter(const cache_key& key, const cache_plan& plan, wall_time now,
                      const std::function<shared_answer_ptr()>& lead);
  /// The flight can be joined no more, and nobody finds it here.
  void leave(const cache_key& key, const shared_answer_ptr& flight);
  /// Takes an answer, unless it was asked for before a purge that covers it. With `to_disk` it waits for
  /// `take_unwritten`. True when the disk's writer must be told.
  bool put(const cache_key& key, const cached_answer_ptr& entry, wall_time now, bool to_disk);
  /// Whether a purge covers an answer that was found before.
  bool purged(const cached_answer& entry) const;
  /// What waits to be written, oldest first. Empty: `put` will tell again.
  unwritten_entries take_unwritten(std::size_t most);
  /// Removes entries, and those that are yet to come of questions asked at or before `at`.
  std::size_t purge(const purge_scope& scope, wall_time at);

  cache_shard_stats statistics() const;

 private:
  mutable std::mutex mutex_;
  cache_memory memory_;
  purge_list purges_;
  std::unordered_map<cache_key, shared_answer_ptr, cache_key_hash> flights_;
  std::deque<std::pair<cache_key, cached_answer_ptr>> unwritten_;
  std::size_t unwritten_bytes_ = 0;
  std::int64_t unwritten_dropped_ = 0;
  bool writer_told_ = false;
};

}  // namespace millrace::engine
