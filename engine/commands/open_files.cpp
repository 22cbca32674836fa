#include "engine/commands/open_files.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <limits>

namespace millrace::commands {

namespace {

std::int64_t reserve_of(std::int64_t open_files) {
  return std::min(reserved_files, open_files / 2);
}

}  // namespace

void raise_open_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
}

std::int64_t open_file_limit() {
  constexpr auto most = std::numeric_limits<std::int64_t>::max();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return most;
  return static_cast<std::int64_t>(std::min<rlim_t>(limit.rlim_cur, most));
}

std::int64_t connections_within(std::int64_t open_files) {
  return std::max<std::int64_t>(1, (open_files - reserve_of(open_files)) / files_per_connection);
}

std::int64_t refusals_within(std::int64_t open_files) {
  return reserve_of(open_files) / 4;
}

}  // namespace millrace::commands
