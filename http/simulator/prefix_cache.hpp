#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string_view>
#include <unordered_set>
#include <vector>

namespace millrace::http::simulation {

/// A place in a prompt up to which it may be known already.
struct cache_point {
  std::uint64_t hash = 0;   ///< of the model and all up to here
  std::int64_t tokens = 0;  ///< up to here
};

/// The prompts seen, as far as they may be read from a cache: shared by all keys, like the keys of one
/// organization. Nothing expires but for room, so that a test's outcome does not depend on its speed.
/// Thread-safe.
class prefix_cache {
 public:
  /// Above this many the oldest is forgotten.
  static constexpr std::size_t max_prefixes = 65'536;

  /// Tokens of the longest known of `points`, which come by length; 0 when none is. All are known afterwards.
  std::int64_t read(const std::vector<cache_point>& points);

 private:
  std::mutex mutex_;
  std::unordered_set<std::uint64_t> known_;
  std::deque<std::uint64_t> order_;
};

/// Continues a prefix's running hash, which starts from 0.
std::uint32_t extend_prefix(std::uint32_t prefix, std::string_view bytes);
cache_point point_at(std::string_view model, std::uint32_t prefix, std::int64_t tokens);

/// Shortest prefix that OpenAI and Gemini cache on their own, and the steps above it, in tokens.
/// https://platform.openai.com/docs/guides/prompt-caching
inline constexpr std::int64_t least_cached_tokens = 1024;
inline constexpr std::int64_t cached_tokens_step = 128;

/// Adds the places in a prompt of `tokens` tokens where those providers look; `raw` is its text, of which
/// four bytes are taken for a token.
void add_implicit_points(std::string_view model, std::string_view raw, std::int64_t tokens,
                         std::vector<cache_point>& points);

}  // namespace millrace::http::simulation
