#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "engine/purge_list.hpp"

namespace millrace::storage {

/// What a store knows beside its answers. Its presence tells a directory of ours from any other database.
struct store_state {
  engine::purge_list purged;
  /// The longest time to live that any answer in the store was written with: purges are kept as long.
  std::chrono::milliseconds longest_ttl{0};
};

/// The same form as an answer's record: checksum, then a msgpack map with a version.
std::string encode_state(const store_state& state);
/// Nothing if it was changed, cut, or is of an unknown version. Never throws.
std::optional<store_state> decode_state(std::string_view record);

}  // namespace millrace::storage
