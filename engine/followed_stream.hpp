#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engine/pipeline.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::engine {

/// A stream that somebody else's call brings: read from a seat at it, in the form that this client asked for.
class followed_stream final : public answer_stream {
 public:
  /// `reader` has seen what the seat gave before; `pending` is what it made of it for this client.
  followed_stream(pipeline::ports& ports, route_kind route, std::unique_ptr<follower> seat,
                  std::unique_ptr<stream_reader> reader, std::string pending)
      : ports_(ports),
        route_(route),
        seat_(std::move(seat)),
        reader_(std::move(reader)),
        pending_(std::move(pending)) {}

  bool read(std::string& out, yield y) override;
  bool broken() const override { return broken_; }
  /// What it ended by, for the log; empty: well, or not yet.
  std::string_view error_code() const { return error_code_; }
  /// The others went on without it, whether or not its client has read that far.
  bool left_behind() const { return seat_->left_behind(); }

 private:
  bool break_off(const api_error& error, std::string& out);

  pipeline::ports& ports_;
  route_kind route_;
  std::unique_ptr<follower> seat_;
  std::unique_ptr<stream_reader> reader_;
  std::string pending_;
  bool over_ = false;
  bool broken_ = false;
  std::string error_code_;
};

}  // namespace millrace::engine
