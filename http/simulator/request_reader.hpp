#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::http::simulation {

/// One request as it lies in the reader's buffer.
struct http_request {
  std::string_view method;
  std::string_view path;  ///< without the query
  std::string_view query;
  std::string_view key;                ///< bearer token, or x-api-key, or api-key; empty: none
  std::string_view x_api_key;          ///< that header alone
  std::string_view api_key;            ///< the same
  std::string_view goog_key;           ///< x-goog-api-key
  std::string_view anthropic_version;  ///< that header; empty: none
  std::string_view body;               ///< without chunk framing
  bool http_1_0 = false;
  bool keep_alive = true;
};

/// Cuts a connection's bytes into requests: content-length and chunked bodies, pipelined or not. Bytes behind
/// a request stay for the next one. Not thread-safe.
class request_reader {
 public:
  static constexpr size_t max_head_bytes = size_t{64} * 1024;
  /// Bytes that may be read, not used, behind a body: what simdjson asks for.
  static constexpr size_t padding_bytes = 64;
  static constexpr size_t max_body_bytes = size_t{64} * 1024 * 1024;
  /// Reads stop while more than this waits behind the request being answered.
  static constexpr size_t max_pipelined_bytes = size_t{1024} * 1024;

  enum class result { incomplete, ready, bad, too_large };

  /// Where the next bytes may be written; at least 1 KiB. Invalidates the views of the last request. The
  /// place holds until the next call of `room`, whatever `next` does.
  std::pair<char*, size_t> room();
  void commit(size_t bytes) { end_ += bytes; }

  /// The next request; drops the one before. Views are valid until the next call of `next` or `room`.
  result next(http_request& request);
  /// True when the request that is not complete yet waits for "100 Continue". Says so once.
  bool wants_continue();
  size_t buffered() const { return end_ - begin_; }

 private:
  struct framing {
    size_t head_bytes = 0;
    size_t body_bytes = 0;
    bool chunked = false;
    bool expects_continue = false;
  };
  result read_head(http_request& request, framing& frame) const;
  result read_chunks(http_request& request, const framing& frame);
  void drop_last();
  void resize(size_t capacity);

  std::unique_ptr<char[]> data_;
  size_t capacity_ = 0;
  size_t begin_ = 0;     ///< of the request being read
  size_t end_ = 0;       ///< of what was received
  size_t last_ = 0;      ///< bytes of the request handed out last, still at begin_
  size_t need_ = 1;      ///< nothing can be complete below so many bytes from begin_
  size_t scanned_ = 0;   ///< from begin_: no end of the head before here
  size_t chunk_at_ = 0;  ///< from begin_: the next chunk's size line; 0: none read yet
  bool continue_due_ = false;
  bool continue_said_ = false;
  std::string chunked_body_;
};

}  // namespace millrace::http::simulation
