#include "http/simulator/event_stream.hpp"

#include <charconv>
#include <chrono>

namespace millrace::http::simulation {

void event_stream::write_data(std::string& out, std::string_view event) const {
  if (!chunked_) {
    out += event;
    return;
  }
  char size[16];
  out.append(size, std::to_chars(size, size + sizeof size, event.size(), 16).ptr).append("\r\n");
  out.append(event).append("\r\n");
}

engine::duration due_of_token(std::int64_t token, double tokens_per_second) {
  if (tokens_per_second <= 0 || token <= 0) return {};
  return std::chrono::duration_cast<engine::duration>(
      std::chrono::duration<double>(static_cast<double>(token) / tokens_per_second));
}

}  // namespace millrace::http::simulation
