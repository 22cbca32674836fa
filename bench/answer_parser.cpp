#include "bench/answer_parser.hpp"

#include <strings.h>

#include <algorithm>
#include <charconv>

namespace millrace::bench {
namespace {

bool same(std::string_view a, std::string_view b) {
  return a.size() == b.size() && strncasecmp(a.data(), b.data(), a.size()) == 0;
}

bool read_number(std::string_view text, int base, std::int64_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end != text.data() && out >= 0;
}

}  // namespace

void answer_parser::reset() {
  state_ = state::head;
  status_ = 0;
  keep_alive_ = true;
  stream_ = saw_done_ = chunked_ = last_chunk_ = after_data_ = false;
  left_ = 0;
  text_.clear();
  line_.clear();
}

answer_parser::state answer_parser::feed(std::string_view bytes) {
  while (!bytes.empty()) {
    switch (state_) {
      case state::head: {
        // The last three bytes may be the first part of the head's end.
        const size_t from = text_.size() < 3 ? 0 : text_.size() - 3;
        const size_t before = text_.size();
        text_.append(bytes.substr(0, max_head_bytes));
        const size_t end = text_.find("\r\n\r\n", from);
        if (end == std::string::npos) {
          if (text_.size() > max_head_bytes) return state_ = state::bad;
          return state_;
        }
        bytes.remove_prefix(end + 4 - before);
        text_.resize(end + 2);
        if (!read_head()) return state_ = state::bad;
        text_.clear();
        break;
      }
      case state::body:
        if (chunked_)
          feed_chunked(bytes);
        else
          feed_body(bytes);
        break;
      case state::done:
      case state::bad:
        return state_ = state::bad;
    }
  }
  return state_;
}

answer_parser::state answer_parser::end() {
  if (state_ == state::body && left_ == until_close) state_ = state::done;
  if (state_ != state::done) state_ = state::bad;
  return state_;
}

bool answer_parser::read_head() {
  std::int64_t status = 0;
  if (text_.size() < 13 || !read_number(std::string_view(text_).substr(9, 3), 10, status)) return false;
  status_ = static_cast<int>(status);
  keep_alive_ = text_.starts_with("HTTP/1.1");
  left_ = status_ == 204 || status_ == 304 ? 0 : until_close;
  for (size_t at = text_.find("\r\n") + 2; at < text_.size();) {
    const size_t end = text_.find("\r\n", at);
    const std::string_view line = std::string_view(text_).substr(at, end - at);
    at = end + 2;
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return false;
    const std::string_view name = line.substr(0, colon);
    std::string_view value = line.substr(colon + 1);
    value.remove_prefix(std::min(value.size(), value.find_first_not_of(" \t")));
    if (same(name, "content-length") && !read_number(value, 10, left_)) return false;
    if (same(name, "transfer-encoding")) chunked_ = same(value, "chunked");
    if (same(name, "content-type")) stream_ = value.starts_with("text/event-stream");
    if (same(name, "connection") && same(value, "close")) keep_alive_ = false;
  }
  if (status_ == 100) {
    state_ = state::head;  // the real one follows
    return true;
  }
  if (chunked_) left_ = 0;
  state_ = left_ == 0 && !chunked_ ? state::done : state::body;
  return true;
}

void answer_parser::feed_body(std::string_view& bytes) {
  const size_t n = left_ == until_close ? bytes.size() : std::min(bytes.size(), static_cast<size_t>(left_));
  feed_data(bytes.substr(0, n));
  bytes.remove_prefix(n);
  if (left_ != until_close && (left_ -= static_cast<std::int64_t>(n)) == 0) state_ = state::done;
}

void answer_parser::feed_chunked(std::string_view& bytes) {
  if (left_ > 0) {
    const size_t n = std::min(bytes.size(), static_cast<size_t>(left_));
    feed_data(bytes.substr(0, n));
    bytes.remove_prefix(n);
    left_ -= static_cast<std::int64_t>(n);
    after_data_ = left_ == 0;
    return;
  }
  const size_t end = bytes.find('\n');
  text_.append(bytes.substr(0, end == std::string_view::npos ? bytes.size() : end + 1));
  if (text_.size() > max_head_bytes) {
    state_ = state::bad;
    return;
  }
  if (end == std::string_view::npos) {
    bytes = {};
    return;
  }
  bytes.remove_prefix(end + 1);
  const bool empty = text_ == "\r\n";
  if (last_chunk_) {
    if (empty) state_ = state::done;
  } else if (after_data_) {
    if (!empty) state_ = state::bad;
    after_data_ = false;
  } else if (!read_number(text_, 16, left_)) {
    state_ = state::bad;
  } else {
    last_chunk_ = left_ == 0;
  }
  text_.clear();
}

void answer_parser::feed_data(std::string_view data) {
  if (!stream_) return;
  while (!data.empty()) {
    const size_t end = data.find('\n');
    line_.append(data.substr(0, end));
    if (line_.size() > max_line_bytes) {
      state_ = state::bad;
      return;
    }
    if (end == std::string_view::npos) return;
    data.remove_prefix(end + 1);
    if (line_.ends_with('\r')) line_.pop_back();
    if (line_.starts_with("data: ")) {
      const std::string_view event = std::string_view(line_).substr(6);
      if (event == "[DONE]") saw_done_ = true;
      on_event_(event);
    }
    line_.clear();
  }
}

}  // namespace millrace::bench
