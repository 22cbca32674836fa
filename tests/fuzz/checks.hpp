#pragma once

#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

#include "engine/ports.hpp"
#include "http/canonical_json.hpp"
#include "http/dialects/chat.hpp"
#include "http/json_scan.hpp"

/// What fuzzers demand.
namespace millrace::fuzz {

inline void require(bool condition) {
  if (!condition) std::abort();
}

inline void require_json(std::string_view text) {
  http::json_scanner scanner(text);
  require(!scanner.value().empty() && scanner.at_end());
}

inline void require_refusal(const engine::api_error& error) {
  require(error.status == 400 && !error.code.empty() && !error.message.empty());
}

inline std::string canonical(std::string_view text) {
  static http::canonical_writer writer;
  std::string out;
  require(writer.append(text, {}, out));
  return out;
}

/// `good` with a piece of it replaced, as `input` says: where (two bytes), how much (one), by what (the
/// rest). So a fuzzer starts from what is read to its end.
inline std::string spliced(std::string_view good, std::string_view input) {
  std::string out(good);
  if (input.size() < 3) return out;
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(input[i]); };
  const std::size_t at = (byte(0) | byte(1) << 8U) % (out.size() + 1);
  return out.replace(at, byte(2), input.substr(3));
}

/// What `sink` writes of a stream that `source` reads in two pieces. `done`: whether it came to its end.
inline std::string passed_on(const http::chat_provider_format& source, const http::chat_client_format& sink,
                             std::string_view bytes, bool& done) {
  http::encode_options options;
  options.model = "mine";
  const auto reader = source.decode_stream();
  const auto writer = sink.encode_stream(options, true);
  std::string out;
  done = false;
  const auto put = [&](const http::chat_delta& d) {
    done = done || d.what == http::chat_delta::kind::done;
    if (d.what != http::chat_delta::kind::error) writer->put(d, out);
  };
  const std::size_t half = bytes.size() / 2;
  if (reader->feed(bytes.substr(0, half), put) && reader->feed(bytes.substr(half), put)) reader->end(put);
  return out;
}

/// Whatever `text` is, as an answer or as a stream: what is made of it is JSON, its replay is a stream that
/// comes to its end, and what was put together from one comes back from the next.
inline void check_replays(engine::route_kind route, const engine::client_dialect& client,
                          const engine::provider_dialect& provider, std::string_view text) {
  using state = engine::stream_reader::state;
  std::string out;
  std::string passed;
  engine::usage used;
  if (provider.rewrite_answer(route, text, "mine", out, used)) require_json(out);
  const auto reader = provider.read_stream(route, "mine", true);
  reader->feed(text, passed);
  reader->end(passed);
  const bool collected = provider.collect_answer(route, text, "mine", out, used);
  if (collected) require_json(out);
  std::string stream;
  std::string first;
  std::string second;
  if (!client.replay_stream(route, collected ? std::string_view(out) : text, true, stream)) return;
  passed.clear();
  const auto replayed = provider.read_stream(route, "mine", true);
  replayed->feed(stream, passed);
  require(replayed->end(passed) == state::done);
  // Repeated names are one in a replay, so it is the second time that counts.
  if (!provider.collect_answer(route, stream, "mine", first, used)) return;
  require(client.replay_stream(route, first, true, stream));
  require(provider.collect_answer(route, stream, "mine", second, used));
  require(canonical(first) == canonical(second));
}

}  // namespace millrace::fuzz
