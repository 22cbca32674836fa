#include "storage/answer_record.hpp"

#include <exception>
#include <memory>

#include "storage/checksum.hpp"
#include "storage/msgpack_map.hpp"

namespace millrace::storage {
namespace {

/// Version 1 had no `stale`, `upgraded`, `confidence`, and at first no `dropped`: its answers are of no use
/// once they expired.
constexpr std::int64_t version = 2;
constexpr std::int64_t oldest_version = 1;

std::string_view bytes_of(const engine::cache_key& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()};
}

}  // namespace

std::string encode_answer(const engine::cache_key& key, const engine::cached_answer& a) {
  msgpack::sbuffer buffer(a.size_bytes());
  msgpack::packer out(buffer);
  out.pack_map(17);
  const auto field = [&out](const char* name, const auto& value) { out.pack(name).pack(value); };
  field("v", version);
  field("body", a.body);
  field("type", a.content_type);
  field("tenant", a.tenant);
  field("model", a.model);
  field("provider", a.provider);
  field("upstream", a.upstream_model);
  field("key", a.key_id);
  field("dropped", a.dropped);
  field("fallback", std::int64_t{a.fallback});
  field("input", a.input_tokens);
  field("output", a.output_tokens);
  field("stored", ms_of(a.stored_at));
  field("expires", ms_of(a.expires_at));
  field("stale", ms_of(a.stale_until));
  field("upgraded", std::int64_t{a.upgraded});
  field("confidence", a.confidence);
  return seal(bytes_of(key), {buffer.data(), buffer.size()});
}

engine::cached_answer_ptr decode_answer(const engine::cache_key& key, std::string_view record) {
  std::string_view payload;
  if (!unseal(bytes_of(key), record, payload)) return nullptr;
  try {
    const auto handle = parse_map(payload);
    const auto& map = handle.get();
    const std::int64_t written = number_at(map, "v");
    if (written < oldest_version || written > version) return nullptr;
    auto a = std::make_shared<engine::cached_answer>();
    a->body = text_at(map, "body");
    a->content_type = text_at(map, "type");
    a->tenant = text_at(map, "tenant");
    a->model = text_at(map, "model");
    a->provider = text_at(map, "provider");
    a->upstream_model = text_at(map, "upstream");
    a->key_id = text_at(map, "key");
    a->dropped = optional_text_at(map, "dropped");
    a->fallback = number_at(map, "fallback") != 0;
    a->input_tokens = number_at(map, "input");
    a->output_tokens = number_at(map, "output");
    a->stored_at = time_of(number_at(map, "stored"));
    a->expires_at = time_of(number_at(map, "expires"));
    if (written < 2) return a;
    a->stale_until = time_of(number_at(map, "stale"));
    a->upgraded = number_at(map, "upgraded") != 0;
    a->confidence = at(map, "confidence").as<double>();
    const bool possible = a->confidence >= -1 && a->confidence <= 1;
    return possible ? a : nullptr;
  } catch (const std::exception&) {
    return nullptr;
  }
}

}  // namespace millrace::storage
