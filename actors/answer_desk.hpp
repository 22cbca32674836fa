#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <boost/asio/io_context.hpp>

#include "actors/actors.hpp"
#include "engine/disk_state.hpp"
#include "engine/ports.hpp"

namespace millrace::actors {

/// What a purge did.
struct purge_report {
  std::uint64_t entries = 0;  ///< that were in memory
  bool complete = false;      ///< every home and the disk have confirmed
};

/// Where one I/O thread's coroutines ask the cache's homes. Used on its `io` thread only, but for `write`.
class answer_desk final : public engine::answer_disk {
 public:
  /// A disk that takes longer knows nothing.
  static constexpr engine::duration disk_patience = std::chrono::seconds(1);
  static constexpr engine::duration purge_patience = std::chrono::seconds(10);

  /// `store`: null without a disk. `shards` is their number.
  answer_desk(caf::actor_system& system, directory_actor directory, store_actor store, std::size_t shards,
              const engine::disk_state& disk, boost::asio::io_context& io, engine::thread_port& thread);
  /// After the thread has been joined. No coroutine may be waiting.
  ~answer_desk() override;

  engine::cached_answer_ptr find(const engine::cache_key& key, engine::duration max_age,
                                 engine::cancellation& gone, engine::yield y) override;
  /// Forgets what `tenant` and `model` name; empty means all.
  purge_report purge(const std::string& tenant, const std::string& model, engine::wall_time now,
                     engine::cancellation& gone, engine::yield y);
  /// The shard has entries to write.
  void write(std::size_t shard);

 private:
  struct waiter;
  struct inbox;

  void drain();
  void ask_for_homes();
  bool wait(waiter& w, engine::duration patience, engine::cancellation& gone, engine::yield y);
  template <class Message>
  bool send(const caf::strong_actor_ptr& to, Message message);
  caf::strong_actor_ptr home_of(std::size_t shard) const;

  boost::asio::io_context& io_;
  engine::thread_port& thread_;
  directory_actor directory_;
  store_actor store_;
  std::size_t shards_;
  const engine::disk_state& disk_;
  caf::actor companion_;
  std::shared_ptr<inbox> inbox_;
  std::vector<caf::strong_actor_ptr> homes_;
  std::unordered_map<engine::ticket, waiter*> waiters_;
  engine::ticket last_ticket_ = 0;
};

}  // namespace millrace::actors
