#include "tests/http/upstream_fixture.hpp"

#include <cstdio>
#include <ostream>

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>
#include <unistd.h>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>

namespace millrace::http {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

std::ostream& print(std::ostream& out, upstream_failure f) {
  static constexpr const char* names[] = {"none",           "resolve",  "connect",  "tls",
                                          "reset",          "timeout",  "protocol", "too_large",
                                          "head_too_large", "cancelled"};
  return out << names[static_cast<size_t>(f)];
}

// --- peer
// -------------------------------------------------------------------------------------------------------

bool peer::start_tls(asio::ssl::context& context) {
  tls_.emplace(socket_, context);
  error_code error;
  tls_->async_handshake(asio::ssl::stream_base::server, (*y_)[error]);
  return !error;
}

bool peer::session_reused() {
  return SSL_session_reused(tls_->native_handle()) == 1;
}

std::string peer::read_some() {
  std::string out(64 << 10, '\0');
  error_code error;
  const size_t n = tls_ ? tls_->async_read_some(asio::buffer(out), (*y_)[error])
                        : socket_.async_read_some(asio::buffer(out), (*y_)[error]);
  out.resize(n);
  return out;
}

std::string peer::read_request() {
  size_t need = std::string::npos;
  for (;;) {
    const size_t head_end = buffer_.find("\r\n\r\n");
    if (head_end != std::string::npos) {
      const size_t at = buffer_.find("content-length: ");
      need = head_end + 4 + (at < head_end ? std::stoul(buffer_.substr(at + 16)) : 0);
      if (buffer_.size() >= need) break;
    }
    const std::string more = read_some();
    if (more.empty()) return {};
    buffer_ += more;
  }
  std::string out = buffer_.substr(0, need);
  buffer_.erase(0, need);
  return out;
}

bool peer::write(std::string_view data) {
  error_code error;
  if (tls_) {
    asio::async_write(*tls_, asio::buffer(data), (*y_)[error]);
  } else {
    asio::async_write(socket_, asio::buffer(data), (*y_)[error]);
  }
  return !error;
}

void peer::wait_closed() {
  while (!read_some().empty()) {
  }
}

void peer::pause(engine::duration d) {
  asio::steady_timer timer(socket_.get_executor(), d);
  error_code ignored;
  timer.async_wait((*y_)[ignored]);
}

void peer::close() {
  error_code ignored;
  socket_.close(ignored);
}

void peer::reset() {
  error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

// --- servers
// ----------------------------------------------------------------------------------------------------

test_server::test_server(asio::io_context& io, script s, const std::string& address, std::uint16_t port)
    : io_(io), acceptor_(io, tcp::endpoint(asio::ip::make_address(address), port)), script_(std::move(s)) {
  port_ = acceptor_.local_endpoint().port();
  accept();
}

test_server::~test_server() {
  stop();
  while (running_ > 0) {
    if (io_.stopped()) io_.restart();
    io_.run_one_for(1s);
  }
}

void test_server::accept() {
  auto p = std::make_shared<peer>(io_, accepted_ + 1);
  acceptor_.async_accept(p->socket_, [this, p](error_code error) {
    if (error) return;
    ++accepted_;
    p->socket_.set_option(tcp::no_delay(true));
    peers_.push_back(p);
    ++running_;
    engine::start_coroutine(io_, [this, p](engine::yield y) {
      p->y_ = &y;
      script_(*p);
      p->close();
      --running_;
    });
    accept();
  });
}

void test_server::stop() {
  error_code ignored;
  acceptor_.close(ignored);
  for (const auto& weak : peers_) {
    if (const auto p = weak.lock()) p->close();
  }
}

deaf_server::deaf_server(asio::io_context& io, const std::string& address, std::uint16_t port)
    : acceptor_(io) {
  const tcp::endpoint here(asio::ip::make_address(address), port);
  acceptor_.open(here.protocol());
  acceptor_.bind(here);
  acceptor_.listen(0);
  for (int i = 0; i < 4; ++i) {
    auto& s = fillers_.emplace_back(io);
    s.open(tcp::v4());
    s.non_blocking(true);
    // Asio's own connect would wait for an answer, non-blocking or not.
    const tcp::endpoint there = acceptor_.local_endpoint();
    ::connect(s.native_handle(), there.data(), static_cast<socklen_t>(there.size()));
  }
}

// --- certificate
// ------------------------------------------------------------------------------------------------

test_certificate::test_certificate(const std::string& names) : context_(asio::ssl::context::tls_server) {
  EVP_PKEY* key = EVP_EC_gen("P-256");
  X509* cert = X509_new();
  X509_set_version(cert, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
  X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
  X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
  X509_set_pubkey(cert, key);
  X509_NAME* name = X509_get_subject_name(cert);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const unsigned char*>("test"), -1, -1,
                             0);
  X509_set_issuer_name(cert, name);
  X509_EXTENSION* san = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, names.c_str());
  X509_add_ext(cert, san, -1);
  X509_EXTENSION_free(san);
  X509_sign(cert, key, EVP_sha256());

  std::string path = ::testing::TempDir() + "upstream_cert_XXXXXX";
  FILE* f = fdopen(mkstemp(path.data()), "w");
  PEM_write_X509(f, cert);
  fclose(f);
  file_ = path;
  SSL_CTX_use_certificate(context_.native_handle(), cert);
  SSL_CTX_use_PrivateKey(context_.native_handle(), key);
  X509_free(cert);
  EVP_PKEY_free(key);
}

test_certificate::~test_certificate() {
  std::remove(file_.c_str());
}

// --- fixture
// ----------------------------------------------------------------------------------------------------

void upstream_test::TearDown() {
  if (client_) client_->close_idle();
  io.restart();
  io.run_for(5s);
}

upstream_client& upstream_test::client() {
  if (!client_) client_ = std::make_unique<upstream_client>(io, options);
  return *client_;
}

void upstream_test::run(const std::function<void(engine::yield)>& body) {
  bool done = false;
  engine::start_coroutine(io, [&](engine::yield y) {
    body(y);
    done = true;
    io.stop();
  });
  io.restart();
  io.run_for(20s);
  ASSERT_TRUE(done) << "the call hangs";
}

engine::provider_config upstream_test::provider(std::uint16_t port, const std::string& host, bool tls) {
  engine::provider_config p;
  p.host = host;
  p.port = port;
  p.tls = tls;
  return p;
}

engine::upstream_request upstream_test::post(std::string_view body, std::string_view target) {
  return {
      .method = "POST", .target = target, .headers = {{"content-type", "application/json"}}, .body = body};
}

call upstream_test::exchange(const engine::provider_config& p, engine::yield y,
                             const engine::upstream_request& r, bool fresh) {
  call c;
  std::unique_ptr<engine::upstream_exchange> e;
  c.connect = client().connect(p, in(10s), fresh, gone, e, y);
  if (c.connect != upstream_failure::none) return c;
  c.send = e->send(r, in(10s), c.head, y);
  if (c.send == upstream_failure::none) read_all(*e, c, y);
  c.stale = e->stale();
  return c;
}

void upstream_test::read_all(engine::upstream_exchange& e, call& c, engine::yield y) {
  std::string piece;
  do {
    c.read = e.read(piece, in(10s), y);
    if (c.read != upstream_failure::none) return;
    c.longest_read = std::max(c.longest_read, piece.size());
    c.body += piece;
  } while (!piece.empty());
}

void upstream_test::wait_until(const std::function<bool()>& done, engine::yield y) {
  asio::steady_timer timer(io);
  while (!done()) {
    timer.expires_after(1ms);
    timer.async_wait(y);
  }
}

void upstream_test::settle(engine::yield y, engine::duration d) {
  asio::steady_timer timer(io, d);
  timer.async_wait(y);
}

void answer_all(peer& p) {
  while (!p.read_request().empty()) p.write(ok_answer);
}

}  // namespace millrace::http
