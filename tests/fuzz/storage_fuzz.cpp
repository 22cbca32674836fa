#include <chrono>
#include <cstdint>
#include <string>

#include "storage/answer_record.hpp"
#include "storage/checksum.hpp"
#include "storage/store_state.hpp"
#include "storage/usage_store.hpp"
#include "tests/fuzz/checks.hpp"

// What is kept on disk may be damaged, or somebody else's: nothing crashes, and a record that is read, and
// written again, reads the same. Payloads are good ones with a piece replaced, sealed here, since no fuzzer
// finds a checksum.

namespace {

using namespace millrace;
using fuzz::require;
using fuzz::spliced;

const engine::cache_key answer_key;
const std::string_view answer_name(reinterpret_cast<const char*>(answer_key.bytes.data()),
                                   answer_key.bytes.size());
constexpr std::string_view state_name = "millrace cache state";
const std::string usage_name =
    storage::encode_usage_key({.day = 1, .tenant = "t", .client = "c", .model = "m"});

std::string payload_of(std::string_view name, std::string_view record) {
  std::string_view payload;
  require(storage::unseal(name, record, payload));
  return std::string(payload);
}

std::string good_answer() {
  engine::cached_answer a;
  a.body = "{}";
  a.content_type = a.tenant = a.model = "t";
  a.confidence = 0.5;
  return payload_of(answer_name, storage::encode_answer(answer_key, a));
}

std::string good_state() {
  storage::store_state state;
  state.purged.add({.tenant = "t", .model = {}}, engine::wall_time(std::chrono::milliseconds(1)));
  state.purged.add({.tenant = {}, .model = "m"}, engine::wall_time(std::chrono::milliseconds(2)));
  return payload_of(state_name, storage::encode_state(state));
}

std::string good_usage() {
  engine::usage_counts counts;
  counts.requests = 1;
  counts.input_tokens = 300;
  return payload_of(usage_name, storage::encode_usage(usage_name, counts));
}

void check_answer(std::string_view input) {
  static const std::string good = good_answer();
  const engine::cache_key& key = answer_key;
  storage::decode_answer(key, input);
  const auto read = storage::decode_answer(key, storage::seal(answer_name, spliced(good, input)));
  if (!read) return;
  const std::string once = storage::encode_answer(key, *read);
  const auto again = storage::decode_answer(key, once);
  require(again && again->body == read->body && again->stale_until == read->stale_until);
  require(storage::encode_answer(key, *again) == once);
}

void check_state(std::string_view input) {
  static const std::string good = good_state();
  storage::decode_state(input);
  const auto read = storage::decode_state(storage::seal(state_name, spliced(good, input)));
  if (!read) return;
  require(read->purged.rules().size() <= engine::purge_list::max_rules);
  const auto again = storage::decode_state(storage::encode_state(*read));
  require(again && again->purged.rules() == read->purged.rules() && again->longest_ttl == read->longest_ttl);
}

void check_usage(std::string_view input) {
  static const std::string good = good_usage();
  engine::usage_key key;
  const std::string name = spliced(usage_name, input);
  if (storage::decode_usage_key(name, key)) require(storage::encode_usage_key(key) == name);
  engine::usage_counts counts;
  storage::decode_usage(usage_name, input, counts);
  if (!storage::decode_usage(usage_name, storage::seal(usage_name, spliced(good, input)), counts)) return;
  engine::usage_counts again;
  require(storage::decode_usage(usage_name, storage::encode_usage(usage_name, counts), again) &&
          again == counts);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      check_answer(input);
      break;
    case 1:
      check_state(input);
      break;
    default:
      check_usage(input);
  }
  return 0;
}
