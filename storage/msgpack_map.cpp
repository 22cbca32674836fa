#include "storage/msgpack_map.hpp"

#include <stdexcept>

#include "engine/purge_list.hpp"

namespace millrace::storage {
namespace {

constexpr std::size_t max_elements = engine::purge_list::max_rules;
constexpr std::size_t max_depth = 4;
constexpr std::size_t max_string_bytes = 0xffffffff;  ///< as far as the bytes go: strings are not copied

bool point_into_input(msgpack::type::object_type, std::size_t, void*) {
  return true;
}

const msgpack::object* find(const msgpack::object& map, std::string_view field) {
  for (std::uint32_t i = 0; i < map.via.map.size; ++i) {
    const auto& [key, value] = map.via.map.ptr[i];
    if (key.type == msgpack::type::STR && std::string_view(key.via.str.ptr, key.via.str.size) == field)
      return &value;
  }
  return nullptr;
}

}  // namespace

msgpack::object_handle parse_map(std::string_view bytes) {
  const msgpack::unpack_limit limit(max_elements, max_elements, max_string_bytes, max_string_bytes, 0,
                                    max_depth);
  msgpack::object_handle handle;
  std::size_t end = 0;
  bool copied = false;
  msgpack::unpack(handle, bytes.data(), bytes.size(), end, copied, point_into_input, nullptr, limit);
  if (end != bytes.size() || handle->type != msgpack::type::MAP) throw std::runtime_error("not one map");
  return handle;
}

const msgpack::object& at(const msgpack::object& map, std::string_view field) {
  if (const msgpack::object* found = find(map, field)) return *found;
  throw std::out_of_range("no such field");
}

std::string optional_text_at(const msgpack::object& map, std::string_view field) {
  const msgpack::object* found = find(map, field);
  return found ? found->as<std::string>() : std::string();
}

}  // namespace millrace::storage
