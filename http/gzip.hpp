#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

struct z_stream_s;

namespace millrace::http {

/// A streaming decoder for one body with `Content-Encoding: gzip` (also several members in a row, RFC 1952)
/// or `deflate` (zlib format, or the raw deflate that some servers send under that name).
class body_decoder {
 public:
  enum class coding { gzip, deflate };

  /// The coding that a Content-Encoding value names, if this class knows it.
  static std::optional<coding> find(std::string_view content_encoding);

  explicit body_decoder(coding c);
  ~body_decoder();
  body_decoder(const body_decoder&) = delete;
  body_decoder& operator=(const body_decoder&) = delete;

  /// Decodes from `in`, appending to `out` until that holds `limit` bytes, and returns how much of `in` was
  /// taken. What was not taken must be offered again. Takes nothing once it failed.
  size_t decode(std::string_view in, std::string& out, size_t limit);

  /// More output is waiting that needs no further input.
  bool pending() const { return pending_; }
  bool failed() const { return failed_; }
  /// All input so far makes whole members; an empty body does.
  bool finished() const { return !started_; }

 private:
  bool start(char first);
  bool step(std::string& out, size_t limit);

  coding coding_;
  std::unique_ptr<z_stream_s> stream_;
  bool ready_ = false;    ///< `stream_` was initialised
  bool started_ = false;  ///< inside a member
  bool ended_ = false;    ///< a member was decoded to its end
  bool pending_ = false;
  bool failed_ = false;
};

}  // namespace millrace::http
