#include "http/response_parser.hpp"

#include <limits>

#include <boost/beast/http/error.hpp>

namespace millrace::http {

namespace beast_http = boost::beast::http;

response_parser::response_parser(engine::upstream_head& head, size_t max_head_bytes) : head_(&head) {
  header_limit(static_cast<std::uint32_t>(max_head_bytes));
  // Beast 1.74 takes "none" for less than any Content-Length; how long a body may be is for the caller to
  // say.
  body_limit(std::numeric_limits<std::uint64_t>::max());
}

void response_parser::on_response_impl(int code, view, int, error_code& error) {
  head_->status = code;
  head_->headers.clear();
  error = {};
}

void response_parser::on_field_impl(field f, view name, view value, error_code& error) {
  error = {};
  if (head_ == nullptr) return;
  // Beast passes over codings it does not know and so would misread the framing of what nobody asked for.
  if (f == field::transfer_encoding && !boost::beast::iequals(value, "chunked")) {
    error = beast_http::error::bad_transfer_encoding;
    return;
  }
  head_->headers.emplace_back_lower({name.data(), name.size()}, {value.data(), value.size()});
}

void response_parser::on_header_impl(error_code& error) {
  head_ = nullptr;
  error = {};
}

size_t response_parser::on_body_impl(view body, error_code& error) {
  error = {};
  if (decoder_ == nullptr) {
    out_->append(body.data(), body.size());
    return body.size();
  }
  const size_t taken = decoder_->decode({body.data(), body.size()}, *out_, limit_);
  if (decoder_->failed()) error = beast_http::error::bad_value;
  return taken;
}

}  // namespace millrace::http
