#pragma once

#include <cstdint>

#include "engine/messages.hpp"
#include "engine/rate_window.hpp"
#include "engine/time.hpp"

namespace millrace::engine {

/// What one node really used of a provider key, for people to see. Calls count once they are sent, tokens as
/// limits see them: as reserved, and what went beyond it as soon as it is known. Permits that are only held
/// do not count. Coarser than the windows that decide: what is shown may stay for one slot longer. `now`
/// never goes back. Not thread-safe, not even for reading.
class use_meter {
 public:
  /// In the last minute, but for `day`.
  struct counts {
    std::int64_t requests = 0;
    std::int64_t tokens = 0;
    std::int64_t input_tokens = 0;
    std::int64_t output_tokens = 0;
    std::int64_t day_requests = 0;  ///< in the last 24 hours
  };

  use_meter();
  void sent(const token_count& reserved, time_point at, time_point now);
  void debt(const token_count& over, time_point now);
  counts at(time_point now) const;

 private:
  // To look is to drop what has expired.
  mutable rate_window requests_;
  mutable rate_window input_;
  mutable rate_window output_;
  mutable rate_window day_;
};

}  // namespace millrace::engine
