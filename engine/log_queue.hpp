#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace millrace::engine {

/// Lines on their way to a file descriptor: appending copies into a chunk of memory, one thread writes whole
/// chunks. At most `max_chunks` chunks of about `chunk_bytes` wait; then the oldest one is dropped and its
/// lines counted. Appending takes a short lock and never waits for the descriptor. Thread-safe.
///
/// spdlog's own asynchronous logger was measured first: with 30,000 single lines a second it takes about 1 us
/// of the caller and 2 us of its thread for each, since each line wakes that thread and is written alone.
/// Here both happen once for a chunk or `linger`.
class log_queue {
 public:
  static constexpr size_t chunk_bytes = 64 << 10;
  static constexpr size_t max_chunks = 64;
  /// How long a line may wait for company before it is written.
  static constexpr std::chrono::milliseconds linger{20};

  /// Starts the thread. `fd` stays open.
  explicit log_queue(int fd);
  /// Writes what is left for at most `log_flush_patience`, then leaves the thread to a descriptor that takes
  /// nothing.
  ~log_queue();
  log_queue(const log_queue&) = delete;
  log_queue& operator=(const log_queue&) = delete;

  /// `head` + `body` + `tail` is one line, line break included.
  void append(std::string_view head, std::string_view body, std::string_view tail);
  /// Waits until everything appended before is written or dropped; false after `log_flush_patience`.
  bool flush();
  std::uint64_t dropped() const;

 private:
  struct state;
  std::shared_ptr<state> state_;  ///< shared with the thread, which may outlive this object
};

}  // namespace millrace::engine
