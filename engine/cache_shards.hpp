#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/cache_shard.hpp"

namespace millrace::engine {

/// The shard that has a key, by rendezvous hashing (D. Thaler, C. Ravishankar, "Using name-based mappings to
/// increase hit rates", 1998): every shard's weight for the key is a hash of both, the greatest wins. With
/// another number of shards only the keys of shards that came or went move.
std::size_t shard_of(const cache_key& key, std::size_t shards);

/// All shards of the cache. Immutable; the shards are thread-safe.
class cache_shards {
 public:
  /// `shards` >= 1 share `memory_bytes` evenly.
  cache_shards(std::size_t shards, std::size_t memory_bytes);

  std::size_t size() const { return shards_.size(); }
  cache_shard& at(std::size_t i) const { return *shards_[i]; }
  cache_shard& of(const cache_key& key) const { return *shards_[shard_of(key, shards_.size())]; }
  transcript_budget& transcripts() const { return *transcripts_; }

 private:
  std::vector<std::unique_ptr<cache_shard>> shards_;
  std::unique_ptr<transcript_budget> transcripts_;
};

}  // namespace millrace::engine
