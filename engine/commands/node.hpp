#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "actors/answer_desk.hpp"
#include "actors/bridge.hpp"
#include "actors/mailbox_depths.hpp"
#include "engine/commands/answer_keeper.hpp"
#include "engine/commands/limit_keeper.hpp"
#include "engine/commands/usage_keeper.hpp"
#include "engine/hedge_budget.hpp"
#include "engine/log.hpp"
#include "engine/metrics.hpp"
#include "engine/pipeline.hpp"
#include "engine/upgrade_book.hpp"
#include "http/api.hpp"
#include "http/builtin/builtin_upstream.hpp"
#include "http/edge.hpp"
#include "http/io_clock.hpp"
#include "http/io_pool.hpp"
#include "http/io_work.hpp"
#include "http/upstream_client.hpp"

namespace millrace::commands {

/// Everything one node consists of, wired together. Made, started, reloaded and stopped by the program's main
/// thread; the requests run on the threads of the pool.
class node {
 public:
  /// Told which actor without a successor failed, and why; from another thread.
  using on_failure = std::function<void(std::string_view actor, const std::string& why)>;

  /// Throws what its parts throw when they cannot start. `failed`: the node decides nothing any more, and its
  /// process should end.
  node(engine::config_ptr c, on_failure failed);
  ~node();
  node(const node&) = delete;
  node& operator=(const node&) = delete;

  /// Starts serving; returns the port.
  std::uint16_t start();
  /// From now on new requests use what is `wanted`; those in flight keep theirs. Returns the names of
  /// settings that are other than those the node runs with and take effect only at the next start: until then
  /// the old ones stay. Throws config_error, and changes nothing, when it is open and the node is not bound
  /// to loopback.
  std::vector<std::string> apply(const engine::config_ptr& wanted);
  /// Takes no new connections, lets requests in flight finish for at most `patience`, and flushes. False when
  /// some had to be cut.
  bool stop(engine::duration patience);
  /// The patience of `stop`, under way or to come, is over. From any thread.
  void hurry() { edge_->hurry(); }

  const engine::config_ptr& config() const { return config_; }

 private:
  /// What one I/O thread's requests use.
  struct worker {
    worker(node& owner, size_t index);
    http::upstream_client upstream;
    actors::bridge bridge;
    http::io_clock clock;
    http::provider_upstream providers;
    http::io_work work;
    actors::answer_desk desk;
    engine::pipeline pipeline;
  };

  void wait_for_work();
  std::shared_ptr<const http::node_view> look(size_t thread, engine::cancellation& gone, engine::yield y);

  engine::config_ptr config_;
  const std::string bound_host_;  ///< stays what it was at the start, whatever is reloaded
  engine::time_point started_ = engine::clock::now();
  engine::logging log_;
  engine::metrics metrics_;
  engine::access_logger access_log_;
  engine::upgrade_book upgrades_;
  engine::usage_ledger ledger_;
  usage_keeper kept_usage_;
  engine::tee watch_;
  engine::retry_budget budget_;
  engine::hedge_budget hedges_;
  engine::cache_shards answers_;
  actors::system_config system_config_;
  std::unique_ptr<caf::actor_system> system_;
  const actors::mailbox_depths_ptr mailboxes_ = std::make_shared<actors::mailbox_depths>();
  actors::directory_actor directory_;
  actors::dispatcher_actor dispatcher_;
  std::unique_ptr<limit_keeper> limits_;
  std::unique_ptr<answer_keeper> kept_answers_;
  http::io_pool pool_;
  std::vector<std::unique_ptr<worker>> workers_;
  http::api_services services_;
  std::unique_ptr<http::edge> edge_;
};

}  // namespace millrace::commands
