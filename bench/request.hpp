#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::bench {

/// Digits of a request's number; a run of as many '@' in a body is where it goes.
inline constexpr size_t number_digits = 12;

/// One HTTP/1.1 request that is sent over and over, each time with a number of its own.
struct request_template {
  std::string host;  ///< name or literal address
  std::string port = "80";
  std::string bytes;
  std::vector<size_t> number_at;  ///< offsets in `bytes`

  /// `url`: http://HOST:PORT/PATH; `headers`: "Name: value". Throws std::runtime_error for another URL.
  static request_template make(const std::string& method, const std::string& url,
                               const std::vector<std::string>& headers, const std::string& body);
};

/// Writes `number` into a request at each of the places.
void write_number(std::string& request, const std::vector<size_t>& places, std::int64_t number);

}  // namespace millrace::bench
