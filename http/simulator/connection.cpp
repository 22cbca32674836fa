#include "http/simulator/connection.hpp"

#include <algorithm>
#include <chrono>

namespace millrace::http::simulation {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

std::int64_t microseconds_of(engine::time_point t) {
  return std::chrono::duration_cast<std::chrono::microseconds>(t.time_since_epoch()).count();
}

}  // namespace

connection::connection(asio::ip::tcp::socket socket, provider& answers, stats_book& stats)
    : socket_(std::move(socket)), timer_(socket_.get_executor()), provider_(answers), stats_(stats) {
  stats_.connected();
}

connection::~connection() {
  stats_.disconnected();
}

void connection::start() {
  error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket_.non_blocking(true, ignored);
  start_read();
}

/// Goes on until something has to be waited for. Called after everything that was waited for.
void connection::run() {
  while (step()) {
  }
  flush();
  start_read();
}

/// True when something was done and there may be more to do at once.
bool connection::step() {
  if (out_.size() - out_at_ >= batch_bytes && !flush()) return false;
  switch (phase_) {
    case phase::reading:
      return take_request();
    case phase::dripping:
      return drip();
    case phase::streaming:
      return stream_some();
    case phase::draining:
      if (!flush()) return false;
      finish_reply(reply_.then);
      return true;
    case phase::closing:
      if (flush()) close();
      return false;
    case phase::waiting:
      if (timing_) return false;
      continue_reply();
      return true;
    case phase::stalled:
    case phase::closed:
      break;
  }
  return false;
}

bool connection::take_request() {
  const auto result = reader_.next(request_);
  if (result == request_reader::result::incomplete) {
    if (reader_.wants_continue()) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    return false;
  }
  if (result != request_reader::result::ready) {
    refuse(result);
    return true;
  }
  // The capacity of `bytes` is worth keeping between small answers.
  std::string bytes = std::move(reply_.bytes);
  bytes.clear();
  if (bytes.capacity() > batch_bytes) bytes = {};
  reply_ = {};
  reply_.bytes = std::move(bytes);
  provider_.answer(request_, reply_);
  begin_reply();
  return true;
}

void connection::begin_reply() {
  if (reply_.wait > engine::duration::zero()) {
    phase_ = phase::waiting;
    wait_until(engine::clock::now() + reply_.wait);
  } else {
    continue_reply();
  }
}

void connection::continue_reply() {
  dripped_ = 0;
  phase_ = phase::dripping;
  if (reply_.drip > engine::duration::zero()) return;
  if (out_.empty())
    out_.swap(reply_.bytes);
  else
    out_ += reply_.bytes;
  dripped_ = reply_.bytes.size();
  if (reply_.stream) {
    phase_ = phase::streaming;
    stream_start_ = engine::clock::now();
  } else if (reply_.then == reply::ending::keep && out_.size() - out_at_ < batch_bytes) {
    finish_reply(reply_.then);  // the kernel's buffer takes as much; pipelined answers share one write
  } else {
    phase_ = phase::draining;
  }
}

bool connection::drip() {
  if (timing_) return false;
  const size_t size = std::min(drip_bytes, reply_.bytes.size() - dripped_);
  out_.append(reply_.bytes, dripped_, size);
  dripped_ += size;
  if (dripped_ < reply_.bytes.size()) {
    wait_until(engine::clock::now() + reply_.drip);
    return false;
  }
  phase_ = reply_.stream ? phase::streaming : phase::draining;
  stream_start_ = engine::clock::now();
  return true;
}

bool connection::stream_some() {
  if (timing_) return false;
  event_stream& stream = *reply_.stream;
  auto now = engine::clock::now();
  while (!stream.done()) {
    if (stream.events_written() == reply_.stop_after) {
      break_off_stream();
      return true;
    }
    if (out_.size() - out_at_ >= batch_bytes) return true;
    const auto due =
        stream_start_ + stream.due() + (stream.events_written() > 0 ? reply_.pause : engine::duration{});
    if (due > now) now = engine::clock::now();
    if (due > now) {
      wait_until(due);
      return false;
    }
    stream.write_event(out_, microseconds_of(now));
  }
  stream.write_end(out_);
  phase_ = phase::draining;
  return true;
}

void connection::break_off_stream() {
  reply_.how = outcome::failed;
  reply_.then = reply_.broken_then;
  if (!reply_.last_event.empty()) {
    reply_.stream->write_data(out_, reply_.last_event);
    reply_.stream->write_end(out_);
  }
  phase_ = phase::draining;
}

void connection::finish_reply(reply::ending then) {
  if (then == reply::ending::stall) {
    phase_ = phase::stalled;  // not accounted before the client has gone
    return;
  }
  account(reply_.how);
  if (then == reply::ending::reset) return reset();
  phase_ = then == reply::ending::keep ? phase::reading : phase::closing;
}

void connection::start_read() {
  if (reading_ || phase_ == phase::closed) return;
  if (phase_ != phase::reading && reader_.buffered() > request_reader::max_pipelined_bytes) return;
  reading_ = true;
  const auto [data, size] = reader_.room();
  socket_.async_read_some(asio::buffer(data, size),
                          [self = shared_from_this()](error_code error, size_t bytes) {
                            self->reading_ = false;
                            if (error) return self->client_gone();
                            self->reader_.commit(bytes);
                            self->run();
                          });
}

void connection::wait_until(engine::time_point when) {
  timing_ = true;
  timer_.expires_at(when);
  timer_.async_wait([self = shared_from_this()](error_code error) {
    self->timing_ = false;
    if (!error) self->run();
  });
}

/// True when nothing is left to be written.
bool connection::flush() {
  if (writing_ || phase_ == phase::closed) return false;
  while (out_at_ < out_.size()) {
    error_code error;
    out_at_ += socket_.write_some(asio::buffer(out_.data() + out_at_, out_.size() - out_at_), error);
    if (error == asio::error::would_block) {
      writing_ = true;
      socket_.async_wait(asio::socket_base::wait_write, [self = shared_from_this()](error_code failed) {
        self->writing_ = false;
        if (!failed) self->run();
      });
      return false;
    }
    if (error) {
      client_gone();
      return false;
    }
  }
  out_.clear();
  out_at_ = 0;
  if (out_.capacity() > 4 * batch_bytes) out_.shrink_to_fit();
  return true;
}

void connection::refuse(request_reader::result why) {
  out_ += why == request_reader::result::too_large ? "HTTP/1.1 413 Payload Too Large\r\n"
                                                   : "HTTP/1.1 400 Bad Request\r\n";
  out_ += "connection: close\r\ncontent-length: 0\r\n\r\n";
  phase_ = phase::closing;
}

void connection::client_gone() {
  const bool answering = phase_ == phase::waiting || phase_ == phase::dripping ||
                         phase_ == phase::streaming || phase_ == phase::draining || phase_ == phase::stalled;
  if (answering) account(outcome::cancelled);
  close();
}

void connection::account(outcome how) {
  if (reply_.ledger == nullptr) return;
  if (reply_.stream)
    reply_.ledger->finish(how, reply_.stream->used(), *reply_.bill);
  else
    reply_.ledger->finish(how, how == outcome::answered ? reply_.used : engine::usage{}, *reply_.bill);
  reply_.ledger = nullptr;
}

void connection::close() {
  phase_ = phase::closed;
  error_code ignored;
  timer_.cancel(ignored);
  socket_.close(ignored);
}

void connection::reset() {
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

}  // namespace millrace::http::simulation
