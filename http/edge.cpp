#include <utility>

#include "http/edge.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <numeric>
#include <stdexcept>

#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/ip/tcp.hpp>

#include "http/connection.hpp"
#include "http/edge_thread.hpp"

namespace millrace::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int listen_backlog = 4096;
/// Accepted before the thread turns to its other work.
constexpr int accepts_at_once = 64;
static_assert(listen_backlog % accepts_at_once == 0);
/// Pause when no socket can be had, for want of file descriptors as a rule.
constexpr auto accept_pause = std::chrono::milliseconds(100);
/// Given to handlers after they were cancelled.
constexpr auto last_grace = std::chrono::seconds(10);

tcp::endpoint resolve(asio::io_context& context, const std::string& host, std::uint16_t port) {
  error_code ec;
  if (const auto address = asio::ip::make_address(host, ec); !ec) return {address, port};
  return tcp::resolver(context).resolve(host, std::to_string(port), tcp::resolver::passive)->endpoint();
}

}  // namespace

std::string_view edge_request::header(std::string_view lower_name) const {
  const auto found = std::ranges::find(headers, lower_name, &header_field::name);
  return found == headers.end() ? std::string_view{} : found->value;
}

bool edge_request::has_header(std::string_view lower_name) const {
  return std::ranges::find(headers, lower_name, &header_field::name) != headers.end();
}

/// Accepts on the pool's first thread and spreads the connections: one socket that is accepted from, rather
/// than one per thread with SO_REUSEPORT, because hashing spreads few connections unevenly.
class edge::implementation {
 public:
  implementation(io_pool& pool, std::vector<route> routes, error_formatter format_error,
                 engine::observer& watch, const engine::http_config& config, edge_limits limits);
  ~implementation();
  implementation(const implementation&) = delete;
  implementation& operator=(const implementation&) = delete;

  std::uint16_t listen();
  void set_config(const engine::http_config& config);
  void stop_accepting();
  bool drain(engine::time_point deadline);
  void hurry();
  edge_statistics statistics() const;

 private:
  /// How far `take_waiting` came.
  enum class waiting { none_left, maybe_more, no_socket };

  void wait_for_clients();
  void accept_clients();
  waiting take_waiting();
  void take_all_waiting();
  void pause_accepting();
  void hand_over(int native_socket, const tcp::endpoint& peer);
  std::int64_t sum_of(std::atomic<std::int64_t> edge_thread::*count) const;
  std::int64_t open() const { return sum_of(&edge_thread::open); }

  io_pool& pool_;
  const std::string host_;
  const std::uint16_t port_;
  edge_common common_;
  std::vector<std::shared_ptr<edge_thread>> threads_;
  asio::basic_socket_acceptor<tcp, asio::io_context::executor_type> acceptor_;
  io_timer accept_timer_;
  std::atomic<std::int64_t> accepted_ = 0;
  std::atomic<std::int64_t> max_connections_;
  size_t next_thread_ = 0;
  bool stopped_ = false;
  bool hurried_ = false;  ///< under the common mutex
};

edge::implementation::implementation(io_pool& pool, std::vector<route> routes, error_formatter format_error,
                                     engine::observer& watch, const engine::http_config& config,
                                     edge_limits limits)
    : pool_(pool),
      host_(config.host),
      port_(config.port),
      common_{.routes = route_table(std::move(routes)),
              .format_error = std::move(format_error),
              .watch = watch,
              .limits = limits,
              .bodies_bytes_per_thread = limits.bodies_bytes / static_cast<std::int64_t>(pool.size()),
              .mutex = {},
              .ended = {}},
      acceptor_(pool.context(0).get_executor()),
      accept_timer_(pool.context(0).get_executor()),
      max_connections_(config.max_connections) {
  // A head must fit into the input buffer, or it would never be complete.
  const auto& head = common_.limits.head;
  common_.limits.read_ahead_bytes =
      std::max(limits.read_ahead_bytes, head.request_line_bytes + head.header_bytes + 16);
  const auto shared_config = std::make_shared<const engine::http_config>(config);
  for (size_t i = 0; i < pool.size(); ++i) {
    threads_.push_back(std::make_shared<edge_thread>(pool.context(i), i, common_, shared_config));
  }
}

edge::implementation::~implementation() {
  if (!drain(engine::clock::now())) spdlog::critical("the edge is destroyed while handlers still run");
  // Twice: what the first round cancels is over when the second ran.
  pool_.on_each([this](size_t i) { threads_[i]->quiesce(); });
  pool_.on_each([](size_t) {});
}

std::uint16_t edge::implementation::listen() {
  try {
    const auto endpoint = resolve(pool_.context(0), host_, port_);
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    acceptor_.bind(endpoint);
    acceptor_.listen(listen_backlog);
    acceptor_.non_blocking(true);
  } catch (const boost::system::system_error& e) {
    throw std::runtime_error("cannot listen on " + host_ + " port " + std::to_string(port_) + ": " +
                             e.code().message() + "; set http.listen to another address");
  }
  const auto port = acceptor_.local_endpoint().port();
  pool_.post(0, [this] { wait_for_clients(); });
  return port;
}

void edge::implementation::wait_for_clients() {
  acceptor_.async_wait(asio::socket_base::wait_read, [this](const error_code& ec) {
    if (!ec && acceptor_.is_open()) accept_clients();
  });
}

void edge::implementation::accept_clients() {
  if (take_waiting() == waiting::no_socket) return pause_accepting();
  wait_for_clients();
}

/// Accepts some of those who wait.
edge::implementation::waiting edge::implementation::take_waiting() {
  for (int i = 0; i < accepts_at_once; ++i) {
    tcp::endpoint peer;
    auto length = static_cast<socklen_t>(peer.capacity());
    const int s = accept4(acceptor_.native_handle(), peer.data(), &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (s >= 0) {
      hand_over(s, peer);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return waiting::none_left;
    } else if (errno != EINTR && errno != ECONNABORTED && errno != EPROTO) {
      return waiting::no_socket;
    }
  }
  return waiting::maybe_more;
}

/// Accepts those who wait before the acceptor closes: the kernel would reset them, with a request of theirs.
/// No more than can wait, for others come meanwhile.
void edge::implementation::take_all_waiting() {
  auto left = waiting::maybe_more;
  for (int n = 0; n < listen_backlog && left == waiting::maybe_more; n += accepts_at_once)
    left = take_waiting();
}

void edge::implementation::pause_accepting() {
  spdlog::warn("cannot accept connections: {}",
               error_code(errno, boost::system::system_category()).message());
  accept_timer_.expires_after(accept_pause);
  accept_timer_.async_wait([this](const error_code& ec) {
    if (!ec && acceptor_.is_open()) accept_clients();
  });
}

void edge::implementation::hand_over(int native_socket, const tcp::endpoint& peer) {
  accepted_.fetch_add(1, std::memory_order_relaxed);
  const auto max = max_connections_.load(std::memory_order_relaxed);
  const auto refused = sum_of(&edge_thread::refused);
  const bool refuse = open() - refused >= max;
  if (refuse && refused >= common_.limits.lingering_refusals) {
    threads_[0]->counters.refused[static_cast<size_t>(refusal::overloaded)].add(1);
    ::close(native_socket);
    return;
  }
  ++next_thread_;
  size_t chosen = next_thread_ % threads_.size();
  for (size_t i = 1; i < threads_.size(); ++i) {
    const auto other = (next_thread_ + i) % threads_.size();
    if (threads_[other]->open.load() < threads_[chosen]->open.load()) chosen = other;
  }
  threads_[chosen]->open.fetch_add(1);
  if (refuse) threads_[chosen]->refused.fetch_add(1);
  asio::dispatch(pool_.context(chosen),
                 [t = threads_[chosen], native_socket, remote = peer.address().to_string(),
                  refuse]() mutable { t->adopt(native_socket, std::move(remote), refuse); });
}

void edge::implementation::set_config(const engine::http_config& config) {
  max_connections_.store(config.max_connections, std::memory_order_relaxed);
  const auto shared_config = std::make_shared<const engine::http_config>(config);
  for (size_t i = 0; i < threads_.size(); ++i) {
    pool_.post(i, [t = threads_[i], shared_config] { t->config = shared_config; });
  }
}

void edge::implementation::stop_accepting() {
  if (std::exchange(stopped_, true)) return;
  pool_.on_each([this](size_t i) {
    if (i != 0) return;
    if (acceptor_.is_open()) take_all_waiting();
    error_code ignored;
    acceptor_.close(ignored);
    accept_timer_.cancel();
  });
  // Only now: what the acceptor handed over before is on its thread.
  pool_.on_each([this](size_t i) { threads_[i]->drain(); });
}

bool edge::implementation::drain(engine::time_point deadline) {
  stop_accepting();
  const auto over = [this] { return open() == 0; };
  const auto wait_until = [&](engine::time_point t, auto enough) {
    std::unique_lock lock(common_.mutex);
    common_.ended.wait_until(lock, t, enough);
    return over();
  };
  bool ended = wait_until(deadline, [&] { return over() || hurried_; });
  if (!ended) {
    pool_.on_each([this](size_t i) { threads_[i]->cancel_all(); });
    ended = wait_until(engine::clock::now() + last_grace, over);
  }
  // The last connection counts itself out within its destructor; let that return.
  if (ended) pool_.on_each([](size_t) {});
  return ended;
}

void edge::implementation::hurry() {
  const std::lock_guard lock(common_.mutex);
  hurried_ = true;
  common_.ended.notify_all();
}

std::int64_t edge::implementation::sum_of(std::atomic<std::int64_t> edge_thread::*count) const {
  return std::accumulate(threads_.begin(), threads_.end(), std::int64_t{0},
                         [=](std::int64_t sum, const auto& t) { return sum + (*t.*count).load(); });
}

edge_statistics edge::implementation::statistics() const {
  edge_statistics s;
  s.open = open();
  s.max_connections = max_connections_.load(std::memory_order_relaxed);
  s.accepted = accepted_.load(std::memory_order_relaxed);
  for (const auto& t : threads_) {
    s.serving += t->counters.serving.get();
    s.requests += t->counters.requests.get();
    s.gone += t->counters.gone.get();
    s.stalled += t->counters.stalled.get();
    s.bodies_bytes += t->counters.bodies_bytes.get();
    for (size_t i = 0; i < refusals; ++i) s.refused[i] += t->counters.refused[i].get();
  }
  return s;
}

edge::edge(io_pool& pool, std::vector<route> routes, error_formatter format_error, engine::observer& watch,
           const engine::http_config& config, edge_limits limits)
    : implementation_(std::make_unique<implementation>(pool, std::move(routes), std::move(format_error),
                                                       watch, config, limits)) {}

edge::~edge() = default;

std::uint16_t edge::listen() {
  return implementation_->listen();
}
void edge::set_config(const engine::http_config& config) {
  implementation_->set_config(config);
}
void edge::stop_accepting() {
  implementation_->stop_accepting();
}
bool edge::drain(engine::time_point deadline) {
  return implementation_->drain(deadline);
}
void edge::hurry() {
  implementation_->hurry();
}
edge_statistics edge::statistics() const {
  return implementation_->statistics();
}

}  // namespace millrace::http
