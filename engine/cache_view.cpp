#include "engine/cache_view.hpp"

namespace millrace::engine {

cache_view view_cache(const cache_shards& shards, const disk_state& disk) {
  cache_view v;
  v.shards = static_cast<std::int64_t>(shards.size());
  for (std::size_t i = 0; i < shards.size(); ++i) {
    const auto s = shards.at(i).statistics();
    v.memory_bytes += static_cast<std::int64_t>(s.memory.bytes);
    v.memory_limit_bytes += static_cast<std::int64_t>(s.memory_limit);
    v.entries += static_cast<std::int64_t>(s.memory.entries);
    v.hits += static_cast<std::int64_t>(s.memory.hits);
    v.misses += static_cast<std::int64_t>(s.memory.misses);
    v.evictions += static_cast<std::int64_t>(s.memory.evictions);
    v.expirations += static_cast<std::int64_t>(s.memory.expirations);
    v.flights += s.flights;
    v.unwritten += s.unwritten;
    v.unwritten_dropped += s.unwritten_dropped;
  }
  v.transcript_bytes = shards.transcripts().taken();
  v.disk_on = disk.on;
  v.disk_bytes = disk.bytes;
  v.disk_entries = disk.entries;
  v.disk_hits = disk.hits;
  v.disk_misses = disk.misses;
  v.disk_written = disk.written;
  v.disk_dropped = disk.dropped;
  v.disk_bad_records = disk.bad_records;
  v.disk_failures = disk.failures;
  // What memory did not know, the disk may have.
  v.hits += v.disk_hits;
  v.misses -= std::min(v.disk_hits, v.misses);
  return v;
}

}  // namespace millrace::engine
