#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.hpp"
#include "engine/exchange.hpp"
#include "engine/ports.hpp"
#include "engine/time.hpp"
#include "http/guard.hpp"
#include "http/io_pool.hpp"

namespace millrace::http {

/// One whole request, judged by the guard. Views and references are valid until the handler returns; an
/// answer's stream may keep `gone` until it is destroyed, and nothing else of this.
struct edge_request {
  std::string_view method;   ///< "HEAD" reaches the handler of GET
  std::string_view path;     ///< as sent, not decoded
  std::string_view query;    ///< behind the "?", not decoded
  std::string_view param;    ///< what the pattern's `{...}` stands for, percent-decoded; empty without one
  std::string_view pattern;  ///< of the route, for logs and metrics
  std::string_view version;  ///< "HTTP/1.1" or "HTTP/1.0"
  std::span<const header_field> headers;
  std::string_view body;        ///< whole, without chunk framing
  std::string_view remote;      ///< the client's address, without port
  engine::time_point received;  ///< when its first byte was here; of a pipelined request: its turn came
  engine::duration upload{};    ///< so long since then its client took to send the rest
  engine::cancellation& gone;   ///< fires when the client disappears or the drain deadline passes
  size_t thread = 0;            ///< index of the I/O thread in the pool

  /// First value of the header `lower_name`, or empty.
  std::string_view header(std::string_view lower_name) const;
  bool has_header(std::string_view lower_name) const;
};

/// Runs on the connection's coroutine and may suspend it. What it throws becomes a 500 without the
/// exception's text.
using handler = std::function<engine::answer(const edge_request&, engine::yield)>;

/// Asked on the request's head alone, with an empty `body`, where the body has still to be awaited; not where
/// it came with the head. An answer refuses the request: its body is neither invited nor read, and the
/// connection closes. Does not suspend, and does not throw.
using admission = std::function<std::optional<engine::answer>(const edge_request&)>;

/// The end of a client's own patience, where the body has still to be awaited. Both are asked on the
/// request's head alone, do not suspend, and do not throw.
struct body_deadline {
  std::function<engine::time_point(const edge_request&)> at;  ///< the body is not awaited any longer
  std::function<engine::answer(const edge_request&)>
      missed;  ///< what is answered then, and ends the connection
};

/// `pattern` is a path, or a prefix, one `{name}` and a suffix: "/v1/models/{id}", "/v1/jobs/{id}/events",
/// "/v1beta/models/{model}:generateContent". The parameter is never empty and may contain "/". An exact path
/// goes before patterns, a longer pattern before a shorter one. GET routes answer HEAD too; OPTIONS is the
/// edge's own.
struct route {
  std::string method;
  std::string pattern;
  http::handler handler;
  http::admission admit = {};         ///< without one every body is awaited
  http::body_deadline deadline = {};  ///< without one, for as long as it goes on
};

/// Body of an error answer (application/json) in the dialect of `path`, which is empty when none could be
/// read.
using error_formatter = std::function<std::string(const engine::api_error&, std::string_view path)>;

/// Bounds that are not configuration. Deadlines are checked every `check`, so they may be late by that much.
struct edge_limits {
  head_limits head;
  size_t read_ahead_bytes = 64 * 1024;    ///< input kept of pipelined requests while one is served
  size_t write_buffer_bytes = 64 * 1024;  ///< output gathered before it is written
  std::int64_t bodies_bytes = 1LL << 30;  ///< bodies held by all connections together; beyond: 503
  /// Longest gap inside a body: 408.
  engine::duration body_progress = std::chrono::seconds(10);
  /// A body must keep `body_bytes_per_second` on average, counted after `body_grace`: 408.
  engine::duration body_grace = std::chrono::seconds(20);
  std::int64_t body_bytes_per_second = 1024;
  /// A reader that takes nothing for so long is cut.
  engine::duration write_stall = std::chrono::seconds(30);
  /// How long a refused client may take to read why; with `check` at most 2 s.
  engine::duration linger = std::chrono::milliseconds(1500);
  /// Connections above max_connections that are told so; those beyond are just closed.
  std::int64_t lingering_refusals = 256;
  /// At the drain: for the first request of a connection, which may be on its way.
  engine::duration newcomer_grace = std::chrono::milliseconds(200);
  /// At the drain: for the rest of a head, and the longest gap inside a body.
  engine::duration half_sent_grace = std::chrono::seconds(1);
  engine::duration check = std::chrono::milliseconds(500);
};

struct edge_statistics {
  std::int64_t open = 0;                         ///< connections now
  std::int64_t max_connections = 0;              ///< beyond it clients are refused
  std::int64_t serving = 0;                      ///< requests in handlers or being answered now
  std::int64_t accepted = 0;                     ///< connections since start
  std::int64_t requests = 0;                     ///< handed to handlers since start
  std::int64_t gone = 0;                         ///< clients that left before their answer was written
  std::int64_t stalled = 0;                      ///< readers cut after `write_stall`
  std::int64_t bodies_bytes = 0;                 ///< bodies held now
  std::array<std::int64_t, refusals> refused{};  ///< indexed by refusal
};

/// The HTTP server. One coroutine per connection, pinned to one thread of the pool (the one with the fewest
/// connections). Only `statistics`, `set_config` and `hurry` may be called from any thread at any time; the
/// others come from the thread that owns the program.
class edge {
 public:
  /// Routes must not repeat a method and pattern (std::invalid_argument). `watch` hears of every request that
  /// the edge answers with an error itself; what a handler answers, the handler reports. It outlives the
  /// edge.
  edge(io_pool& pool, std::vector<route> routes, error_formatter format_error, engine::observer& watch,
       const engine::http_config& config, edge_limits limits = {});
  /// Drains with a deadline of zero if need be. The pool must still run.
  ~edge();
  edge(const edge&) = delete;
  edge& operator=(const edge&) = delete;

  /// Binds config.host:config.port (0: any) and accepts. Returns the port. The pool must run. Throws
  /// boost::system::system_error when the address cannot be had.
  std::uint16_t listen();

  /// Limits, timeouts and origins of a new configuration, for requests that begin from now on. The address
  /// stays.
  void set_config(const engine::http_config& config);

  /// Closes the listening socket and idle connections; answers from now on say `Connection: close`.
  void stop_accepting();

  /// stop_accepting, then waits until every connection ended; those that still live at `deadline` are
  /// cancelled and closed. False when a handler did not return within ten more seconds: then neither edge nor
  /// pool may be destroyed.
  bool drain(engine::time_point deadline);

  /// The deadline of `drain`, under way or to come, is now. From any thread.
  void hurry();

  edge_statistics statistics() const;

 private:
  class implementation;
  std::unique_ptr<implementation> implementation_;
};

}  // namespace millrace::http
