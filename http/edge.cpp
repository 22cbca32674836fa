#include "http/edge.hpp"

#include <algorithm>

namespace millrace::http {

std::string_view edge_request::header(std::string_view lower_name) const {
  const auto found = std::ranges::find(headers, lower_name, &header_field::name);
  return found == headers.end() ? std::string_view{} : found->value;
}

bool edge_request::has_header(std::string_view lower_name) const {
  return std::ranges::find(headers, lower_name, &header_field::name) != headers.end();
}

}  // namespace millrace::http
