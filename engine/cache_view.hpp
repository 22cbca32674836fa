#pragma once

#include <cstdint>

#include "engine/cache_shards.hpp"
#include "engine/disk_state.hpp"

namespace millrace::engine {

/// The cache at one moment, all shards together; for /v1/status and /metrics.
struct cache_view {
  std::int64_t shards = 0;
  std::int64_t memory_bytes = 0;
  std::int64_t memory_limit_bytes = 0;
  std::int64_t entries = 0;  ///< in memory
  std::int64_t hits = 0;     ///< since start, memory and disk
  std::int64_t misses = 0;
  std::int64_t evictions = 0;
  std::int64_t expirations = 0;
  std::int64_t flights = 0;           ///< calls that others may join, now
  std::int64_t transcript_bytes = 0;  ///< kept of streams for those who join late
  std::int64_t unwritten = 0;         ///< entries on their way to the disk
  std::int64_t unwritten_dropped = 0;
  bool disk_on = false;
  std::int64_t disk_bytes = 0;
  std::int64_t disk_entries = 0;  ///< estimated
  std::int64_t disk_hits = 0;
  std::int64_t disk_misses = 0;
  std::int64_t disk_written = 0;
  std::int64_t disk_dropped = 0;
  std::int64_t disk_bad_records = 0;
  std::int64_t disk_failures = 0;
};

cache_view view_cache(const cache_shards& shards, const disk_state& disk);

}  // namespace millrace::engine
