#pragma once

#include <exception>
#include <memory>

#include "engine/flight.hpp"
#include "engine/wait_point.hpp"

namespace millrace::engine {

/// A request's call that gets a second one beside it when it is silent for long: another flight, with a
/// ticket and a permit of its own, to another target. The first that has something to show wins: content of a
/// stream, or a whole plain answer. The other one is cancelled at once, and its connection closed; what it
/// used is paid, and told with the winner. Off by default, and within the node's `hedge_budget`.
///
/// Two coroutines of one thread, no locks. `run` returns when both are through, but for the winner's stream.
class hedged_call final : public attempt_watch {
 public:
  hedged_call(pipeline::ports& ports, call c);
  ~hedged_call() override = default;
  hedged_call(const hedged_call&) = delete;
  hedged_call& operator=(const hedged_call&) = delete;

  /// The answer, or an open stream of `winner()`.
  answer run(yield y);
  flight& winner() { return *winner_->made; }
  /// The client went away, but others want the answer.
  void client_left();

  void attempt_sent(const acquire_reply& grant) override;
  void attempt_speaks() override;
  bool claims(const flight& f) override;

 private:
  /// One of the two.
  struct runner {
    cancellation gone;
    std::unique_ptr<flight> made;
    answer got;
    bool running = false;
    bool good = false;
    std::exception_ptr failure;
  };

  void start(runner& r, call c);
  bool may_hedge() const;
  void hedge();
  answer finish(yield y);
  void wait_for(const runner& r, yield y);

  pipeline::ports& ports_;
  call call_;
  const hedge_config& config_;
  std::unique_ptr<thread_port::alarm>
      alarm_;  ///< this and the next outlive the runners, who use them to the end
  wait_point point_;
  runner first_;
  runner second_;
  runner* winner_ = nullptr;  ///< claimed, or decided in the end
  bool claimed_ = false;
  bool due_ = false;  ///< the first was silent for too long
  bool left_ = false;
  time_point started_;
  time_point hedged_at_;
  name_id target_ = no_name;    ///< that the first one calls
  cancellation::hook on_gone_;  ///< as long as the winner's stream is read
};

}  // namespace millrace::engine
