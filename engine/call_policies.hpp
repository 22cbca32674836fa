#pragma once

#include <cstddef>
#include <string>

#include "engine/time.hpp"

/// What a model's configuration says of calls that do not go as hoped.
namespace millrace::engine {

/// What clients get when no provider answers, in this order.
struct degrade_config {
  duration stale{};      ///< how long beyond its ttl a kept answer may serve in an outage; 0: never
  bool builtin = false;  ///< an answer of the builtin provider, which has no language model
  std::string text;      ///< of the template; empty: none

  static constexpr duration longest_stale = std::chrono::hours(24 * 365);
  static constexpr std::size_t max_text_bytes = 8192;
  bool operator==(const degrade_config&) const = default;
};

/// A call that is silent for long gets a second one beside it, to another target; the first with something to
/// show wins, and the other one is cancelled.
struct hedge_config {
  bool enabled = false;
  duration after{};  ///< silent for so long; 0: the target's 95th percentile
  bool operator==(const hedge_config&) const = default;
};

/// Where an answer says how sure it is.
struct confidence_source {
  bool logprobs = false;             ///< the geometric mean of its tokens' probabilities
  std::string field = "confidence";  ///< else: a member of the JSON that its text is, a dotted path
  bool operator==(const confidence_source&) const = default;
};

/// An answer that is not sure enough is asked for again, of a better model, and the surer one is given.
struct upgrade_config {
  std::string model;
  std::size_t model_index = 0;  ///< in config::models
  double threshold = 0.8;       ///< an answer with less confidence is asked for again
  confidence_source confidence;
  bool when_unreadable = false;  ///< ask again, too, where the answer does not say how sure it is
  /// How long the second call may wait for a permit; then the first answer stands.
  duration max_wait = std::chrono::seconds(1);
  double sample = 0;  ///< part of the sure answers that are asked for again, to see what that would change
};

}  // namespace millrace::engine
