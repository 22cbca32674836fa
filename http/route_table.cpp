#include "http/route_table.hpp"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace millrace::http {

route_table::route_table(std::vector<route> routes) : routes_(std::move(routes)) {
  for (size_t i = 0; i < routes_.size(); ++i) {
    auto& e = entry_of(routes_[i].pattern);
    for (const auto other : e.routes) {
      if (routes_[other].method == routes_[i].method) {
        throw std::invalid_argument("route given twice: " + routes_[i].method + " " + routes_[i].pattern);
      }
    }
    e.routes.push_back(i);
    e.allow += routes_[i].method + (routes_[i].method == "GET" ? ", HEAD, " : ", ");
  }
  for (auto& e : entries_) e.allow += "OPTIONS";
  std::ranges::stable_sort(entries_, std::ranges::greater{}, [](const entry& e) { return e.pattern.size(); });
  for (size_t i = 0; i < entries_.size(); ++i) {
    if (!entries_[i].has_param) exact_.emplace(entries_[i].pattern, i);
  }
}

route_table::match route_table::find(std::string_view method, std::string_view path) const {
  if (const auto found = exact_.find(path); found != exact_.end()) {
    const auto& e = entries_[found->second];
    return {choose(e, method), e.allow, {}};
  }
  for (const auto& e : entries_) {
    if (!e.has_param || path.size() <= e.prefix.size() + e.suffix.size()) continue;
    if (!path.starts_with(e.prefix) || !path.ends_with(e.suffix)) continue;
    const auto param = path.substr(e.prefix.size(), path.size() - e.prefix.size() - e.suffix.size());
    return {choose(e, method), e.allow, param};
  }
  return {};
}

route_table::entry& route_table::entry_of(const std::string& pattern) {
  const auto found = std::ranges::find(entries_, pattern, &entry::pattern);
  if (found != entries_.end()) return *found;
  if (!pattern.starts_with('/')) throw std::invalid_argument("not a route pattern: " + pattern);
  entry e{.pattern = pattern, .prefix = {}, .suffix = {}, .has_param = false, .routes = {}, .allow = {}};
  if (const auto open = pattern.find('{'); open != std::string::npos) {
    const auto close = pattern.find('}', open);
    if (close == std::string::npos || pattern.find('{', open + 1) != std::string::npos) {
      throw std::invalid_argument("a route pattern has one {parameter} at most: " + pattern);
    }
    e.has_param = true;
    e.prefix = pattern.substr(0, open);
    e.suffix = pattern.substr(close + 1);
  }
  return entries_.emplace_back(std::move(e));
}

const route* route_table::choose(const entry& e, std::string_view method) const {
  if (method == "HEAD") method = "GET";
  for (const auto i : e.routes) {
    if (routes_[i].method == method) return &routes_[i];
  }
  return nullptr;
}

bool percent_decode(std::string_view text, std::string& out) {
  out.clear();
  for (size_t i = 0; i < text.size(); ++i) {
    auto c = text[i];
    if (c == '%' && i + 2 < text.size() && hex_value(text[i + 1]) >= 0 && hex_value(text[i + 2]) >= 0) {
      c = static_cast<char>(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
      i += 2;
    }
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
    out += c;
  }
  return true;
}

}  // namespace millrace::http
