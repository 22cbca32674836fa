#include "storage/answer_store_options.hpp"

#include <algorithm>

#include <rocksdb/cache.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/table.h>

namespace millrace::storage {
namespace {

constexpr std::uint64_t mib = 1UL << 20U;
constexpr std::uint64_t most_in_memtables = 16 * mib;
constexpr std::uint64_t least_in_memtables = mib / 8;
constexpr std::uint64_t memtables_divisor = 64;
constexpr std::uint64_t block_cache = 32 * mib;
/// Four parts, so that the index of a large file does not fill one.
constexpr int block_cache_shard_bits = 2;
constexpr std::size_t block_size = 16UL << 10U;
constexpr double bloom_bits = 10;
/// Files are merged up to this part of the whole, so that a look-up asks few of them.
constexpr std::uint64_t merged_file_divisor = 32;

rocksdb::BlockBasedTableOptions tables() {
  rocksdb::BlockBasedTableOptions t;
  t.block_cache = rocksdb::NewLRUCache(block_cache, block_cache_shard_bits);
  t.cache_index_and_filter_blocks = true;
  t.filter_policy.reset(rocksdb::NewBloomFilterPolicy(bloom_bits));
  t.block_size = block_size;
  t.format_version = 5;
  return t;
}

void set_bounds(rocksdb::Options& o, const answer_store::settings& s) {
  const auto b = disk_bounds_of(s);
  // This one bounds the memory; write_buffer_size then tells which files are small enough to be merged.
  o.db_write_buffer_size = b.memtables;
  o.write_buffer_size = std::max(b.memtables, b.merged / 2);
  o.max_write_buffer_number = 2;
  o.max_compaction_bytes = b.merged;
  o.compaction_options_fifo.max_table_files_size = b.kept;
  o.compaction_options_fifo.allow_compaction = true;
  const auto ttl = std::chrono::duration_cast<std::chrono::seconds>(s.max_ttl).count();
  o.ttl = static_cast<std::uint64_t>(std::max<std::int64_t>(ttl, 1));
}

void keep_the_log_small(rocksdb::Options& o) {
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.max_log_file_size = mib;
  o.keep_log_file_num = 2;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
}

}  // namespace

disk_bounds disk_bounds_of(const answer_store::settings& s) {
  disk_bounds b;
  b.memtables = std::clamp(s.max_bytes / memtables_divisor, least_in_memtables, most_in_memtables);
  b.merged = s.max_bytes / merged_file_divisor;
  // What one merge replaced may not be deleted yet when the next one writes.
  const std::uint64_t passing = 2 * b.merged + 2 * b.memtables;
  b.accepted = s.max_bytes - std::min(s.max_bytes / 2, passing);
  b.kept = b.accepted - std::min(b.accepted / 2, passing);
  return b;
}

rocksdb::Options answer_store_options(const answer_store::settings& s, rocksdb::Env* env) {
  rocksdb::Options o;
  o.env = env;
  o.create_if_missing = true;
  o.compaction_style = rocksdb::kCompactionStyleFIFO;
  set_bounds(o, s);
  o.compression = rocksdb::kZSTD;
  o.bottommost_compression = rocksdb::kZSTD;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(tables()));
  // RocksDB wants all files open where they have a time to live; merging keeps them few.
  o.max_open_files = -1;
  o.avoid_flush_during_shutdown = true;
  o.max_background_jobs = 2;
  o.max_manifest_file_size = 4 * mib;
  keep_the_log_small(o);
  return o;
}

}  // namespace millrace::storage
