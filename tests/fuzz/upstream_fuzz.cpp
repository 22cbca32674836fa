#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/error.hpp>

#include "http/gzip.hpp"
#include "http/response_parser.hpp"
#include "tests/fuzz/checks.hpp"

// A provider's bytes, read as `upstream_exchange` reads them: however they are cut and however small the
// output's bound, they come to the same.

namespace {

using namespace millrace;
using fuzz::require;
using fuzz::spliced;
using http::body_decoder;

// "data: 1" as an event: its deflate form, and that in gzip's format.
const std::string good_deflate("\113\111\054\111\264\122\060\344\342\002\000", 11);
const std::string good_gzip = std::string("\037\213\010\000\000\000\000\000\002\003", 10) + good_deflate +
                              std::string("\316\315\170\124\011\000\000\000", 8);
const std::string good_answer =
    "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n1d\r\n" + good_gzip +
    "\r\n0\r\n\r\n";

constexpr size_t most_bytes = 1 << 20;  ///< of a body: a bomb is not followed to its end

struct outcome {
  bool failed = false;
  bool complete = false;
  std::string body;
  bool operator==(const outcome&) const = default;
};

struct answer {
  outcome told;
  int status = 0;
  engine::header_list headers;
};

class reader {
 public:
  explicit reader(size_t limit) : parser_(head_, most_head_bytes), limit_(limit) {}

  /// Takes what came so far; false when there is nothing to do before more comes, or ever.
  void take(std::string_view piece) {
    buffered_.append(piece);
    while (!told_.failed && told_.body.size() < most_bytes && step()) {
    }
  }

  /// The provider closes.
  answer end() && {
    boost::beast::error_code error;
    if (!told_.failed && !told_.complete && told_.body.size() < most_bytes) {
      if (parser_.is_header_done()) parser_.put_eof(error);
      told_.failed = error || !parser_.is_header_done();
      told_.complete = !told_.failed;
    }
    if (decoder_ && !decoder_->finished()) told_.failed = true;
    return {std::move(told_), head_.status, std::move(head_.headers)};
  }

 private:
  static constexpr size_t most_head_bytes = 4 << 10;

  bool step() {
    std::string out;
    if (decoder_ && decoder_->pending()) {
      decoder_->decode({}, out, limit_);
      told_.failed = decoder_->failed();
      keep(out);
      return true;
    }
    if (told_.complete || buffered_.empty()) return false;
    // Beast 1.74 asserts, wrongly, that a last chunk is seen with five bytes at once. Less never ends a body.
    if (parser_.is_header_done() && parser_.chunked() && buffered_.size() < 5) return false;
    const bool was_head = !parser_.is_header_done();
    parser_.into(out, limit_, decoder_.get());
    boost::beast::error_code error;
    const size_t taken = parser_.put(boost::asio::buffer(buffered_.data(), buffered_.size()), error);
    require(taken <= buffered_.size());
    buffered_.erase(0, taken);
    keep(out);
    if (error == boost::beast::http::error::need_more) return false;
    told_.failed = static_cast<bool>(error);
    if (!told_.failed && was_head && parser_.is_header_done()) prepare();
    told_.complete = parser_.is_done();
    return true;
  }

  void prepare() {
    if (const auto coding = body_decoder::find(head_.header("content-encoding")))
      decoder_ = std::make_unique<body_decoder>(*coding);
  }

  void keep(const std::string& out) {
    require(!decoder_ || out.size() <= limit_);
    told_.body += out;
  }

  engine::upstream_head head_;
  http::response_parser parser_;
  const size_t limit_;
  std::unique_ptr<body_decoder> decoder_;
  std::string buffered_;
  outcome told_;
};

answer read(std::string_view bytes, size_t piece, size_t limit) {
  reader r(limit);
  for (size_t at = 0; at < bytes.size(); at += piece) r.take(bytes.substr(at, piece));
  return std::move(r).end();
}

void check_answer(std::string_view bytes, size_t piece) {
  const answer whole = read(bytes, bytes.size() + 1, 16 << 10);
  const answer cut = read(bytes, piece, 1 + piece * 7);
  if (whole.told.body.size() >= most_bytes || cut.told.body.size() >= most_bytes) return;
  require(whole.told.failed == cut.told.failed);
  // How much is read before a fault depends on the pieces.
  if (whole.told.failed) return;
  require(whole.told == cut.told && whole.status == cut.status && whole.headers == cut.headers);
}

outcome decode(std::string_view bytes, body_decoder::coding coding, size_t piece, size_t limit) {
  body_decoder decoder(coding);
  outcome o;
  for (size_t at = 0; (at < bytes.size() || decoder.pending()) && o.body.size() < most_bytes;) {
    std::string out;
    const std::string_view in = at < bytes.size() ? bytes.substr(at, piece) : std::string_view();
    const size_t taken = decoder.decode(in, out, limit);
    require(taken <= in.size() && out.size() <= limit);
    at += taken;
    o.body += out;
    o.failed = decoder.failed();
    if (o.failed) break;
  }
  o.complete = decoder.finished();
  return o;
}

void check_coding(std::string_view bytes, body_decoder::coding coding, size_t piece) {
  const outcome whole = decode(bytes, coding, bytes.size() + 1, 16 << 10);
  const outcome cut = decode(bytes, coding, piece, 1 + piece * 7);
  if (whole.body.size() < most_bytes && cut.body.size() < most_bytes) require(whole == cut);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const size_t piece = 1 + data[1] % 64;
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  switch (data[0] % 3) {
    case 0:
      check_answer(spliced(good_answer, input), piece);
      break;
    case 1:
      check_coding(spliced(good_gzip, input), body_decoder::coding::gzip, piece);
      break;
    default:
      check_coding(spliced(good_deflate, input), body_decoder::coding::deflate, piece);
  }
  return 0;
}
