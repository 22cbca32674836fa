#include "engine/log.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>

#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>

#include "engine/json_line.hpp"
#include "engine/log_queue.hpp"

namespace millrace::engine {
namespace {

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
class line_head {
 public:
  explicit line_head(const spdlog::details::log_msg& msg) {
    const auto since =
        std::chrono::duration_cast<std::chrono::milliseconds>(msg.time.time_since_epoch()).count();
    thread_local std::time_t second = -1;
    thread_local std::array<char, 32> date{};
    thread_local size_t date_size = 0;
    if (const std::time_t now = since / 1000; now != second) {
      std::tm utc{};
      gmtime_r(&now, &utc);
      date_size = std::strftime(date.data(), date.size(), "{\"ts\":\"%Y-%m-%dT%H:%M:%S.", &utc);
      second = now;
    }
    append({date.data(), date_size});
    const auto ms = static_cast<int>(since % 1000);
    for (const int digit : {ms / 100, ms / 10 % 10, ms % 10}) text_[size_++] = static_cast<char>('0' + digit);
    append("Z\",\"level\":\"");
    append(level_text(msg.level));
    append("\",");
  }
  std::string_view view() const { return {text_.data(), size_}; }

 private:
  void append(std::string_view part) { size_ += part.copy(text_.data() + size_, text_.size() - size_); }

  std::array<char, 96> text_;
  size_t size_ = 0;
};

/// Lines of the logger of this name are JSON fields already; what others say is text.
constexpr std::string_view event_logger_name = "event";

class queue_sink : public spdlog::sinks::sink {
 public:
  explicit queue_sink(int fd) : queue_(fd) {}

  void log(const spdlog::details::log_msg& msg) override {
    const line_head head(msg);
    const std::string_view payload(msg.payload.data(), msg.payload.size());
    if (std::string_view(msg.logger_name.data(), msg.logger_name.size()) == event_logger_name) {
      return queue_.append(head.view(), payload, "}\n");
    }
    json_line line("message");
    line.text("message", payload);
    queue_.append(head.view(), line.view(), "}\n");
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

namespace {

void append_field(json_line& line, const log_field& field) {
  const std::string_view name = field.name();
  const log_field::variant& value = field.value();
  if (const auto* text = std::get_if<std::string_view>(&value)) return line.text(name, *text);
  if (const auto* number = std::get_if<std::int64_t>(&value)) return line.number(name, *number);
  if (const auto* number = std::get_if<std::uint64_t>(&value)) return line.unsigned_number(name, *number);
  if (const auto* yes = std::get_if<bool>(&value)) return line.boolean(name, *yes);
  line.real(name, std::get<double>(value));
}

void write(spdlog::logger& logger, spdlog::level::level_enum level, const json_line& line) {
  logger.log(level, spdlog::string_view_t(line.view().data(), line.view().size()));
}

}  // namespace

void log_event(log_level level, std::string_view event, std::initializer_list<log_field> fields) {
  spdlog::logger* const logger = event_logger.load(std::memory_order_acquire);
  if (logger == nullptr || !logger->should_log(spdlog_level(level))) return;
  json_line line(event);
  for (const log_field& field : fields) append_field(line, field);
  write(*logger, spdlog_level(level), line);
}

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

void access_logger::request_done(const request_record& r) {
  spdlog::logger* const logger = event_logger.load(std::memory_order_acquire);
  if (logger == nullptr || !log_.access()) return;
  json_line line("access");
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
  line.text("cache", r.cache);
  if (!r.complexity.empty()) {
    line.text("complexity", r.complexity);
    line.text("chosen", r.chosen);
  }
  if (!r.hedge.empty()) line.text("hedged", r.hedge);
  if (!r.upgraded.empty()) line.boolean("upgraded", r.upgraded == "true");
  if (r.confidence >= 0) line.real("confidence", r.confidence);
  if (!r.degraded.empty()) line.text("degraded", r.degraded);
  line.boolean("stream", r.stream);
  line.boolean("client_gone", r.client_gone);
  line.number("input_tokens", r.used.input_tokens);
  line.number("output_tokens", r.used.output_tokens);
  line.number("cached_tokens", r.used.cached_tokens);
  line.usd("cost_usd", r.cost.usd());
  line.milliseconds("total_ms", r.total);
  line.number("overhead_us", std::chrono::duration_cast<std::chrono::microseconds>(r.overhead).count());
  line.milliseconds("first_token_ms", r.first_token);
  line.milliseconds("waited_ms", r.waited);
  line.text("error", r.error_code);
  write(*logger, spdlog::level::info, line);
}

}  // namespace millrace::engine
