#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "http/openai_stream.hpp"
#include "http/sse.hpp"

// A stream cut at the places that the input's first bytes name must give what the uncut one gives.

namespace {

struct outcome {
  std::string out;
  millrace::engine::stream_reader::state state{};
  std::string failure;
  bool operator==(const outcome&) const = default;
};

template <class Feed>
void in_pieces(std::string_view stream, size_t step, Feed feed) {
  for (size_t at = 0; at < stream.size(); at += step) feed(stream.substr(at, step));
}

outcome follow(std::string_view stream, size_t step, bool wants_usage) {
  const auto reader = millrace::http::read_openai_stream("model \"of\" mine", wants_usage);
  outcome o;
  in_pieces(stream, step, [&](std::string_view piece) { o.state = reader->feed(piece, o.out); });
  o.failure = reader->failure();
  // In a stream of lone CRs, [DONE] ends at its CR; whether an LF behind it is passed depends on when it
  // comes.
  const bool done = o.state == millrace::engine::stream_reader::state::done;
  if (done && std::string_view(o.out).ends_with("\r\r\n")) o.out.pop_back();
  return o;
}

std::string joined(std::string_view stream, size_t step) {
  millrace::http::sse_splitter splitter;
  millrace::http::sse_event event;
  std::string out;
  in_pieces(stream, step, [&](std::string_view piece) {
    // A copy of its own, so that a look at an earlier piece is a fault.
    const std::string copy(piece);
    splitter.feed(copy);
    while (splitter.next(event) == millrace::http::sse_splitter::result::event) out.append(event.raw);
  });
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t step = 1 + data[0] % 64;
  const bool wants_usage = data[1] % 2 == 0;
  const std::string_view stream(reinterpret_cast<const char*>(data) + 2, size - 2);
  const outcome whole = follow(stream, stream.size() + 1, wants_usage);
  if (follow(stream, step, wants_usage) != whole) std::abort();
  // The blocks are the stream's beginning, byte for byte.
  const std::string blocks = joined(stream, step);
  const size_t mark = stream.substr(0, 3) == "\xEF\xBB\xBF" ? 3 : 0;
  if (blocks != stream.substr(std::min(mark, stream.size()), blocks.size())) std::abort();
  return 0;
}
