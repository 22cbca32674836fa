#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <utility>
#include <vector>

#include "engine/cache_key.hpp"
#include "engine/cached_answer.hpp"
#include "engine/purge_list.hpp"
#include "storage/store_state.hpp"

namespace rocksdb {
class DB;
class Env;
class Status;
}  // namespace rocksdb

namespace millrace::storage {

/// Answers on disk, in RocksDB: bounded in bytes, the oldest files go first. It is a cache: what cannot be
/// read is absent, and a database that cannot be used is set aside and begun anew.
///
/// Nothing is synced: what was written is safe from a crash once its memtable was flushed, at the latest by
/// flush(). Memory is bounded: memtables of 16 MiB, as much while they are flushed, and a block cache of 32
/// MiB with all indexes and filters, both only as far as they are used.
///
/// Thread-safe. Calls block on the disk; a purge of everything makes others wait until the files are gone.
class answer_store {
 public:
  struct settings {
    std::uint64_t max_bytes = 0;           ///< on disk; at least some MiB to be of use
    std::chrono::milliseconds max_ttl{0};  ///< the longest of any model, with the time its answers serve in
                                           ///< outages; none is given out at a greater age
  };
  struct opened {
    std::unique_ptr<answer_store>
        store;         ///< null when the disk does not serve or another process has the directory
    std::string note;  ///< for the log: why there is none, or what was set aside; empty if all is well
  };
  enum class read_result : std::uint8_t {
    found,
    absent,  ///< also: useless, purged, damaged
    failed,  ///< the disk does not serve
  };
  enum class write_result : std::uint8_t {
    ok,
    busy,      ///< the disk is behind or at its bound: nothing was taken, later writes may be
    no_space,  ///< the disk is full; what was written before can still be read
    failed,    ///< the disk does not serve
  };
  using entry = std::pair<engine::cache_key, engine::cached_answer_ptr>;
  struct stats {
    std::uint64_t disk_bytes = 0;   ///< of table files
    std::uint64_t entries = 0;      ///< estimated; expired and replaced ones count
    std::uint64_t bad_records = 0;  ///< damaged ones met since the start
    std::uint64_t rebuilds = 0;     ///< how often a damaged database was replaced since the start
  };

  /// Opens or makes the database in directory `path` (made with access for its owner only). One that is
  /// damaged or not ours is renamed to `path`.broken-N, of which only the newest is kept. `env` is for tests
  /// that inject faults and must outlive the store; null is the machine's own.
  static opened open(const std::string& path, const settings& s, rocksdb::Env* env = nullptr);
  /// Closes. What was not flushed is lost.
  ~answer_store();
  answer_store(const answer_store&) = delete;
  answer_store& operator=(const answer_store&) = delete;

  /// Sets `out` only if found; what is found may have expired, if it is still of use in an outage.
  read_result get(const engine::cache_key& key, engine::wall_time now, engine::cached_answer_ptr& out);
  /// All of `batch` or nothing: one larger than 1/64 of max_bytes may never be taken. A later answer of the
  /// same key replaces the earlier one. Never waits for a flush.
  write_result write(const std::vector<entry>& batch);
  /// Brings everything written to the disk; for a clean stop.
  write_result flush();
  /// From now on, answers in `scope` that were stored at or before `at` (the present) are absent; also after
  /// a restart, once it returned ok. Otherwise it is in force now, and every later write, flush and resume
  /// tries to make it last. A purge of everything frees the disk.
  write_result purge(const engine::purge_scope& scope, engine::wall_time at);
  /// After no_space or failed: tries to take up work again; what was not flushed may be lost. On a full disk
  /// RocksDB tries as well, by itself, when space is back.
  write_result resume();

  stats usage() const;

 private:
  answer_store(std::string path, const settings& s, rocksdb::Env* env);

  rocksdb::Status start(std::string& note);
  rocksdb::Status load_state();
  rocksdb::Status open_database();
  rocksdb::Status save_state();
  rocksdb::Status set_aside(std::string& note);
  rocksdb::Status ensure_saved();
  rocksdb::Status empty();
  void replace_damaged();
  write_result judge(const rocksdb::Status& s);
  bool usable(const engine::cached_answer& a, engine::wall_time now) const;

  const std::string path_;
  const settings settings_;
  const std::uint64_t accepted_bytes_;
  rocksdb::Env* const env_;
  std::mutex control_;  ///< held by whoever changes the state or the database; taken before guard_
  mutable std::shared_mutex guard_;  ///< of db_ and state_; shared by those who use them
  std::unique_ptr<rocksdb::DB> db_;  ///< null after a failed attempt to begin anew
  store_state state_;
  std::atomic<bool> state_saved_ = true;
  std::atomic<std::uint64_t> bad_records_ = 0;
  std::atomic<std::uint64_t> rebuilds_ = 0;
};

}  // namespace millrace::storage
