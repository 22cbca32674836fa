#include "engine/commands/node.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <tuple>

#include "actors/directory_actor.hpp"
#include "actors/dispatcher_actor.hpp"
#include "actors/failure.hpp"
#include "engine/commands/open_files.hpp"
#include "http/dialects/formats.hpp"

namespace millrace::commands {

namespace {

/// At the stop: how long calls without clients may take to end, and how often that is looked at.
constexpr auto work_patience = std::chrono::seconds(5);
constexpr auto work_pause = std::chrono::milliseconds(10);

http::upstream_options upstream_options_of_process() {
  http::upstream_options o;
  o.environment = engine::process_environment;
  static const auto tls = http::make_tls_context();
  o.tls = tls;
  static const auto lookup = http::system_lookup();
  o.lookup = lookup;
  return o;
}

/// The bounds of the edge that depend on the process.
http::edge_limits edge_limits_of_process() {
  http::edge_limits l;
  l.lingering_refusals = std::min(l.lingering_refusals, refusals_within(open_file_limit()));
  return l;
}

/// The settings for the edge, with no more connections than the process may have; the log tells.
engine::http_config within_open_files(engine::http_config c) {
  const auto files = open_file_limit();
  const auto most = connections_within(files);
  if (c.max_connections > most) {
    engine::log_event(engine::log_level::info, "max_connections_capped",
                      {{"configured", c.max_connections}, {"effective", most}, {"open_files", files}});
    c.max_connections = most;
  }
  return c;
}

}  // namespace

node::worker::worker(node& owner, size_t index)
    : upstream(owner.pool_.context(index), upstream_options_of_process()),
      bridge(*owner.system_, owner.dispatcher_, owner.pool_.context(index),
             static_cast<std::uint16_t>(index)),
      clock(owner.pool_.context(index)),
      providers(upstream, clock),
      work(owner.pool_.context(index)),
      desk(*owner.system_, owner.directory_, owner.kept_answers_->store(), owner.answers_.size(),
           owner.kept_answers_->disk(), owner.pool_.context(index), work),
      pipeline({bridge, providers, clock, work, http::all_formats(), owner.watch_, owner.budget_,
                owner.answers_, owner.kept_answers_->store() ? &desk : nullptr,
                [this](std::size_t shard) { desk.write(shard); }, &owner.hedges_}) {}

node::node(engine::config_ptr c, on_failure failed)
    : config_(std::move(c)),
      bound_host_(config_->http.host),
      log_(config_->log),
      metrics_(config_),
      access_log_(log_),
      kept_usage_(ledger_, *config_),
      watch_({&metrics_, &access_log_, &upgrades_, &ledger_}),
      answers_(static_cast<size_t>(config_->cache.shards), static_cast<size_t>(config_->cache.memory_bytes)),
      system_(std::make_unique<caf::actor_system>(system_config_)),
      pool_(config_->http.threads) {
  directory_ = system_->spawn(actors::directory, mailboxes_);
  dispatcher_ = system_->spawn(actors::dispatcher, directory_,
                               ledger_.spent(std::chrono::time_point_cast<std::chrono::milliseconds>(
                                   std::chrono::system_clock::now())));
  const auto watch = [&](const char* name, const auto& actor) {
    actors::on_failure(caf::actor_cast<caf::strong_actor_ptr>(actor),
                       [name, failed](const std::string& why) { failed(name, why); });
  };
  watch("directory", directory_);
  watch("dispatcher", dispatcher_);
  limits_ = std::make_unique<limit_keeper>(*system_, directory_, config_->node);
  limits_->announce(config_);
  kept_answers_ = std::make_unique<answer_keeper>(*system_, directory_, mailboxes_, *config_, answers_);
  caf::anon_send(directory_, config_);
  caf::anon_send(dispatcher_, config_);
  for (size_t i = 0; i < pool_.size(); ++i) workers_.push_back(std::make_unique<worker>(*this, i));
  for (const auto& w : workers_) services_.threads.push_back({config_, &w->pipeline});
  services_.watch = &watch_;
  services_.metrics = &metrics_;
  metrics_.include(services_.documents.metrics.collectable());
  services_.ledger = &ledger_;
  services_.look = [this](size_t thread, engine::cancellation& gone, engine::yield y) {
    return look(thread, gone, y);
  };
  services_.purge = [this](size_t thread, const std::string& tenant, const std::string& model,
                           engine::cancellation& gone, engine::yield y) {
    const auto done = workers_[thread]->desk.purge(tenant, model, workers_[thread]->clock.wall(), gone, y);
    return http::purge_result{done.entries, done.complete};
  };
  services_.set_weights = [this](const engine::weights_order& order) { caf::anon_send(dispatcher_, order); };
  edge_ = std::make_unique<http::edge>(pool_, http::api_routes(services_), http::format_error, watch_,
                                       within_open_files(config_->http), edge_limits_of_process());
}

node::~node() {
  limits_.reset();
  edge_.reset();
  pool_.stop();
  workers_.clear();
  kept_answers_.reset();
  caf::anon_send_exit(dispatcher_, caf::exit_reason::user_shutdown);
  caf::anon_send_exit(directory_, caf::exit_reason::user_shutdown);
  dispatcher_ = nullptr;
  directory_ = nullptr;
}

std::uint16_t node::start() {
  limits_->start();
  pool_.start();
  const bool storage_open = kept_usage_.open() && kept_answers_->store() && limits_->open();
  services_.ready = storage_open ? http::readiness::ready : http::readiness::storage_not_open;
  return edge_->listen();
}

std::vector<std::string> node::apply(const engine::config_ptr& wanted) {
  engine::require_safe_at(*wanted, bound_host_);
  std::vector<std::string> later;
  // What cannot change while the node runs stays as it runs, in all that is shown and compared, too.
  const auto changed = std::make_shared<engine::config>(*wanted);
  const auto keep = [&](const char* name, auto& setting, const auto& running) {
    if (setting == running) return;
    setting = running;
    later.emplace_back(name);
  };
  auto listen = std::tie(changed->http.host, changed->http.port);
  keep("http.listen", listen, std::tie(config_->http.host, config_->http.port));
  keep("http.threads", changed->http.threads, config_->http.threads);
  changed->cache.ttl = config_->cache.ttl;  // the models have taken it over
  keep("cache.exact", changed->cache, config_->cache);
  keep("node.data_dir", changed->node.data_dir, config_->node.data_dir);
  keep("node.id", changed->node.id, config_->node.id);
  const engine::config_ptr c = changed;
  config_ = c;
  log_.apply(c->log);
  metrics_.apply(c);
  kept_usage_.apply(*c);
  edge_->set_config(within_open_files(c->http));
  // The directory first: it must know every name before the dispatcher asks for one, and the dispatcher must
  // know the configuration before a request plans with it.
  limits_->announce(c);
  caf::anon_send(directory_, c);
  caf::anon_send(dispatcher_, c);
  pool_.on_each([&](size_t i) { services_.threads[i].config = c; });
  return later;
}

bool node::stop(engine::duration patience) {
  services_.ready = http::readiness::draining;
  edge_->stop_accepting();
  const bool clean = edge_->drain(engine::clock::now() + patience);
  pool_.on_each([&](size_t i) { workers_[i]->upstream.close_idle(); });
  // What is left of a call whose clients are all gone ends by itself, soon.
  wait_for_work();
  kept_answers_->close();
  kept_usage_.close();
  limits_->close(clean);
  return clean;
}

void node::wait_for_work() {
  const auto until = engine::clock::now() + work_patience;
  std::atomic<int> running{1};
  while (running > 0 && engine::clock::now() < until) {
    running = 0;
    pool_.on_each([&](size_t i) { running += workers_[i]->work.running(); });
    if (running > 0) std::this_thread::sleep_for(work_pause);
  }
}

std::shared_ptr<const http::node_view> node::look(size_t thread, engine::cancellation& gone,
                                                  engine::yield y) {
  const auto decided = workers_[thread]->bridge.status(gone, y);
  if (!decided) return nullptr;
  auto view = std::make_shared<http::node_view>();
  view->config = decided->config;
  view->dispatcher = decided->status;
  view->mailboxes = {{"dispatcher", static_cast<std::int64_t>(decided->mailbox)},
                     {"directory", mailboxes_->directory},
                     {"key", mailboxes_->keys},
                     {"breaker", mailboxes_->breakers},
                     {"cache", mailboxes_->caches},
                     {"store", mailboxes_->stores}};
  view->cache = engine::view_cache(answers_, kept_answers_->disk());
  view->upgrades = upgrades_.rows();
  const auto kept = kept_usage_.look();
  view->usage = {ledger_.size(), kept.disk_on, kept.failures};
  view->edge = edge_->statistics();
  for (const auto& w : workers_) {
    const auto& counters = w->upstream.counters();
    view->upstream_open += counters.open;
    view->upstream_idle += counters.idle;
    view->upstream_created += counters.created;
    view->upstream_reused += counters.reused;
  }
  view->actors = static_cast<std::int64_t>(system_->registry().running());
  view->log_lines_dropped = log_.dropped();
  view->uptime = engine::clock::now() - started_;
  view->ready = services_.ready == http::readiness::ready;
  return view;
}

}  // namespace millrace::commands
