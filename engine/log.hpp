#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/config.hpp"
#include "engine/ports.hpp"
#include "engine/secret.hpp"

namespace millrace::engine {

enum class log_level : std::uint8_t { trace, debug, info, warn, error };

/// Longest text written for one field, in bytes; the rest is cut off at a character's border.
inline constexpr size_t max_log_text = 1024;

/// Longest wait for a reader of the log when it is flushed or ended.
inline constexpr std::chrono::milliseconds log_flush_patience{2000};

/// A named value of an event line. Secrets do not compile. The texts must live until `log_event` returns.
class log_field {
 public:
  using variant = std::variant<std::string_view, std::int64_t, std::uint64_t, double, bool>;

  template <std::convertible_to<std::string_view> T>
  log_field(std::string_view name, const T& value) : name_(name), value_(std::string_view(value)) {}
  template <std::signed_integral T>
  log_field(std::string_view name, T value) : name_(name), value_(static_cast<std::int64_t>(value)) {}
  template <std::unsigned_integral T>
  requires(!std::same_as<T, bool>) log_field(std::string_view name, T value)
      : name_(name), value_(static_cast<std::uint64_t>(value)) {}
  template <std::same_as<bool> T>
  log_field(std::string_view name, T value) : name_(name), value_(value) {}
  log_field(std::string_view name, double value) : name_(name), value_(value) {}
  log_field(std::string_view name, const secret& value) = delete;

  std::string_view name() const { return name_; }
  const variant& value() const { return value_; }

 private:
  std::string_view name_;
  variant value_;
};

/// Writes one JSON line `{"ts":...,"level":...,"event":<event>,<fields>}`. Thread-safe, never blocks; does
/// nothing unless a `logging` is alive and its level lets the line through.
void log_event(log_level level, std::string_view event, std::initializer_list<log_field> fields = {});

/// The process's log for as long as it lives; also takes over spdlog's default logger, whose messages become
/// `{"ts","level","event":"message","message"}`. Create one before any thread that logs starts, and destroy
/// it after the last has ended. Lines are queued in memory (bounded; the oldest are dropped and counted) and
/// written by one thread, so a reader that does not read holds nobody up.
class logging {
 public:
  /// `fd` is the file descriptor written to; 2 is standard error. It stays open.
  explicit logging(const log_config& c, int fd = 2);
  /// Writes out what is queued, for at most `log_flush_patience`.
  ~logging();
  logging(const logging&) = delete;
  logging& operator=(const logging&) = delete;

  /// Level and access switch of another configuration.
  void apply(const log_config& c);
  /// Lines lost because the queue was full.
  std::uint64_t dropped() const;
  /// Waits until everything logged before the call is written; false when `log_flush_patience` was not
  /// enough.
  bool flush();
  /// Whether access lines are wanted now.
  bool access() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Writes the access line of every finished request, at level info.
class access_logger : public observer {
 public:
  explicit access_logger(const logging& log) : log_(log) {}
  void request_done(const request_record& r) override;
  void attempt_done(const attempt_record&) override {}

 private:
  const logging& log_;
};

}  // namespace millrace::engine
