#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>

#include "engine/cache_key.hpp"
#include "engine/cached_answer.hpp"

namespace millrace::engine {

/// One shard's answers in memory, bounded in bytes.
///
/// Admission and eviction are S3-FIFO (J. Yang, Y. Zhang, Z. Qiu, Y. Yue, K. V. Rashmi, "FIFO queues are all
/// you need for cache eviction", SOSP 2023): what is new enters a small queue and gets into the main one only
/// if it was asked for again, there or soon after it fell out (a ghost queue remembers fingerprints); in the
/// main queue what was asked for goes round again. So answers asked for once pass through a tenth of the
/// memory, and a scan cannot flush the rest. A hit moves nothing. Two things differ from the paper: sizes
/// count in bytes, and a useless entry (see `cached_answer`) that reaches the end of a queue is dropped
/// whatever it was asked for.
///
/// Not thread-safe: its owner locks. Entries handed out outlive their eviction.
class cache_memory {
 public:
  /// What an entry takes beside its answer's size_bytes(): the node and bucket of the index, its place in the
  /// ghost queue, the reference count and the allocator's own. Measured by bench/hit_ratio.
  static constexpr std::size_t entry_overhead_bytes = 240;
  /// An entry larger than max_bytes divided by this is not taken: it would push out too many others.
  static constexpr std::size_t largest_entry_divisor = 4;
  /// The small queue's part of max_bytes is one divided by this.
  static constexpr std::size_t small_queue_divisor = 10;

  /// Counters since the start; `bytes` and `entries` are gauges.
  struct stats {
    std::size_t bytes = 0;
    std::size_t entries = 0;
    std::uint64_t hits = 0;
    std::uint64_t misses = 0;
    std::uint64_t insertions = 0;   ///< replacements too
    std::uint64_t evictions = 0;    ///< for want of room
    std::uint64_t expirations = 0;  ///< found useless
    std::uint64_t too_large = 0;    ///< not taken
  };

  /// With 0 bytes it is off: takes nothing, finds nothing.
  explicit cache_memory(std::size_t max_bytes);
  cache_memory(const cache_memory&) = delete;
  cache_memory& operator=(const cache_memory&) = delete;

  /// The answer, or null. One that expired goes to `stale`, if that is not null and it is still of use in an
  /// outage; a useless one is erased. O(1), allocates nothing.
  cached_answer_ptr find(const cache_key& key, wall_time now, cached_answer_ptr* stale = nullptr);
  /// What `find` gave was of no use: it counts as a miss.
  void count_as_miss();
  /// Takes `answer` (not null) in place of what was there; one that is too large or useless only takes the
  /// old one away. O(1) amortised.
  void insert(const cache_key& key, cached_answer_ptr answer, wall_time now);
  /// Whether it was there.
  bool erase(const cache_key& key);
  /// Erases all that `unwanted` is true of and says how many. O(entries). `unwanted` must not touch this
  /// cache.
  std::size_t erase_if(const std::function<bool(const cached_answer&)>& unwanted);

  stats usage() const;
  std::size_t max_bytes() const { return max_bytes_; }
  /// Fingerprints of evicted keys now remembered; never more than entries. For tests.
  std::size_t ghosts() const { return ghost_order_.size(); }

 private:
  static constexpr std::uint8_t max_frequency = 3;  ///< two bits, as in the paper
  static constexpr std::uint8_t worth_keeping =
      2;  ///< this often asked for in the small queue: to the main one

  struct queue;
  struct node {
    cached_answer_ptr answer;
    const cache_key* key = nullptr;  ///< in the index, which does not move it
    node* newer = nullptr;
    node* older = nullptr;
    queue* in = nullptr;
    std::size_t bytes = 0;
    std::uint8_t frequency = 0;
  };
  /// Oldest at the tail.
  struct queue {
    node* head = nullptr;
    node* tail = nullptr;
    std::size_t bytes = 0;
    std::size_t entries = 0;
    void push(node& n);
    void remove(node& n);
  };
  using index = std::unordered_map<cache_key, node, cache_key_hash>;

  void make_room(std::size_t bytes, wall_time now);
  void shrink_small(wall_time now);
  void shrink_main(wall_time now);
  void drop(node& n);
  void remember(const cache_key& key);
  bool recall(const cache_key& key);
  void trim_ghosts();

  const std::size_t max_bytes_;
  index entries_;
  queue small_;
  queue main_;
  /// A ghost: when it was remembered, by fingerprint; and the fingerprints in that order.
  std::unordered_map<std::uint64_t, std::uint64_t> ghosts_;
  std::deque<std::uint64_t> ghost_order_;
  std::uint64_t oldest_ghost_ = 0;  ///< number of the first in ghost_order_
  stats counters_;
};

}  // namespace millrace::engine
