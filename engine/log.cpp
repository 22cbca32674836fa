#include "engine/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <ctime>

#include <fmt/format.h>
#include <simdjson.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>

#include "engine/log_queue.hpp"

namespace millrace::engine {
namespace {

/// Most lines fit; longer ones move to the heap by themselves.
using line_buffer = fmt::basic_memory_buffer<char, 1024>;

void append(line_buffer& out, std::string_view text) {
  out.append(text.data(), text.data() + text.size());
}

/// At most `max_log_text` bytes, without half a character at the end.
std::string_view cut(std::string_view text) {
  if (text.size() <= max_log_text) return text;
  size_t size = max_log_text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

void append_escaped(line_buffer& out, std::string_view text) {
  const auto plain = [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return u >= 0x20 && u < 0x7f && u != '"' && u != '\\';
  };
  if (std::all_of(text.begin(), text.end(), plain)) return append(out, text);
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (plain(c) || (u >= 0x80 && utf8)) {
      out.push_back(c);
    } else if (u >= 0x80) {
      append(out, "\\ufffd");
    } else if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", u);
    }
  }
}

void append_text(line_buffer& out, std::string_view text) {
  out.push_back('"');
  append_escaped(out, cut(text));
  out.push_back('"');
}

template <class Number>
void append_number(line_buffer& out, Number n) {
  const fmt::format_int digits(n);
  out.append(digits.data(), digits.data() + digits.size());
}

void append_value(line_buffer& out, const log_field::variant& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) return append_text(out, *text);
  if (const auto* n = std::get_if<std::int64_t>(&value)) return append_number(out, *n);
  if (const auto* u = std::get_if<std::uint64_t>(&value)) return append_number(out, *u);
  if (const auto* b = std::get_if<bool>(&value)) return append(out, *b ? "true" : "false");
  const double number = std::get<double>(value);
  if (!std::isfinite(number)) return append(out, "null");
  fmt::format_to(std::back_inserter(out), "{}", number);
}

std::string_view level_text(spdlog::level::level_enum level) {
  static constexpr std::array<std::string_view, 7> names = {"trace", "debug", "info", "warn",
                                                            "error", "error", "off"};
  return names[std::min<size_t>(static_cast<size_t>(level), names.size() - 1)];
}

spdlog::level::level_enum spdlog_level(log_level level) {
  return static_cast<spdlog::level::level_enum>(static_cast<int>(level));
}
static_assert(static_cast<int>(log_level::error) == spdlog::level::err);

/// `{"ts":"2024-01-31T23:59:59.123Z","level":"info",` of a line. The date is written once a second and
/// thread.
void append_head(line_buffer& out, const spdlog::details::log_msg& msg) {
  const auto since =
      std::chrono::duration_cast<std::chrono::milliseconds>(msg.time.time_since_epoch()).count();
  thread_local std::time_t second = -1;
  thread_local std::array<char, 32> date{};
  thread_local size_t date_size = 0;
  if (const std::time_t now = since / 1000; now != second) {
    std::tm utc{};
    gmtime_r(&now, &utc);
    date_size = std::strftime(date.data(), date.size(), "%Y-%m-%dT%H:%M:%S.", &utc);
    second = now;
  }
  append(out, "{\"ts\":\"");
  append(out, {date.data(), date_size});
  const auto ms = static_cast<int>(since % 1000);
  for (const int digit : {ms / 100, ms / 10 % 10, ms % 10}) out.push_back(static_cast<char>('0' + digit));
  append(out, "Z\",\"level\":\"");
  append(out, level_text(msg.level));
  append(out, "\",");
}

/// Lines of the logger of this name are JSON fields already; what others say is text.
constexpr std::string_view event_logger_name = "event";

class queue_sink : public spdlog::sinks::sink {
 public:
  explicit queue_sink(int fd) : queue_(fd) {}

  void log(const spdlog::details::log_msg& msg) override {
    line_buffer head;
    append_head(head, msg);
    const std::string_view payload(msg.payload.data(), msg.payload.size());
    if (std::string_view(msg.logger_name.data(), msg.logger_name.size()) == event_logger_name) {
      return queue_.append({head.data(), head.size()}, payload, "}\n");
    }
    append(head, "\"event\":\"message\",\"message\":");
    append_text(head, payload);
    queue_.append({head.data(), head.size()}, "}\n", "");
  }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

  log_queue& queue() { return queue_; }

 private:
  log_queue queue_;
};

/// The logger of event and access lines while a `logging` lives.
std::atomic<spdlog::logger*> event_logger{nullptr};

}  // namespace

void log_event(log_level level, std::string_view event, std::initializer_list<log_field> fields) {
  spdlog::logger* const logger = event_logger.load(std::memory_order_acquire);
  if (logger == nullptr || !logger->should_log(spdlog_level(level))) return;
  line_buffer line;
  append(line, "\"event\":");
  append_text(line, event);
  for (const log_field& field : fields) {
    line.push_back(',');
    append_text(line, field.name());
    line.push_back(':');
    append_value(line, field.value());
  }
  logger->log(spdlog_level(level), spdlog::string_view_t(line.data(), line.size()));
}

// --- logging
// --------------------------------------------------------------------------------------------------

struct logging::impl {
  explicit impl(int fd)
      : sink(std::make_shared<queue_sink>(fd)),
        events(std::make_shared<spdlog::logger>(std::string(event_logger_name), sink)),
        messages(std::make_shared<spdlog::logger>("message", sink)),
        previous(spdlog::default_logger()) {}

  std::shared_ptr<queue_sink> sink;
  std::shared_ptr<spdlog::logger> events;
  std::shared_ptr<spdlog::logger> messages;  ///< spdlog's default for as long as this lives
  std::shared_ptr<spdlog::logger> previous;
  std::atomic<bool> access{true};
};

logging::logging(const log_config& c, int fd) : impl_(std::make_unique<impl>(fd)) {
  apply(c);
  spdlog::set_default_logger(impl_->messages);
  event_logger.store(impl_->events.get(), std::memory_order_release);
}

logging::~logging() {
  event_logger.store(nullptr, std::memory_order_release);
  spdlog::set_default_logger(impl_->previous);
}

void logging::apply(const log_config& c) {
  const auto level = spdlog::level::from_str(c.level);
  impl_->events->set_level(level);
  impl_->messages->set_level(level);
  impl_->access.store(c.access, std::memory_order_relaxed);
}

std::uint64_t logging::dropped() const {
  return impl_->sink->queue().dropped();
}

bool logging::flush() {
  return impl_->sink->queue().flush();
}

bool logging::access() const {
  return impl_->access.load(std::memory_order_relaxed) && impl_->events->should_log(spdlog::level::info);
}

// --- access lines
// ---------------------------------------------------------------------------------------------

namespace {

/// Fields of one line, in order. Names are literals of ours and need no escaping.
class line_writer {
 public:
  explicit line_writer(line_buffer& out) : out_(out) {}

  void text(std::string_view name, std::string_view value) {
    begin(name);
    append_text(out_, value);
  }
  void number(std::string_view name, std::int64_t value) {
    begin(name);
    append_number(out_, value);
  }
  void boolean(std::string_view name, bool value) {
    begin(name);
    append(out_, value ? "true" : "false");
  }
  /// USD, at most nine places.
  void usd(std::string_view name, double value) {
    begin(name);
    fixed(std::llround(std::clamp(value, 0.0, 1e9) * 1e9), 9);
  }
  void milliseconds(std::string_view name, duration value) {
    begin(name);
    fixed(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(value).count()), 3);
  }

 private:
  void begin(std::string_view name) {
    append(out_, first_ ? "\"" : ",\"");
    first_ = false;
    append(out_, name);
    append(out_, "\":");
  }
  /// `value` / 10^`places`, without trailing zeros: much cheaper than printing a double.
  void fixed(std::int64_t value, int places) {
    std::int64_t unit = 1;
    for (int i = 0; i < places; ++i) unit *= 10;
    append_number(out_, value / unit);
    std::int64_t rest = value % unit;
    if (rest == 0) return;
    out_.push_back('.');
    for (; rest != 0; rest %= unit) {
      unit /= 10;
      out_.push_back(static_cast<char>('0' + rest / unit));
    }
  }

  line_buffer& out_;
  bool first_ = true;
};

}  // namespace

void access_logger::request_done(const request_record& r) {
  spdlog::logger* const logger = event_logger.load(std::memory_order_acquire);
  if (logger == nullptr || !log_.access()) return;
  line_buffer buffer;
  line_writer line(buffer);
  line.text("event", "access");
  line.text("request_id", r.id);
  line.text("method", r.method);
  line.text("route", r.route);
  line.text("model", r.model);
  line.text("tenant", r.tenant);
  line.text("client", r.client);
  line.number("status", r.status);
  line.text("provider", r.provider);
  line.text("upstream_model", r.upstream_model);
  line.text("key", r.key);
  line.number("attempts", r.attempts);
  line.boolean("fallback", r.fallback);
  line.boolean("stream", r.stream);
  line.boolean("client_gone", r.client_gone);
  line.number("input_tokens", r.used.input_tokens);
  line.number("output_tokens", r.used.output_tokens);
  line.number("cached_tokens", r.used.cached_tokens);
  line.usd("cost_usd", r.cost_usd);
  line.milliseconds("total_ms", r.total);
  line.number("overhead_us", std::chrono::duration_cast<std::chrono::microseconds>(r.overhead).count());
  line.milliseconds("first_token_ms", r.first_token);
  line.milliseconds("waited_ms", r.waited);
  line.text("error", r.error_code);
  logger->log(spdlog::level::info, spdlog::string_view_t(buffer.data(), buffer.size()));
}

}  // namespace millrace::engine
