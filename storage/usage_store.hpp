#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/usage_ledger.hpp"

namespace rocksdb {
class DB;
class Env;
}  // namespace rocksdb

namespace millrace::storage {

/// The rows of the usage ledger on disk, in a small RocksDB of their own. Every write is synced and whole:
/// after a crash the rows are those of the last write that returned true. It is money, so nothing is ever set
/// aside or begun anew: a database that cannot be read is left alone, and somebody has to look.
///
/// Memory: a memtable of 4 MiB and as much while it is flushed, a block cache of 4 MiB. One thread.
class usage_store {
 public:
  struct opened {
    std::unique_ptr<usage_store> store;   ///< null when it cannot be used
    std::vector<engine::usage_row> rows;  ///< what it holds
    std::string note;                     ///< why there is no store, or how many records were damaged
  };

  /// Opens or makes the database in directory `path` (made with access for its owner only) and reads all of
  /// it. `env` is for tests that inject faults and must outlive the store; null is the machine's own.
  static opened open(const std::string& path, rocksdb::Env* env = nullptr);
  ~usage_store();
  usage_store(const usage_store&) = delete;
  usage_store& operator=(const usage_store&) = delete;

  /// Puts `rows` in the place of earlier ones with the same keys and removes `gone`, all or nothing. False,
  /// with the reason in `why`, when the disk did not take it; the same may be tried again.
  bool write(const std::vector<engine::usage_row>& rows, const std::vector<engine::usage_key>& gone,
             std::string& why);

 private:
  explicit usage_store(std::unique_ptr<rocksdb::DB> db);

  std::unique_ptr<rocksdb::DB> db_;
};

/// A row as bytes: its key, in the order of days, and its record. For usage_store and its tests.
std::string encode_usage_key(const engine::usage_key& key);
bool decode_usage_key(std::string_view bytes, engine::usage_key& key);
std::string encode_usage(std::string_view key, const engine::usage_counts& counts);
bool decode_usage(std::string_view key, std::string_view record, engine::usage_counts& counts);

}  // namespace millrace::storage
