#pragma once

#include <memory>
#include <unordered_map>

#include <boost/asio/io_context.hpp>

#include "actors/actors.hpp"
#include "engine/ports.hpp"

namespace millrace::actors {

/// Joins one I/O thread's coroutines to the node's dispatcher. What they say is collected until the thread has no
/// handler ready, and sent as one message; the answers come back as one message, too. So a busy thread pays for
/// the crossing once per round, not once per request.
///
/// Used on its `io` thread only. At most `max_desks` exist, numbered from 0.
class bridge final : public engine::permit_port {
 public:
  static constexpr std::uint16_t max_desks = 1024;

  bridge(caf::actor_system& system, dispatcher_actor dispatcher, boost::asio::io_context& io, std::uint16_t desk);
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

  desk_batch& outgoing();
  void flush();
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
  std::unordered_map<engine::ticket, waiter*> waiters_;
};

}  // namespace millrace::actors
