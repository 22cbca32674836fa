#include "storage/usage_store.hpp"

#include <filesystem>
#include <utility>

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/table.h>

namespace millrace::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t store_mib = 1UL << 20U;

rocksdb::Options options(rocksdb::Env* env) {
  rocksdb::Options o;
  if (env != nullptr) o.env = env;
  o.create_if_missing = true;
  o.paranoid_checks = true;
  // The same few rows are written every second, and each version stays in memory until the buffer is flushed.
  o.write_buffer_size = store_mib / 4;
  o.max_write_buffer_number = 2;
  o.max_total_wal_size = 16 * store_mib;
  o.compression = rocksdb::kZSTD;
  o.max_open_files = 64;
  o.max_background_jobs = 2;
  o.info_log_level = rocksdb::WARN_LEVEL;
  o.max_log_file_size = store_mib;
  o.keep_log_file_num = 2;
  o.stats_dump_period_sec = 0;
  o.stats_persist_period_sec = 0;
  rocksdb::BlockBasedTableOptions tables;
  tables.block_cache = rocksdb::NewLRUCache(4 * store_mib);
  tables.format_version = 5;
  o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(tables));
  return o;
}

std::string make_directory(const std::string& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return {};
  fs::create_directories(path, error);
  if (!error) fs::permissions(path, fs::perms::owner_all, error);
  return error ? path + ": " + error.message() : std::string();
}

}  // namespace

usage_store::usage_store(std::unique_ptr<rocksdb::DB> db) : db_(std::move(db)) {}

usage_store::~usage_store() = default;

usage_store::opened usage_store::open(const std::string& path, rocksdb::Env* env) {
  opened out;
  out.note = make_directory(path);
  if (!out.note.empty()) return out;
  rocksdb::DB* raw = nullptr;
  rocksdb::Status status = rocksdb::DB::Open(options(env), path, &raw);
  std::unique_ptr<rocksdb::DB> db(raw);
  std::uint64_t damaged = 0;
  if (status.ok()) {
    const std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(rocksdb::ReadOptions()));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      engine::usage_row row;
      const std::string_view key = it->key().ToStringView();
      const bool good =
          decode_usage_key(key, row.first) && decode_usage(key, it->value().ToStringView(), row.second);
      damaged += good ? 0 : 1;
      if (good) out.rows.push_back(std::move(row));
    }
    status = it->status();
  }
  if (!status.ok()) {
    out.rows.clear();
    out.note = status.ToString();
    return out;
  }
  if (damaged > 0) out.note = std::to_string(damaged) + " damaged records were passed over";
  out.store.reset(new usage_store(std::move(db)));
  return out;
}

bool usage_store::write(const std::vector<engine::usage_row>& rows,
                        const std::vector<engine::usage_key>& gone, std::string& why) {
  rocksdb::WriteBatch batch;
  for (const auto& [key, counts] : rows) {
    const std::string name = encode_usage_key(key);
    batch.Put(name, encode_usage(name, counts));
  }
  for (const auto& key : gone) batch.Delete(encode_usage_key(key));
  rocksdb::WriteOptions synced;
  synced.sync = true;
  rocksdb::Status status = db_->Write(synced, &batch);
  // After a failure of the disk RocksDB takes no more writes until it is told that it may.
  if (!status.ok() && db_->Resume().ok()) status = db_->Write(synced, &batch);
  if (!status.ok()) why = status.ToString();
  return status.ok();
}

}  // namespace millrace::storage
