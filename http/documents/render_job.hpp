#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/documents/sniff.hpp"

/// What a node says to the process that opens one document, and what it hears from it. That process runs code
/// that reads hostile bytes, so its answer is checked like a stranger's.
namespace millrace::http::documents {

/// What is wanted of a document.
struct render_job {
  document_type type = document_type::none;
  bool images = false;     ///< its pages as JPEG
  bool read_text = false;  ///< the text of images (and of a PDF's pages that have none)
  std::uint32_t max_pages = 1;
  std::uint64_t max_pixels = 0;
  std::uint32_t edge = 0;
  std::uint32_t quality = 0;
};

enum class render_status : std::uint8_t {
  done,
  damaged,      ///< its bytes do not make sense
  encrypted,    ///< it needs a password
  too_large,    ///< above the bound of pixels, or a page beyond 200 inches
  no_pages,     ///< a document with nothing in it
  unavailable,  ///< a library that this needs is not installed
};
inline constexpr std::uint8_t render_statuses = 6;

struct page_image {
  std::uint32_t width = 0;  ///< of `jpeg`
  std::uint32_t height = 0;
  std::uint32_t source_width = 0;  ///< as it came; of a PDF's page at 150 dpi
  std::uint32_t source_height = 0;
  std::string jpeg;
};

struct render_result {
  render_status status = render_status::damaged;
  std::string problem;      ///< for people; of a library's own words only what is printable
  std::uint32_t pages = 0;  ///< of the document
  std::vector<page_image> images;
  std::string text;  ///< UTF-8
};

inline constexpr std::size_t max_result_text_bytes = 64 * 1024;
inline constexpr std::size_t max_problem_bytes = 200;
inline constexpr std::size_t max_result_pages = 50;
/// The largest answer that is read from such a process.
inline constexpr std::size_t max_result_bytes = 64U << 20;
inline constexpr std::size_t job_bytes = 4 + 3 + 4 + 8 + 4 + 4;

/// Pure. A job has `job_bytes` bytes; the document follows it.
std::string encode_job(const render_job& job);
bool decode_job(std::string_view bytes, render_job& out);
std::string encode_result(const render_result& result);
/// False for whatever `encode_result` does not make within the bounds above.
bool decode_result(std::string_view bytes, render_result& out);

}  // namespace millrace::http::documents
