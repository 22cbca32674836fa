#include "http/sse.hpp"

#include <algorithm>

namespace millrace::http {
namespace {

constexpr std::string_view byte_order_mark = "\xEF\xBB\xBF";

}  // namespace

std::string_view sse_payload(const sse_event& event, std::string& joined) {
  if (event.data.size() == 1) return event.raw.substr(event.data[0].offset, event.data[0].length);
  joined.clear();
  for (const auto& line : event.data) {
    if (&line != event.data.data()) joined.push_back('\n');
    joined.append(event.raw, line.offset, line.length);
  }
  return joined;
}

void replace_in_event(const sse_event& event, size_t offset, size_t length, std::string_view text,
                      std::string& out) {
  size_t begin = 0;  // of the line in the payload
  for (const auto& line : event.data) {
    if (offset < begin + line.length) {
      const size_t at = line.offset + offset - begin;
      out.append(event.raw, 0, at).append(text).append(event.raw, at + length);
      return;
    }
    begin += line.length + 1;
  }
}

void sse_splitter::feed(std::string_view bytes) {
  if (kept_.empty()) {
    text_ = bytes;
  } else {
    kept_.append(bytes);
    text_ = kept_;
  }
  block_ = 0;
}

sse_splitter::result sse_splitter::next(sse_event& out) {
  if (too_large_) return result::too_large;
  if (!started_ && !skip_mark()) return keep_rest();
  out.tail = false;
  if (expects_lf_ && block_ < text_.size()) {
    expects_lf_ = false;
    out.tail = text_[block_] == '\n';
    if (out.tail) {
      lone_cr_ = false;
      complete(1, out);
      return result::event;
    }
  }
  const std::string_view block = text_.substr(block_);
  size_t end = 0;
  size_t next = 0;
  while (line_end(block, end, next)) {
    const bool blank = end == line_;
    if (!blank) read_field(block.substr(line_, end - line_));
    line_ = scanned_ = next;
    if (next > max_sse_event_bytes || data_.size() > max_sse_data_lines) break;
    if (blank) {
      complete(next, out);
      return result::event;
    }
  }
  return keep_rest();
}

/// False when the first bytes may yet become a byte order mark.
bool sse_splitter::skip_mark() {
  if (text_.size() < byte_order_mark.size() && byte_order_mark.substr(0, text_.size()) == text_) return false;
  if (text_.substr(0, byte_order_mark.size()) == byte_order_mark) block_ = byte_order_mark.size();
  started_ = true;
  return true;
}

/// Finds the end of the current line and where the next one starts; false when that cannot be said yet.
bool sse_splitter::line_end(std::string_view block, size_t& end, size_t& next) {
  const std::string_view unread = block.substr(scanned_);
  const size_t lf = unread.find('\n');
  const size_t cr = unread.substr(0, lf).find('\r');
  if (cr == std::string_view::npos && lf == std::string_view::npos) {
    scanned_ = block.size();
    return false;
  }
  end = scanned_ + std::min(cr, lf);
  next = end + 1;
  const bool is_cr = block[end] == '\r';
  if (is_cr && next == block.size()) {
    // Its LF may be on the way. An empty line in a stream of lone CRs does not wait for it: nothing else
    // might come.
    if (end != line_ || !lone_cr_) {
      scanned_ = end;
      return false;
    }
    expects_lf_ = true;
  } else if (is_cr && block[next] == '\n') {
    ++next;
  }
  lone_cr_ = is_cr && next == end + 1;
  return true;
}

void sse_splitter::read_field(std::string_view line) {
  const size_t colon = line.find(':');
  const std::string_view field = line.substr(0, colon);
  const bool is_data = field == "data";
  if (!is_data && field != "event") return;
  size_t value = std::min(field.size() + 1, line.size());
  if (value < line.size() && line[value] == ' ') ++value;
  const sse_event::range range{line_ + value, line.size() - value};
  if (is_data) {
    data_.push_back(range);
  } else {
    name_ = range;
  }
}

void sse_splitter::complete(size_t end, sse_event& out) {
  out.raw = text_.substr(block_, end);
  out.name = out.raw.substr(name_.offset, name_.length);
  out.data.swap(data_);
  data_.clear();
  name_ = {};
  line_ = scanned_ = 0;
  block_ += end;
}

sse_splitter::result sse_splitter::keep_rest() {
  const std::string_view rest = text_.substr(block_);
  if (rest.size() > max_sse_event_bytes || data_.size() > max_sse_data_lines) {
    too_large_ = true;
    kept_.clear();
    kept_.shrink_to_fit();
    return result::too_large;
  }
  if (text_.data() == kept_.data()) {
    kept_.erase(0, block_);
  } else {
    kept_.assign(rest);
  }
  text_ = kept_;
  block_ = 0;
  return result::more;
}

}  // namespace millrace::http
