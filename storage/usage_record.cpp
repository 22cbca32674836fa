#include <array>
#include <exception>

#include "storage/checksum.hpp"
#include "storage/msgpack_map.hpp"
#include "storage/usage_store.hpp"

/// Rows of the usage ledger as bytes.
namespace millrace::storage {
namespace {

constexpr std::int64_t usage_version = 1;
constexpr unsigned byte_bits = 8;

using engine::usage_counts;

struct count_field {
  const char* name;
  std::int64_t usage_counts::*count;
};
constexpr std::array<count_field, 10> fields = {{{"requests", &usage_counts::requests},
                                                 {"cached", &usage_counts::cached_requests},
                                                 {"attempts", &usage_counts::attempts},
                                                 {"input", &usage_counts::input_tokens},
                                                 {"output", &usage_counts::output_tokens},
                                                 {"cache_read", &usage_counts::cached_tokens},
                                                 {"cache_write", &usage_counts::cache_write_tokens},
                                                 {"reasoning", &usage_counts::reasoning_tokens},
                                                 {"estimated", &usage_counts::estimated_tokens},
                                                 {"images", &usage_counts::images}}};

/// The highest byte first, so that keys sort as their numbers do.
void put_number(std::string& to, std::uint32_t n) {
  for (int shift = 24; shift >= 0; shift -= 8)
    to += static_cast<char>(n >> static_cast<unsigned>(shift) & 0xffU);
}

bool take_number(std::string_view& from, std::uint32_t& n) {
  if (from.size() < sizeof n) return false;
  n = 0;
  for (std::size_t i = 0; i < sizeof n; ++i) n = n << byte_bits | static_cast<unsigned char>(from[i]);
  from.remove_prefix(sizeof n);
  return true;
}

bool take_text(std::string_view& from, std::string& text) {
  std::uint32_t size = 0;
  if (!take_number(from, size) || from.size() < size) return false;
  text = from.substr(0, size);
  from.remove_prefix(size);
  return true;
}

}  // namespace

std::string encode_usage_key(const engine::usage_key& key) {
  std::string out;
  put_number(out, static_cast<std::uint32_t>(key.day));
  for (const std::string* text : {&key.tenant, &key.client, &key.model}) {
    put_number(out, static_cast<std::uint32_t>(text->size()));
    out += *text;
  }
  return out;
}

bool decode_usage_key(std::string_view bytes, engine::usage_key& key) {
  std::uint32_t day = 0;
  if (!take_number(bytes, day)) return false;
  key.day = static_cast<engine::day_number>(day);
  return take_text(bytes, key.tenant) && take_text(bytes, key.client) && take_text(bytes, key.model) &&
         bytes.empty();
}

std::string encode_usage(std::string_view key, const usage_counts& counts) {
  msgpack::sbuffer buffer;
  msgpack::packer out(buffer);
  out.pack_map(fields.size() + 2);
  out.pack("v").pack(usage_version);
  for (const count_field& f : fields) out.pack(f.name).pack(counts.*f.count);
  out.pack("nano_usd").pack(counts.cost.nano());
  return seal(key, {buffer.data(), buffer.size()});
}

bool decode_usage(std::string_view key, std::string_view record, usage_counts& counts) {
  std::string_view payload;
  if (!unseal(key, record, payload)) return false;
  try {
    const auto handle = parse_map(payload);
    const auto& map = handle.get();
    if (number_at(map, "v") != usage_version) return false;
    for (const count_field& f : fields) counts.*f.count = number_at(map, f.name);
    counts.cost = engine::money::of_nano(number_at(map, "nano_usd"));
    return true;
  } catch (const std::exception&) {
    return false;
  }
}

}  // namespace millrace::storage
