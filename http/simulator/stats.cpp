#include "http/simulator/stats.hpp"

#include <algorithm>
#include <utility>

#include <nlohmann/json.hpp>

namespace millrace::http::simulation {
namespace {

using std::chrono::floor;
using std::chrono::milliseconds;

/// The entry of `name`, made if there is room for it, else the common one.
template <class Map>
auto& entry_of(Map& map, std::string_view name, size_t most) {
  if (const auto found = map.find(name); found != map.end()) return found->second;
  if (map.size() >= most) name = stats_book::other_names;
  return map.try_emplace(std::string(name)).first->second;
}

}  // namespace

void sliding_window::add(engine::time_point now, std::int64_t tokens) {
  expire(now);
  const bool crowded = entries_.size() >= exact_entries;
  const bool joins =
      !entries_.empty() && (entries_.back().at == now ||
                            (crowded && floor<milliseconds>(entries_.back().at) == floor<milliseconds>(now)));
  if (joins) {
    entry& last = entries_.back();
    last.at = now;
    ++last.requests;
    last.tokens += tokens;
  } else {
    entries_.push_back({now, 1, tokens});
  }
  ++requests_;
  tokens_ += tokens;
  max_requests_ = std::max(max_requests_, requests_);
  max_tokens_ = std::max(max_tokens_, tokens_);
}

void sliding_window::expire(engine::time_point now) {
  while (!entries_.empty() && now - entries_.front().at >= length) {
    requests_ -= entries_.front().requests;
    tokens_ -= entries_.front().tokens;
    entries_.pop_front();
  }
}

void sliding_window::reset_maxima() {
  max_requests_ = requests_;
  max_tokens_ = tokens_;
}

engine::duration sliding_window::until_below(engine::time_point now, std::int64_t requests,
                                             std::int64_t tokens) const {
  std::int64_t requests_left = requests_;
  std::int64_t tokens_left = tokens_;
  engine::duration wait{};
  for (const entry& e : entries_) {
    if (requests_left <= requests && tokens_left <= tokens) break;
    requests_left -= e.requests;
    tokens_left -= e.tokens;
    wait = std::max(engine::duration::zero(), e.at + length - now);
  }
  return wait;
}

engine::duration sliding_window::until_empty(engine::time_point now) const {
  if (entries_.empty()) return {};
  return std::max(engine::duration::zero(), entries_.back().at + length - now);
}

admission key_ledger::arrive(const simulated_limits& limits, std::int64_t estimated_input,
                             std::int64_t estimated_output) {
  const std::lock_guard lock(mutex_);
  // Read under the lock: the window needs times in order.
  const auto now = engine::clock::now();
  if (requests_++ == 0) first_arrival_ = now;
  last_arrival_ = now;
  window_.expire(now);
  const std::int64_t estimated_tokens = estimated_input + estimated_output;

  admission a;
  const bool too_many = window_.requests() >= limits.rpm;
  const bool too_large = estimated_tokens > limits.tpm - window_.tokens();
  const auto exceeds = [&](sliding_window& window, std::int64_t tokens, std::int64_t limit) {
    if (limit == engine::unlimited) return false;
    window.expire(now);
    return tokens > limit - window.tokens();
  };
  const bool too_much_input = exceeds(input_window_, estimated_input, limits.tpm_input);
  const bool too_much_output = exceeds(output_window_, estimated_output, limits.tpm_output);
  a.accepted = !too_many && !too_large && !too_much_input && !too_much_output;
  if (a.accepted) {
    window_.add(now, estimated_tokens);
    if (limits.tpm_input != engine::unlimited) input_window_.add(now, estimated_input);
    if (limits.tpm_output != engine::unlimited) output_window_.add(now, estimated_output);
    if (accepted_++ > 0) max_gap_ = std::max(max_gap_, now - last_accepted_);
    last_accepted_ = now;
    max_in_flight_ = std::max(max_in_flight_, ++in_flight_);
  } else {
    ++over_limit_;
    ++rejected_429_;
    a.refused_by = too_many         ? limit_kind::requests
                   : too_large      ? limit_kind::tokens
                   : too_much_input ? limit_kind::input_tokens
                                    : limit_kind::output_tokens;
    // What can never fit is told to come back when nothing is left in the window.
    const auto fits = [](std::int64_t limit, std::int64_t tokens) {
      return std::max<std::int64_t>(0, limit - tokens);
    };
    a.retry_after = window_.until_below(now, limits.rpm - 1, fits(limits.tpm, estimated_tokens));
    if (too_much_input)
      a.retry_after = std::max(
          a.retry_after,
          input_window_.until_below(now, engine::unlimited, fits(limits.tpm_input, estimated_input)));
    if (too_much_output)
      a.retry_after = std::max(
          a.retry_after,
          output_window_.until_below(now, engine::unlimited, fits(limits.tpm_output, estimated_output)));
  }
  a.remaining_requests = std::max<std::int64_t>(0, limits.rpm - window_.requests());
  a.remaining_tokens = std::max<std::int64_t>(0, limits.tpm - window_.tokens());
  a.remaining_input_tokens = std::max<std::int64_t>(0, limits.tpm_input - input_window_.tokens());
  a.remaining_output_tokens = std::max<std::int64_t>(0, limits.tpm_output - output_window_.tokens());
  a.reset = window_.until_empty(now);
  return a;
}

model_bill& key_ledger::bill(std::string_view model) {
  const std::lock_guard lock(mutex_);
  return entry_of(bills_, model, max_bills);
}

void key_ledger::finish(outcome how, const engine::usage& used, model_bill& on) {
  const std::lock_guard lock(mutex_);
  --in_flight_;
  prompt_tokens_ += used.input_tokens;
  completion_tokens_ += used.output_tokens;
  on.requests += used.input_tokens + used.output_tokens > 0 ? 1 : 0;
  on.input_tokens += used.input_tokens;
  on.output_tokens += used.output_tokens;
  on.cache_read_tokens += used.cached_tokens;
  on.cache_write_tokens += used.cache_write_tokens;
  on.reasoning_tokens += used.reasoning_tokens;
  count(how, how == outcome::cancelled ? engine::clock::now() : engine::time_point{});
}

void key_ledger::turn_away(outcome how) {
  const std::lock_guard lock(mutex_);
  const auto now = engine::clock::now();
  if (requests_++ == 0) first_arrival_ = now;
  last_arrival_ = now;
  count(how, now);
}

void key_ledger::count(outcome how, engine::time_point now) {
  switch (how) {
    case outcome::answered:
      ++answered_;
      return;
    case outcome::failed:
      ++failed_;
      return;
    case outcome::limited:
      ++rejected_429_;
      return;
    case outcome::unauthorized:
      ++unauthorized_;
      return;
    case outcome::cancelled:
      ++cancelled_;
      last_cancelled_ = now;
  }
}

void key_ledger::reset() {
  const std::lock_guard lock(mutex_);
  window_.expire(engine::clock::now());
  window_.reset_maxima();
  for (sliding_window* w : {&input_window_, &output_window_}) {
    w->expire(engine::clock::now());
    w->reset_maxima();
  }
  for (auto& [model, bill] : bills_) bill = {};
  requests_ = accepted_ = over_limit_ = answered_ = failed_ = rejected_429_ = unauthorized_ = cancelled_ = 0;
  prompt_tokens_ = completion_tokens_ = 0;
  max_in_flight_ = in_flight_;
  max_gap_ = {};
  first_arrival_ = last_arrival_ = last_accepted_ = last_cancelled_ = {};
}

stats_book::stats_book()
    : started_(engine::clock::now()),
      started_unix_us_(std::chrono::duration_cast<std::chrono::microseconds>(
                           std::chrono::system_clock::now().time_since_epoch())
                           .count()) {}

key_ledger& stats_book::key(std::string_view name) {
  const std::lock_guard lock(mutex_);
  return entry_of(keys_, name, max_names);
}

std::atomic<std::int64_t>& stats_book::model(std::string_view name) {
  const std::lock_guard lock(mutex_);
  return entry_of(models_, name, max_names);
}

void stats_book::reset() {
  const std::lock_guard lock(mutex_);
  for (auto& [name, ledger] : keys_) ledger.reset();
  for (auto& [name, requests] : models_) requests = 0;
  accepted_connections_ = connections_.load();
}

std::int64_t stats_book::unix_us(engine::time_point t) const {
  if (t == engine::time_point{}) return 0;
  return started_unix_us_ + std::chrono::duration_cast<std::chrono::microseconds>(t - started_).count();
}

namespace {

nlohmann::json shown(const std::map<std::string, model_bill, std::less<>>& bills) {
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [model, b] : bills) {
    out[model] = {{"requests", b.requests},
                  {"input_tokens", b.input_tokens},
                  {"output_tokens", b.output_tokens},
                  {"cache_read_tokens", b.cache_read_tokens},
                  {"cache_write_tokens", b.cache_write_tokens},
                  {"reasoning_tokens", b.reasoning_tokens}};
  }
  return out;
}

}  // namespace

std::string stats_book::json() const {
  const std::lock_guard lock(mutex_);
  const auto now = engine::clock::now();
  nlohmann::json keys = nlohmann::json::object();
  std::int64_t requests = 0;
  std::int64_t in_flight = 0;
  for (const auto& [name, k] : keys_) {
    const std::lock_guard key_lock(k.mutex_);
    requests += k.requests_;
    in_flight += k.in_flight_;
    k.window_.expire(engine::clock::now());
    keys[name] = {{"requests", k.requests_},
                  {"accepted", k.accepted_},
                  {"answered", k.answered_},
                  {"failed", k.failed_},
                  {"over_limit", k.over_limit_},
                  {"rejected_429", k.rejected_429_},
                  {"unauthorized", k.unauthorized_},
                  {"cancelled", k.cancelled_},
                  {"prompt_tokens", k.prompt_tokens_},
                  {"completion_tokens", k.completion_tokens_},
                  {"requests_in_60s", k.window_.requests()},
                  {"estimated_tokens_in_60s", k.window_.tokens()},
                  {"max_requests_in_60s", k.window_.max_requests()},
                  {"max_estimated_tokens_in_60s", k.window_.max_tokens()},
                  {"max_gap_us", std::chrono::duration_cast<std::chrono::microseconds>(k.max_gap_).count()},
                  {"in_flight", k.in_flight_},
                  {"max_in_flight", k.max_in_flight_},
                  {"first_arrival_unix_us", unix_us(k.first_arrival_)},
                  {"last_arrival_unix_us", unix_us(k.last_arrival_)},
                  {"last_cancelled_unix_us", unix_us(k.last_cancelled_)},
                  {"max_input_tokens_in_60s", k.input_window_.max_tokens()},
                  {"max_output_tokens_in_60s", k.output_window_.max_tokens()},
                  {"models", shown(k.bills_)}};
  }
  nlohmann::json models = nlohmann::json::object();
  for (const auto& [name, count] : models_) models[name] = count.load();
  const nlohmann::json out = {{"now_unix_us", unix_us(now)},
                              {"uptime_ms", std::chrono::duration_cast<milliseconds>(now - started_).count()},
                              {"requests", requests},
                              {"in_flight", in_flight},
                              {"connections", connections_.load()},
                              {"accepted_connections", accepted_connections_.load()},
                              {"keys", std::move(keys)},
                              {"models", std::move(models)}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace millrace::http::simulation
