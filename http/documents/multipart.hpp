#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::http::documents {

inline constexpr std::size_t max_parts = 16;
inline constexpr std::size_t max_part_head_bytes = 8 * 1024;
inline constexpr std::size_t max_boundary_bytes = 70;  ///< RFC 2046

/// One field of a form. `body` is a view into the form.
struct form_part {
  std::string name;
  std::string_view body;
};

/// Whether a content type is multipart/form-data; then `boundary` is its parameter, or empty when that is
/// missing or not one.
bool is_form(std::string_view content_type, std::string& boundary);

/// Reads a form (RFC 7578) strictly: nothing before the first boundary, CRLF for every line end, every part
/// with a `Content-Disposition: form-data` that has a name, the last boundary with its two dashes. What
/// stands behind it is passed over. False with `problem` saying what is wrong; `out` is then of no use. Pure,
/// linear in `body`.
bool read_form(std::string_view body, std::string_view boundary, std::vector<form_part>& out,
               std::string& problem);

}  // namespace millrace::http::documents
