#include "http/simulator/request_reader.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace millrace::http::simulation {
namespace {

constexpr size_t initial_bytes = 4096;
constexpr size_t shrink_above_bytes = size_t{64} * 1024;
constexpr size_t least_room_bytes = 1024;

bool equals_ignoring_case(std::string_view text, std::string_view lower) {
  return text.size() == lower.size() &&
         std::equal(text.begin(), text.end(), lower.begin(),
                    [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; });
}

std::string_view trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

bool read_size(std::string_view text, int base, size_t& out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out, base);
  return error == std::errc{} && end == text.data() + text.size();
}

/// Takes the next line without its CRLF off `rest`.
std::string_view take_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find("\r\n"));
  rest.remove_prefix(std::min(rest.size(), line.size() + 2));
  return line;
}

bool read_request_line(std::string_view line, http_request& request) {
  const size_t first = line.find(' ');
  const size_t second = line.rfind(' ');
  if (first == std::string_view::npos || second <= first + 1) return false;
  const std::string_view version = line.substr(second + 1);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return false;
  request.method = line.substr(0, first);
  request.path = line.substr(first + 1, second - first - 1);
  if (const size_t mark = request.path.find('?'); mark != std::string_view::npos) {
    request.query = request.path.substr(mark + 1);
    request.path = request.path.substr(0, mark);
  }
  request.http_1_0 = version == "HTTP/1.0";
  request.keep_alive = !request.http_1_0;
  return true;
}

}  // namespace

std::pair<char*, size_t> request_reader::room() {
  if (begin_ == end_) begin_ = end_ = 0;
  if (begin_ == end_ && capacity_ > shrink_above_bytes) resize(initial_bytes);
  const size_t wanted =
      std::max(end_ - begin_ + least_room_bytes, std::min(need_, max_body_bytes + max_head_bytes));
  if (begin_ + wanted > capacity_ || capacity_ - end_ < least_room_bytes) {
    size_t capacity = std::max(capacity_, initial_bytes);
    while (capacity < wanted) capacity *= 2;
    resize(capacity);
  }
  return {data_.get() + end_, capacity_ - end_};
}

void request_reader::resize(size_t capacity) {
  if (capacity == capacity_) {
    std::memmove(data_.get(), data_.get() + begin_, end_ - begin_);
  } else {
    auto larger = std::make_unique_for_overwrite<char[]>(capacity + padding_bytes);
    if (end_ > begin_) std::memcpy(larger.get(), data_.get() + begin_, end_ - begin_);
    data_ = std::move(larger);
    capacity_ = capacity;
  }
  end_ -= begin_;
  begin_ = 0;
}

void request_reader::drop_last() {
  if (last_ == 0) return;
  begin_ += last_;  // bytes stay where they are: a read into the room behind them may be under way
  last_ = 0;
  need_ = 1;
  scanned_ = chunk_at_ = 0;
  continue_due_ = continue_said_ = false;
  if (chunked_body_.capacity() > shrink_above_bytes) chunked_body_ = {};
}

request_reader::result request_reader::next(http_request& request) {
  drop_last();
  if (end_ - begin_ < need_) return result::incomplete;
  framing frame;
  const std::string_view seen(data_.get() + begin_, end_ - begin_);
  const size_t head_end = seen.find("\r\n\r\n", scanned_);
  if (head_end == std::string_view::npos) {
    scanned_ = seen.size() < 3 ? 0 : seen.size() - 3;
    return seen.size() > max_head_bytes ? result::too_large : result::incomplete;
  }
  frame.head_bytes = head_end + 4;
  if (frame.head_bytes > max_head_bytes) return result::too_large;
  if (const result r = read_head(request, frame); r != result::ready) return r;
  if (frame.chunked) {
    const result r = read_chunks(request, frame);
    continue_due_ = r == result::incomplete && frame.expects_continue && seen.size() == frame.head_bytes;
    return r;
  }
  need_ = frame.head_bytes + frame.body_bytes;
  if (seen.size() < need_) {
    continue_due_ = frame.expects_continue && seen.size() == frame.head_bytes;
    return result::incomplete;
  }
  request.body = seen.substr(frame.head_bytes, frame.body_bytes);
  last_ = need_;
  return result::ready;
}

bool request_reader::wants_continue() {
  if (!continue_due_ || continue_said_) return false;
  continue_said_ = true;
  return true;
}

request_reader::result request_reader::read_head(http_request& request, framing& frame) const {
  std::string_view rest(data_.get() + begin_, frame.head_bytes - 2);
  request = {};
  if (!read_request_line(take_line(rest), request)) return result::bad;
  while (!rest.empty()) {
    const std::string_view line = take_line(rest);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return result::bad;
    const std::string_view name = line.substr(0, colon);
    const std::string_view value = trim(line.substr(colon + 1));
    switch (name.size()) {  // most names are told apart by their length
      case 6:
        if (equals_ignoring_case(name, "expect"))
          frame.expects_continue = equals_ignoring_case(value, "100-continue");
        break;
      case 7:
        if (equals_ignoring_case(name, "api-key")) request.key = request.api_key = value;
        break;
      case 9:
        if (equals_ignoring_case(name, "x-api-key")) request.key = request.x_api_key = value;
        break;
      case 10:
        if (!equals_ignoring_case(name, "connection")) break;
        if (equals_ignoring_case(value, "close")) request.keep_alive = false;
        if (equals_ignoring_case(value, "keep-alive")) request.keep_alive = true;
        break;
      case 13:
        if (equals_ignoring_case(name, "authorization") &&
            equals_ignoring_case(value.substr(0, 7), "bearer "))
          request.key = trim(value.substr(7));
        break;
      case 14:
        if (equals_ignoring_case(name, "content-length") && !read_size(value, 10, frame.body_bytes))
          return result::bad;
        if (equals_ignoring_case(name, "x-goog-api-key")) request.goog_key = value;
        break;
      case 17:
        if (equals_ignoring_case(name, "anthropic-version")) request.anthropic_version = value;
        if (!equals_ignoring_case(name, "transfer-encoding")) break;
        if (!equals_ignoring_case(value, "chunked")) return result::bad;
        frame.chunked = true;
        break;
      default:
        break;
    }
  }
  return frame.body_bytes > max_body_bytes ? result::too_large : result::ready;
}

request_reader::result request_reader::read_chunks(http_request& request, const framing& frame) {
  if (chunk_at_ == 0) {
    chunk_at_ = frame.head_bytes;
    chunked_body_.clear();
  }
  const std::string_view seen(data_.get() + begin_, end_ - begin_);
  for (;;) {
    const size_t line_end = seen.find("\r\n", chunk_at_);
    if (line_end == std::string_view::npos)
      return seen.size() - chunk_at_ > max_head_bytes ? result::too_large : result::incomplete;
    std::string_view line = seen.substr(chunk_at_, line_end - chunk_at_);
    size_t size = 0;
    if (!read_size(trim(line.substr(0, line.find(';'))), 16, size)) return result::bad;
    if (size > max_body_bytes - chunked_body_.size()) return result::too_large;
    if (size == 0) {
      // Trailers, then an empty line: found together, since "0\r\n" ends with the first half of what is
      // looked for.
      const size_t trailers_end = seen.find("\r\n\r\n", line_end);
      if (trailers_end == std::string_view::npos)
        return seen.size() - line_end > max_head_bytes ? result::too_large : result::incomplete;
      request.body = chunked_body_;
      last_ = trailers_end + 4;
      return result::ready;
    }
    const size_t data = line_end + 2;
    if (seen.size() < data + size + 2) {
      need_ = data + size + 2;
      return result::incomplete;
    }
    if (seen.substr(data + size, 2) != "\r\n") return result::bad;
    chunked_body_.reserve(chunked_body_.size() + size + padding_bytes);
    chunked_body_.append(seen, data, size);
    chunk_at_ = data + size + 2;
  }
}

}  // namespace millrace::http::simulation
