#include "engine/led_call.hpp"

#include <utility>

#include "engine/answer_headers.hpp"
#include "engine/followed_stream.hpp"

namespace millrace::engine {

/// What the leader's client reads: the call itself, or, once others joined, its seat among them.
class led_call::client_stream final : public answer_stream {
 public:
  client_stream(std::shared_ptr<led_call> c, cancellation& gone)
      : call_(std::move(c)), gone_(gone), on_gone_(gone, [this] { call_->leader_gone(gone_.cause()); }) {
    call_->client_ = this;
    if (call_->deadline_ != time_point::max()) {
      deadline_ = call_->ports_.thread.at(call_->deadline_, [this] { call_->leader_late(); });
    }
    if (gone.cancelled()) call_->leader_gone(gone.cause());
  }
  ~client_stream() override {
    followed_.reset();
    call_->client_stream_dropped();
  }

  bool read(std::string& out, yield y) override {
    return followed_ ? followed_->read(out, y) : call_->read_for_leader(out, y);
  }
  bool broken() const override { return followed_ ? followed_->broken() : call_->broken_; }

  /// From now on the pump reads the provider. False where the stream's beginning is not kept any more.
  bool follow() {
    const auto transcript = call_->transcript();
    if (!transcript) return false;
    auto seat = std::make_unique<follower>(call_, follower::leaders_seat{call_->end_position()}, gone_,
                                           call_->ports_.thread, call_->deadline_);
    auto reader =
        call_->flight_->source().wire->read_stream(call_->route_, call_->form(), call_->include_usage_);
    // The same bytes bring the reader to where the call's own stands; what the client has got is left out.
    std::string so_far;
    reader->feed(*transcript, so_far);
    if (call_->flight_->stream_over()) reader->end(so_far);
    so_far.erase(0, call_->delivered_);
    followed_ = std::make_unique<followed_stream>(call_->ports_, call_->route_, std::move(seat),
                                                  std::move(reader), std::move(so_far));
    return true;
  }

 private:
  std::shared_ptr<led_call> call_;
  cancellation& gone_;
  cancellation::hook on_gone_;
  std::unique_ptr<thread_port::alarm> deadline_;
  std::unique_ptr<followed_stream> followed_;
};

/// Sees to it that a call that ends by an exception does not stay in its table.
class led_call::ending {
 public:
  explicit ending(led_call& c) : call_(c) {}
  ~ending() {
    if (done) return;
    call_.leave_table();
    call_.abandon();
    // On this thread, whoever holds the call longest. A race's other coroutine may still be in it.
    if (call_.own_) call_.end_call();
  }
  ending(const ending&) = delete;
  ending& operator=(const ending&) = delete;

  bool done = false;

 private:
  led_call& call_;
};

led_call::led_call(pipeline::ports& ports, const cache_key& key, const cache_plan& plan, bool in_table)
    : shared_answer(ports.answers.transcripts()),
      ports_(ports),
      key_(key),
      plan_(plan),
      in_table_(in_table) {}

answer led_call::lead(call c, yield y) {
  ending guard(*this);
  cancellation& client_gone = *c.gone;
  const std::shared_ptr<led_call> self = shared_from_this();
  if (keeps()) asked_at_ = ports_.time.wall();
  config_ = c.config;
  route_ = c.route;
  tenant_ = c.client->tenant;
  model_ = c.facts.model;
  input_tokens_ = c.facts.input_tokens;
  include_usage_ = c.facts.include_usage;
  deadline_ = c.deadline;
  c.gone = &stop_;
  c.share = in_table_ || keeps() ? this : nullptr;
  calling_ = true;
  const bool hedges = ports_.hedges && config_->models.at(c.model.model).hedge.enabled;
  if (hedges) {
    race_ = std::make_unique<hedged_call>(ports_, std::move(c));
  } else {
    own_.emplace(ports_, std::move(c));
    flight_ = &*own_;
  }
  const cancellation::hook on_gone(client_gone, [&] { leader_gone(client_gone.cause()); });
  if (client_gone.cancelled()) leader_gone(client_gone.cause());
  reading_ = true;
  answer a = hedges ? race_->run(y) : flight_->run(y);
  reading_ = false;
  if (hedges) flight_ = &race_->winner();
  if (flight_->streaming()) {
    flight_->lift_deadline();
    a.stream = std::make_unique<client_stream>(self, client_gone);
    guard.done = true;
    look();
  } else {
    publish(a);
    guard.done = true;
    end_call();
  }
  return a;
}

void led_call::never_made() {
  leave_table();
  abandon();
}

void led_call::found(const cached_answer_ptr& entry) {
  leave_table();
  if (!has_followers()) return;
  auto result = std::make_shared<shared_result>();
  result->answer = entry;
  result->from_cache = true;
  finish(std::move(result));
}

/// Keeps a whole answer and gives it to those who wait. Known before it leaves the table, so that whoever
/// comes meanwhile finds it in one of the two places.
void led_call::publish(const answer& a) {
  const bool good = a.status >= 200 && a.status < 300;
  cached_answer_ptr entry;
  if (flight_->refusal()) {
    publish_failure(*flight_->refusal());
    return;
  }
  const std::string* body = good ? flight_->whole(a) : &a.body;
  const std::string_view type = body == &a.body ? std::string_view(a.content_type) : "application/json";
  if (a.status == 200 && body && keeps() && !flight_->makeshift())
    keep(entry = make_entry(*body, type, flight_->used()));
  leave_table();
  if (!has_followers()) return;
  if (!body) {
    abandon();
    return;
  }
  auto result = std::make_shared<shared_result>();
  result->status = a.status;
  result->answer = entry ? entry : make_entry(*body, type, {});
  finish(std::move(result));
}

/// Whatever the leader got instead of an answer, each follower finds its own: it may take less stale ones.
void led_call::publish_failure(const api_error& error) {
  leave_table();
  if (!has_followers()) return;
  if (flight_->personal()) {
    abandon();
    return;
  }
  answer a = error_answer(error, ports_.formats.of(route_));
  auto result = std::make_shared<shared_result>();
  result->status = a.status;
  if (is_outage(error)) result->outage = error;
  result->headers = std::move(a.headers);
  result->answer = make_entry(std::move(a.body), a.content_type, {});
  finish(std::move(result));
}

cached_answer_ptr led_call::make_entry(std::string body, std::string_view content_type,
                                       const usage& used) const {
  auto entry = std::make_shared<cached_answer>();
  const answer_source source = flight_->source();
  entry->body = std::move(body);
  entry->content_type = content_type;
  entry->tenant = tenant_;
  entry->model = model_;
  entry->provider = source.provider;
  entry->upstream_model = source.upstream_model;
  entry->key_id = source.key_id;
  entry->fallback = source.fallback;
  entry->dropped = source.dropped;
  entry->upgraded = source.upgraded;
  entry->confidence = source.confidence;
  entry->input_tokens = used.input_tokens;
  entry->output_tokens = used.output_tokens;
  entry->stored_at = asked_at_;
  entry->coalesced = !plan_.store;
  const auto life =
      std::chrono::duration_cast<std::chrono::milliseconds>(plan_.store ? plan_.ttl : keep_time);
  entry->expires_at = ports_.time.wall() + life;
  if (plan_.store && plan_.keep_stale > duration::zero()) {
    entry->stale_until =
        entry->expires_at + std::chrono::duration_cast<std::chrono::milliseconds>(plan_.keep_stale);
  }
  return entry;
}

void led_call::keep(const cached_answer_ptr& entry) {
  const bool to_disk = plan_.store && ports_.disk != nullptr;
  const std::size_t shard = shard_of(key_, ports_.answers.size());
  if (ports_.answers.at(shard).put(key_, entry, ports_.time.wall(), to_disk)) ports_.to_be_written(shard);
}

void led_call::leave_table() {
  if (std::exchange(in_table_, false)) {
    ports_.answers.of(key_).leave(key_, shared_from_this());
  } else {
    close();
  }
}

// --- streams

bool led_call::read_for_leader(std::string& out, yield y) {
  if (!flight_) return false;
  reading_ = true;
  const std::size_t before = out.size();
  wait_for_room(y);  // for those whom it reads for, if it cannot be one of them
  const bool more = flight_->read(out, y);
  reading_ = false;
  delivered_ += out.size() - before;
  // A stream that broke has told so; whoever read on would hear of it again.
  if (!more || flight_->broken()) {
    stream_over();
  } else if (has_followers()) {
    hand_over();
  }
  return more;
}

/// The provider's stream is over, well or not.
void led_call::stream_over() {
  broken_ = flight_->broken();
  shared_result_ptr whole;
  const bool wanted = keeps() || wanted_whole();
  const auto text = broken_ || !wanted ? std::nullopt : transcript();
  std::string body;
  usage used;
  if (text && flight_->source().wire->collect_answer(route_, *text, form(), body, used)) {
    auto result = std::make_shared<shared_result>();
    result->answer = make_entry(std::move(body), "application/json", used);
    if (keeps() && !flight_->makeshift()) keep(result->answer);
    whole = std::move(result);
  }
  leave_table();
  end_stream(broken_ ? std::optional(flight_->failure()) : std::nullopt, std::move(whole));
  end_call();
}

/// The call is over; nothing of it is needed any more.
void led_call::end_call() {
  calling_ = false;
  flight_ = nullptr;
  own_.reset();
  race_.reset();
}

/// Gives the call to a coroutine that serves all alike. Where the leader's client cannot be given a seat any
/// more, it goes on reading for all.
void led_call::hand_over() {
  if (pumping_ || (client_ && !client_->follow())) return;
  pumping_ = true;
  ports_.thread.start([self = shared_from_this()](yield y) { self->pump(y); });
}

/// The slowest follower holds up the others, but not for long.
void led_call::wait_for_room(yield y) {
  while (!has_room() && !stop_.cancelled()) {
    bool too_long = false;
    const auto patience = ports_.thread.at(ports_.time.now() + longest_wait_for_slow, [&] {
      too_long = true;
      room_.wake();
    });
    room_.wait(y);
    if (too_long && part_with_slow(reading_)) flight_->client_cut("slow_reader");
  }
}

void led_call::pump(yield y) {
  try {
    std::string seen;
    do {
      wait_for_room(y);
      seen.clear();
    } while (flight_->read(seen, y));
    stream_over();
  } catch (...) {
    leave_table();
    end_stream(internal_error(), nullptr);
    end_call();
    throw;
  }
}

// --- who wants it

void led_call::changed() {
  ports_.thread.post([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->look();
  });
}

void led_call::look() {
  if (!calling_) return;
  room_.wake();
  if (unwanted()) {
    leave_table();
    stop_.cancel(why_gone_);
  } else if (flight_ && flight_->streaming() && !reading_ && has_followers()) {
    hand_over();
  }
}

void led_call::leader_gone(cancel_cause why) {
  if (!calling_) return;
  why_gone_ = why;
  if (flight_ && why == cancel_cause::client_gone) flight_->client_left();
  if (race_ && why == cancel_cause::client_gone) race_->client_left();
  if (!leader_left()) return;
  leave_table();
  stop_.cancel(why);
}

/// With others at the stream, the leader's client leaves it at its next event.
void led_call::leader_late() {
  if (!flight_ || pumping_ || has_followers()) return;
  flight_->deadline_passed();
  leave_table();
  stop_.cancel();
}

void led_call::client_stream_dropped() {
  client_ = nullptr;
  if (!flight_ || pumping_) return;
  if (leader_left()) {
    leave_table();
    stop_.cancel(why_gone_);
    end_call();
  } else {
    if (why_gone_ == cancel_cause::client_gone) flight_->client_left();
    hand_over();
  }
}

}  // namespace millrace::engine
