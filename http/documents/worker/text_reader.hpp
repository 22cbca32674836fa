#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "http/documents/worker/pictures.hpp"

namespace millrace::http::documents {

/// A PDF as poppler opens it. Throws `unreadable`, and library_missing. `document` outlives it.
class pdf_document {
 public:
  explicit pdf_document(std::string_view document);
  ~pdf_document();
  pdf_document(const pdf_document&) = delete;
  pdf_document& operator=(const pdf_document&) = delete;

  std::uint32_t pages() const;
  /// The text layer of a page, UTF-8; empty for one that is a picture. Throws for a page beyond 200 inches.
  std::string text(std::uint32_t page) const;

 private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

/// Reads the letters of pictures with tesseract (English). Throws library_missing where it is not installed.
class letter_reader {
 public:
  letter_reader();
  ~letter_reader();
  letter_reader(const letter_reader&) = delete;
  letter_reader& operator=(const letter_reader&) = delete;

  struct reading {
    std::string text;
    int confidence = 0;  ///< 0..100, of the words
  };
  reading read(const grey_picture& picture);

 private:
  struct implementation;
  std::unique_ptr<implementation> implementation_;
};

}  // namespace millrace::http::documents
