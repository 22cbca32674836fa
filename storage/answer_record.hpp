#pragma once

#include <string>
#include <string_view>

#include "engine/cache_key.hpp"
#include "engine/cached_answer.hpp"

namespace millrace::storage {

/// An answer as it is kept on disk: a checksum over key and record, then a msgpack map of named fields with a
/// version
/// (`v`). Fields that a reader does not know are passed over. Deterministic.
std::string encode_answer(const engine::cache_key& key, const engine::cached_answer& answer);

/// What encode_answer made for this key; null if it was changed, cut, made for another key, or is of an
/// unknown version. Never throws, whatever the bytes.
engine::cached_answer_ptr decode_answer(const engine::cache_key& key, std::string_view record);

}  // namespace millrace::storage
