#include <algorithm>
#include <utility>

#include "engine/flight.hpp"

/// Asking a better model where an answer is not sure enough: both calls are paid and reported, the surer
/// answer is given.
namespace millrace::engine {

namespace {

bool wanted(const upgrade_config& u, double confidence, double random) {
  const bool unsure = confidence < 0 ? u.when_unreadable : confidence < u.threshold;
  return unsure || (confidence >= 0 && random < u.sample);
}

}  // namespace

/// Reads a stream to its end before anybody sees any of it: until then it is an attempt like any other.
flight::step flight::read_stream_whole(answer& out, yield y) {
  reader_ = wire_->read_stream(call_.route, call_.facts, call_.facts.include_usage);
  const auto failed = [this](attempt_failure f) {
    const step s = fail(std::move(f));  // with what the reader saw used
    reader_.reset();
    return s;
  };
  constexpr std::string_view phase = "sending its stream";
  std::string raw;
  std::string told;
  std::string piece;
  auto state = stream_reader::state::preamble;
  const time_point first = until(provider_->timeouts.first_token, ports_.time.now());
  while (state != stream_reader::state::done) {
    const bool begun = state != stream_reader::state::preamble;
    const time_point start = ports_.time.now();
    const upstream_failure failure =
        exchange_->read(piece, begun ? until(provider_->timeouts.idle, start) : first, y);
    upstream_time_ += ports_.time.now() - start;
    if (failure != upstream_failure::none) return failed(io_failure(failure, phase));
    const bool ended = piece.empty();
    raw += piece;
    heard_.feed(piece);
    if (raw.size() > max_answer_bytes) return failed(io_failure(upstream_failure::too_large, phase));
    state = ended ? reader_->end(told) : reader_->feed(piece, told);
    if (state == stream_reader::state::failed) {
      bill_what_came();
      return failed(stream_failure());
    }
    if (ended && state != stream_reader::state::done)
      return failed(io_failure(upstream_failure::reset, phase));
    if (!begun && state != stream_reader::state::preamble) speaks(ports_.time.now() - attempt_start_);
  }
  read_trailer(y);
  if (turn_away(200, raw, out)) return step::turned_away;
  settle(attempt_outcome::ok, "ok");
  reader_.reset();
  std::string body;
  usage used;
  if (wire_->collect_answer(call_.route, raw, call_.facts, body, used)) plain_ = std::move(body);
  out.status = 200;
  out.content_type = "text/event-stream; charset=utf-8";
  out.headers = {{"cache-control", "no-cache"}};
  out.body = std::move(told);
  return step::answered;
}

const std::string* flight::whole(const answer& a) const {
  if (plain_) return &*plain_;
  return reads_whole_ ? nullptr : &a.body;
}

void flight::improve(answer& out, yield y) {
  using outcome = upgrade_record::outcome;
  const upgrade_config& u = *model_.upgrade;
  const auto gist = [&](const std::string* body) {
    return body ? ports_.formats.gist_of(call_.route, *body, u.confidence) : answer_gist{};
  };
  const answer_gist first = gist(whole(out));
  confidence_ = first.confidence;
  upgrade_record r{model_.name, to_string(call_.route), outcome::sure, first.confidence, first.confidence};
  if (wanted(u, first.confidence, ports_.time.random())) {
    flight other(ports_, second_call(u));
    answer theirs;
    const bool answered = other.seek(theirs, y);
    r.what = answered ? outcome::kept : outcome::failed;
    const answer_gist second = answered ? gist(other.whole(theirs)) : answer_gist{};
    if (answered && second.confidence >= first.confidence) {
      r.what = second.said == first.said ? outcome::same : outcome::changed;
      r.after = confidence_ = second.confidence;
      give_instead(other, out, std::move(theirs));
    }
    absorb(other);
    attempts_beside_ += other.attempts_;
    waited_ += other.waited_;
    upstream_time_ += other.upstream_time_;
  }
  ports_.watch.upgrade_done(r);
}

/// To the upgrade model's own targets, but not to the one that has answered.
call flight::second_call(const upgrade_config& u) const {
  call c = call_;
  c.model = {u.model_index, {}};
  c.counted = client_state_;
  c.share = nullptr;
  c.watch = nullptr;
  c.beside = u.max_wait;
  c.read_whole = true;
  c.barred = {target_->name};
  const auto& models = call_.config->models;
  const auto& own = models[u.model_index].targets;
  for (const size_t fallback : models[u.model_index].fallback_models) {
    for (const target_config& t : models[fallback].targets) {
      const auto same = [&](const target_config& o) { return o.name == t.name; };
      if (std::none_of(own.begin(), own.end(), same)) c.barred.push_back(t.name);
    }
  }
  return c;
}

/// Takes over what another call for the same request cost.
void flight::absorb(const flight& other) {
  attempts_ += other.attempts_;
  cost_ += other.cost_;
  used_beside_ += other.used_;
  used_beside_ += other.used_beside_;
}

void flight::beat(flight& loser, bool asked, bool second, duration head_start) {
  attempts_beside_ += second ? attempts_ : loser.attempts_;
  absorb(loser);
  loser.reports_ = false;
  reports_ = true;
  if (asked) hedge_ = second ? "won" : "lost";
  // Both waited at the same time; what came before is the first one's.
  if (second) upstream_time_ += head_start;
}

/// The answer is another call's from here on, which keeps what the one before used.
void flight::give_instead(flight& other, answer& out, answer theirs) {
  std::swap(used_, other.used_);
  provider_ = other.provider_;
  target_ = other.target_;
  key_ = other.key_;
  wire_ = other.wire_;
  upstream_model_ = std::move(other.upstream_model_);
  request_.dropped = std::move(other.request_.dropped);
  fallback_ = other.fallback_;
  plain_ = std::move(other.plain_);
  upgraded_ = true;
  out = std::move(theirs);
}

}  // namespace millrace::engine
