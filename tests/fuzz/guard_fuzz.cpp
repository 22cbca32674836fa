#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "http/chunked.hpp"
#include "http/guard.hpp"

namespace {

using namespace millrace::http;

void require(bool holds) {
  if (!holds) std::abort();
}

struct head_verdict {
  progress state;
  refusal reason;
  size_t size;
  bool operator==(const head_verdict&) const = default;
};

head_verdict judge(std::string_view bytes, size_t cut) {
  head_guard guard;
  auto state = progress::incomplete;
  if (cut < bytes.size()) state = guard.advance(bytes.substr(0, cut));
  if (state == progress::incomplete) state = guard.advance(bytes);
  if (state != progress::incomplete) {
    std::string storage(bytes.substr(0, state == progress::complete ? guard.size() : bytes.size()));
    std::vector<header_field> fields;
    const auto head = guard.take(storage, fields);
    require(state == progress::refused || head.path.starts_with('/') || head.path == "*");
    require(head.content_length >= 0);
  }
  return {state, guard.fault().reason, state == progress::complete ? guard.size() : 0};
}

/// Split in two and whole, a chunked body must come to the same.
void decode(std::string_view bytes, size_t cut) {
  constexpr std::int64_t max_body = 1 << 16;
  std::string whole_body, split_body;
  chunk_decoder whole(max_body), split(max_body);
  const auto consumed = whole.feed(bytes, whole_body);
  cut = std::min(cut, bytes.size());
  auto at = split.feed(bytes.substr(0, cut), split_body);
  if (split.state() == progress::incomplete) at += split.feed(bytes.substr(cut), split_body);
  require(whole.state() == split.state() && consumed == at && whole_body == split_body);
  require(whole_body.size() <= static_cast<size_t>(max_body));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t cut = data[0] | static_cast<size_t>(data[1]) << 8;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  require(judge(bytes, cut) == judge(bytes, bytes.size()));
  const auto v = judge(bytes, bytes.size());
  decode(v.state == progress::complete ? bytes.substr(v.size) : bytes, cut);
  return 0;
}
