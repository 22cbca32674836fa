#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

/// The strict reading of requests, RFC 9112: what is ambiguous is refused, never repaired. Pure machines over
/// bytes; their verdicts do not depend on how the bytes were split. One thread at a time.
namespace millrace::http {

/// Why the edge refuses a request; names as in the error's `code`.
enum class refusal : std::uint8_t {
  bad_request,                 ///< 400
  unknown_route,               ///< 404
  method_not_allowed,          ///< 405
  request_timeout,             ///< 408
  request_too_large,           ///< 413
  uri_too_long,                ///< 414
  expectation_failed,          ///< 417
  headers_too_large,           ///< 431
  internal_error,              ///< 500, a handler threw
  overloaded,                  ///< 503
  http_version_not_supported,  ///< 505
  drain_timeout,               ///< 503, the node stops and cannot await the rest of the request
};
inline constexpr size_t refusals = 12;
std::string_view to_string(refusal r);
int status_of(refusal r);

struct header_field {
  std::string_view name;   ///< in lower case
  std::string_view value;  ///< as sent, without white space around it; never decoded
};

struct head_limits {
  size_t request_line_bytes = 8 * 1024;  ///< without CRLF; beyond: 414
  size_t header_bytes = 32 * 1024;       ///< header lines with CRLFs; beyond: 431
  size_t header_lines = 100;             ///< beyond: 431
};

/// A refusal and what the client should do about it.
struct fault {
  refusal reason = refusal::bad_request;
  std::string_view message;  ///< static text, without a capital at the start and a full stop
};

enum class framing : std::uint8_t { none, length, chunked };
enum class progress : std::uint8_t { incomplete, complete, refused };

/// A judged head. Views point into the storage given to `head_guard::take`.
struct request_head {
  std::string_view method;
  std::string_view path;   ///< begins with "/", or is "*" (OPTIONS only); of an absolute target only its path
  std::string_view query;  ///< behind "?"
  std::string_view version;
  std::span<const header_field> fields;
  http::framing framing = framing::none;
  std::int64_t content_length = 0;  ///< of framing::length
  bool keep_alive = true;
  bool expect_continue = false;
};

/// Finds the end of one request head and judges it line by line.
class head_guard {
 public:
  explicit head_guard(head_limits limits = {}) : limits_(limits) {}

  /// Forgets everything, for the next head.
  void reset();
  /// `bytes`: everything received since the head's first byte; may have moved and grown since the last call.
  progress advance(std::string_view bytes);
  /// After complete: the number of bytes that the head takes.
  size_t size() const { return line_; }
  /// After refused.
  const http::fault& fault() const { return fault_; }
  /// After complete. `storage` holds the head's `size()` bytes, whose field names are put into lower case; it
  /// and `fields` carry the views of the result. Where the head was refused, only method and path, as far as
  /// known.
  request_head take(std::string& storage, std::vector<header_field>& fields) const;

 private:
  struct span {
    std::uint32_t offset = 0;
    std::uint32_t length = 0;
  };
  struct field_span {
    span name, value;
  };

  void refuse(refusal reason, std::string_view message);
  void judge_line(std::string_view bytes, std::string_view line);
  void judge_request_line(std::string_view bytes, std::string_view line);
  bool judge_method(std::string_view method);
  bool judge_version(std::string_view version);
  bool judge_target(std::string_view bytes, std::string_view target, bool options);
  void judge_field(std::string_view bytes, std::string_view line);
  void note(std::string_view bytes, std::string_view name, std::string_view value);
  void note_credential(std::string_view bytes, std::string_view lower_name, std::uint8_t mark,
                       std::string_view value);
  void note_length(std::string_view value);
  void note_connection(std::string_view value);
  void judge_whole();

  head_limits limits_;
  progress progress_ = progress::incomplete;
  http::fault fault_;
  size_t line_ = 0;        ///< where the current line begins
  size_t scanned_ = 0;     ///< bytes that were searched for the line's end
  size_t headers_at_ = 0;  ///< where the header lines begin; 0: the request line is not yet there
  bool blank_ = false;     ///< an empty line before the request line was skipped
  span method_, path_, query_, version_;
  bool root_ = false;  ///< an absolute target without a path
  std::vector<field_span> fields_;
  bool old_ = false;  ///< HTTP/1.0
  size_t hosts_ = 0, lengths_ = 0, codings_ = 0;
  std::uint8_t credentials_ = 0;  ///< a bit for each header of such that was there
  std::int64_t length_ = 0;
  bool close_ = false, keep_ = false, expect_ = false;
};

/// Says what is wrong with a field line (without CRLF), or nothing. `colon`: where its name ends.
std::string_view field_line_fault(std::string_view line, size_t& colon);

/// Value of a field line without the optional white space around it.
std::string_view trim_field_value(std::string_view value);

/// Equality without regard to the case of ASCII letters; `lower` is in lower case.
bool equals_lower(std::string_view any, std::string_view lower);

/// True for the bytes that may stand in field values and chunk extensions.
bool is_value_byte(char c);

/// Value of a hexadecimal digit; -1 for anything else.
int hex_value(char c);

}  // namespace millrace::http
