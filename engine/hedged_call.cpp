#include "engine/hedged_call.hpp"

#include <utility>

#include "engine/hedge_budget.hpp"

namespace millrace::engine {

namespace {

/// Long enough for a permit to be leased where the node holds none, too short to wait for anybody's turn.
constexpr duration lease_patience = 100ms;

}  // namespace

hedged_call::hedged_call(pipeline::ports& ports, call c)
    : ports_(ports),
      call_(std::move(c)),
      config_(call_.config->models.at(call_.model.model).hedge),
      on_gone_(*call_.gone, [this] {
        first_.gone.cancel(call_.gone->cause());
        second_.gone.cancel(call_.gone->cause());
      }) {}

answer hedged_call::run(yield y) {
  if (ports_.hedges) ports_.hedges->call(call_.config->hedge_budget);
  if (call_.gone->cancelled()) first_.gone.cancel(call_.gone->cause());
  started_ = ports_.time.now();
  call c = call_;
  c.watch = this;
  start(first_, std::move(c));
  while (first_.running && !claimed_) {
    point_.wait(y);
    if (due_ && may_hedge()) hedge();
  }
  alarm_.reset();
  // Without an answer of the first, the second one is all there is.
  if (!claimed_) wait_for(second_, y);
  return finish(y);
}

/// Runs a flight on a coroutine of its own. The leader waits for it before anything that it uses goes away.
void hedged_call::start(runner& r, call c) {
  c.gone = &r.gone;
  r.made = std::make_unique<flight>(ports_, std::move(c));
  r.running = true;
  if (left_) r.made->client_left();
  ports_.thread.start([this, &r](yield y) {
    try {
      r.good = r.made->seek(r.got, y);
    } catch (...) {
      r.failure = std::current_exception();
    }
    r.running = false;
    point_.wake();
  });
}

bool hedged_call::may_hedge() const {
  return first_.running && !claimed_ && !second_.made && !call_.gone->cancelled() && ports_.hedges != nullptr;
}

/// Another target, at once or not at all.
void hedged_call::hedge() {
  due_ = false;
  if (!ports_.hedges->take()) return;
  call c = call_;
  c.watch = this;
  c.counted = first_.made->counted();
  c.beside = lease_patience;
  c.barred.push_back(target_);
  hedged_at_ = ports_.time.now();
  start(second_, std::move(c));
}

void hedged_call::wait_for(const runner& r, yield y) {
  while (r.running) point_.wait(y);
}

answer hedged_call::finish(yield y) {
  if (winner_ == nullptr) winner_ = second_.good && !first_.good ? &second_ : &first_;
  runner& loser = winner_ == &first_ ? second_ : first_;
  loser.gone.cancel();
  wait_for(*winner_, y);
  wait_for(loser, y);
  for (const runner* r : {&first_, &second_}) {
    if (r->failure) std::rethrow_exception(r->failure);
  }
  flight& won = *winner_->made;
  if (loser.made) {
    const bool asked = second_.made->attempts() > 0;
    if (!asked) ports_.hedges->give_back();
    won.beat(*loser.made, asked, winner_ == &second_, hedged_at_ - started_);
    loser.made.reset();
  }
  return won.end(std::move(winner_->got), winner_->good, y);
}

void hedged_call::client_left() {
  left_ = true;
  for (runner* r : {&first_, &second_}) {
    if (r->made) r->made->client_left();
  }
}

// --- what the flights say; of the second one only who wins matters

void hedged_call::attempt_sent(const acquire_reply& grant) {
  if (second_.made || ports_.hedges == nullptr) return;
  target_ = grant.target;
  const duration learned = call_.facts.stream ? grant.p95_first_token : grant.p95_first_byte;
  const duration after = config_.after > duration::zero() ? config_.after : learned;
  if (after <= duration::zero()) return;
  alarm_ = ports_.thread.at(ports_.time.now() + after, [this] {
    due_ = true;
    point_.wake();
  });
}

void hedged_call::attempt_speaks() {
  alarm_.reset();
  due_ = false;
}

bool hedged_call::claims(const flight& f) {
  runner& r = &f == first_.made.get() ? first_ : second_;
  if (claimed_) return winner_ == &r;
  claimed_ = true;
  winner_ = &r;
  (&r == &first_ ? second_ : first_).gone.cancel();
  point_.wake();
  return true;
}

}  // namespace millrace::engine
