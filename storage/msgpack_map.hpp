#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include <msgpack.hpp>

#include "engine/cached_answer.hpp"

/// Reading and writing msgpack maps with named fields. Readers throw std::exception where a field is missing
/// or of another type.
namespace millrace::storage {

/// Objects that point into `bytes`; nested and counted as far as any record here needs, so that no forged
/// length makes the parser allocate.
msgpack::object_handle parse_map(std::string_view bytes);

/// The value of `field` in a map; throws std::out_of_range when there is none.
const msgpack::object& at(const msgpack::object& map, std::string_view field);

inline std::string text_at(const msgpack::object& map, std::string_view field) {
  return at(map, field).as<std::string>();
}
/// Empty where there is no such field, as in records of earlier versions of the program.
std::string optional_text_at(const msgpack::object& map, std::string_view field);
inline std::int64_t number_at(const msgpack::object& map, std::string_view field) {
  return at(map, field).as<std::int64_t>();
}
inline engine::wall_time time_of(std::int64_t ms) {
  return engine::wall_time(std::chrono::milliseconds(ms));
}
inline std::int64_t ms_of(engine::wall_time t) {
  return t.time_since_epoch().count();
}

}  // namespace millrace::storage
