#pragma once

#include <chrono>

namespace millrace::engine {

/// Everything that decides takes `now` as an argument of this type; nobody inside `engine/` reads a clock.
using clock = std::chrono::steady_clock;
using time_point = clock::time_point;
using duration = clock::duration;

}  // namespace millrace::engine
