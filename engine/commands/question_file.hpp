#pragma once

#include <cstddef>
#include <cstdio>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

namespace millrace::commands {

/// One request of a file.
struct question {
  std::size_t line = 0;  ///< counted from 1
  std::string route;
  std::string body;
};

/// A file with one request per line, read as it is asked for: memory is bounded by the longest line. A line
/// is a body for /v1/chat/completions, or {"route": ROUTE, "body": BODY}. Thread-safe.
class question_file {
 public:
  /// Longer lines are passed over; as much as a node takes by default.
  static constexpr std::size_t max_line_bytes = 32u << 20;

  enum class result { question, unreadable, end };

  /// Throws std::runtime_error with a message for the user when the file cannot be opened.
  explicit question_file(std::string path);

  /// The next line that is not blank. Of an unreadable one `out` has the number, and `why` says what is wrong
  /// and what to do. Throws std::runtime_error when the disk fails.
  result next(question& out, std::string& why);

 private:
  struct closer {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };

  bool read_line(std::string& text, bool& too_long);
  [[noreturn]] void fail(const char* what) const;

  std::mutex mutex_;
  const std::string path_;
  std::unique_ptr<std::FILE, closer> file_;
  std::string ahead_;  ///< read from the file and not yet given out
  std::size_t ahead_at_ = 0;
  std::size_t line_ = 0;
};

/// Reads a line's route and body, both bytes as they stand there; false with `why`.
bool read_question(std::string_view line, question& out, std::string& why);

}  // namespace millrace::commands
