#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "http/proxy.hpp"
#include "http/upstream_connection.hpp"

namespace millrace::http {

/// One host as connections are shared: same name, port and scheme. Also what its connections need to know.
struct upstream_origin {
  std::string host;  ///< without brackets
  std::uint16_t port = 0;
  bool tls = false;
  std::string authority;        ///< value of the Host header
  std::string absolute_prefix;  ///< before the request target; set for plain HTTP through a proxy
  std::optional<proxy_endpoint> proxy;
  std::shared_ptr<tls_session_slot> session;  ///< one session per origin: bounded with the origins

  struct idle_connection {
    std::shared_ptr<upstream_connection> connection;
    engine::time_point since;
    engine::time_point expires;
  };
  std::vector<idle_connection> idle;  ///< oldest first
  bool forgotten = false;             ///< no longer in the pool: its connections are not kept
};

/// The idle connections of one I/O thread. The one used last is reused first, so that the rest can age and
/// go.
class upstream_pool {
 public:
  /// Origins remembered at a time; beyond it some other one is forgotten with its idle connections.
  static constexpr size_t max_origins = 1024;
  /// Idle connections are looked through at least this often.
  static constexpr engine::duration longest_sweep = std::chrono::seconds(5);

  upstream_pool(boost::asio::io_context& io, const upstream_options& options, proxy_settings proxies,
                upstream_counters& counters);

  std::shared_ptr<upstream_origin> find(const engine::provider_config& provider);

  /// A connection that was still good a moment ago, or null.
  std::shared_ptr<upstream_connection> take(upstream_origin& origin);

  /// Keeps a connection for the next request, `at_most` if the provider named a time (0: it did not).
  void put(upstream_origin& origin, std::shared_ptr<upstream_connection> connection,
           engine::duration at_most);

  /// Closes the idle connections to one origin.
  void forget_idle(upstream_origin& origin);
  void close_idle();

 private:
  struct key {
    std::string_view host;
    std::uint16_t port;
    bool tls;
    bool operator==(const key&) const = default;
  };
  struct key_hash {
    size_t operator()(const key& k) const {
      return std::hash<std::string_view>()(k.host) ^ (static_cast<size_t>(k.port) << 1 | (k.tls ? 1 : 0));
    }
  };

  std::shared_ptr<upstream_origin> make_origin(const engine::provider_config& provider) const;
  void forget_one();
  void drop_oldest();
  void drop(upstream_origin& origin, size_t index);
  void arm_sweep();
  void sweep();

  upstream_executor executor_;
  engine::duration idle_timeout_;
  size_t max_idle_per_host_;
  size_t max_idle_;
  proxy_settings proxies_;
  upstream_counters& counters_;
  size_t idle_ = 0;
  std::unordered_map<key, std::shared_ptr<upstream_origin>, key_hash>
      origins_;  ///< keys view the origins' hosts
  upstream_timer sweeper_;
  bool sweeping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>();  ///< gone with the pool: a late sweep must not run
};

}  // namespace millrace::http
