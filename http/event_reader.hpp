#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/sse.hpp"

namespace millrace::http {

/// Longest text of a provider's failure that is kept.
inline constexpr size_t max_failure_bytes = 1024;

/// A stream with its terminal marker and nothing before it.
inline constexpr std::string_view ended_unsaid =
    "The provider ended its stream without content and without a reason.";

/// What readers of event streams in all dialects have in common: it cuts the bytes into events and gives
/// them to `take` one by one, until the stream is over. Not thread-safe.
class event_reader : public engine::stream_reader {
 public:
  explicit event_reader(std::string_view client_model);

  state feed(std::string_view bytes, std::string& out) final;
  /// Some servers leave out the last empty line.
  state end(std::string& out) override { return feed(splitter_.lacking(), out); }
  const engine::usage& seen_usage() const final { return used_; }
  const std::string& failure() const final { return failure_; }
  int failure_status() const final { return failure_status_; }

 protected:
  /// The body ended within a line.
  bool is_cut() const { return splitter_.in_a_line(); }
  /// Reads the event in `event_`, appends to `out` what its client gets of it, and sets the state and usage.
  virtual void take(std::string& out) = 0;
  /// Ends the stream. `status`: as an HTTP answer would have had it; 0: unknown.
  void fail(std::string_view message, int status = 0);

  std::string model_;  ///< the client's name for it, as a JSON literal
  state state_ = state::preamble;
  engine::usage used_;

  // The event being read. Kept as members for their memory.
  sse_event event_;
  std::string joined_;

 private:
  bool over() const;

  sse_splitter splitter_;
  std::string failure_;
  int failure_status_ = 0;
};

}  // namespace millrace::http
