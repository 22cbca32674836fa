#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "engine/ports.hpp"
#include "http/name_lookups.hpp"

namespace millrace::http {

class tls_context;

/// Looks a name up without blocking and hands over its addresses, none when it has none. `done` is called
/// once, on any thread, also from within the call itself.
using name_lookup =
    std::function<void(const std::string& host, std::function<void(const address_list&)> done)>;

/// The system's resolver, each lookup on a thread of its own (see name_lookups). Copies share the lookups.
/// Thread-safe.
name_lookup system_lookup();

/// How providers are reached. Copies share `tls` and `lookup`; give every I/O thread's client a copy of the
/// same options.
struct upstream_options {
  /// Where HTTPS_PROXY, HTTP_PROXY and NO_PROXY are read, once, by the client's constructor. Empty: no
  /// proxies.
  engine::environment environment;
  /// Trust store and protocol settings, shared by threads. Null: the system's trust store, loaded at first
  /// need.
  std::shared_ptr<tls_context> tls;
  /// Names to addresses. Null: a `system_lookup` of the client's own.
  name_lookup lookup;
  /// A connection idle for longer is closed; providers announcing a shorter time get theirs less a second.
  engine::duration idle_timeout = std::chrono::seconds(30);
  size_t max_idle_per_host = 256;  ///< beyond it the connection that was idle longest is closed
  size_t max_idle = 1024;          ///< the same over all hosts of this client
};

/// Trust store for `upstream_options::tls`: the system's, SSL_CERT_FILE and SSL_CERT_DIR honoured, plus the
/// certificates of the PEM file `extra_ca_file` unless empty. Reading happens at the first use, once.
/// Thread-safe.
std::shared_ptr<tls_context> make_tls_context(const std::string& extra_ca_file = {});

/// What a client counted since its start. Written by its I/O thread, readable by any.
struct upstream_counters {
  std::atomic<std::int64_t> open = 0;     ///< connections now open, idle ones included
  std::atomic<std::int64_t> idle = 0;     ///< connections now waiting in the pool
  std::atomic<std::int64_t> created = 0;  ///< connections established
  std::atomic<std::int64_t> reused = 0;   ///< requests that got a pooled connection
};

/// Calls providers on keep-alive connections of its own I/O thread: one client per `io`, used on the thread
/// that runs it, without locks. `io` and the client must outlive every exchange the client handed out.
///
/// Failures of `connect`: resolve, connect (also when `until` passes in any phase, and a proxy that refuses),
/// tls, cancelled. After a failure an exchange is dead and may only be destroyed. Redirects are never
/// followed.
class upstream_client final : public engine::upstream_port {
 public:
  /// Throws std::invalid_argument when a proxy variable cannot be understood; the message names the variable
  /// only.
  explicit upstream_client(boost::asio::io_context& io, const upstream_options& options = {});
  ~upstream_client() override;
  upstream_client(const upstream_client&) = delete;
  upstream_client& operator=(const upstream_client&) = delete;

  engine::upstream_failure connect(const engine::provider_config& provider, engine::time_point until,
                                   bool fresh, engine::cancellation& gone,
                                   std::unique_ptr<engine::upstream_exchange>& out, engine::yield y,
                                   std::string* why = nullptr) override;

  /// Closes every pooled connection now, so that nothing of the client's keeps `io` running.
  void close_idle();

  const upstream_counters& counters() const;

 private:
  struct state;
  std::unique_ptr<state> state_;
};

}  // namespace millrace::http
