#include "http/gzip.hpp"

#include <algorithm>

#include <zlib.h>
#include <boost/beast/core/string.hpp>

namespace millrace::http {

namespace {

/// Output grows by this much at a time.
constexpr size_t step_bytes = 16 << 10;

/// zlib's window bits: 15, plus 16 for the gzip format, negative for no format at all.
constexpr int gzip_bits = 15 + 16;
constexpr int zlib_bits = 15;
constexpr int raw_bits = -15;

/// RFC 1950: the method of a zlib stream is in its first four bits, and it is always 8.
bool looks_like_zlib(char first) {
  return (first & 0x0f) == 8;
}

}  // namespace

std::optional<body_decoder::coding> body_decoder::find(std::string_view content_encoding) {
  const boost::beast::string_view name(content_encoding.data(), content_encoding.size());
  if (boost::beast::iequals(name, "gzip") || boost::beast::iequals(name, "x-gzip")) return coding::gzip;
  if (boost::beast::iequals(name, "deflate")) return coding::deflate;
  return std::nullopt;
}

body_decoder::body_decoder(coding c) : coding_(c), stream_(std::make_unique<z_stream_s>()) {}

body_decoder::~body_decoder() {
  if (ready_) inflateEnd(stream_.get());
}

size_t body_decoder::decode(std::string_view in, std::string& out, size_t limit) {
  const size_t offered = in.size();
  stream_->next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
  stream_->avail_in = static_cast<uInt>(offered);
  while (!failed_ && out.size() < limit) {
    if (!started_) {
      if (stream_->avail_in == 0) break;
      if (!start(static_cast<char>(*stream_->next_in))) break;
    }
    if (!step(out, limit)) break;
  }
  return offered - stream_->avail_in;
}

/// Begins a member; only gzip may have more than one.
bool body_decoder::start(char first) {
  int code = Z_DATA_ERROR;
  if (!ready_) {
    const int deflate_bits = looks_like_zlib(first) ? zlib_bits : raw_bits;
    code = inflateInit2(stream_.get(), coding_ == coding::gzip ? gzip_bits : deflate_bits);
    ready_ = code == Z_OK;
  } else if (ended_ && coding_ == coding::gzip) {
    code = inflateReset(stream_.get());
  }
  failed_ = code != Z_OK;
  started_ = !failed_;
  return started_;
}

/// One call of inflate. False when there is nothing to do before more input comes.
bool body_decoder::step(std::string& out, size_t limit) {
  const size_t before = out.size();
  const size_t room = std::min(step_bytes, limit - before);
  out.resize(before + room);
  stream_->next_out = reinterpret_cast<Bytef*>(out.data() + before);
  stream_->avail_out = static_cast<uInt>(room);
  const int code = inflate(stream_.get(), Z_SYNC_FLUSH);
  out.erase(before + room - stream_->avail_out);

  pending_ = stream_->avail_out == 0 && code == Z_OK;
  if (code == Z_STREAM_END) {
    started_ = false;
    ended_ = true;
    return stream_->avail_in > 0;
  }
  // Z_BUF_ERROR means no progress was possible, which only asks for more input.
  failed_ = code != Z_OK && code != Z_BUF_ERROR;
  return !failed_ && (pending_ || stream_->avail_in > 0);
}

}  // namespace millrace::http
