#include "engine/metrics.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <mutex>
#include <set>
#include <sstream>
#include <string_view>
#include <unordered_map>

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "engine/metrics_state.hpp"

namespace millrace::engine {
namespace {

using prometheus::Counter;
using prometheus::Histogram;
using prometheus::Labels;

/// A thread's cache forgets everything beyond this many entries; only label values from outside get it there.
constexpr size_t max_cached_series = 4096;

const Histogram::BucketBoundaries latency_buckets = {
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
    0.5,    1,       2.5,    5,     10,     20,    30,   60,    120,  300, 600};
const Histogram::BucketBoundaries overhead_buckets = {0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005,
                                                      0.001,   0.0025,   0.005,   0.01,   0.025,   0.05,
                                                      0.1,     0.25,     0.5,     1};

const Histogram::BucketBoundaries confidence_buckets = {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1};

double positive_seconds(duration d) {
  return std::max(0.0, seconds_of(d));
}

/// The names of one configuration, which alone become label values.
struct vocabulary {
  std::set<std::string, std::less<>> models;
  std::set<std::string, std::less<>> tenants;
  std::set<std::string, std::less<>> providers;
  std::set<std::string, std::less<>> targets;  ///< "<provider>/<model>", "<provider>/*" for wildcards

  explicit vocabulary(const config& c) {
    for (const client_config& client : c.clients) tenants.insert(client.tenant);
    for (const provider_config& p : c.providers) providers.insert(p.name);
    for (const model_config& m : c.models) {
      models.insert(m.name);
      for (const target_config& t : m.targets) {
        targets.insert(c.providers[t.provider].name + "/" + (t.model.empty() ? "*" : t.model));
      }
    }
  }

  static std::string known(const std::set<std::string, std::less<>>& names, std::string_view name) {
    return names.contains(name) ? std::string(name) : "unknown";
  }
  std::string target(std::string_view provider, std::string_view model) const {
    const std::string prefix = std::string(provider) + "/";
    if (targets.contains(prefix + std::string(model))) return std::string(model);
    return targets.contains(prefix + "*") ? "*" : "unknown";
  }
};

/// A family with a bound on its label sets. Not thread-safe.
template <class Metric>
class bounded_family {
 public:
  bounded_family(prometheus::Family<Metric>& family, size_t most) : family_(&family), most_(most) {}

  template <class... Args>
  Metric& get(Labels labels, const Args&... args) {
    if (!family_->Has(labels)) {
      if (count_ < most_) {
        ++count_;
      } else {
        for (auto& label : labels) label.second = "other";
      }
    }
    return family_->Add(labels, args...);
  }

 private:
  prometheus::Family<Metric>* family_;
  size_t most_;
  size_t count_ = 0;
};

/// Where one kind of request is counted. Null where nothing can ever be counted.
struct request_series {
  Counter* requests = nullptr;
  Histogram* duration = nullptr;
  Histogram* overhead = nullptr;
  Histogram* wait = nullptr;
  Histogram* first_token = nullptr;
  Counter* retries = nullptr;
  Counter* fallbacks = nullptr;
  Counter* gone = nullptr;
  Counter* cache = nullptr;
  Counter* complexity = nullptr;
  Counter* degraded = nullptr;
  Counter* hedges = nullptr;
};

struct attempt_series {
  Counter* attempts = nullptr;
  Histogram* duration = nullptr;
  Counter* input_tokens = nullptr;
  Counter* output_tokens = nullptr;
  Counter* cached_tokens = nullptr;
  Counter* estimated_tokens = nullptr;
  Counter* cost = nullptr;
};

struct text_hash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
template <class Series>
using series_map = std::unordered_map<std::string, Series, text_hash, std::equal_to<>>;

/// Series found before by this thread. `stamp` says for which metrics object and configuration.
struct thread_cache {
  std::uint64_t stamp = 0;
  series_map<request_series> requests;
  series_map<attempt_series> attempts;
  std::string key;
};

thread_cache& cache_for(std::uint64_t stamp) {
  thread_local thread_cache cache;
  if (cache.stamp != stamp || cache.requests.size() + cache.attempts.size() > max_cached_series) {
    cache.requests.clear();
    cache.attempts.clear();
    cache.stamp = stamp;
  }
  return cache;
}

/// Joins label values, each behind its length, so that only equal values give equal keys.
template <class... Parts>
void make_key(std::string& key, const Parts&... parts) {
  key.clear();
  const auto append = [&](std::string_view part) {
    const auto size = static_cast<std::uint32_t>(part.size());
    key.append(reinterpret_cast<const char*>(&size), sizeof size).append(part);
  };
  (append(parts), ...);
}

std::uint64_t next_stamp() {
  static std::atomic<std::uint64_t> last{0};
  return ++last;
}

bool is_post(const request_record& r) {
  return r.method == "POST";
}

std::string status_text(int status) {
  return status >= 100 && status <= 599 ? std::to_string(status) : std::string("unknown");
}

}  // namespace

std::string_view to_string(queue_class q) {
  switch (q) {
    case queue_class::priority:
      return "priority";
    case queue_class::standard:
      return "standard";
    case queue_class::batch:
      return "batch";
  }
  return "unknown";
}

struct metrics::impl {
  prometheus::Registry registry;
  mutable std::mutex mutex;  ///< for everything below except the stamp
  std::atomic<std::uint64_t> stamp{0};
  std::shared_ptr<const vocabulary> names;
  std::vector<std::shared_ptr<prometheus::Collectable>> others;

  bounded_family<Counter> requests = counters("millrace_requests_total", "Finished requests.");
  bounded_family<Histogram> duration = histograms("millrace_request_duration_seconds",
                                                  "Time from a request's arrival to the end of its answer.");
  bounded_family<Histogram> overhead =
      histograms("millrace_request_overhead_seconds",
                 "Part of a request's time that waited neither for its client, permits nor providers.");
  bounded_family<Histogram> first_token = histograms(
      "millrace_time_to_first_token_seconds", "Time from a streamed request's start to its first content.");
  bounded_family<Histogram> wait =
      histograms("millrace_queue_wait_seconds", "Time that requests waited for a permit.");
  bounded_family<Counter> tokens = counters(
      "millrace_tokens_total",
      "Tokens of upstream calls, failed ones among them; cached ones are part of the input. Estimated "
      "ones, which the provider did not count, are part of input and output.");
  bounded_family<Counter> cost =
      counters("millrace_cost_usd_total", "Cost of upstream calls at their targets' prices, in USD.");
  bounded_family<Counter> retries =
      counters("millrace_retries_total", "Upstream calls beyond a request's first.");
  bounded_family<Counter> fallbacks =
      counters("millrace_fallbacks_total", "Requests that were not answered by their model's first choice.");
  bounded_family<Counter> gone =
      counters("millrace_client_gone_total", "Requests whose client left before the end.");
  bounded_family<Counter> cache =
      counters("millrace_cache_requests_total", "Requests for an answer by what x-millrace-cache said.");
  bounded_family<Counter> complexity = counters(
      "millrace_complexity_total",
      "Requests for models with rules, by how hard the prompt looked and the model that was chosen.");
  bounded_family<Counter> degraded =
      counters("millrace_degraded_total",
               "Answers that were not what was asked for, by step: fallback, local, stale, template.");
  bounded_family<Counter> hedges = counters(
      "millrace_hedges_total",
      "Second calls made because the first was silent for long: won (its answer was given) or lost.");
  bounded_family<Counter> upgrades = counters(
      "millrace_upgrade_answers_total",
      "Answers of models with an upgrade: sure (nobody else was asked), failed, kept (the upgrade was "
      "no surer), same and changed (it was).");
  bounded_family<Histogram> confidence =
      histograms("millrace_answer_confidence", "How sure first answers of models with an upgrade were.");
  bounded_family<Counter> attempts = counters("millrace_attempts_total", "Upstream calls by how they ended.");
  bounded_family<Histogram> attempt_duration = histograms(
      "millrace_attempt_duration_seconds", "Time of an upstream call, from its permit to its end.");

  bounded_family<Counter> counters(const char* name, const char* help) {
    return {prometheus::BuildCounter().Name(name).Help(help).Register(registry), max_counter_series};
  }
  bounded_family<Histogram> histograms(const char* name, const char* help) {
    return {prometheus::BuildHistogram().Name(name).Help(help).Register(registry), max_histogram_series};
  }

  request_series find(const request_record& r);
  attempt_series find(const attempt_record& r);
};

request_series metrics::impl::find(const request_record& r) {
  const std::lock_guard lock(mutex);
  const std::string route = r.route.empty() ? "unknown" : std::string(r.route);
  const std::string model = vocabulary::known(names->models, r.model);
  const std::string tenant = vocabulary::known(names->tenants, r.tenant);
  request_series s;
  // Only a POST asks for a model, and a probe (/health, /ready) comes from no tenant: no label is better than
  // an "unknown" that looks like a client's mistake.
  Labels timed = {{"route", route}};
  if (is_post(r) || !r.model.empty()) timed.emplace("model", model);
  Labels counted = timed;
  counted.emplace("status", status_text(r.status));
  if (is_post(r) || !r.tenant.empty()) counted.emplace("tenant", tenant);
  s.requests = &requests.get(std::move(counted));
  s.duration = &duration.get(std::move(timed), latency_buckets);
  s.overhead = &overhead.get({{"route", route}}, overhead_buckets);
  if (!r.cache.empty()) s.cache = &cache.get({{"model", model}, {"outcome", std::string(r.cache)}});
  if (!r.complexity.empty()) {
    s.complexity = &complexity.get({{"model", model},
                                    {"complexity", std::string(r.complexity)},
                                    {"chosen", vocabulary::known(names->models, r.chosen)}});
  }
  if (!r.degraded.empty()) s.degraded = &degraded.get({{"model", model}, {"step", std::string(r.degraded)}});
  if (!r.hedge.empty()) s.hedges = &hedges.get({{"model", model}, {"outcome", std::string(r.hedge)}});
  s.gone = &gone.get({{"route", route}});
  s.wait = &wait.get({{"queue", std::string(to_string(r.queue))}}, latency_buckets);
  if (r.provider.empty()) return s;
  const std::string provider = vocabulary::known(names->providers, r.provider);
  const std::string target = names->target(r.provider, r.upstream_model);
  s.first_token = &first_token.get({{"provider", provider}, {"model", target}}, latency_buckets);
  s.retries = &retries.get({{"model", model}});
  s.fallbacks = &fallbacks.get({{"model", model}});
  return s;
}

attempt_series metrics::impl::find(const attempt_record& r) {
  const std::lock_guard lock(mutex);
  const std::string provider = vocabulary::known(names->providers, r.provider);
  const std::string target = names->target(r.provider, r.model);
  attempt_series s;
  s.attempts = &attempts.get({{"provider", provider}, {"model", target}, {"outcome", std::string(r.reason)}});
  s.duration = &attempt_duration.get({{"provider", provider}, {"model", target}}, latency_buckets);
  if (r.used.input_tokens == 0 && r.used.output_tokens == 0) return s;
  const std::string tenant = vocabulary::known(names->tenants, r.tenant);
  const Labels paid = {{"provider", provider}, {"model", target}, {"tenant", tenant}};
  const auto typed = [&](const char* type) {
    Labels labels = paid;
    labels.emplace("type", type);
    return &tokens.get(std::move(labels));
  };
  s.input_tokens = typed("input");
  s.output_tokens = typed("output");
  s.cached_tokens = typed("cached");
  s.estimated_tokens = typed("estimated");
  s.cost = &cost.get(paid);
  return s;
}

metrics::metrics(const config_ptr& c) : impl_(std::make_unique<impl>()) {
  apply(c);
}

metrics::~metrics() = default;

void metrics::apply(const config_ptr& c) {
  auto names = std::make_shared<const vocabulary>(*c);
  const std::lock_guard lock(impl_->mutex);
  impl_->names = std::move(names);
  impl_->stamp = next_stamp();
}

void metrics::include(std::shared_ptr<prometheus::Collectable> others) {
  impl_->others.push_back(std::move(others));
}

void metrics::request_done(const request_record& r) {
  thread_cache& cache = cache_for(impl_->stamp.load(std::memory_order_acquire));
  const std::array<char, 4> numbers = {static_cast<char>(r.status & 0xff),
                                       static_cast<char>(r.status >> 8 & 0xff), static_cast<char>(r.queue),
                                       static_cast<char>(is_post(r))};
  make_key(cache.key, r.route, r.model, r.tenant, r.provider, r.upstream_model, r.cache, r.complexity,
           r.chosen, r.degraded, r.hedge, std::string_view(numbers.data(), numbers.size()));
  auto it = cache.requests.find(std::string_view(cache.key));
  if (it == cache.requests.end()) it = cache.requests.emplace(cache.key, impl_->find(r)).first;
  const request_series& s = it->second;

  s.requests->Increment();
  s.duration->Observe(positive_seconds(r.total));
  s.overhead->Observe(positive_seconds(r.overhead));
  if (r.client_gone) s.gone->Increment();
  if (s.cache != nullptr) s.cache->Increment();
  if (s.complexity != nullptr) s.complexity->Increment();
  if (s.degraded != nullptr) s.degraded->Increment();
  if (s.hedges != nullptr) s.hedges->Increment();
  // Whoever asked for a permit, granted or not; others never waited, nor did those whose own limits said no.
  const bool own_limit = r.error_code == "rate_limit_exceeded" || r.error_code == "budget_exceeded";
  if (!r.provider.empty() || (r.waited > duration::zero() && !own_limit))
    s.wait->Observe(positive_seconds(r.waited));
  if (s.first_token == nullptr) return;
  if (r.first_token > duration::zero()) s.first_token->Observe(positive_seconds(r.first_token));
  if (r.retries > 0) s.retries->Increment(r.retries);
  if (r.fallback) s.fallbacks->Increment();
}

void metrics::attempt_done(const attempt_record& r) {
  thread_cache& cache = cache_for(impl_->stamp.load(std::memory_order_acquire));
  const bool billed = r.used.input_tokens > 0 || r.used.output_tokens > 0;
  make_key(cache.key, r.provider, r.model, r.reason, r.tenant, billed ? "1" : "0");
  auto it = cache.attempts.find(std::string_view(cache.key));
  if (it == cache.attempts.end()) it = cache.attempts.emplace(cache.key, impl_->find(r)).first;
  const attempt_series& s = it->second;
  s.attempts->Increment();
  s.duration->Observe(positive_seconds(r.total));
  const auto count = [](Counter* counter, std::int64_t n) {
    if (counter != nullptr && n > 0) counter->Increment(static_cast<double>(n));
  };
  count(s.input_tokens, r.used.input_tokens);
  count(s.output_tokens, r.used.output_tokens);
  count(s.cached_tokens, r.used.cached_tokens);
  count(s.estimated_tokens, r.estimated_tokens);
  if (s.cost != nullptr && r.cost > money()) s.cost->Increment(r.cost.usd());
}

void metrics::upgrade_done(const upgrade_record& r) {
  const std::lock_guard lock(impl_->mutex);
  const std::string model = vocabulary::known(impl_->names->models, r.model);
  impl_->upgrades.get({{"model", model}, {"outcome", std::string(to_string(r.what))}}).Increment();
  if (r.before >= 0) impl_->confidence.get({{"model", model}}, confidence_buckets).Observe(r.before);
}

std::string metrics::render(const node_gauges& node) const {
  std::vector<prometheus::MetricFamily> families = impl_->registry.Collect();
  for (const auto& other : impl_->others) {
    auto more = other->Collect();
    std::move(more.begin(), more.end(), std::back_inserter(families));
  }
  std::erase_if(families, [](const prometheus::MetricFamily& f) { return f.metric.empty(); });
  append_node_families(families, node);
  append_process_families(families, read_process_stats());
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, families);
  return std::move(out).str();
}

}  // namespace millrace::engine
