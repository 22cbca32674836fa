#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "engine/time.hpp"
#include "http/simulator/settings.hpp"

/// What the simulator counts. The judge of limits: everything here is the provider's own view and clock.
namespace millrace::http::simulation {

/// Requests and tokens that arrived in the last 60 s, and the most there ever were in any 60 s. An arrival
/// counts for 60 s: from its own instant up to, not including, the instant 60 s later. O(1) amortised per
/// arrival. Exact to the clock's tick up to `exact_entries` arrivals in the window; above that, arrivals of
/// one millisecond share an entry with the time of the last of them, so that the window is judged up to 1 ms
/// too long, never too short. Not thread-safe.
class sliding_window {
 public:
  static constexpr engine::duration length = std::chrono::seconds(60);
  static constexpr size_t exact_entries = 131'072;

  /// `now` must not run backwards, here and below.
  void add(engine::time_point now, std::int64_t tokens);
  void expire(engine::time_point now);

  std::int64_t requests() const { return requests_; }
  std::int64_t tokens() const { return tokens_; }
  std::int64_t max_requests() const { return max_requests_; }
  std::int64_t max_tokens() const { return max_tokens_; }
  /// Forgets the maxima up to now, keeps what is in the window.
  void reset_maxima();

  /// Until at most so many requests and tokens are left. 0: now.
  engine::duration until_below(engine::time_point now, std::int64_t requests, std::int64_t tokens) const;
  engine::duration until_empty(engine::time_point now) const;

 private:
  struct entry {
    engine::time_point at;
    std::int64_t requests;
    std::int64_t tokens;
  };
  std::deque<entry> entries_;
  std::int64_t requests_ = 0;
  std::int64_t tokens_ = 0;
  std::int64_t max_requests_ = 0;
  std::int64_t max_tokens_ = 0;
};

enum class limit_kind : std::uint8_t { requests, tokens, input_tokens, output_tokens };

/// What a limit said to one request, and what is left after it.
struct admission {
  bool accepted = true;
  limit_kind refused_by = limit_kind::requests;
  std::int64_t remaining_requests = 0;
  std::int64_t remaining_tokens = 0;
  std::int64_t remaining_input_tokens = 0;
  std::int64_t remaining_output_tokens = 0;
  engine::duration reset{};        ///< until the window is empty again
  engine::duration retry_after{};  ///< of a refusal: until the same request would fit
};

enum class outcome : std::uint8_t {
  answered,      ///< a complete answer below 400 was handed to the kernel
  failed,        ///< an error or broken answer, on purpose or by the request's own fault
  limited,       ///< 429
  unauthorized,  ///< 401
  cancelled,     ///< the client closed before the answer was complete
};

/// What a key used of one model, as the answers told it.
struct model_bill {
  std::int64_t requests = 0;            ///< that used any token
  std::int64_t input_tokens = 0;        ///< all of them, cached ones among them
  std::int64_t output_tokens = 0;       ///< all of them, reasoning among them
  std::int64_t cache_read_tokens = 0;   ///< of the input
  std::int64_t cache_write_tokens = 0;  ///< of the input
  std::int64_t reasoning_tokens = 0;    ///< of the output
};

/// The books of one API key. Thread-safe; one short critical section per call.
class key_ledger {
 public:
  /// Models beyond this many share one bill.
  static constexpr size_t max_bills = 1'000;

  /// A request arrived and is judged by the limits; an accepted one is in flight until `finish`.
  admission arrive(const simulated_limits& limits, std::int64_t estimated_input,
                   std::int64_t estimated_output);
  /// The bill of a model; lives as long as the ledger and is its own to change.
  model_bill& bill(std::string_view model);
  /// How an accepted request ended, and what it used, which goes onto `on`.
  void finish(outcome how, const engine::usage& used, model_bill& on);
  /// A request that was turned away before any limit saw it.
  void turn_away(outcome how);
  void reset();

 private:
  friend class stats_book;
  void count(outcome how, engine::time_point now);

  mutable std::mutex mutex_;
  mutable sliding_window window_;  ///< looking at it lets old arrivals expire
  sliding_window input_window_;    ///< kept only where input tokens have a limit of their own
  sliding_window output_window_;   ///< the same for output tokens
  std::map<std::string, model_bill, std::less<>> bills_;
  std::int64_t requests_ = 0;  ///< all arrivals
  std::int64_t accepted_ = 0;  ///< by the limits
  std::int64_t over_limit_ = 0;
  std::int64_t answered_ = 0;
  std::int64_t failed_ = 0;
  std::int64_t rejected_429_ = 0;
  std::int64_t unauthorized_ = 0;
  std::int64_t cancelled_ = 0;
  std::int64_t prompt_tokens_ = 0;
  std::int64_t completion_tokens_ = 0;
  std::int64_t in_flight_ = 0;
  std::int64_t max_in_flight_ = 0;
  engine::duration max_gap_{};  ///< between two accepted arrivals
  engine::time_point first_arrival_{};
  engine::time_point last_arrival_{};
  engine::time_point last_accepted_{};
  engine::time_point last_cancelled_{};
};

/// All keys and models. Ledgers live as long as the book, so that callers may keep references. Thread-safe.
class stats_book {
 public:
  /// Names beyond this many, keys and models apart, share one entry.
  static constexpr size_t max_names = 10'000;
  static constexpr std::string_view other_names = "(others)";

  stats_book();
  key_ledger& key(std::string_view name);
  std::atomic<std::int64_t>& model(std::string_view name);
  void connected() {
    ++connections_;
    ++accepted_connections_;
  }
  void disconnected() { --connections_; }
  void reset();
  std::string json() const;

 private:
  std::int64_t unix_us(engine::time_point t) const;

  const engine::time_point started_;
  const std::int64_t started_unix_us_;
  std::atomic<std::int64_t> connections_{0};
  std::atomic<std::int64_t> accepted_connections_{0};
  mutable std::mutex mutex_;
  std::map<std::string, key_ledger, std::less<>> keys_;
  std::map<std::string, std::atomic<std::int64_t>, std::less<>> models_;
};

}  // namespace millrace::http::simulation
