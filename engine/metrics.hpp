#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cache_view.hpp"
#include "engine/config.hpp"
#include "engine/messages.hpp"
#include "engine/place_counts.hpp"
#include "engine/ports.hpp"

namespace prometheus {
class Collectable;
}

namespace millrace::engine {

/// Most label sets one counter family keeps, and one histogram family; what comes later is counted under
/// "other".
inline constexpr size_t max_counter_series = 10'000;
inline constexpr size_t max_histogram_series = 1'000;

/// One configured limit of a provider key and how much of its current window is used.
struct limit_gauge {
  std::string name;  ///< as configured: "rpm", "tpm", "tpm_input", "tpm_output", "rpd", "concurrency"
  std::int64_t limit = 0;
  std::int64_t used = 0;
};

struct key_gauge {
  std::string provider;
  std::string key;  ///< its id
  std::vector<limit_gauge> limits;
  std::int64_t in_flight = 0;
  bool quarantined = false;
};

struct queue_gauge {
  queue_class queue = queue_class::standard;
  std::int64_t depth = 0;
  duration oldest{};    ///< how long the oldest request has waited
  place_counts joined;  ///< since start
};

struct breaker_gauge {
  std::string provider;
  std::string model;  ///< "*" for a wildcard's target
  breaker_state state = breaker_state::closed;
};

/// One budget of a client key or a tenant.
struct budget_gauge {
  std::string kind;  ///< "client" or "tenant"
  std::string name;
  std::string period;  ///< "day" or "month"
  double limit_usd = 0;
  double spent_usd = 0;
  double reserved_usd = 0;
};

/// What is kept of who used what.
struct usage_gauge {
  std::size_t rows = 0;
  bool disk_on = false;
  std::uint64_t disk_failures = 0;  ///< since start
};

/// A count that somebody else keeps.
struct named_count {
  std::string name;
  std::int64_t count = 0;
};

/// The node's state at the moment of a scrape, put together by the program.
struct node_gauges {
  std::vector<key_gauge> keys;
  std::vector<queue_gauge> queues;
  std::vector<breaker_gauge> breakers;
  std::vector<budget_gauge> budgets;
  usage_gauge usage;
  std::int64_t connections = 0;               ///< of clients, open now
  std::int64_t connections_accepted = 0;      ///< since start
  std::vector<named_count> connections_lost;  ///< before an answer was written, by reason, since start
  std::vector<named_count> refusals;          ///< requests the edge refused, by reason, since start
  std::int64_t upstream_active = 0;           ///< connections to providers that carry a request
  std::int64_t upstream_idle = 0;             ///< kept for the next request
  std::vector<named_count> mailboxes;         ///< messages waiting, by actor
  cache_view cache;
  std::int64_t actors = 0;              ///< alive
  std::uint64_t log_lines_dropped = 0;  ///< since start
  std::uint64_t config_version = 0;
  bool ready = false;
};

/// "priority", "standard" or "batch".
std::string_view to_string(queue_class q);

/// Counts finished work and renders it with the node's state in the Prometheus text format. Label values are
/// those of the configuration ("unknown" stands for anything else), so clients cannot make series.
/// Thread-safe. `request_done` and `attempt_done` look their series up in a cache of the calling thread.
class metrics : public observer {
 public:
  explicit metrics(const config_ptr& c);
  ~metrics() override;

  /// From now on the names of `c` are the ones that may become label values. Series that exist stay.
  void apply(const config_ptr& c);

  /// From now on rendered with the rest. Before the first `render`.
  void include(std::shared_ptr<prometheus::Collectable> others);

  void request_done(const request_record& r) override;
  void attempt_done(const attempt_record& r) override;
  void upgrade_done(const upgrade_record& r) override;

  /// The text for `GET /metrics`, content type `text/plain; version=0.0.4`. Takes some milliseconds when
  /// there are many series or open files.
  std::string render(const node_gauges& node) const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

/// Hands every record to several observers, in order. They must outlive it.
class tee : public observer {
 public:
  explicit tee(std::vector<observer*> observers) : observers_(std::move(observers)) {}
  void request_done(const request_record& r) override {
    for (observer* o : observers_) o->request_done(r);
  }
  void attempt_done(const attempt_record& r) override {
    for (observer* o : observers_) o->attempt_done(r);
  }
  void upgrade_done(const upgrade_record& r) override {
    for (observer* o : observers_) o->upgrade_done(r);
  }

 private:
  std::vector<observer*> observers_;
};

}  // namespace millrace::engine
