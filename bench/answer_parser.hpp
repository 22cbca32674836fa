#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace millrace::bench {

/// Follows one HTTP/1.1 answer as its bytes come, keeping as little of it as possible.
class answer_parser {
 public:
  enum class state : std::uint8_t { head, body, done, bad };

  /// Called with the data of each event of an event stream.
  using event_handler = std::function<void(std::string_view data)>;
  explicit answer_parser(event_handler on_event) : on_event_(std::move(on_event)) {}

  void reset();
  /// Takes what came. Bytes behind the answer's end are `bad`: nothing is pipelined.
  state feed(std::string_view bytes);
  /// The connection was closed: the end of a body that has no other.
  state end();

  int status() const { return status_; }
  bool keep_alive() const { return keep_alive_; }
  bool is_stream() const { return stream_; }
  bool saw_done() const { return saw_done_; }  ///< the stream's "[DONE]"

 private:
  static constexpr size_t max_head_bytes = size_t{64} * 1024;
  static constexpr size_t max_line_bytes = size_t{4} * 1024 * 1024;
  static constexpr std::int64_t until_close = -1;

  bool read_head();
  void feed_body(std::string_view& bytes);
  void feed_chunked(std::string_view& bytes);
  void feed_data(std::string_view data);

  event_handler on_event_;
  state state_ = state::head;
  int status_ = 0;
  bool keep_alive_ = true;
  bool stream_ = false;
  bool saw_done_ = false;
  bool chunked_ = false;
  bool last_chunk_ = false;  ///< trailers follow
  bool after_data_ = false;  ///< the CRLF behind a chunk's data follows
  std::int64_t left_ = 0;    ///< of the body or of the chunk; until_close: no end in sight
  std::string text_;         ///< the head, then lines of the chunk framing
  std::string line_;         ///< of the event stream
};

}  // namespace millrace::bench
