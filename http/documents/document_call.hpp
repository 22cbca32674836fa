#pragma once

#include <memory>

#include "engine/pipeline.hpp"
#include "engine/shared_answer.hpp"

namespace millrace::http::documents {

/// A classification under way that identical documents wait for. Ends when nobody wants it any more. Used on
/// the leader's thread, apart from what `shared_answer` says of itself.
class document_call final : public engine::shared_answer, public std::enable_shared_from_this<document_call> {
 public:
  /// `in_table`: others find it in its shard, from which it takes itself in the end.
  document_call(engine::pipeline::ports& ports, const engine::cache_key& key, bool in_table)
      : shared_answer(ports.answers.transcripts()), ports_(ports), key_(key), in_table_(in_table) {}

  /// Fires when nobody wants the answer.
  engine::cancellation& stop() { return stop_; }
  /// The leader's own request is given up.
  void leader_gone(engine::cancel_cause why);
  /// Gives the answer to those who wait; null: they have to ask again. Before it, keep what is to be kept.
  void end(engine::shared_result_ptr result);

 private:
  void changed() override;
  void look();
  void leave_table();

  engine::pipeline::ports& ports_;
  const engine::cache_key key_;
  bool in_table_;
  bool ended_ = false;
  engine::cancellation stop_;
  engine::cancel_cause why_gone_ = engine::cancel_cause::client_gone;  ///< the leader, once it is
};

}  // namespace millrace::http::documents
