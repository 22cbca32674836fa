#include "http/documents/upload.hpp"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "http/documents/multipart.hpp"
#include "http/route_table.hpp"

namespace millrace::http::documents {

namespace {

bool refuse(engine::api_error& error, int status, std::string_view code, std::string message,
            std::string_view param = {}) {
  error = {status, "invalid_request_error", std::string(code), std::move(message), std::string(param), {},
           true};
  return false;
}

bool read_query(std::string_view query, upload& out, engine::api_error& error) {
  constexpr std::string_view name = "industry=";
  while (!query.empty()) {
    const auto end = query.find('&');
    const bool last = end == std::string_view::npos;
    const std::string_view pair = last ? query : query.substr(0, end);
    query = last ? std::string_view() : query.substr(end + 1);
    if (!pair.starts_with(name) || !percent_decode(pair.substr(name.size()), out.industry))
      return refuse(error, 400, "invalid_query", "The query may say ?industry=NAME and nothing else.");
  }
  return true;
}

bool read_fields(std::string_view content_type_boundary, std::string_view body, upload& out,
                 engine::api_error& error) {
  std::vector<form_part> parts;
  std::string problem;
  if (content_type_boundary.empty())
    problem = "its content type has no boundary of 1 to 70 characters";
  else if (read_form(body, content_type_boundary, parts, problem))
    problem.clear();
  if (!problem.empty())
    return refuse(error, 400, "invalid_multipart", "The form cannot be read: " + problem + ".");
  bool has_file = false;
  bool has_industry = false;
  for (const form_part& part : parts) {
    bool* const seen = part.name == "file" ? &has_file : part.name == "industry" ? &has_industry : nullptr;
    if (!seen) continue;
    if (*seen)
      return refuse(error, 400, "duplicate_field",
                    "The form has the field `" + part.name + "` twice. Send one document per request.",
                    part.name);
    *seen = true;
    if (seen == &has_file) out.file = part.body;
    if (seen == &has_industry && !part.body.empty()) out.industry = part.body;
  }
  return has_file ||
         refuse(error, 400, "missing_file",
                "The form has no field `file`. Send the document as `file`, for example with curl -F "
                "file=@document.pdf.",
                "file");
}

}  // namespace

bool read_upload(std::string_view content_type, std::string_view query, std::string_view body,
                 std::int64_t max_file_bytes, upload& out, engine::api_error& error) {
  out = {};
  if (!read_query(query, out, error)) return false;
  std::string boundary;
  if (!is_form(content_type, boundary)) {
    out.file = body;
  } else if (!read_fields(boundary, body, out, error)) {
    return false;
  }
  if (out.file.empty())
    return refuse(error, 400, "empty_file",
                  "The document has no bytes. Send it as the field `file` of a form or as the body.", "file");
  if (out.file.size() > static_cast<std::size_t>(max_file_bytes))
    return refuse(error, 413, "file_too_large",
                  fmt::format("The document has {} bytes; at most {} are taken (documents.max_file).",
                              out.file.size(), max_file_bytes),
                  "file");
  if (out.industry.size() > max_industry_bytes)
    return refuse(error, 400, "unknown_industry", "An industry's name has at most 64 characters.",
                  "industry");
  return true;
}

}  // namespace millrace::http::documents
