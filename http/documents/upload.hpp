#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http::documents {

inline constexpr std::size_t max_industry_bytes = 64;
inline constexpr std::string_view default_industry = "finance";

/// What a client sent to be classified. `file` is a view into the request's body.
struct upload {
  std::string_view file;
  std::string industry{default_industry};
};

/// Reads a request's body: a form (multipart/form-data) with `file` and perhaps `industry`, or the file
/// itself under any other content type with `?industry=`. A form's field goes before the query. False with a
/// 400 or 413 that says what is wrong. Pure.
bool read_upload(std::string_view content_type, std::string_view query, std::string_view body,
                 std::int64_t max_file_bytes, upload& out, engine::api_error& error);

}  // namespace millrace::http::documents
