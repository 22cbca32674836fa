#pragma once

#include <cstdint>
#include <string_view>

namespace millrace::http::documents {

/// What a document is, by its bytes.
enum class document_type : std::uint8_t { none, pdf, png, jpeg, webp, tiff, text };
inline constexpr std::size_t document_types = 7;
/// "pdf", "png", ...; "unknown" for none.
std::string_view to_string(document_type t);

struct sniffed {
  document_type type = document_type::none;
  std::string_view
      looks_like;  ///< of what is not taken: "a ZIP archive (or an Office document)"; may be empty
};

/// Looks at the first bytes alone: a file is what it begins as, whatever else may be in it (a PDF behind a
/// JPEG's comment, an archive behind a PDF), and is given to no other reader. Text is UTF-8 without control
/// characters that is no markup or script of some kind. Never empty bytes. Pure.
sniffed sniff(std::string_view bytes);

}  // namespace millrace::http::documents
