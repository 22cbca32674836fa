#pragma once

#include <memory>
#include <mutex>
#include <string>

#include <openssl/ssl.h>

namespace millrace::http {

template <class T, void (*Free)(T*)>
struct openssl_delete {
  void operator()(T* p) const { Free(p); }
};
using ssl_ctx_ptr = std::unique_ptr<SSL_CTX, openssl_delete<SSL_CTX, SSL_CTX_free>>;
using ssl_ptr = std::unique_ptr<SSL, openssl_delete<SSL, SSL_free>>;
using ssl_session_ptr = std::unique_ptr<SSL_SESSION, openssl_delete<SSL_SESSION, SSL_SESSION_free>>;

/// What all TLS connections to providers have in common: trust, TLS 1.2 or later, ALPN http/1.1,
/// verification. Thread-safe.
class tls_context {
 public:
  explicit tls_context(std::string extra_ca_file) : extra_ca_file_(std::move(extra_ca_file)) {}

  /// Null when the trust store cannot be read. The first call reads it, which may take tens of milliseconds.
  SSL_CTX* get();

 private:
  std::string extra_ca_file_;
  std::once_flag once_;
  ssl_ctx_ptr context_;
};

/// The newest session of one host, to be resumed by its next connection. One I/O thread only.
struct tls_session_slot {
  ssl_session_ptr session;
};

/// TLS over a non-blocking socket. Never waits: says what it needs instead.
class tls_stream {
 public:
  enum class status {
    done,
    want_read,
    want_write,
    closed,  ///< the peer ended the stream properly
    failed,
  };

  /// `host` is a name, or an address literal without brackets; the certificate must be its. `slot` may be
  /// null.
  tls_stream(SSL_CTX* context, int fd, const std::string& host, std::shared_ptr<tls_session_slot> slot);
  ~tls_stream();
  tls_stream(const tls_stream&) = delete;
  tls_stream& operator=(const tls_stream&) = delete;

  status handshake();
  status read(char* out, size_t size, size_t& bytes);
  status write(const char* data, size_t size, size_t& bytes);

 private:
  friend class tls_context;
  static int keep_session(SSL* ssl, SSL_SESSION* session);
  bool prepare(int fd, const std::string& host);
  status judge(int code);

  std::shared_ptr<tls_session_slot> slot_;
  ssl_ptr ssl_;
};

}  // namespace millrace::http
