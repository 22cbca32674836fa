#include "http/documents/sniff.hpp"

#include <algorithm>
#include <array>

#include <simdjson.h>

namespace millrace::http::documents {

namespace {

using namespace std::string_view_literals;

struct signature {
  std::string_view begins;
  document_type type;
  std::string_view looks_like;
};

constexpr std::array signatures = {
    signature{"%PDF-"sv, document_type::pdf, {}},
    signature{"\x89PNG\r\n\x1a\n"sv, document_type::png, {}},
    signature{"\xff\xd8\xff"sv, document_type::jpeg, {}},
    signature{"II*\0"sv, document_type::tiff, {}},
    signature{"MM\0*"sv, document_type::tiff, {}},
    signature{"II+\0"sv, document_type::tiff, {}},
    signature{"MM\0+"sv, document_type::tiff, {}},
    signature{"PK\3\4"sv, document_type::none, "a ZIP archive, or a document of an Office program"},
    signature{"PK\5\6"sv, document_type::none, "an empty ZIP archive"},
    signature{"\x1f\x8b"sv, document_type::none, "gzip data"},
    signature{"BZh"sv, document_type::none, "bzip2 data"},
    signature{"\xfd"
              "7zXZ"sv,
              document_type::none, "xz data"},
    signature{"7z\xbc\xaf"sv, document_type::none, "a 7-Zip archive"},
    signature{"Rar!"sv, document_type::none, "a RAR archive"},
    signature{"\xd0\xcf\x11\xe0"sv, document_type::none, "a document of an old Office program"},
    signature{"GIF8"sv, document_type::none, "a GIF image"},
    signature{"BM"sv, document_type::none, "a BMP image"},
    signature{"\x7f"
              "ELF"sv,
              document_type::none, "a program"},
    signature{"MZ"sv, document_type::none, "a program"},
    signature{"{\\rtf"sv, document_type::none, "an RTF document"},
    signature{"%!PS"sv, document_type::none, "a PostScript document"},
    signature{"#!"sv, document_type::none, "a script"},
};

/// Of HEIC and AVIF photographs, and of films.
constexpr std::string_view media_box = "ftyp";
constexpr std::size_t media_box_offset = 4;

bool is_webp(std::string_view b) {
  return b.size() >= 12 && b.starts_with("RIFF") && b.substr(8, 4) == "WEBP";
}

bool is_markup(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n\f");
  return first != std::string_view::npos && text[first] == '<';
}

bool is_plain(std::string_view text) {
  const auto control = [](char c) {
    const auto u = static_cast<unsigned char>(c);
    return (u < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != '\f') || u == 0x7f;
  };
  return std::none_of(text.begin(), text.end(), control) && simdjson::validate_utf8(text.data(), text.size());
}

}  // namespace

std::string_view to_string(document_type t) {
  switch (t) {
    case document_type::pdf:
      return "pdf";
    case document_type::png:
      return "png";
    case document_type::jpeg:
      return "jpeg";
    case document_type::webp:
      return "webp";
    case document_type::tiff:
      return "tiff";
    case document_type::text:
      return "text";
    case document_type::none:
      break;
  }
  return "unknown";
}

sniffed sniff(std::string_view bytes) {
  constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
  if (is_webp(bytes)) return {document_type::webp, {}};
  for (const signature& s : signatures) {
    // Two letters do not make a text a program or an image.
    const bool short_word = s.begins.size() == 2 && s.begins != "\x1f\x8b"sv && s.begins != "#!"sv;
    if (bytes.starts_with(s.begins) && !(short_word && is_plain(bytes))) return {s.type, s.looks_like};
  }
  if (bytes.size() > media_box_offset && bytes.substr(media_box_offset).starts_with(media_box))
    return {document_type::none, "a HEIC or AVIF image, or a film"};
  if (bytes.starts_with(byte_order_mark)) bytes.remove_prefix(byte_order_mark.size());
  if (is_markup(bytes)) return {document_type::none, "HTML, XML or SVG"};
  if (!is_plain(bytes)) return {};
  return {document_type::text, {}};
}

}  // namespace millrace::http::documents
