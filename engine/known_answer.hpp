#pragma once

#include <memory>
#include <string_view>

#include "engine/degrade.hpp"
#include "engine/pipeline.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::engine {

/// A request that is answered without a call of its own: from the cache, or from somebody else's call. It
/// counts against its client's requests, not its tokens, and costs nothing.
class known_answer {
 public:
  /// Both outlive it; `c` is changed by counting only.
  known_answer(pipeline::ports& ports, call& c) : ports_(ports), call_(c) {}

  /// Counts the request against its client's limits, once. False: `refusal` is the answer.
  bool admit(answer& refusal, yield y);
  /// An entry of the cache, or one kept for seconds; false when it cannot be told as a stream.
  bool from_entry(const cached_answer& entry, answer& out);
  /// The answer of the call that `flight` is; false when there is none for others, or it cannot be joined.
  /// When it is a stream, the call moves into it.
  bool from_flight(const shared_answer_ptr& flight, answer& out, yield y);
  answer refuse(const api_error& error);

 private:
  class recorded_stream;

  acquire_request question() const;
  bool from_result(const shared_result& result, answer& out, yield y);
  bool tell(const cached_answer& entry, answer& out);
  bool rescue(const api_error& error, answer& out, yield y);
  const model_config& model() const { return call_.config->models.at(call_.model.model); }
  answer stream_from(std::unique_ptr<follower> seat, std::string_view raw);
  void add_headers(answer& a);
  void record(int status, std::string_view error_code);

  pipeline::ports& ports_;
  call& call_;
  duration waited_{};  ///< for somebody else's call
  duration first_token_{};
  duration overhead_{};  ///< until the head was there
  answer_source source_;
  degrade_step step_ = degrade_step::none;
};

}  // namespace millrace::engine
