#include <utility>

#include "engine/answer_headers.hpp"
#include "engine/flight.hpp"

/// Streams that are passed on as they come.
namespace millrace::engine {
namespace {

/// The most a stream may send before its first content: role, comments, nothing more.
constexpr size_t max_preamble_bytes = 1u << 20;

}  // namespace

/// Reads until there is content worth showing: before it, a failing stream is replaced unseen.
flight::step flight::start_stream(answer& out, yield y) {
  reader_ = wire_->read_stream(call_.route, call_.facts, call_.facts.include_usage);
  pending_.clear();
  std::string piece;
  std::string raw;  // for those who share the answer
  auto state = stream_reader::state::preamble;
  // For all of it: comments and empty events do not buy more time.
  const time_point latest = until(provider_->timeouts.first_token, ports_.time.now());
  while (state == stream_reader::state::preamble) {
    const time_point start = ports_.time.now();
    const upstream_failure failure = exchange_->read(piece, latest, y);
    upstream_time_ += ports_.time.now() - start;
    const bool ended = failure == upstream_failure::none && piece.empty();
    if (ended) state = reader_->end(pending_);
    if (failure != upstream_failure::none || (ended && state == stream_reader::state::preamble)) {
      used_ = reader_->seen_usage();
      reader_.reset();
      return fail_io(ended ? upstream_failure::reset : failure, "starting its stream");
    }
    if (ended) break;
    if (call_.share || looks_for_refusals()) raw += piece;
    heard_.feed(piece);
    state = reader_->feed(piece, pending_);
    if (state == stream_reader::state::preamble && pending_.size() > max_preamble_bytes) {
      reader_.reset();
      return fail_io(upstream_failure::too_large, "starting its stream");
    }
  }
  if (state == stream_reader::state::failed) {
    bill_what_came();
    auto failure = stream_failure();
    reader_.reset();
    return fail(std::move(failure));
  }
  if (turn_away(200, raw, out)) return step::turned_away;
  if (call_.watch && !call_.watch->claims(*this)) {
    used_ = reader_->seen_usage();
    reader_.reset();
    return fail_io(upstream_failure::cancelled, "starting its stream");
  }
  const time_point now = ports_.time.now();
  speaks(now - attempt_start_);
  client_first_token_ = now - call_.received;
  stream_over_ = state == stream_reader::state::done;
  if (call_.share) call_.share->begin_stream(source(), raw);
  out.status = 200;
  out.content_type = "text/event-stream; charset=utf-8";
  out.headers.emplace_back("cache-control", "no-cache");
  out.headers.emplace_back("x-accel-buffering", "no");
  return step::answered;
}

bool flight::read(std::string& out, yield y) {
  if (!pending_.empty()) {
    out += std::exchange(pending_, {});
    return true;
  }
  if (finished_) return false;
  std::string piece;
  while (!stream_over_) {
    const time_point latest = until(provider_->timeouts.idle, ports_.time.now());
    const upstream_failure failure = exchange_->read(piece, latest, y);
    if (failure == upstream_failure::cancelled && late_) {
      return break_stream({attempt_outcome::out_of_time, "timeout", deadline_error(), {}}, out);
    }
    if (failure == upstream_failure::cancelled && call_.gone->cancelled_for(cancel_cause::stopping)) {
      return break_stream(io_failure(failure, ""), out);
    }
    if (failure == upstream_failure::cancelled) {
      settle(attempt_outcome::cancelled, "cancelled");
      broken_ = true;
      finish(200, "client_gone");
      return false;
    }
    if (failure != upstream_failure::none)
      return break_stream(io_failure(failure, "sending its stream"), out);
    const bool ended = piece.empty();
    if (call_.share && !ended) call_.share->append(piece);
    heard_.feed(piece);
    const auto state = ended ? reader_->end(out) : reader_->feed(piece, out);
    if (state == stream_reader::state::failed) {
      auto failed = io_failure(upstream_failure::protocol, "sending its stream");
      if (!reader_->failure().empty())
        failed.error.message =
            "The provider ended the stream with an error: " + without_key(reader_->failure());
      return break_stream(failed, out);
    }
    stream_over_ = state == stream_reader::state::done;
    if (ended && !stream_over_)
      return break_stream(io_failure(upstream_failure::reset, "sending its stream"), out);
    if (!out.empty()) return true;
  }
  read_trailer(y);
  settle(attempt_outcome::ok, "ok");
  finish(200, "");
  return false;
}

/// What may follow the stream's terminal marker; without a proper end the connection is not used again.
void flight::read_trailer(yield y) {
  std::string piece;
  const upstream_failure rest = exchange_->read(piece, ports_.time.now() + trailer_patience, y);
  if (rest != upstream_failure::none || !piece.empty()) exchange_.reset();
}

/// Tells the client inside the stream that it is not whole; what was received before stands.
bool flight::break_stream(const attempt_failure& failure, std::string& out) {
  out += format().error_event(failure.error);
  settle(failure.outcome, "cut");
  broken_ = true;
  finish(200, failure.error.code);
  last_failure_ = failure;
  return true;
}

}  // namespace millrace::engine
