#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace millrace::engine {

/// Names one question of one tenant: SHA-256 over tenant, model, route and the canonical request.
struct cache_key {
  std::array<std::uint8_t, 32> bytes{};

  friend auto operator<=>(const cache_key&, const cache_key&) = default;
};

/// The key is a hash already: its first bytes serve. Shards are chosen by others (see `cache_shards`).
struct cache_key_hash {
  std::size_t operator()(const cache_key& k) const noexcept {
    std::size_t h = 0;
    std::memcpy(&h, k.bytes.data(), sizeof h);
    return h;
  }
};

}  // namespace millrace::engine
