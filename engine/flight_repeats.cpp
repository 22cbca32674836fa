#include <algorithm>
#include <utility>

#include "engine/flight.hpp"

/// When a flight calls a target or a key again that failed it before.
namespace millrace::engine {

/// Whether a target that failed already may be called again, after the pause this needs. After a 429 that may
/// be another key of it, or the same one after its rest.
bool flight::may_repeat(yield y) {
  if (call_.beside) return false;
  const time_point now = ports_.time.now();
  retry_question q = question(*last_failure_, now);
  if (q.outcome == attempt_outcome::rate_limited) {
    if (!tried(grant_.target)) return false;  // it was decided already, see `rest_key`
    q.retry_after = {};
  }
  const auto pause = decide_retry(q, call_.config->retry, ports_.time.random(), ports_.budget, now);
  if (!pause) return false;
  prepaid_ = true;
  const bool rested = ports_.time.sleep(*pause, *call_.gone, y);
  aside_ += rested ? *pause : ports_.time.now() - now;
  return rested;
}

retry_question flight::question(const attempt_failure& f, time_point now) const {
  retry_question q;
  q.outcome = f.outcome;
  q.attempts_made = attempts_;
  q.client_gone = call_.gone->cancelled();
  q.time_left = call_.deadline - now;
  q.retry_after = f.retry_after;
  q.patience = call_.config->queue.max_wait;
  return q;
}

/// Another call with a key that said 429 is a repeat like others, within the budgets. Other keys and targets
/// are asked meanwhile, and the dispatcher waits for the first of all: the node's budget pays for it only
/// when it is made.
void flight::rest_key(const attempt_failure& f, duration cooldown) {
  const time_point now = ports_.time.now();
  const retry_config& retry = call_.config->retry;
  retry_question q = question(f, now);
  q.retry_after = cooldown;
  std::optional<duration> pause;
  if (cooldown > q.patience) {
    // Nobody waits for that, and the dispatcher knows best when to come again. It may be over all the same
    // before others have answered.
    if (attempts_ < retry.attempts) pause = cooldown;
  } else if (ports_.budget.may_retry(now, retry.budget)) {
    pause = retry_pause(q, retry, ports_.time.random());
  }
  if (call_.beside) pause.reset();
  // In steps, so that the dispatcher looks at those together who may come at about the same time.
  using step = std::chrono::duration<std::int64_t, std::deci>;
  const time_point until = pause ? time_point(std::chrono::ceil<step>(now + *pause)) : time_point::max();
  if (const auto known = rest_of_grant(); known != rests_.end()) {
    known->until = until;
  } else {
    rests_.push_back({grant_.key, grant_.target, until});
  }
}

std::vector<key_rest>::iterator flight::rest_of_grant() {
  return std::find_if(rests_.begin(), rests_.end(),
                      [&](const key_rest& r) { return r.key == grant_.key && r.target == grant_.target; });
}

/// Pays for the repeat that a grant stands for, once. False: this request or the node may make none, and the
/// permit goes back.
bool flight::affords_grant() {
  const bool paid = std::exchange(prepaid_, false);
  const auto rest = rest_of_grant();
  if (rest == rests_.end()) return true;
  const retry_config& retry = call_.config->retry;
  const bool due = rest->until < time_point::max() && attempts_ < retry.attempts;
  if (due && (paid || ports_.budget.try_retry(ports_.time.now(), retry.budget))) {
    repeated_ = true;
    rests_.erase(rest);
    return true;
  }
  rest->until = time_point::max();
  settle(attempt_outcome::unused, "unused");
  return false;
}

bool flight::tried(name_id target) const {
  return std::find(tried_.begin(), tried_.end(), target) != tried_.end();
}

}  // namespace millrace::engine
