#include "http/simulator/prefix_cache.hpp"

#include <algorithm>

#include <zlib.h>

#include "http/simulator/random.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http::simulation {
namespace {

/// Longer prompts are looked at up to here only.
constexpr std::size_t max_points = 128;

}  // namespace

std::uint32_t extend_prefix(std::uint32_t prefix, std::string_view bytes) {
  return static_cast<std::uint32_t>(
      crc32(prefix, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

cache_point point_at(std::string_view model, std::uint32_t prefix, std::int64_t tokens) {
  return {mix(std::uint64_t{extend_prefix(0, model)} << 32 | prefix, static_cast<std::uint64_t>(tokens)),
          tokens};
}

std::int64_t prefix_cache::read(const std::vector<cache_point>& points) {
  if (points.empty()) return 0;
  const std::lock_guard lock(mutex_);
  const auto longest = std::find_if(points.rbegin(), points.rend(),
                                    [this](const cache_point& p) { return known_.contains(p.hash); });
  for (auto p = longest.base(); p != points.end(); ++p) {
    if (!known_.insert(p->hash).second) continue;
    order_.push_back(p->hash);
    if (order_.size() <= max_prefixes) continue;
    known_.erase(order_.front());
    order_.pop_front();
  }
  return longest == points.rend() ? 0 : longest->tokens;
}

void add_implicit_points(std::string_view model, std::string_view raw, std::int64_t tokens,
                         std::vector<cache_point>& points) {
  const auto bytes_of = [](std::int64_t n) { return static_cast<std::size_t>(n) * text_bytes_per_token; };
  std::uint32_t hash = 0;
  std::size_t at = 0;
  for (std::int64_t n = least_cached_tokens; n <= tokens && bytes_of(n) <= raw.size();
       n += cached_tokens_step) {
    if (points.size() == max_points) return;
    hash = extend_prefix(hash, raw.substr(at, bytes_of(n) - at));
    at = bytes_of(n);
    points.push_back(point_at(model, hash, n));
  }
}

}  // namespace millrace::http::simulation
