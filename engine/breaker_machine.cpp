#include "engine/breaker_machine.hpp"

#include <algorithm>
#include <utility>

namespace millrace::engine {

namespace {

/// Reports come over the wire: neither a negative nor an absurd count may spoil the sums.
std::int64_t bounded(std::int64_t count) {
  return std::clamp<std::int64_t>(count, 0, 1'000'000'000);
}

}  // namespace

breaker_machine::breaker_machine(std::string target, const breaker_config& config)
    : target_(std::move(target)), config_(config) {}

std::optional<breaker_notice> breaker_machine::report(const breaker_report& report, time_point now,
                                                      double random01) {
  if (tripped_) return judge_probe(report, now, random01);
  count(bounded(report.successes), bounded(report.failures), now);
  if (!must_open(now)) return std::nullopt;
  return open(now, random01);
}

std::optional<breaker_notice> breaker_machine::judge_probe(const breaker_report& report, time_point now,
                                                           double random01) {
  const bool from_holder = !probe_node_.empty() && report.node == probe_node_;
  if (!report.probe || !from_holder) return std::nullopt;
  if (report.probe_unused || (report.failures <= 0 && report.successes <= 0)) {
    probe_node_.clear();
    return notice(now);
  }
  if (report.failures <= 0) return close(now);
  consecutive_ += bounded(report.failures);
  return open(now, random01);
}

bool breaker_machine::request_probe(std::string_view node, time_point now) {
  if (state(now) != breaker_state::half_open || probe_out(now)) return false;
  probe_node_ = node;
  probe_until_ = now + std::max(min_probe_patience, config_.open);
  return true;
}

breaker_notice breaker_machine::notice(time_point now) const {
  breaker_notice n;
  n.target = target_;
  n.state = state(now);
  n.consecutive_failures = static_cast<int>(std::min<std::int64_t>(consecutive_, 1'000'000'000));
  if (n.state == breaker_state::open) n.retry_in = open_until_ - now;
  if (n.state == breaker_state::half_open && probe_out(now))
    n.retry_in = std::min(probe_until_ - now, config_.open);
  return n;
}

std::optional<breaker_notice> breaker_machine::reconfigure(const breaker_config& config, time_point now) {
  if (config == config_) return std::nullopt;
  if (config.window != config_.window) window_.fill({});
  const bool still_open = state(now) == breaker_state::open;
  config_ = config;
  const time_point until = opened_at_ + spread_open();
  // An opening that is over stays over: its probe may be on its way.
  if (!still_open || until == open_until_) return std::nullopt;
  open_until_ = until;
  return notice(now);
}

breaker_state breaker_machine::state(time_point now) const {
  if (!tripped_) return breaker_state::closed;
  return now < open_until_ ? breaker_state::open : breaker_state::half_open;
}

void breaker_machine::count(std::int64_t successes, std::int64_t failures, time_point now) {
  const std::int64_t index = slot_index(now);
  slot& s = window_[static_cast<size_t>(index % window_slots)];
  if (s.index != index) s = {index, 0, 0};
  s.calls += successes + failures;
  s.failures += failures;
  if (successes > 0) consecutive_ = 0;
  consecutive_ += failures;
}

bool breaker_machine::must_open(time_point now) const {
  if (consecutive_ >= std::max(config_.consecutive_failures, 1)) return true;
  const std::int64_t newest = slot_index(now);
  std::int64_t calls = 0;
  std::int64_t failures = 0;
  for (const slot& s : window_) {
    if (s.index < 0 || s.index <= newest - window_slots) continue;
    calls += s.calls;
    failures += s.failures;
  }
  if (failures == 0 || calls < config_.min_calls) return false;
  return static_cast<double>(failures) >= config_.failure_ratio * static_cast<double>(calls);
}

breaker_notice breaker_machine::open(time_point now, double random01) {
  tripped_ = true;
  probe_node_.clear();
  opened_at_ = now;
  spread_ = 1 - open_jitter + 2 * open_jitter * std::clamp(random01, 0.0, 1.0);
  open_until_ = now + spread_open();
  return notice(now);
}

breaker_notice breaker_machine::close(time_point now) {
  tripped_ = false;
  probe_node_.clear();
  consecutive_ = 0;
  window_.fill({});
  return notice(now);
}

std::int64_t breaker_machine::slot_index(time_point now) const {
  const duration slot_length = std::max(config_.window / window_slots, duration(1));
  return now.time_since_epoch() / slot_length;
}

duration breaker_machine::spread_open() const {
  return std::chrono::duration_cast<duration>(config_.open * spread_);
}

bool breaker_machine::probe_out(time_point now) const {
  return !probe_node_.empty() && now < probe_until_;
}

}  // namespace millrace::engine
