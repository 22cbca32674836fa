#include "http/chunked.hpp"

namespace millrace::http {

size_t chunk_decoder::feed(std::string_view bytes, std::string& body) {
  size_t at = 0;
  while (at < bytes.size() && progress_ == progress::incomplete) {
    if (part_ == part::data) {
      const auto n = std::min(static_cast<size_t>(remaining_), bytes.size() - at);
      body.append(bytes, at, n);
      at += n;
      remaining_ -= static_cast<std::int64_t>(n);
      if (remaining_ == 0) part_ = part::data_cr;
    } else {
      step(bytes[at++]);
    }
  }
  return at;
}

void chunk_decoder::step(char c) {
  switch (part_) {
    case part::size:
      return step_size(c);
    case part::extension:
      if (c == '\r') {
        part_ = part::size_lf;
      } else if (!is_value_byte(c)) {
        refuse(refusal::bad_request, "a chunk extension holds a control character");
      } else if (++extension_bytes_ > max_extension_bytes) {
        refuse(refusal::bad_request, "the chunk extensions are too long");
      }
      return;
    case part::size_lf:
      expect(c, '\n', part::data);
      if (progress_ == progress::incomplete) end_size_line();
      return;
    case part::data:
      return;
    case part::data_cr:
      return expect(c, '\r', part::data_lf);
    case part::data_lf:
      return expect(c, '\n', part::size);
    case part::trailer:
      return step_trailer(c);
    case part::trailer_lf:
      expect(c, '\n', part::trailer);
      if (progress_ == progress::incomplete) end_trailer_line();
      return;
  }
}

void chunk_decoder::step_size(char c) {
  if (const auto digit = hex_value(c); digit >= 0) {
    if (++digits_ > max_size_digits) return refuse(refusal::bad_request, "a chunk size has too many digits");
    remaining_ = remaining_ * 16 + digit;
    if (remaining_ > max_body_ - total_) {
      refuse(refusal::request_too_large, "the body is too large; send a smaller one");
    }
  } else if (digits_ == 0 || (c != '\r' && c != ';')) {
    refuse(refusal::bad_request, "a chunk size must be a hexadecimal number");
  } else {
    part_ = c == '\r' ? part::size_lf : part::extension;
  }
}

void chunk_decoder::end_size_line() {
  part_ = remaining_ == 0 ? part::trailer : part::data;
  total_ += remaining_;
  digits_ = 0;
}

void chunk_decoder::step_trailer(char c) {
  if (c == '\r') {
    part_ = part::trailer_lf;
  } else if (++trailer_bytes_ > max_trailer_bytes) {
    refuse(refusal::headers_too_large, "the trailers are too large");
  } else {
    trailer_ += c;
  }
}

void chunk_decoder::end_trailer_line() {
  if (trailer_.empty()) {
    progress_ = progress::complete;
    return;
  }
  size_t colon = 0;
  if (const auto what = field_line_fault(trailer_, colon); !what.empty())
    return refuse(refusal::bad_request, what);
  const auto name = std::string_view(trailer_).substr(0, colon);
  if (equals_lower(name, "content-length") || equals_lower(name, "transfer-encoding") ||
      equals_lower(name, "host")) {
    return refuse(refusal::bad_request, "a trailer must not say how the message is framed");
  }
  if (++trailer_lines_ > max_trailer_lines) {
    return refuse(refusal::headers_too_large, "there are too many trailers");
  }
  trailer_.clear();
}

void chunk_decoder::expect(char c, char wanted, part next) {
  if (c != wanted) return refuse(refusal::bad_request, "a chunk does not end where its size says");
  part_ = next;
}

void chunk_decoder::refuse(refusal reason, std::string_view message) {
  progress_ = progress::refused;
  fault_ = {reason, message};
}

}  // namespace millrace::http
