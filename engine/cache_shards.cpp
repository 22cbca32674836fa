#include "engine/cache_shards.hpp"

#include <cstring>

namespace millrace::engine {

namespace {

/// The finalizer of SplitMix64 (S. Vigna, public domain): every bit of the result depends on every bit of
/// `x`.
std::uint64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

}  // namespace

std::size_t shard_of(const cache_key& key, std::size_t shards) {
  // Other bytes than cache_key_hash takes, so that a shard's own table is not lopsided.
  std::uint64_t name = 0;
  std::memcpy(&name, key.bytes.data() + sizeof name, sizeof name);
  std::size_t best = 0;
  std::uint64_t best_weight = 0;
  for (std::size_t i = 0; i < shards; ++i) {
    const std::uint64_t weight = mixed(name ^ mixed(i + 1));
    if (i > 0 && weight <= best_weight) continue;
    best = i;
    best_weight = weight;
  }
  return best;
}

cache_shards::cache_shards(std::size_t shards, std::size_t memory_bytes)
    : transcripts_(std::make_unique<transcript_budget>()) {
  for (std::size_t i = 0; i < shards; ++i)
    shards_.push_back(std::make_unique<cache_shard>(memory_bytes / shards));
}

}  // namespace millrace::engine
