#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/key_use.hpp"
#include "engine/secret.hpp"

/// The text of the file in which a node keeps its keys' use over a restart.
namespace millrace::engine {

/// One key's use as it is kept over a restart. It is the same key only if all three names of it are the same.
struct kept_key {
  std::string node;
  std::string fingerprint;  ///< see key_fingerprint
  key_use use;
};

/// What the file of limits holds. Names of keys, never secrets.
struct kept_limits {
  static constexpr std::size_t max_keys = 1024;          ///< beyond it those used longest ago are dropped
  static constexpr std::size_t max_bytes = 64UL << 20U;  ///< a larger file is not read

  bool clean = false;            ///< nothing was granted after it was written
  std::int64_t saved_at_ms = 0;  ///< since 1970: the only reading of a clock in it, to which the ages refer
  std::string salt;              ///< of the fingerprints
  std::vector<kept_key> keys;
};

/// Ages are written in whole milliseconds, rounded towards later use and a later end. At most `max_keys`
/// keys.
std::string format_kept(const kept_limits& k);
/// Throws std::runtime_error that says what is wrong: no JSON, another version, a value out of range.
kept_limits parse_kept(std::string_view text);

/// Lets time pass for `u`; what no window can hold any more is dropped. `passed` below 0 counts as 0.
void age(key_use& u, duration passed);
/// What may have been granted unheard was granted, and just now.
void assume_soon(key_use& u);
/// Nothing may be granted that `u` does not know of: forgets `soon`.
void forget_soon(key_use& u);
/// Whether keeping `u` is of no use.
bool empty(const key_use& u);

/// Tells whether a key is the provider's key it was, without telling the secret: an HMAC of both.
std::string key_fingerprint(const std::string& salt, const std::string& base_url, const secret& key);

}  // namespace millrace::engine
