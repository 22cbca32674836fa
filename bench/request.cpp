#include "bench/request.hpp"

#include <algorithm>
#include <stdexcept>
#include <string_view>

namespace millrace::bench {

request_template request_template::make(const std::string& method, const std::string& url,
                                        const std::vector<std::string>& headers, const std::string& body) {
  constexpr std::string_view scheme = "http://";
  if (!url.starts_with(scheme)) throw std::runtime_error("the URL must start with http://");
  const size_t slash = url.find('/', scheme.size());
  const std::string authority = url.substr(scheme.size(), slash - scheme.size());
  const std::string target = slash == std::string::npos ? "/" : url.substr(slash);
  const size_t colon = authority.rfind(':');
  request_template r;
  r.host = authority.substr(0, colon);
  if (colon != std::string::npos) r.port = authority.substr(colon + 1);

  r.bytes = method + " " + target + " HTTP/1.1\r\nhost: " + authority + "\r\n";
  for (const auto& h : headers) r.bytes += h + "\r\n";
  if (!body.empty())
    r.bytes += "content-type: application/json\r\ncontent-length: " + std::to_string(body.size()) + "\r\n";
  r.bytes += "\r\n";
  const std::string mark(number_digits, '@');
  for (size_t at = body.find(mark); at != std::string::npos; at = body.find(mark, at + number_digits))
    r.number_at.push_back(r.bytes.size() + at);
  r.bytes += body;
  return r;
}

void write_number(std::string& request, const std::vector<size_t>& places, std::int64_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, number_digits - std::min(number_digits, digits.size()), '0');
  for (const size_t at : places) request.replace(at, number_digits, digits);
}

}  // namespace millrace::bench
