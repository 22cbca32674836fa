#pragma once

#include <atomic>
#include <cstdint>

namespace millrace::engine {

/// What the rest of the program may know of the disk layer. Written by its actor, read by anybody.
struct disk_state {
  std::atomic<bool> on{false};  ///< asked and written; off while the disk does not serve
  std::atomic<std::int64_t> bytes{0};
  std::atomic<std::int64_t> entries{0};  ///< estimated
  std::atomic<std::int64_t> hits{0};
  std::atomic<std::int64_t> misses{0};
  std::atomic<std::int64_t> written{0};      ///< entries
  std::atomic<std::int64_t> dropped{0};      ///< entries that could not be written
  std::atomic<std::int64_t> bad_records{0};  ///< damaged ones that were met, and passed over
  std::atomic<std::int64_t> failures{0};     ///< how often the layer went off
};

}  // namespace millrace::engine
