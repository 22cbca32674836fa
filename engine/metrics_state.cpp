#include "engine/metrics_state.hpp"

#include <limits>

namespace millrace::engine {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using labels = std::vector<ClientMetric::Label>;

/// One family under construction. Prometheus takes one without samples badly, so it is left out.
class family {
 public:
  family(std::vector<MetricFamily>& out, std::string name, std::string help,
         MetricType type = MetricType::Gauge)
      : out_(out) {
    family_.name = std::move(name);
    family_.help = std::move(help);
    family_.type = type;
  }
  ~family() {
    if (!family_.metric.empty()) out_.push_back(std::move(family_));
  }
  family(const family&) = delete;
  family& operator=(const family&) = delete;

  family& add(labels names, double value) {
    ClientMetric m;
    m.label = std::move(names);
    (family_.type == MetricType::Counter ? m.counter.value : m.gauge.value) = value;
    family_.metric.push_back(std::move(m));
    return *this;
  }
  template <class Integer>
  family& add(labels names, Integer value) {
    return add(std::move(names), static_cast<double>(value));
  }
  /// For a histogram.
  family& add(labels names, const place_counts& places) {
    ClientMetric m;
    m.label = std::move(names);
    auto& h = m.histogram;
    for (std::size_t i = 0; i < places.counts.size(); ++i) {
      h.sample_count += places.counts[i];
      const bool beyond = i == place_counts::bounds.size();
      h.bucket.push_back({h.sample_count, beyond ? std::numeric_limits<double>::infinity()
                                                 : static_cast<double>(place_counts::bounds[i])});
    }
    h.sample_sum = static_cast<double>(places.sum);
    family_.metric.push_back(std::move(m));
    return *this;
  }

 private:
  std::vector<MetricFamily>& out_;
  MetricFamily family_;
};

int breaker_number(breaker_state s) {
  switch (s) {
    case breaker_state::closed:
      return 0;
    case breaker_state::half_open:
      return 1;
    case breaker_state::open:
      return 2;
  }
  return 0;
}

void append_keys(std::vector<MetricFamily>& out, const std::vector<key_gauge>& keys) {
  family limit(out, "millrace_key_limit",
               "Configured limit of a provider key, in requests or tokens per its window.");
  family used(out, "millrace_key_used",
              "What this node's calls used of a provider key's limit in the current window.");
  family in_flight(out, "millrace_key_in_flight", "Calls under way with a provider key.");
  family quarantined(out, "millrace_key_quarantined",
                     "1 while the provider refuses the key (401, 403, no credit).");
  for (const key_gauge& k : keys) {
    for (const limit_gauge& l : k.limits) {
      const labels names = {{"provider", k.provider}, {"key", k.key}, {"limit", l.name}};
      limit.add(names, l.limit);
      used.add(names, l.used);
    }
    const labels names = {{"provider", k.provider}, {"key", k.key}};
    in_flight.add(names, k.in_flight);
    quarantined.add(names, k.quarantined ? 1 : 0);
  }
}

void append_queues(std::vector<MetricFamily>& out, const std::vector<queue_gauge>& queues) {
  family depth(out, "millrace_queue_depth", "Requests that wait for a permit.");
  family oldest(out, "millrace_queue_oldest_wait_seconds", "How long the oldest waiting request has waited.");
  family joined(out, "millrace_queue_position",
                "Place in its queue at which a request began to wait; 1 is the first.",
                MetricType::Histogram);
  for (const queue_gauge& q : queues) {
    depth.add({{"queue", std::string(to_string(q.queue))}}, q.depth);
    joined.add({{"queue", std::string(to_string(q.queue))}}, q.joined);
    oldest.add({{"queue", std::string(to_string(q.queue))}}, std::chrono::duration<double>(q.oldest).count());
  }
}

void append_money(std::vector<MetricFamily>& out, const node_gauges& node) {
  {
    family limit(out, "millrace_budget_limit_usd",
                 "Budget of a client key or a tenant for the UTC day or month.");
    family spent(out, "millrace_budget_spent_usd", "What was spent of a budget in the present day or month.");
    family reserved(out, "millrace_budget_reserved_usd", "What calls under way have reserved of a budget.");
    for (const budget_gauge& b : node.budgets) {
      const labels names = {{b.kind, b.name}, {"period", b.period}};
      limit.add(names, b.limit_usd);
      spent.add(names, b.spent_usd);
      reserved.add(names, b.reserved_usd);
    }
  }
  family(out, "millrace_usage_rows", "Rows of the usage ledger: one for each day, tenant, client and model.")
      .add({}, node.usage.rows);
  family(out, "millrace_usage_disk_up", "1 while the usage ledger is written to disk.")
      .add({}, node.usage.disk_on ? 1 : 0);
  family(out, "millrace_usage_disk_failures_total",
         "Writes of the usage ledger that failed; they are repeated.", MetricType::Counter)
      .add({}, node.usage.disk_failures);
}

void append_connections(std::vector<MetricFamily>& out, const node_gauges& node) {
  family(out, "millrace_connections", "Open client connections.").add({}, node.connections);
  family(out, "millrace_connections_accepted_total", "Client connections accepted.", MetricType::Counter)
      .add({}, node.connections_accepted);
  family lost(out, "millrace_connections_lost_total",
              "Client connections that ended before an answer was written: gone, or stalled and cut.",
              MetricType::Counter);
  for (const named_count& r : node.connections_lost) lost.add({{"reason", r.name}}, r.count);
  family refused(out, "millrace_refusals_total",
                 "Requests the edge refused before any route saw them, by reason.", MetricType::Counter);
  for (const named_count& r : node.refusals) refused.add({{"reason", r.name}}, r.count);
  family(out, "millrace_upstream_connections", "Connections to providers.")
      .add({{"state", "active"}}, node.upstream_active)
      .add({{"state", "idle"}}, node.upstream_idle);
}

}  // namespace

void append_cache(std::vector<MetricFamily>& out, const cache_view& c) {
  {
    family bytes(out, "millrace_cache_bytes", "Bytes that cached answers take, by layer.");
    bytes.add({{"layer", "memory"}}, c.memory_bytes);
    bytes.add({{"layer", "disk"}}, c.disk_bytes);
  }
  family(out, "millrace_cache_memory_limit_bytes", "Bytes that cached answers may take in memory.")
      .add({}, c.memory_limit_bytes);
  {
    family entries(out, "millrace_cache_entries", "Cached answers by layer; on disk an estimate.");
    entries.add({{"layer", "memory"}}, c.entries);
    entries.add({{"layer", "disk"}}, c.disk_entries);
  }
  {
    family lookups(out, "millrace_cache_lookups_total", "Questions to the cache by their outcome.",
                   MetricType::Counter);
    lookups.add({{"outcome", "hit_memory"}}, c.hits - c.disk_hits);
    lookups.add({{"outcome", "hit_disk"}}, c.disk_hits);
    lookups.add({{"outcome", "miss"}}, c.misses);
  }
  family(out, "millrace_cache_evictions_total", "Answers that made room in memory for others.",
         MetricType::Counter)
      .add({}, c.evictions);
  family(out, "millrace_cache_expirations_total", "Answers found in memory after their time to live.",
         MetricType::Counter)
      .add({}, c.expirations);
  family(out, "millrace_calls_in_flight", "Upstream calls that identical requests may join.")
      .add({}, c.flights);
  family(out, "millrace_transcript_bytes", "Bytes of streams kept for those who join late.")
      .add({}, c.transcript_bytes);
  family(out, "millrace_cache_disk_up", "1 while the cache's disk serves.").add({}, c.disk_on ? 1 : 0);
  family(out, "millrace_cache_disk_failures_total", "How often the cache's disk was turned off.",
         MetricType::Counter)
      .add({}, c.disk_failures);
  family(out, "millrace_cache_disk_written_total", "Answers written to disk.", MetricType::Counter)
      .add({}, c.disk_written);
  family(out, "millrace_cache_disk_dropped_total", "Answers that the disk was too slow for, or failed.",
         MetricType::Counter)
      .add({}, c.disk_dropped + c.unwritten_dropped);
  family(out, "millrace_cache_disk_bad_records_total", "Damaged records that were met and passed over.",
         MetricType::Counter)
      .add({}, c.disk_bad_records);
}

void append_node_families(std::vector<MetricFamily>& out, const node_gauges& node) {
  family(out, "millrace_build_info", "Always 1; the version is in the label.")
      .add({{"version", MILLRACE_VERSION}, {"compiler", __VERSION__}}, 1);
  family(out, "millrace_config_version", "Configurations applied since start.").add({}, node.config_version);
  family(out, "millrace_ready", "1 when /ready says so.").add({}, node.ready ? 1 : 0);
  append_keys(out, node.keys);
  append_queues(out, node.queues);
  {
    family state(out, "millrace_breaker_state",
                 "Circuit breaker of a target: 0 closed, 1 half-open, 2 open.");
    for (const breaker_gauge& b : node.breakers) {
      state.add({{"provider", b.provider}, {"model", b.model}}, breaker_number(b.state));
    }
  }
  append_money(out, node);
  append_connections(out, node);
  {
    family depth(out, "millrace_actor_mailbox_depth", "Messages that wait for an actor.");
    for (const named_count& m : node.mailboxes) depth.add({{"actor", m.name}}, m.count);
  }
  append_cache(out, node.cache);
  family(out, "millrace_actors", "Actors that are alive on this node.").add({}, node.actors);
  family(out, "millrace_log_lines_dropped_total", "Log lines lost because nobody read them fast enough.",
         MetricType::Counter)
      .add({}, node.log_lines_dropped);
}

void append_process_families(std::vector<MetricFamily>& out, const process_stats& p) {
  family(out, "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.",
         MetricType::Counter)
      .add({}, p.cpu_seconds);
  family(out, "process_resident_memory_bytes", "Resident memory size in bytes.").add({}, p.resident_bytes);
  family(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.").add({}, p.virtual_bytes);
  family(out, "process_threads", "Threads of the process.").add({}, p.threads);
  family(out, "process_open_fds", "Number of open file descriptors.").add({}, p.open_fds);
  family(out, "process_max_fds", "Maximum number of open file descriptors.").add({}, p.max_fds);
  family(out, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.")
      .add({}, p.start_time_seconds);
}

}  // namespace millrace::engine
