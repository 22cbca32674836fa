#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "engine/config.hpp"
#include "engine/usage_ledger.hpp"
#include "storage/usage_store.hpp"

namespace millrace::commands {

/// Keeps the usage ledger in `data_dir`/usage: reads it at the start, and once a second writes, synced, what
/// changed. So a process that is killed loses what was counted within about the last second. A disk that
/// fails costs no request anything: it is logged once, shown as a metric, and what was not written is tried
/// again. Made, reloaded and closed by the program's main thread.
class usage_keeper {
 public:
  struct state {
    bool disk_on = false;        ///< the last write went well
    std::uint64_t failures = 0;  ///< writes that failed since the start
  };

  /// Opens the disk and fills the ledger, which outlives it.
  usage_keeper(engine::usage_ledger& ledger, const engine::config& c);
  /// As close().
  ~usage_keeper();
  usage_keeper(const usage_keeper&) = delete;
  usage_keeper& operator=(const usage_keeper&) = delete;

  void apply(const engine::config& c);
  /// Writes what is left; nobody counts any more.
  void close();
  /// Whether it has a disk to write to.
  bool open() const { return store_ != nullptr; }
  /// From any thread.
  state look() const;

 private:
  void run();
  void save();

  engine::usage_ledger& ledger_;
  std::unique_ptr<storage::usage_store> store_;
  std::vector<engine::usage_key> gone_;  ///< forgotten, and not deleted yet
  std::atomic<engine::duration> keep_;
  std::atomic<bool> disk_on_{false};
  std::atomic<std::uint64_t> failures_{0};
  std::mutex mutex_;  ///< of closed_
  std::condition_variable wake_;
  bool closed_ = false;
  std::thread saver_;
};

}  // namespace millrace::commands
