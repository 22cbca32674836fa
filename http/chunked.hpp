#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/guard.hpp"

namespace millrace::http {

/// Takes the chunk framing off a body (RFC 9112, 7.1), strictly. Extensions and trailers are checked, bounded
/// and dropped.
class chunk_decoder {
 public:
  static constexpr size_t max_size_digits = 16;
  static constexpr size_t max_extension_bytes = 4096;  ///< of all chunks together
  static constexpr size_t max_trailer_bytes = 4096;
  static constexpr size_t max_trailer_lines = 32;

  /// A body above `max_body` bytes is refused as soon as its size is announced.
  explicit chunk_decoder(std::int64_t max_body) : max_body_(std::min(max_body, std::int64_t{1} << 56)) {}

  /// Appends the decoded bytes of `bytes` to `body`. Returns how many bytes it consumed: all of them, unless
  /// the body ended or was refused before.
  size_t feed(std::string_view bytes, std::string& body);
  progress state() const { return progress_; }
  const http::fault& fault() const { return fault_; }

 private:
  enum class part : std::uint8_t { size, extension, size_lf, data, data_cr, data_lf, trailer, trailer_lf };

  void step(char c);
  void step_size(char c);
  void end_size_line();
  void step_trailer(char c);
  void end_trailer_line();
  void expect(char c, char wanted, part next);
  void refuse(refusal reason, std::string_view message);

  std::int64_t max_body_;       ///< small enough that sixteen times it does not overflow
  std::int64_t total_ = 0;      ///< announced so far
  std::int64_t remaining_ = 0;  ///< of the current chunk
  size_t digits_ = 0;
  size_t extension_bytes_ = 0;
  size_t trailer_bytes_ = 0;
  size_t trailer_lines_ = 0;
  std::string trailer_;
  part part_ = part::size;
  progress progress_ = progress::incomplete;
  http::fault fault_;
};

}  // namespace millrace::http
