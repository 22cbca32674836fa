#include <cstdint>
#include <string>

#include "http/openai.hpp"
#include "tests/fuzz/checks.hpp"

// Answers and streams may be anything. What was put together once comes back as it is from its replay, and
// every replay is a whole stream.

namespace {

using millrace::engine::route_kind;
using millrace::fuzz::canonical;
using millrace::fuzz::require;

/// `answer` came out of a stream.
void check_collected(route_kind route, const std::string& answer, bool usage_known) {
  const auto& dialect = millrace::http::openai();
  std::string stream;
  // A replay has bounds of its own.
  if (!dialect.replay_stream(route, answer, true, stream)) return;
  std::string passed;
  const auto reader = dialect.read_stream(route, "mine", true);
  require(reader->feed(stream, passed) == millrace::engine::stream_reader::state::done);
  require(passed == stream && reader->seen_usage().known == usage_known);
  std::string again;
  millrace::engine::usage used;
  require(dialect.collect_answer(route, stream, "mine", again, used));
  require(canonical(again) == canonical(answer) && used.known == usage_known);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto route = static_cast<route_kind>(data[0] % 3);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto& dialect = millrace::http::openai();
  std::string out;
  std::string stream;
  millrace::engine::usage used;
  // A replay gives tool calls their place and drops repeated names, so it is the second time that counts.
  // Bounds and what cannot be merged aside, it can be put together.
  const bool collected = dialect.collect_answer(route, text, "mine", out, used);
  if (dialect.replay_stream(route, collected ? std::string_view(out) : text, true, stream) &&
      dialect.collect_answer(route, stream, "mine", out, used)) {
    check_collected(route, out, used.known);
  }
  return 0;
}
