#include "http/connect_race.hpp"

#include <algorithm>
#include <memory>
#include <optional>

namespace millrace::http {

using boost::asio::ip::tcp;
using boost::system::error_code;
using engine::upstream_failure;

namespace {

/// The attempts to reach one host. Handlers keep it alive; the waiting coroutine ends it with `stop`.
class connect_race : public std::enable_shared_from_this<connect_race> {
 public:
  connect_race(boost::asio::io_context& io, address_list addresses, std::uint16_t port)
      : io_(io), addresses_(std::move(addresses)), port_(port), stagger_(io.get_executor()), done_(io) {
    sockets_.reserve(addresses_.size());
  }

  upstream_failure run(const io_scope& scope, upstream_socket& out) {
    start_next();
    const upstream_failure failure = done_.wait(scope);
    if (winner_) out = std::move(sockets_[*winner_]);
    stop();
    if (failure != upstream_failure::none) return failure;
    return winner_ ? upstream_failure::none : upstream_failure::connect;
  }

 private:
  void start_next() {
    while (!over_ && sockets_.size() < addresses_.size()) {
      const size_t i = sockets_.size();
      const tcp::endpoint target(addresses_[i], port_);
      error_code error;
      sockets_.emplace_back(io_.get_executor()).open(target.protocol(), error);
      if (error) continue;
      ++running_;
      sockets_[i].async_connect(target,
                                [self = shared_from_this(), i](error_code e) { self->finished(i, e); });
      arm_stagger();
      return;
    }
    if (running_ == 0) done_.wake();
  }

  void arm_stagger() {
    if (sockets_.size() == addresses_.size()) return;
    stagger_.expires_after(attempt_delay);
    stagger_.async_wait([self = shared_from_this()](error_code e) {
      if (!e) self->start_next();
    });
  }

  void finished(size_t i, error_code error) {
    --running_;
    if (over_) return;
    if (error) return start_next();
    over_ = true;
    winner_ = i;
    done_.wake();
  }

  void stop() {
    over_ = true;
    stagger_.cancel();
    error_code ignored;
    for (auto& s : sockets_) s.close(ignored);
  }

  boost::asio::io_context& io_;
  address_list addresses_;
  std::uint16_t port_;
  std::vector<upstream_socket> sockets_;  ///< one per attempt so far; never reallocated
  upstream_timer stagger_;
  parking done_;
  size_t running_ = 0;
  std::optional<size_t> winner_;
  bool over_ = false;
};

}  // namespace

address_list alternate_families(const address_list& addresses) {
  address_list first;
  address_list second;
  for (const auto& a : addresses) (a.is_v6() == addresses.front().is_v6() ? first : second).push_back(a);
  address_list out;
  for (size_t i = 0; i < std::max(first.size(), second.size()); ++i) {
    if (i < first.size()) out.push_back(first[i]);
    if (i < second.size()) out.push_back(second[i]);
  }
  return out;
}

upstream_failure connect_any(boost::asio::io_context& io, const address_list& addresses, std::uint16_t port,
                             const io_scope& scope, upstream_socket& out) {
  address_list order = alternate_families(addresses);
  if (order.size() > max_attempts) order.resize(max_attempts);
  return std::make_shared<connect_race>(io, std::move(order), port)->run(scope, out);
}

}  // namespace millrace::http
