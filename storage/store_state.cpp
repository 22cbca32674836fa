#include "storage/store_state.hpp"

#include <exception>
#include <vector>

#include "storage/checksum.hpp"
#include "storage/msgpack_map.hpp"

namespace millrace::storage {
namespace {

constexpr std::int64_t state_version = 1;
constexpr std::string_view context = "millrace cache state";

using name = std::optional<std::string>;

void pack_name(msgpack::packer<msgpack::sbuffer>& out, const name& n) {
  if (n) {
    out.pack(*n);
  } else {
    out.pack_nil();
  }
}

name name_of(const msgpack::object& o) {
  return o.is_nil() ? name{} : name(o.as<std::string>());
}

}  // namespace

std::string encode_state(const store_state& state) {
  msgpack::sbuffer buffer;
  msgpack::packer out(buffer);
  out.pack_map(3);
  out.pack("v").pack(state_version);
  out.pack("longest_ttl").pack(static_cast<std::int64_t>(state.longest_ttl.count()));
  out.pack("purged").pack_array(static_cast<std::uint32_t>(state.purged.rules().size()));
  for (const auto& [scope, at] : state.purged.rules()) {
    out.pack_array(3);
    pack_name(out, scope.tenant);
    pack_name(out, scope.model);
    out.pack(ms_of(at));
  }
  return seal(context, {buffer.data(), buffer.size()});
}

std::optional<store_state> decode_state(std::string_view record) {
  std::string_view payload;
  if (!unseal(context, record, payload)) return std::nullopt;
  try {
    const auto handle = parse_map(payload);
    const auto& map = handle.get();
    if (number_at(map, "v") != state_version) return std::nullopt;
    store_state state;
    state.longest_ttl = std::chrono::milliseconds(number_at(map, "longest_ttl"));
    for (const auto& rule : at(map, "purged").as<std::vector<msgpack::object>>()) {
      const auto parts = rule.as<std::vector<msgpack::object>>();
      state.purged.add({.tenant = name_of(parts.at(0)), .model = name_of(parts.at(1))},
                       time_of(parts.at(2).as<std::int64_t>()));
    }
    return state;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace millrace::storage
