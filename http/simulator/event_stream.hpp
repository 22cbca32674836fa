#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "engine/time.hpp"

namespace millrace::http::simulation {

/// A streamed answer, event by event, each in an HTTP chunk of its own. Not thread-safe.
class event_stream {
 public:
  /// `chunked` false: no chunk framing, the end of the connection is the end of the body.
  explicit event_stream(bool chunked) : chunked_(chunked) {}
  virtual ~event_stream() = default;
  event_stream(const event_stream&) = delete;
  event_stream& operator=(const event_stream&) = delete;

  /// All events were written.
  virtual bool done() const = 0;
  /// When the next event is due, from the start of the stream.
  virtual engine::duration due() const = 0;
  /// `now_us` is what stamped tokens show.
  virtual void write_event(std::string& out, std::int64_t now_us) = 0;
  /// What was used by the events written so far: all input, and output as it was said.
  virtual engine::usage used() const = 0;

  std::int64_t events_written() const { return events_; }
  /// An event from elsewhere.
  void write_data(std::string& out, std::string_view event) const;
  /// The end of the body.
  void write_end(std::string& out) const {
    if (chunked_) out += "0\r\n\r\n";
  }

 protected:
  void count_event() { ++events_; }

 private:
  bool chunked_;
  std::int64_t events_ = 0;
};

/// When token `token` of a stream is due; 0 without a pace.
engine::duration due_of_token(std::int64_t token, double tokens_per_second);

}  // namespace millrace::http::simulation
