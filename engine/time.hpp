#pragma once

#include <chrono>

namespace millrace::engine {

/// Everything that decides takes `now` as an argument of this type; nobody inside `engine/` reads a clock.
using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

inline double seconds_of(duration d) {
  return std::chrono::duration<double>(d).count();
}

}  // namespace millrace::engine
