#pragma once

#include <memory>
#include <optional>
#include <string>

#include "engine/flight.hpp"
#include "engine/hedged_call.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::engine {

/// A shared answer as the thread sees it that makes the call. As long as nobody joins, the leader's own
/// coroutine carries it, and the provider is read as fast as the leader's client takes it. Once somebody
/// joins a stream, a coroutine of its own (the pump) reads the provider, and the leader's client becomes one
/// follower among others: neither its slowness nor its end is theirs.
///
/// Used on its own thread, apart from what `shared_answer` says of itself.
class led_call final : public shared_answer, public std::enable_shared_from_this<led_call> {
 public:
  /// `in_table`: others may find it in its shard, from which it takes itself in the end.
  led_call(pipeline::ports& ports, const cache_key& key, const cache_plan& plan, bool in_table);

  /// Makes the call, keeps its answer as planned, and returns what the leader's client gets.
  answer lead(call c, yield y);
  /// The answer was found on disk, before any call was made.
  void found(const cached_answer_ptr& entry);
  /// There will be no call; whoever joined asks for itself.
  void never_made();

 private:
  class client_stream;
  class ending;

  void changed() override;
  void look();
  void leader_gone(cancel_cause why);
  void leader_late();
  void client_stream_dropped();
  void hand_over();
  void pump(yield y);
  void wait_for_room(yield y);
  bool read_for_leader(std::string& out, yield y);
  void stream_over();
  void publish(const answer& a);
  void publish_failure(const api_error& error);
  cached_answer_ptr make_entry(std::string body, std::string_view content_type, const usage& used) const;
  void keep(const cached_answer_ptr& entry);
  answer_form form() const { return {model_, input_tokens_}; }
  bool keeps() const { return plan_.store || plan_.keep; }
  void leave_table();
  void end_call();

  pipeline::ports& ports_;
  const cache_key key_;
  const cache_plan plan_;
  bool in_table_;
  wall_time asked_at_{};
  config_ptr config_;
  route_kind route_ = route_kind::chat;
  std::string tenant_;
  std::string model_;  ///< as the client calls it
  std::int64_t input_tokens_ = 0;
  bool include_usage_ = false;
  time_point deadline_;  ///< of the leader's client

  cancellation stop_;                                  ///< ends the call: nobody wants its answer
  cancel_cause why_gone_ = cancel_cause::client_gone;  ///< the leader, once it is
  bool calling_ = false;
  std::optional<flight> own_;
  std::unique_ptr<hedged_call> race_;  ///< instead, where the model hedges
  flight* flight_ = nullptr;           ///< whose answer it is, once that is known
  client_stream* client_ = nullptr;    ///< of the leader, while it reads a stream
  bool reading_ = false;               ///< the leader's coroutine is inside the flight: nobody else may be
  bool pumping_ = false;
  std::size_t delivered_ = 0;  ///< bytes that the leader's client got before the pump began
  bool broken_ = false;
  wait_point room_;  ///< where the pump waits for the slowest follower
};

}  // namespace millrace::engine
