#include "http/tls_context.hpp"

#include <cerrno>
#include <cstdint>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <sys/socket.h>

#include "http/upstream_client.hpp"

namespace millrace::http {

namespace {

// OpenSSL's own socket BIO uses write(2), which raises SIGPIPE on a connection that the peer has reset.

int socket_of(BIO* bio) {
  return static_cast<int>(reinterpret_cast<std::intptr_t>(BIO_get_data(bio)));
}

bool would_block() {
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

int bio_write(BIO* bio, const char* data, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = send(socket_of(bio), data, static_cast<size_t>(size), MSG_NOSIGNAL);
  if (n < 0 && would_block()) BIO_set_retry_write(bio);
  return static_cast<int>(n);
}

int bio_read(BIO* bio, char* out, int size) {
  BIO_clear_retry_flags(bio);
  const ssize_t n = recv(socket_of(bio), out, static_cast<size_t>(size), 0);
  if (n < 0 && would_block()) BIO_set_retry_read(bio);
  return static_cast<int>(n);
}

long bio_control(BIO*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

BIO_METHOD* make_socket_method() {
  BIO_METHOD* m = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "socket without SIGPIPE");
  if (m == nullptr) return nullptr;
  BIO_meth_set_write(m, bio_write);
  BIO_meth_set_read(m, bio_read);
  BIO_meth_set_ctrl(m, bio_control);
  return m;
}

BIO* make_socket_bio(int fd) {
  static BIO_METHOD* const method = make_socket_method();
  BIO* bio = method == nullptr ? nullptr : BIO_new(method);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, reinterpret_cast<void*>(static_cast<std::intptr_t>(fd)));
  BIO_set_init(bio, 1);
  return bio;
}

bool is_address(const std::string& host) {
  boost::system::error_code error;
  boost::asio::ip::make_address(host, error);
  return !error;
}

constexpr unsigned char alpn_protocols[] = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

}  // namespace

std::shared_ptr<tls_context> make_tls_context(const std::string& extra_ca_file) {
  return std::make_shared<tls_context>(extra_ca_file);
}

SSL_CTX* tls_context::get() {
  std::call_once(once_, [this] {
    ssl_ctx_ptr c(SSL_CTX_new(TLS_client_method()));
    if (!c || SSL_CTX_set_min_proto_version(c.get(), TLS1_2_VERSION) != 1 ||
        SSL_CTX_set_default_verify_paths(c.get()) != 1 ||
        SSL_CTX_set_alpn_protos(c.get(), alpn_protocols, sizeof alpn_protocols) != 0) {
      return;
    }
    if (!extra_ca_file_.empty() && SSL_CTX_load_verify_file(c.get(), extra_ca_file_.c_str()) != 1) return;
    SSL_CTX_set_verify(c.get(), SSL_VERIFY_PEER, nullptr);
    // An idle connection gives its 34 KiB of record buffers back.
    SSL_CTX_set_mode(c.get(), SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(c.get(), SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c.get(), &tls_stream::keep_session);
    context_ = std::move(c);
  });
  return context_.get();
}

tls_stream::tls_stream(SSL_CTX* context, int fd, const std::string& host,
                       std::shared_ptr<tls_session_slot> slot)
    : slot_(std::move(slot)), ssl_(context == nullptr ? nullptr : SSL_new(context)) {
  ERR_clear_error();
  if (ssl_ && !prepare(fd, host)) ssl_.reset();
}

/// OpenSSL forbids to resume the session of a connection that ends without a goodbye. HTTP tells by itself
/// what was cut, and a session that failed is spoilt already.
tls_stream::~tls_stream() {
  if (ssl_) SSL_set_shutdown(ssl_.get(), SSL_SENT_SHUTDOWN);
}

/// Binds the socket and demands a certificate for `host` (RFC 6125; partial wildcards are refused).
bool tls_stream::prepare(int fd, const std::string& host) {
  BIO* bio = make_socket_bio(fd);
  if (bio == nullptr) return false;
  SSL_set_bio(ssl_.get(), bio, bio);
  SSL_set_connect_state(ssl_.get());
  SSL_set_app_data(ssl_.get(), this);
  SSL_set_hostflags(ssl_.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (is_address(host)) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl_.get()), host.c_str()) != 1) return false;
  } else if (SSL_set1_host(ssl_.get(), host.c_str()) != 1 ||
             SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) != 1) {
    return false;
  }
  if (slot_ && slot_->session && SSL_SESSION_is_resumable(slot_->session.get()) == 1) {
    SSL_set_session(ssl_.get(), slot_->session.get());
  }
  return true;
}

/// OpenSSL calls this with each new session; returning 1 takes over its reference.
int tls_stream::keep_session(SSL* ssl, SSL_SESSION* session) {
  auto* self = static_cast<tls_stream*>(SSL_get_app_data(ssl));
  if (self == nullptr || !self->slot_) return 0;
  self->slot_->session.reset(session);
  return 1;
}

tls_stream::status tls_stream::handshake() {
  if (!ssl_) return status::failed;
  ERR_clear_error();
  return judge(SSL_do_handshake(ssl_.get()));
}

tls_stream::status tls_stream::read(char* out, size_t size, size_t& bytes) {
  ERR_clear_error();
  return judge(SSL_read_ex(ssl_.get(), out, size, &bytes));
}

tls_stream::status tls_stream::write(const char* data, size_t size, size_t& bytes) {
  ERR_clear_error();
  return judge(SSL_write_ex(ssl_.get(), data, size, &bytes));
}

tls_stream::status tls_stream::judge(int code) {
  if (code == 1) return status::done;
  switch (SSL_get_error(ssl_.get(), code)) {
    case SSL_ERROR_WANT_READ:
      return status::want_read;
    case SSL_ERROR_WANT_WRITE:
      return status::want_write;
    case SSL_ERROR_ZERO_RETURN:
      return status::closed;
    default:
      return status::failed;
  }
}

}  // namespace millrace::http
