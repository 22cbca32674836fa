#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {

/// Largest event, line ends included, and most `data` lines in one. A stream that exceeds them is not read
/// further.
inline constexpr size_t max_sse_event_bytes = 4U << 20;
inline constexpr size_t max_sse_data_lines = 4096;

/// One block of an event stream: an event, a comment, or just an empty line. Views live until the splitter's
/// next call.
struct sse_event {
  struct range {
    size_t offset = 0;
    size_t length = 0;
  };
  std::string_view raw;     ///< the block as it came, with the empty line that ends it
  std::string_view name;    ///< value of its last `event` field; empty: a plain message
  std::vector<range> data;  ///< values of its `data` fields, as parts of `raw`
  bool tail = false;        ///< only the LF that belongs to the CR LF at the end of the block before
};

/// The `data` of a block, its lines joined by LF: a part of the block, or, when there are several lines, of
/// `joined`.
std::string_view sse_payload(const sse_event& event, std::string& joined);

/// Appends the block with `text` in place of `length` bytes at `offset` of its payload, which must stand on
/// one line, as all strings of JSON do.
void replace_in_event(const sse_event& event, size_t offset, size_t length, std::string_view text,
                      std::string& out);

/// Cuts a text/event-stream (WHATWG HTML, section 9.2.6) into its blocks, whatever pieces the bytes come in
/// and whichever line end (LF, CR LF, CR) they use; the blocks' `raw` texts joined are the stream, save a
/// leading byte order mark. Bytes are copied only when a block is spread over several pieces, and none is
/// searched twice. One thread at a time.
class sse_splitter {
 public:
  enum class result : std::uint8_t {
    event,      ///< `out` holds the next block
    more,       ///< nothing complete is left
    too_large,  ///< a bound is exceeded; nothing more will come
  };

  /// Gives the next piece; it must stay valid until `next` said `more`. Only to be called after that, or at
  /// the start.
  void feed(std::string_view bytes);
  result next(sse_event& out);
  /// The same where all of a body was fed: its last block may lack the empty line.
  result next_of_whole(sse_event& out) {
    const result found = next(out);
    if (found != result::more || lacking().empty()) return found;
    feed(lacking());
    return next(out);
  }
  /// After `more`, at the end of the body: what makes an event of the rest, whose lines are whole. Empty
  /// where there is no such rest.
  std::string_view lacking() const {
    if (kept_.empty() || (kept_.back() != '\n' && kept_.back() != '\r')) return {};
    return kept_.back() == '\n' ? "\n" : "\n\n";
  }
  /// After `more`: a piece of a line is left.
  bool in_a_line() const { return !kept_.empty() && kept_.back() != '\n' && kept_.back() != '\r'; }

 private:
  bool skip_mark();
  bool line_end(std::string_view block, size_t& end, size_t& next);
  void read_field(std::string_view line);
  void complete(size_t end, sse_event& out);
  result keep_rest();

  std::string kept_;       ///< an unfinished block
  std::string_view text_;  ///< what is being cut: the piece, or `kept_`
  size_t block_ = 0;       ///< start of the current block in `text_`
  // Offsets inside the current block; they survive its move into `kept_`.
  size_t line_ = 0;     ///< start of the current line
  size_t scanned_ = 0;  ///< no line end before this
  bool started_ = false;
  bool lone_cr_ = false;     ///< the line before ended in a CR without LF
  bool expects_lf_ = false;  ///< the block before ended in a CR at the end of its piece
  bool too_large_ = false;
  sse_event::range name_;
  std::vector<sse_event::range> data_;
};

}  // namespace millrace::http
