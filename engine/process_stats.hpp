#pragma once

#include <cstdint>

namespace millrace::engine {

/// What the kernel says about this process. Fields that cannot be read stay 0.
struct process_stats {
  double cpu_seconds = 0;  ///< user and system
  std::int64_t resident_bytes = 0;
  std::int64_t virtual_bytes = 0;
  std::int64_t threads = 0;
  std::int64_t open_fds = 0;
  std::int64_t max_fds = 0;       ///< the soft limit
  double start_time_seconds = 0;  ///< Unix time
};

/// Reads /proc. Takes some milliseconds with tens of thousands of open files. Thread-safe.
process_stats read_process_stats();

}  // namespace millrace::engine
