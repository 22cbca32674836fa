#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "http/documents/render_job.hpp"

namespace millrace::http::documents {

/// Why a document could not be opened.
class unreadable : public std::runtime_error {
 public:
  unreadable(render_status s, const std::string& problem) : std::runtime_error(problem), status(s) {}
  render_status status;
};

/// Grey pixels, row by row.
struct grey_picture {
  int width = 0;
  int height = 0;
  std::string pixels;
};

/// libvips, with the loaders of the five types that are taken and no other. Throws `unreadable`, and
/// library_missing at the start. One thread.
class pictures {
 public:
  pictures();
  ~pictures();
  pictures(const pictures&) = delete;
  pictures& operator=(const pictures&) = delete;

  /// Pages of an image: more than one for TIFF alone.
  std::uint32_t pages(const render_job& job, std::string_view document) const;
  /// A page as a JPEG whose longer side is at most `job.edge`; upright, without alpha, profile or metadata.
  page_image page(const render_job& job, std::string_view document, std::uint32_t index) const;
  /// A page, large enough for its letters to be read.
  grey_picture grey_page(const render_job& job, std::string_view document, std::uint32_t index) const;
  /// Turned by so many quarters, clockwise.
  grey_picture turned(const grey_picture& picture, int quarters) const;

 private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

}  // namespace millrace::http::documents
