#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "engine/exchange.hpp"

namespace millrace::http {

/// Where an answer's bytes go, and where a streamed body comes from. Both may suspend the connection's
/// coroutine.
class answer_sink {
 public:
  virtual ~answer_sink() = default;
  /// False: the client cannot be reached any more.
  virtual bool write(std::string_view bytes) = 0;

  enum class pulled { bytes, end, failed };
  /// Replaces `out` by the next bytes of the answer's stream; never by none with `bytes`.
  virtual pulled pull(std::string& out) = 0;
};

/// How an answer is to be framed.
struct answer_framing {
  bool without_body = false;  ///< HEAD
  bool old = false;           ///< HTTP/1.0: a stream ends with the connection
  bool keep_alive = true;
  std::string_view date;  ///< IMF-fixdate
};

/// Writes answers as HTTP/1.1: status line, header fields, body or chunks. Streams are cpp-httplib's: a
/// subclass of its server serves a fixed, clean request whose bytes never come from a client, on a stream
/// that ends in the sink. So none of its parsing meets hostile bytes (see the folder's README). Whole answers
/// are written here. One thread; used by all its connections, also while some of them are suspended inside.
class answer_writer {
 public:
  answer_writer();
  ~answer_writer();
  answer_writer(const answer_writer&) = delete;
  answer_writer& operator=(const answer_writer&) = delete;

  /// True when the whole answer, with its proper end, went into the sink.
  bool write(const engine::answer& a, const answer_framing& framing, answer_sink& sink);

 private:
  class server;
  std::unique_ptr<server> server_;
};

}  // namespace millrace::http
