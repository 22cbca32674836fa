#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "flight_world.hpp"

/// What providers answer in the tests of flights, and what comes of it.
namespace millrace::engine {

inline scripted_call json_answer(int status = 200, std::string body = "{}") {
  scripted_call c;
  c.status = status;
  c.pieces = {std::move(body)};
  return c;
}

inline scripted_call event_stream(std::vector<std::string> pieces,
                                  upstream_failure end = upstream_failure::none) {
  scripted_call c;
  c.headers = {{"content-type", "text/event-stream"}};
  c.pieces = std::move(pieces);
  c.after_pieces = end;
  return c;
}

inline scripted_call broken(upstream_failure f) {
  scripted_call c;
  c.send = f;
  return c;
}

inline std::string header(const answer& a, std::string_view name) {
  for (const auto& [key, value] : a.headers) {
    if (key == name) return std::string(value);
  }
  return {};
}

/// Reads a stream to its end.
inline std::string drain(answer& a, yield y) {
  std::string all;
  while (a.stream->read(all, y)) {
  }
  return all;
}

}  // namespace millrace::engine
