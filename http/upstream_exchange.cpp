#include "http/upstream_exchange.hpp"

#include <algorithm>
#include <charconv>

#include <boost/beast/http/error.hpp>

namespace millrace::http {

using boost::beast::error_code;
using http_error = boost::beast::http::error;
using engine::upstream_failure;
using engine::upstream_head;

namespace {

/// True for what may stand in a field value, or, without spaces, in a request target.
bool clean(std::string_view s, bool spaces) {
  return std::none_of(s.begin(), s.end(), [spaces](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte < 0x20 ? c != '\t' || !spaces : byte == 0x7f || (c == ' ' && !spaces);
  });
}

/// "timeout=5, max=100" of a Keep-Alive field, less a second for the way.
engine::duration keep_alive_time(std::string_view value) {
  constexpr std::string_view name = "timeout=";
  const size_t at = value.find(name);
  if (at == std::string_view::npos) return {};
  unsigned seconds = 0;
  std::from_chars(value.data() + at + name.size(), value.data() + value.size(), seconds);
  if (seconds == 0) return {};
  constexpr unsigned a_day = 86400;
  return seconds == 1 ? engine::duration(std::chrono::milliseconds(500))
                      : engine::duration(std::chrono::seconds(std::min(seconds, a_day) - 1));
}

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

}  // namespace

http_exchange::http_exchange(upstream_pool& pool, std::shared_ptr<upstream_origin> origin,
                             std::shared_ptr<upstream_connection> connection, bool reused,
                             engine::cancellation& gone)
    : pool_(pool),
      origin_(std::move(origin)),
      connection_(std::move(connection)),
      gone_(gone),
      reused_(reused) {}

upstream_failure http_exchange::send(const engine::upstream_request& request, engine::time_point first_byte,
                                     upstream_head& head, engine::yield y) {
  if (failure_ != upstream_failure::none) return failure_;
  if (gone_.cancelled()) return fail(upstream_failure::cancelled);
  std::string& text = connection_->head_scratch();
  if (!build_head(request, text)) return fail(upstream_failure::protocol);

  const io_scope scope{first_byte, gone_, y};
  const auto written = connection_->write(text, request.body, scope);
  // A provider may refuse a body before it read it all: its answer is then still worth reading.
  if (written != upstream_failure::none && written != upstream_failure::reset) return fail(written);
  written_ = written == upstream_failure::none;
  return read_head(request.method == "HEAD", head, scope);
}

upstream_failure http_exchange::read(std::string& out, engine::time_point until, engine::yield y) {
  out.clear();
  if (failure_ != upstream_failure::none) return failure_;
  if (gone_.cancelled()) return fail(upstream_failure::cancelled);
  const io_scope scope{until, gone_, y};
  for (bool first = true;; first = false) {
    if (!advance(out)) {
      // What came before the fault is delivered first; the next call tells.
      failure_ = upstream_failure::protocol;
      connection_.reset();
    }
    if (!out.empty()) return upstream_failure::none;
    if (failure_ != upstream_failure::none) return failure_;
    if (complete_) return body_end();
    // Input that decodes to nothing must not hold the thread past the deadline.
    if (!first && engine::clock::now() >= until) return fail(upstream_failure::timeout);
    if (const auto f = connection_->fill(scope); f != upstream_failure::none) {
      return fail(f == upstream_failure::too_large ? upstream_failure::protocol : f);
    }
    if (connection_->at_end()) {
      error_code error;
      parser_->put_eof(error);
      if (error) return fail(upstream_failure::reset);
      complete();
    }
  }
}

upstream_failure http_exchange::fail(upstream_failure why) {
  if (why == upstream_failure::reset && reused_ && !answered_) {
    stale_ = true;
    // Where one kept connection died the others of its age did, too: without this each would cost a call.
    pool_.forget_idle(*origin_);
  }
  connection_.reset();
  return failure_ = why;
}

bool http_exchange::build_head(const engine::upstream_request& request, std::string& out) const {
  if (!clean(request.target, false) || !clean(request.method, false)) return false;
  out.assign(request.method).append(" ").append(origin_->absolute_prefix).append(request.target);
  out.append(" HTTP/1.1\r\n");
  append_field(out, "host", origin_->authority);
  for (const auto& [name, value] : request.headers) {
    if (!clean(name, false) || !clean(value, true)) return false;
    append_field(out, name, value);
  }
  if (origin_->proxy && !origin_->tls && !origin_->proxy->authorization.empty()) {
    append_field(out, "proxy-authorization", origin_->proxy->authorization);
  }
  out.append("accept-encoding: gzip\r\n");
  if (!request.body.empty() || (request.method != "GET" && request.method != "HEAD")) {
    append_field(out, "content-length", std::to_string(request.body.size()));
  }
  out.append("\r\n");
  return true;
}

/// Reads heads until one is final.
upstream_failure http_exchange::read_head(bool bodyless, upstream_head& head, const io_scope& scope) {
  size_t head_bytes = 0;
  do {
    parser_.emplace(head, max_answer_head_bytes);
    parser_->skip(bodyless);
    if (const auto f = parse_head(head_bytes, scope); f != upstream_failure::none) return f;
  } while (head.status / 100 == 1 && head.status != 101);
  // Nobody asked to switch protocols.
  return head.status == 101 ? fail(upstream_failure::protocol) : accept_head(head);
}

upstream_failure http_exchange::parse_head(size_t& head_bytes, const io_scope& scope) {
  bool more = connection_->buffered().empty();
  while (!parser_->is_header_done()) {
    if (more) {
      if (const auto f = fill_for_head(scope); f != upstream_failure::none) return fail(f);
    }
    const std::string_view bytes = connection_->buffered();
    error_code error;
    const size_t n = parser_->put(boost::asio::buffer(bytes.data(), bytes.size()), error);
    connection_->consume(n);
    head_bytes += n;
    if (head_bytes > max_answer_head_bytes || error == http_error::header_limit) {
      return fail(upstream_failure::head_too_large);
    }
    more = error == http_error::need_more;
    if (error && !more) return fail(upstream_failure::protocol);
  }
  return upstream_failure::none;
}

upstream_failure http_exchange::fill_for_head(const io_scope& scope) {
  const auto f = connection_->fill(scope);
  if (f == upstream_failure::too_large) return upstream_failure::head_too_large;
  if (f != upstream_failure::none) return f;
  if (connection_->at_end()) return upstream_failure::reset;
  answered_ = true;
  return f;
}

/// Prepares for the body: its coding is undone here, so the fields that describe the coded form go.
upstream_failure http_exchange::accept_head(upstream_head& head) {
  keep_ = keep_alive_time(head.header("keep-alive"));
  if (parser_->is_done()) {
    complete();
    return upstream_failure::none;
  }
  if (head.header("content-type").starts_with("text/event-stream")) connection_->expect_pauses();
  const std::string_view encoding = head.header("content-encoding");
  if (encoding.empty() || encoding == "identity") return upstream_failure::none;
  const auto coding = body_decoder::find(encoding);
  if (!coding) return fail(upstream_failure::protocol);
  decoder_ = std::make_unique<body_decoder>(*coding);
  erase_if(head.headers, [](const auto& field) {
    return field.first == "content-encoding" || field.first == "content-length";
  });
  return upstream_failure::none;
}

/// Decodes what is buffered until `out` is full. False when it is not what HTTP or the coding allows.
bool http_exchange::advance(std::string& out) {
  while (out.size() < max_read_bytes) {
    if (decoder_ && decoder_->pending()) {
      decoder_->decode({}, out, max_read_bytes);
      if (decoder_->failed()) return false;
      continue;
    }
    if (complete_ || connection_->buffered().empty()) break;
    parser_->into(out, max_read_bytes, decoder_.get());
    const std::string_view bytes = connection_->buffered();
    error_code error;
    connection_->consume(parser_->put(boost::asio::buffer(bytes.data(), bytes.size()), error));
    if (error == http_error::need_more) break;
    if (error) return false;
    if (parser_->is_done()) complete();
  }
  return true;
}

upstream_failure http_exchange::body_end() {
  return decoder_ && !decoder_->finished() ? fail(upstream_failure::protocol) : upstream_failure::none;
}

/// The answer is all there: the connection is free before the caller has used what it read.
void http_exchange::complete() {
  complete_ = true;
  const bool kept =
      written_ && parser_->keep_alive() && !connection_->at_end() && connection_->buffered().empty();
  if (kept) pool_.put(*origin_, std::move(connection_), keep_);
  connection_.reset();
}

}  // namespace millrace::http
