#pragma once

#include <memory>
#include <unordered_map>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include "actors/actors.hpp"
#include "engine/ports.hpp"
#include "engine/spare_permits.hpp"

namespace millrace::actors {

/// Joins one I/O thread's coroutines to the node's dispatcher. What they say is collected until the thread
/// has no handler ready, and sent as one message; the answers come back as one message, too. So a busy thread
/// pays for the crossing once per round, not once per request. What nobody waits for (calls that were sent,
/// calls that ended well) may wait `lazy_delay` for company; and out of plenty the dispatcher grants some
/// permits ahead of need, which are taken here without any crossing.
///
/// Used on its `io` thread only. Each has a desk number of its own, counted from 0.
class bridge final : public engine::permit_port {
 public:
  static constexpr engine::duration lazy_delay = std::chrono::milliseconds(1);
  /// While spares are held, and so nobody waits for what comes back.
  static constexpr engine::duration lazier_delay = std::chrono::milliseconds(5);
  static constexpr std::size_t lazy_items = 512;  ///< more than so many do not wait

  bridge(caf::actor_system& system, dispatcher_actor dispatcher, boost::asio::io_context& io,
         std::uint16_t desk);
  /// After the thread has been joined. No coroutine may be waiting.
  ~bridge() override;

  engine::ticket new_ticket() override { return (engine::ticket{desk_} << desk_shift) | ++last_ticket_; }
  engine::acquire_reply acquire(const engine::acquire_request& request, engine::cancellation& gone,
                                engine::yield y) override;
  void sent(const engine::sent_report& report) override;
  void settle(const engine::settlement& s) override;

  /// The dispatcher's state, for /v1/status and /metrics; null when the request is cancelled first.
  std::shared_ptr<const dispatcher_view> status(engine::cancellation& gone, engine::yield y);

 private:
  struct waiter;
  struct inbox;

  enum class hurry : bool { no, yes };
  desk_batch& outgoing(hurry h);
  void arm();
  void flush();
  void give_back(const std::vector<engine::ticket>& spares, hurry h);
  void drain();
  /// Suspends until `w` is answered or cancelled.
  void wait(waiter& w, engine::cancellation& gone, engine::yield y);

  boost::asio::io_context& io_;
  dispatcher_actor dispatcher_;
  std::uint16_t desk_;
  caf::actor companion_;
  std::shared_ptr<inbox> inbox_;
  engine::ticket last_ticket_ = 0;
  desk_batch_ptr pending_;
  std::vector<engine::time_point> sent_at_;  ///< of pending_->sent, same order
  bool flush_posted_ = false;
  boost::asio::steady_timer timer_;
  bool timer_armed_ = false;
  engine::spare_permits spares_;
  std::vector<engine::ticket> back_;  ///< scratch
  std::unordered_map<engine::ticket, waiter*> waiters_;
};

}  // namespace millrace::actors
