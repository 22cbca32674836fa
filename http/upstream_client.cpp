#include "http/upstream_client.hpp"

#include <boost/beast/http/error.hpp>

#include "engine/log.hpp"
#include "http/connect_race.hpp"
#include "http/resolver.hpp"
#include "http/response_parser.hpp"
#include "http/tls_context.hpp"
#include "http/upstream_exchange.hpp"
#include "http/upstream_pool.hpp"

namespace millrace::http {

using engine::upstream_failure;

namespace {

/// A proxy that fails is a line in the log of each I/O thread at most this often.
constexpr auto proxy_log_pause = std::chrono::minutes(1);

/// Whether the process has no descriptor left.
bool out_of_files(boost::asio::io_context& io) {
  boost::system::error_code error;
  upstream_socket(io.get_executor()).open(boost::asio::ip::tcp::v4(), error);
  return error == boost::asio::error::no_descriptors;
}

}  // namespace

struct upstream_client::state {
  state(boost::asio::io_context& i, const upstream_options& o)
      : io(i),
        tls(o.tls ? o.tls : make_tls_context()),
        names(i, o.lookup),
        pool(i, o, proxy_settings(o.environment), counters) {}

  upstream_failure open(const upstream_origin& origin, const io_scope& scope,
                        std::shared_ptr<upstream_connection>& out, std::string* why);
  upstream_failure reach(const upstream_origin& origin, const io_scope& scope,
                         std::shared_ptr<upstream_connection>& out);
  upstream_failure open_tunnel(const upstream_origin& origin, upstream_connection& connection,
                               const io_scope& scope, std::string& trouble);
  void log_trouble(const proxy_endpoint& proxy, const std::string& trouble);

  boost::asio::io_context& io;
  upstream_counters counters;  ///< before the pool, whose connections count themselves out
  std::shared_ptr<tls_context> tls;
  resolver names;
  upstream_pool pool;
  engine::time_point quiet_until{};  ///< no line of the log about proxies before
};

upstream_client::upstream_client(boost::asio::io_context& io, const upstream_options& options)
    : state_(std::make_unique<state>(io, options)) {}

upstream_client::~upstream_client() = default;

upstream_failure upstream_client::connect(const engine::provider_config& provider, engine::time_point until,
                                          bool fresh, engine::cancellation& gone,
                                          std::unique_ptr<engine::upstream_exchange>& out, engine::yield y,
                                          std::string* why) {
  if (gone.cancelled()) return upstream_failure::cancelled;
  const auto origin = state_->pool.find(provider);
  auto connection = fresh ? nullptr : state_->pool.take(*origin);
  const bool reused = connection != nullptr;
  if (reused) {
    bump(state_->counters.reused, 1);
  } else {
    const auto failure = state_->open(*origin, {until, gone, y}, connection, why);
    if (failure != upstream_failure::none) return failure;
  }
  out = std::make_unique<http_exchange>(state_->pool, origin, std::move(connection), reused, gone);
  return upstream_failure::none;
}

void upstream_client::close_idle() {
  state_->pool.close_idle();
}

const upstream_counters& upstream_client::counters() const {
  return state_->counters;
}

/// Resolve, connect, pass the proxy, TLS.
upstream_failure upstream_client::state::open(const upstream_origin& origin, const io_scope& scope,
                                              std::shared_ptr<upstream_connection>& out, std::string* why) {
  std::string trouble;
  auto failure = reach(origin, scope, out);
  if (failure == upstream_failure::none && origin.tls && origin.proxy)
    failure = open_tunnel(origin, *out, scope, trouble);
  if (failure == upstream_failure::none && origin.tls)
    failure = out->start_tls(tls->get(), origin.host, origin.session, scope);
  if (failure == upstream_failure::none || !origin.proxy) return failure;
  if (trouble.empty()) trouble = proxy_trouble(*origin.proxy, failure);
  if (!trouble.empty()) log_trouble(*origin.proxy, trouble);
  if (why != nullptr) *why = std::move(trouble);
  return failure;
}

/// A connection to the provider, or to the proxy before it.
upstream_failure upstream_client::state::reach(const upstream_origin& origin, const io_scope& scope,
                                               std::shared_ptr<upstream_connection>& out) {
  const std::string& host = origin.proxy ? origin.proxy->host : origin.host;
  const std::uint16_t port = origin.proxy ? origin.proxy->port : origin.port;
  address_list addresses;
  if (const auto f = names.resolve(host, scope, addresses); f != upstream_failure::none) return f;

  upstream_socket socket(io.get_executor());
  auto failure = connect_any(io, addresses, port, scope, socket);
  if (failure == upstream_failure::connect && out_of_files(io)) {
    // Idle connections must not stand in the way of one that is needed.
    pool.close_idle();
    failure = connect_any(io, addresses, port, scope, socket);
  }
  if (failure != upstream_failure::none) return failure;
  boost::system::error_code error;
  if (const auto peer = socket.remote_endpoint(error); !error) names.prefer(host, peer.address());
  out = std::make_shared<upstream_connection>(std::move(socket), counters);
  return upstream_failure::none;
}

/// CONNECT (RFC 9110, section 9.3.6): everything after a 2xx head belongs to the tunnel. `trouble` says what
/// the proxy did instead of opening it.
upstream_failure upstream_client::state::open_tunnel(const upstream_origin& origin,
                                                     upstream_connection& connection, const io_scope& scope,
                                                     std::string& trouble) {
  const std::string target = authority_of(origin.host, origin.port);
  std::string head = "CONNECT " + target + " HTTP/1.1\r\nhost: " + target + "\r\n";
  if (!origin.proxy->authorization.empty()) {
    head += "proxy-authorization: " + origin.proxy->authorization + "\r\n";
  }
  head += "\r\n";
  if (const auto f = connection.write(head, {}, scope); f != upstream_failure::none) return f;

  const auto refused = [&](std::string how) {
    trouble = std::move(how);
    return upstream_failure::connect;
  };
  const auto no_http = [&] { return refused(proxy_trouble(*origin.proxy, upstream_failure::protocol)); };
  engine::upstream_head answer;
  response_parser parser(answer, max_answer_head_bytes);
  parser.skip(true);
  boost::beast::error_code error;
  while (!parser.is_done()) {
    const auto f = connection.fill(scope);
    if (f == upstream_failure::cancelled || f == upstream_failure::timeout) return f;
    if (f == upstream_failure::too_large) return no_http();
    if (f != upstream_failure::none || connection.at_end())
      return refused(proxy_trouble(*origin.proxy, upstream_failure::reset));
    const std::string_view bytes = connection.buffered();
    connection.consume(parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error));
    if (error && error != boost::beast::http::error::need_more) return no_http();
  }
  if (answer.status / 100 != 2) return refused(proxy_refusal(*origin.proxy, answer.status));
  return connection.buffered().empty() ? upstream_failure::none : no_http();
}

/// For the operator, whom nobody asks where fallbacks answer.
void upstream_client::state::log_trouble(const proxy_endpoint& proxy, const std::string& trouble) {
  const auto now = engine::clock::now();
  if (now < quiet_until) return;
  quiet_until = now + proxy_log_pause;
  engine::log_event(engine::log_level::warn, "proxy_failed",
                    {{"variable", proxy.variable}, {"message", trouble}});
}

}  // namespace millrace::http
