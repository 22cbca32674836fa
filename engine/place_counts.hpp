#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace millrace::engine {

/// At which places of a queue requests began to wait; 1 is the first. Counted since start, in buckets whose
/// upper bounds are `bounds`, and one more for what lies beyond.
struct place_counts {
  static constexpr std::array<std::size_t, 16> bounds = {1,   2,    5,    10,   20,    50,    100,   200,
                                                         500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};

  std::array<std::uint64_t, bounds.size() + 1> counts{};
  std::uint64_t sum = 0;  ///< of all places

  void add(std::size_t place) {
    const auto bucket = std::lower_bound(bounds.begin(), bounds.end(), place) - bounds.begin();
    ++counts[static_cast<std::size_t>(bucket)];
    sum += place;
  }
};

}  // namespace millrace::engine
