#pragma once

#include "actors/actors.hpp"
#include "actors/mailbox_depths.hpp"
#include "engine/cache_shards.hpp"
#include "engine/config.hpp"
#include "engine/disk_state.hpp"

namespace millrace::commands {

/// The cache's part on disk, in `data_dir`/cache, and the homes of its shards. What fails is logged once, and
/// the node caches in memory only. Belongs to the program's main thread.
class answer_keeper {
 public:
  /// Opens the disk and tells the directory of the shards.
  answer_keeper(caf::actor_system& system, const actors::directory_actor& directory,
                const actors::mailbox_depths_ptr& mailboxes, const engine::config& c,
                const engine::cache_shards& shards);
  /// What is not written yet is lost, unless `close` came before.
  ~answer_keeper();
  answer_keeper(const answer_keeper&) = delete;
  answer_keeper& operator=(const answer_keeper&) = delete;

  /// Null: memory only.
  const actors::store_actor& store() const { return store_; }
  const engine::disk_state& disk() const { return disk_; }
  /// Brings everything to the disk; nobody may ask or store any more.
  void close();

 private:
  caf::actor_system& system_;
  const engine::cache_shards& shards_;
  engine::disk_state disk_;
  actors::store_actor store_;
};

}  // namespace millrace::commands
