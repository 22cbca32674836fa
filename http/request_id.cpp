#include "http/request_id.hpp"

#include <algorithm>
#include <random>

#include <fmt/format.h>

namespace millrace::http {

namespace {

bool allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
         c == '-';
}

}  // namespace

std::string request_id(std::string_view given) {
  if (!given.empty() && given.size() <= 128 && std::all_of(given.begin(), given.end(), allowed)) {
    return std::string(given);
  }
  thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("req_{:016x}{:016x}", random(), random());
}

}  // namespace millrace::http
