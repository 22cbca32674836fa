#include "http/simulator/simulator.hpp"

#include <atomic>
#include <deque>
#include <stdexcept>
#include <thread>
#include <utility>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "http/simulator/connection.hpp"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr unsigned max_threads = 64;
/// Out of file descriptors, accepting rests this long.
constexpr auto accept_pause = std::chrono::milliseconds(10);

}  // namespace

struct simulator::impl {
  /// A thread with its own event loop; connections never leave it.
  struct worker {
    explicit worker(simulation::shared_state& shared) : answers(shared) {}
    simulation::provider answers;
    asio::io_context io{1};
    asio::executor_work_guard<asio::io_context::executor_type> work{io.get_executor()};
    std::thread thread;
  };

  explicit impl(simulator_options o) : options(std::move(o)), shared(options.settings) {}

  void bind();
  void accept();
  void adopt(worker& w, tcp::socket socket);

  simulator_options options;
  simulation::shared_state shared;
  std::deque<worker> workers;
  std::unique_ptr<tcp::acceptor> acceptor;    ///< on the first worker
  std::unique_ptr<asio::steady_timer> pause;  ///< of the acceptor
  size_t next_worker = 0;
  std::atomic<std::uint16_t> port{0};
};

simulator::simulator(simulator_options options) : impl_(std::make_unique<impl>(std::move(options))) {}

simulator::~simulator() {
  stop();
}

std::uint16_t simulator::start() {
  if (port() != 0) throw std::invalid_argument("the simulator was started already");
  if (impl_->options.threads < 1 || impl_->options.threads > max_threads)
    throw std::invalid_argument("the simulator's threads must be 1 to 64");
  for (unsigned i = 0; i < impl_->options.threads; ++i) impl_->workers.emplace_back(impl_->shared);
  impl_->bind();
  impl_->accept();
  for (auto& w : impl_->workers) w.thread = std::thread([&io = w.io] { io.run(); });
  return port();
}

void simulator::stop() {
  for (auto& w : impl_->workers) w.io.stop();
  for (auto& w : impl_->workers)
    if (w.thread.joinable()) w.thread.join();
  impl_->pause.reset();
  impl_->acceptor.reset();
  impl_->workers.clear();  // and with the loops all connections
}

std::uint16_t simulator::port() const {
  return impl_->port;
}
void simulator::configure(const simulator_settings& settings) {
  impl_->shared.change([&](simulator_settings& s) { s = settings; });
}
simulator_settings simulator::settings() const {
  return *impl_->shared.settings();
}
std::string simulator::stats() const {
  return impl_->shared.stats.json();
}

void simulator::impl::bind() {
  error_code error;
  const auto address = asio::ip::make_address(options.host, error);
  if (error) throw std::invalid_argument("'" + options.host + "' is not an IP address");
  try {
    auto fresh = std::make_unique<tcp::acceptor>(workers.front().io, tcp::endpoint(address, options.port));
    acceptor = std::move(fresh);
  } catch (const boost::system::system_error& e) {
    throw std::system_error(e.code().value(), std::generic_category(),
                            "cannot listen on " + options.host + ":" + std::to_string(options.port));
  }
  pause = std::make_unique<asio::steady_timer>(workers.front().io);
  port = acceptor->local_endpoint().port();
}

void simulator::impl::accept() {
  worker& w = workers[next_worker++ % workers.size()];
  acceptor->async_accept(w.io, [this, &w](error_code error, tcp::socket socket) {
    if (!error) {
      adopt(w, std::move(socket));
    } else if (error != asio::error::connection_aborted) {
      pause->expires_after(accept_pause);
      pause->async_wait([this](error_code cancelled) {
        if (!cancelled) accept();
      });
      return;
    }
    accept();
  });
}

void simulator::impl::adopt(worker& w, tcp::socket socket) {
  asio::post(w.io, [this, &w, taken = std::move(socket)]() mutable {
    std::make_shared<simulation::connection>(std::move(taken), w.answers, shared.stats)->start();
  });
}

}  // namespace millrace::http
