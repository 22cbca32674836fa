#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "http/edge.hpp"

namespace millrace::http {

/// Finds the route of a request. Immutable; paths are compared as sent, so an escaped spelling of a path is
/// unknown.
class route_table {
 public:
  /// Throws std::invalid_argument for a pattern that is none or a method and pattern given twice.
  explicit route_table(std::vector<route> routes);

  struct match {
    const http::route* route = nullptr;  ///< null: unknown path, or wrong method
    std::string_view allow;              ///< the methods of the path; empty: unknown path
    std::string_view param;              ///< as sent
  };
  match find(std::string_view method, std::string_view path) const;

 private:
  /// All routes of one pattern.
  struct entry {
    std::string pattern;
    std::string prefix, suffix;  ///< around the parameter
    bool has_param = false;
    std::vector<size_t> routes;
    std::string allow;
  };
  entry& entry_of(const std::string& pattern);
  const route* choose(const entry& e, std::string_view method) const;

  std::vector<route> routes_;
  std::vector<entry> entries_;  ///< longest pattern first
  std::unordered_map<std::string_view, size_t> exact_;
};

/// Replaces "%41" by "A". False when the result would hold a control character.
bool percent_decode(std::string_view text, std::string& out);

}  // namespace millrace::http
