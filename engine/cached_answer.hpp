#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace millrace::engine {

/// Time of day: what is cached outlives a process, so its age cannot be told by a steady clock.
using wall_time = std::chrono::time_point<std::chrono::system_clock, std::chrono::milliseconds>;

/// A whole 2xx answer as it was given to a client, with what is told of it and what it may be purged by.
struct cached_answer {
  std::string body;  ///< as to a plain request; `model` is the client's name for it
  std::string content_type;
  std::string tenant;
  std::string model;           ///< as configured
  std::string provider;        ///< who answered
  std::string upstream_model;  ///< that provider's name for the model
  std::string key_id;          ///< of the provider key; never the secret
  std::string dropped;  ///< what the provider was not told of the request, as x-millrace-dropped has it
  std::int64_t input_tokens = 0;
  std::int64_t output_tokens = 0;
  wall_time stored_at{};  ///< when it was asked for, so that a purge meanwhile covers it
  wall_time expires_at{};
  /// Until then it may serve when no provider answers, though it has expired; not after `expires_at`: never.
  wall_time stale_until{};
  bool fallback = false;   ///< a fallback model answered
  bool upgraded = false;   ///< the model's upgrade answered
  double confidence = -1;  ///< 0..1, of models with an upgrade; below 0: not known
  /// Kept for seconds, in memory only, for those who ask the same right after: no entry of the cache proper.
  bool coalesced = false;

  /// When nobody has any use for it any more.
  wall_time useless_at() const { return std::max(expires_at, stale_until); }

  /// Memory that it takes, allocator overhead estimated.
  std::size_t size_bytes() const {
    return sizeof(cached_answer) + body.size() + content_type.size() + tenant.size() + model.size() +
           provider.size() + upstream_model.size() + key_id.size() + dropped.size();
  }
};

using cached_answer_ptr = std::shared_ptr<const cached_answer>;

}  // namespace millrace::engine
