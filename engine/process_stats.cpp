#include "engine/process_stats.hpp"

#include <filesystem>
#include <fstream>
#include <limits>
#include <sstream>
#include <string>

#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace millrace::engine {
namespace {

/// Unix time of the machine's start.
double boot_time_seconds() {
  std::ifstream file("/proc/stat");
  std::string word;
  double seconds = 0;
  while (file >> word) {
    if (word == "btime" && file >> seconds) return seconds;
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

std::int64_t count_open_fds() {
  // Since Linux 6.2 the directory's size is the count; before, it is 0 and the entries must be walked.
  struct stat info {};
  if (stat("/proc/self/fd", &info) == 0 && info.st_size > 0) return info.st_size;
  std::error_code error;
  std::int64_t count = 0;
  for (std::filesystem::directory_iterator it("/proc/self/fd", error), end; !error && it != end;
       it.increment(error)) {
    ++count;
  }
  return count > 0 ? count - 1 : 0;  // without the one that lists them
}

}  // namespace

process_stats read_process_stats() {
  process_stats out;
  std::ifstream file("/proc/self/stat");
  std::string text;
  std::getline(file, text);
  // The second field is the program's name in parentheses and may hold anything; proc(5) numbers the rest
  // from 3.
  const size_t name_end = text.rfind(')');
  if (name_end == std::string::npos) return out;
  std::istringstream fields(text.substr(name_end + 1));
  std::string field;
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    switch (number) {
      case 14:
      case 15:
        out.cpu_seconds += std::stod(field) / ticks;
        break;
      case 20:
        out.threads = std::stoll(field);
        break;
      case 22:
        out.start_time_seconds = boot_time_seconds() + std::stod(field) / ticks;
        break;
      case 23:
        out.virtual_bytes = std::stoll(field);
        break;
      case 24:
        out.resident_bytes = std::stoll(field) * sysconf(_SC_PAGESIZE);
        break;
      default:
        break;
    }
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) out.max_fds = static_cast<std::int64_t>(limit.rlim_cur);
  out.open_fds = count_open_fds();
  return out;
}

}  // namespace millrace::engine
