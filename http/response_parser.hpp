#pragma once

#include <string>
#include <string_view>

#include <boost/beast/http/basic_parser.hpp>

#include "engine/ports.hpp"
#include "http/gzip.hpp"

namespace millrace::http {

/// Beast's strict parser, writing a head straight into our types and body bytes, decoded if need be, where
/// `into` says. Feed it with `put` in steps (never eager), so that the caller sees where a head ends.
class response_parser : public boost::beast::http::basic_parser<false> {
 public:
  /// `head` is filled until the head is done. Chunk lines and trailers are bounded by the caller's buffer.
  explicit response_parser(engine::upstream_head& head, size_t max_head_bytes);

  /// Where body bytes go during the next `put`; output is appended until it holds `limit` bytes.
  void into(std::string& out, size_t limit, body_decoder* decoder) {
    out_ = &out;
    limit_ = limit;
    decoder_ = decoder;
  }

 private:
  using error_code = boost::beast::error_code;
  using view = boost::beast::string_view;
  using field = boost::beast::http::field;

  void on_request_impl(boost::beast::http::verb, view, view, int, error_code&) override {}
  void on_response_impl(int code, view reason, int version, error_code& error) override;
  void on_field_impl(field f, view name, view value, error_code& error) override;
  void on_header_impl(error_code& error) override;
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code& error) override { error = {}; }
  size_t on_body_impl(view body, error_code& error) override;
  void on_chunk_header_impl(std::uint64_t, view, error_code& error) override { error = {}; }
  size_t on_chunk_body_impl(std::uint64_t, view body, error_code& error) override {
    return on_body_impl(body, error);
  }
  void on_finish_impl(error_code& error) override { error = {}; }

  engine::upstream_head* head_;  ///< null after the head: trailers are dropped
  std::string* out_ = nullptr;
  size_t limit_ = 0;
  body_decoder* decoder_ = nullptr;
};

}  // namespace millrace::http
