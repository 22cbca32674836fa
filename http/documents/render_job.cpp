#include "http/documents/render_job.hpp"

#include <algorithm>

#include <simdjson.h>

namespace millrace::http::documents {

namespace {

constexpr std::string_view job_mark = "MRJ1";
constexpr std::string_view result_mark = "MRR1";

template <class Number>
void put(Number n, std::string& out) {
  for (std::size_t i = 0; i < sizeof n; ++i) out.push_back(static_cast<char>(n >> (8 * i) & 0xff));
}

void put_text(std::string_view text, std::string& out) {
  put(static_cast<std::uint32_t>(text.size()), out);
  out.append(text);
}

/// Takes values off the front of bytes; once something was missing, everything is zero and `good` false.
class reader {
 public:
  explicit reader(std::string_view bytes) : left_(bytes) {}

  template <class Number>
  Number number() {
    const std::string_view bytes = take(sizeof(Number));
    Number n = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
      n = static_cast<Number>(n | static_cast<Number>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    return n;
  }
  std::string_view text(std::size_t most) {
    const auto size = number<std::uint32_t>();
    if (size > most) good_ = false;
    return take(size);
  }
  std::string_view take(std::size_t bytes) {
    if (!good_ || bytes > left_.size()) {
      good_ = false;
      return {};
    }
    const std::string_view taken = left_.substr(0, bytes);
    left_.remove_prefix(bytes);
    return taken;
  }
  bool good() const { return good_; }
  bool at_end() const { return good_ && left_.empty(); }

 private:
  std::string_view left_;
  bool good_ = true;
};

bool is_jpeg(std::string_view bytes) {
  return sniff(bytes).type == document_type::jpeg;
}

/// Only what may stand in a message and a log line.
std::string printable(std::string_view text) {
  std::string out(text.substr(0, max_problem_bytes));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, ' ');
  return out;
}

}  // namespace

std::string encode_job(const render_job& job) {
  std::string out(job_mark);
  put(static_cast<std::uint8_t>(job.type), out);
  put(static_cast<std::uint8_t>(job.images), out);
  put(static_cast<std::uint8_t>(job.read_text), out);
  put(job.max_pages, out);
  put(job.max_pixels, out);
  put(job.edge, out);
  put(job.quality, out);
  return out;
}

bool decode_job(std::string_view bytes, render_job& out) {
  reader r(bytes);
  if (r.take(job_mark.size()) != job_mark) return false;
  const auto type = r.number<std::uint8_t>();
  out.images = r.number<std::uint8_t>() != 0;
  out.read_text = r.number<std::uint8_t>() != 0;
  out.max_pages = r.number<std::uint32_t>();
  out.max_pixels = r.number<std::uint64_t>();
  out.edge = r.number<std::uint32_t>();
  out.quality = r.number<std::uint32_t>();
  out.type = static_cast<document_type>(type);
  return r.at_end() && type < document_types && out.max_pages <= max_result_pages;
}

std::string encode_result(const render_result& result) {
  std::string out(result_mark);
  put(static_cast<std::uint8_t>(result.status), out);
  put_text(std::string_view(result.problem).substr(0, max_problem_bytes), out);
  put(result.pages, out);
  put_text(result.text, out);
  put(static_cast<std::uint32_t>(result.images.size()), out);
  for (const page_image& p : result.images) {
    for (const std::uint32_t side : {p.width, p.height, p.source_width, p.source_height}) put(side, out);
    put_text(p.jpeg, out);
  }
  return out;
}

bool decode_result(std::string_view bytes, render_result& out) {
  reader r(bytes);
  if (r.take(result_mark.size()) != result_mark) return false;
  const auto status = r.number<std::uint8_t>();
  if (status >= render_statuses) return false;
  out.status = static_cast<render_status>(status);
  out.problem = printable(r.text(max_problem_bytes));
  out.pages = r.number<std::uint32_t>();
  out.text = r.text(max_result_text_bytes);
  const auto images = r.number<std::uint32_t>();
  if (images > max_result_pages || !simdjson::validate_utf8(out.text.data(), out.text.size())) return false;
  out.images.clear();
  for (std::uint32_t i = 0; i < images && r.good(); ++i) {
    page_image& p = out.images.emplace_back();
    for (std::uint32_t* side : {&p.width, &p.height, &p.source_width, &p.source_height})
      *side = r.number<std::uint32_t>();
    p.jpeg = r.text(max_result_bytes);
    if (std::min({p.width, p.height, p.source_width, p.source_height}) == 0 || !is_jpeg(p.jpeg)) return false;
  }
  return r.at_end();
}

}  // namespace millrace::http::documents
