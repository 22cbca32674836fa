#include "http/upstream_client.hpp"

#include <boost/beast/http/error.hpp>

#include "http/connect_race.hpp"
#include "http/resolver.hpp"
#include "http/response_parser.hpp"
#include "http/tls_context.hpp"
#include "http/upstream_exchange.hpp"
#include "http/upstream_pool.hpp"

namespace millrace::http {

using engine::upstream_failure;

namespace {

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
                        std::shared_ptr<upstream_connection>& out);
  upstream_failure open_tunnel(const upstream_origin& origin, upstream_connection& connection,
                               const io_scope& scope);

  boost::asio::io_context& io;
  upstream_counters counters;  ///< before the pool, whose connections count themselves out
  std::shared_ptr<tls_context> tls;
  resolver names;
  upstream_pool pool;
};

upstream_client::upstream_client(boost::asio::io_context& io, const upstream_options& options)
    : state_(std::make_unique<state>(io, options)) {}

upstream_client::~upstream_client() = default;

upstream_failure upstream_client::connect(const engine::provider_config& provider, engine::time_point until,
                                          bool fresh, engine::cancellation& gone,
                                          std::unique_ptr<engine::upstream_exchange>& out, engine::yield y) {
  if (gone.cancelled()) return upstream_failure::cancelled;
  const auto origin = state_->pool.find(provider);
  auto connection = fresh ? nullptr : state_->pool.take(*origin);
  const bool reused = connection != nullptr;
  if (reused) {
    bump(state_->counters.reused, 1);
  } else {
    const auto failure = state_->open(*origin, {until, gone, y}, connection);
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
  if (!origin.tls) return upstream_failure::none;
  if (origin.proxy) {
    if (const auto f = open_tunnel(origin, *out, scope); f != upstream_failure::none) return f;
  }
  return out->start_tls(tls->get(), origin.host, origin.session, scope);
}

/// CONNECT (RFC 9110, section 9.3.6): everything after a 2xx head belongs to the tunnel.
upstream_failure upstream_client::state::open_tunnel(const upstream_origin& origin,
                                                     upstream_connection& connection, const io_scope& scope) {
  const std::string target = authority_of(origin.host, origin.port);
  std::string head = "CONNECT " + target + " HTTP/1.1\r\nhost: " + target + "\r\n";
  if (!origin.proxy->authorization.empty()) {
    head += "proxy-authorization: " + origin.proxy->authorization + "\r\n";
  }
  head += "\r\n";
  if (const auto f = connection.write(head, {}, scope); f != upstream_failure::none) return f;

  engine::upstream_head answer;
  response_parser parser(answer, max_answer_head_bytes);
  parser.skip(true);
  boost::beast::error_code error;
  while (!parser.is_done()) {
    const auto f = connection.fill(scope);
    if (f == upstream_failure::cancelled || f == upstream_failure::timeout) return f;
    if (f != upstream_failure::none || connection.at_end()) return upstream_failure::connect;
    const std::string_view bytes = connection.buffered();
    connection.consume(parser.put(boost::asio::buffer(bytes.data(), bytes.size()), error));
    if (error && error != boost::beast::http::error::need_more) return upstream_failure::connect;
  }
  const bool accepted = answer.status / 100 == 2 && connection.buffered().empty();
  return accepted ? upstream_failure::none : upstream_failure::connect;
}

}  // namespace millrace::http
