#include "http/upstream_pool.hpp"

#include <algorithm>

namespace millrace::http {

using engine::clock;

upstream_pool::upstream_pool(boost::asio::io_context& io, const upstream_options& options,
                             proxy_settings proxies, upstream_counters& counters)
    : executor_(io.get_executor()),
      idle_timeout_(options.idle_timeout),
      max_idle_per_host_(options.max_idle_per_host),
      max_idle_(options.max_idle),
      proxies_(std::move(proxies)),
      counters_(counters),
      sweeper_(executor_) {}

std::shared_ptr<upstream_origin> upstream_pool::find(const engine::provider_config& provider) {
  const key wanted{without_brackets(provider.host), provider.port, provider.tls};
  if (const auto found = origins_.find(wanted); found != origins_.end()) return found->second;
  if (origins_.size() >= max_origins) forget_one();
  auto origin = make_origin(provider);
  origins_.emplace(key{origin->host, origin->port, origin->tls}, origin);
  return origin;
}

std::shared_ptr<upstream_connection> upstream_pool::take(upstream_origin& origin) {
  while (!origin.idle.empty()) {
    const auto candidate = std::move(origin.idle.back());
    drop(origin, origin.idle.size() - 1);
    if (candidate.expires > clock::now() && candidate.connection->usable_again()) return candidate.connection;
  }
  return nullptr;
}

void upstream_pool::put(upstream_origin& origin, std::shared_ptr<upstream_connection> connection,
                        engine::duration at_most) {
  if (origin.forgotten || max_idle_per_host_ == 0 || max_idle_ == 0) return;
  if (origin.idle.size() >= max_idle_per_host_) drop(origin, 0);
  if (idle_ >= max_idle_) drop_oldest();
  const auto now = clock::now();
  const auto keep = at_most > engine::duration::zero() ? std::min(at_most, idle_timeout_) : idle_timeout_;
  const bool others_busy =
      counters_.open.load(std::memory_order_relaxed) > static_cast<std::int64_t>(idle_) + 1;
  connection->rest(others_busy);
  origin.idle.push_back({std::move(connection), now, now + keep});
  ++idle_;
  bump(counters_.idle, 1);
  arm_sweep();
}

void upstream_pool::forget_idle(upstream_origin& origin) {
  while (!origin.idle.empty()) drop(origin, origin.idle.size() - 1);
}

void upstream_pool::close_idle() {
  for (auto& [k, origin] : origins_) forget_idle(*origin);
  sweeper_.cancel();
}

std::shared_ptr<upstream_origin> upstream_pool::make_origin(const engine::provider_config& provider) const {
  auto o = std::make_shared<upstream_origin>();
  o->host = without_brackets(provider.host);
  o->port = provider.port;
  o->tls = provider.tls;
  o->authority = authority_of(o->host, o->port);
  const std::string usual_port = o->tls ? ":443" : ":80";
  if (o->authority.ends_with(usual_port)) o->authority.resize(o->authority.size() - usual_port.size());
  if (const auto* proxy = proxies_.find(o->host, o->tls)) {
    o->proxy = *proxy;
    if (!o->tls) o->absolute_prefix = "http://" + o->authority;
  }
  if (o->tls) o->session = std::make_shared<tls_session_slot>();
  return o;
}

void upstream_pool::forget_one() {
  auto victim =
      std::find_if(origins_.begin(), origins_.end(), [](const auto& x) { return x.second->idle.empty(); });
  if (victim == origins_.end()) victim = origins_.begin();
  // The key views a string of the origin: keep it until the entry is gone.
  const auto origin = victim->second;
  origin->forgotten = true;
  while (!origin->idle.empty()) drop(*origin, origin->idle.size() - 1);
  origins_.erase(victim);
}

/// Closes the connection that was idle longest, whosever it is.
void upstream_pool::drop_oldest() {
  upstream_origin* oldest = nullptr;
  for (auto& [k, origin] : origins_) {
    if (origin->idle.empty()) continue;
    if (oldest == nullptr || origin->idle.front().since < oldest->idle.front().since) oldest = origin.get();
  }
  if (oldest != nullptr) drop(*oldest, 0);
}

void upstream_pool::drop(upstream_origin& origin, size_t index) {
  origin.idle.erase(origin.idle.begin() + static_cast<std::ptrdiff_t>(index));
  --idle_;
  bump(counters_.idle, -1);
}

void upstream_pool::arm_sweep() {
  if (sweeping_) return;
  sweeping_ = true;
  sweeper_.expires_after(std::min(idle_timeout_ / 2, longest_sweep));
  // A cancelled wait still comes here: then nothing is idle, and the sweep only notes that it ended.
  sweeper_.async_wait([this, alive = std::weak_ptr<bool>(alive_)](const auto&) {
    if (!alive.expired()) sweep();
  });
}

/// Closes what expired and what its peer closed.
void upstream_pool::sweep() {
  sweeping_ = false;
  const auto now = clock::now();
  for (auto& [k, origin] : origins_) {
    for (size_t i = origin->idle.size(); i-- > 0;) {
      const auto& c = origin->idle[i];
      if (c.expires <= now || !c.connection->usable_again()) drop(*origin, i);
    }
  }
  if (idle_ > 0) arm_sweep();
}

}  // namespace millrace::http
