#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include <fmt/format.h>

#include "engine/time.hpp"

namespace millrace::engine {

/// Builds the fields of one JSON log line, comma-separated and without the braces, on the stack while it is
/// short. Names must be plain ASCII without quotes and backslashes: literals. Values are escaped and cut to
/// `max_log_text`.
class json_line {
 public:
  /// Begins with `"event":"<event>"`.
  explicit json_line(std::string_view event) {
    std::memcpy(room(8), "\"event\":", 8);
    used(8);
    value(event);
  }

  void text(std::string_view name, std::string_view text) {
    begin(name);
    value(text);
  }
  void number(std::string_view name, std::int64_t number) {
    begin(name);
    digits(fmt::format_int(number));
  }
  void unsigned_number(std::string_view name, std::uint64_t number) {
    begin(name);
    digits(fmt::format_int(number));
  }
  void boolean(std::string_view name, bool value) {
    begin(name);
    literal(value ? "true" : "false");
  }
  /// Null when it is not finite.
  void real(std::string_view name, double number);
  /// USD with at most nine places.
  void usd(std::string_view name, double usd);
  /// Milliseconds with at most three places.
  void milliseconds(std::string_view name, duration d);

  /// Appends a JSON string.
  void value(std::string_view text);
  void literal(std::string_view text) {
    std::memcpy(room(text.size()), text.data(), text.size());
    used(text.size());
  }

  std::string_view view() const { return {buffer_.data(), buffer_.size()}; }

 private:
  /// At least `bytes` of memory behind the end; what was written there is kept by `used`.
  char* room(size_t bytes) {
    buffer_.try_reserve(buffer_.size() + bytes);
    return buffer_.data() + buffer_.size();
  }
  void used(size_t bytes) { buffer_.try_resize(buffer_.size() + bytes); }
  void begin(std::string_view name) {
    char* const at = room(name.size() + 4);
    at[0] = ',';
    at[1] = '"';
    std::memcpy(at + 2, name.data(), name.size());
    at[name.size() + 2] = '"';
    at[name.size() + 3] = ':';
    used(name.size() + 4);
  }
  void digits(const fmt::format_int& number) { literal({number.data(), number.size()}); }
  void decimal(std::int64_t value, int places);

  fmt::basic_memory_buffer<char, 1024> buffer_;
};

}  // namespace millrace::engine
