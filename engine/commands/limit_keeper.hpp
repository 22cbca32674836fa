#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "actors/use_reader.hpp"
#include "engine/config.hpp"
#include "engine/kept_limits.hpp"

namespace millrace::commands {

/// A directory of which one process at a time has the lock.
class locked_directory {
 public:
  /// Makes it where it is missing. Throws std::runtime_error that says why it cannot be had.
  explicit locked_directory(const std::string& path);
  ~locked_directory();
  locked_directory(const locked_directory&) = delete;
  locked_directory& operator=(const locked_directory&) = delete;

  /// The text of a file; nullopt when there is none. Throws std::runtime_error.
  std::optional<std::string> read(const std::string& name, std::size_t max_bytes) const;
  /// Puts `text` in the place of the file's, whole and on disk, or throws std::runtime_error.
  void replace(const std::string& name, const std::string& text) const;

 private:
  std::string path_;
  int lock_ = -1;
};

/// Keeps what the provider keys used, and their cooldowns, in `data_dir`/limits.json, for the node's next
/// start: at the start, once a second while something changed, and at the stop. Without a limited key of a
/// real provider, and without that file, it touches no disk before the first cooldown. What fails is logged
/// once, and the node goes on without. All but the saving itself belongs to the program's main thread.
class limit_keeper {
 public:
  limit_keeper(caf::actor_system& system, actors::directory_actor directory, engine::node_config node);
  /// As if by close(false).
  ~limit_keeper();
  limit_keeper(const limit_keeper&) = delete;
  limit_keeper& operator=(const limit_keeper&) = delete;

  /// Tells the directory what is known of the keys of `c`, which it must hear of before `c` itself.
  void announce(const engine::config_ptr& c);
  /// The directory has the first configuration. Nothing may be granted before: from now on, an end without
  /// `close` is found out by the next start.
  void start();
  /// False: it needs its directory, and could not have it.
  bool open() const;
  /// Saves for the last time. `idle`: no request is left that could use a permit.
  void close(bool idle);

 private:
  struct entry : engine::kept_key {
    bool live = false;  ///< this process has a home for it, and so knows best
  };

  void take_directory();
  void load();
  void track(std::vector<engine::key_use>& known);
  bool refresh();
  void ask();
  void save(bool clean);
  void run();

  const engine::node_config node_;
  actors::directory_actor directory_;
  actors::use_reader reader_;

  mutable std::mutex mutex_;  ///< of everything below
  std::condition_variable wake_;
  engine::config_ptr config_;  ///< the newest with a real provider
  bool tried_ = false;         ///< to open the directory
  std::optional<locked_directory> disk_;
  std::string salt_;
  std::vector<entry> entries_;
  engine::time_point as_of_;  ///< to which the entries' ages refer
  bool unsaved_ = false;
  bool failed_ = false;  ///< the last saving did
  bool started_ = false;
  bool closed_ = false;
  std::thread saver_;
};

}  // namespace millrace::commands
