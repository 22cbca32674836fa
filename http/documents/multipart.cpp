#include "http/documents/multipart.hpp"

#include <algorithm>
#include <utility>

namespace millrace::http::documents {

namespace {

constexpr std::string_view line_end = "\r\n";

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

bool same_word(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

std::string_view trimmed(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

/// Takes `name=value` or `name="value"` off the front of `s`, with the semicolon before it. False at the end,
/// or when it is none.
bool next_parameter(std::string_view& s, std::string_view& name, std::string& value) {
  s = trimmed(s);
  if (!s.starts_with(';')) return false;
  s = trimmed(s.substr(1));
  const auto equals = s.find('=');
  if (equals == std::string_view::npos) return false;
  name = trimmed(s.substr(0, equals));
  s = trimmed(s.substr(equals + 1));
  value.clear();
  if (!s.starts_with('"')) {
    const auto end = std::min(s.find(';'), s.size());
    value = trimmed(s.substr(0, end));
    s.remove_prefix(end);
    return true;
  }
  for (std::size_t i = 1; i < s.size(); ++i) {
    if (s[i] == '"') {
      s.remove_prefix(i + 1);
      return true;
    }
    if (s[i] == '\\' && i + 1 < s.size()) ++i;
    value += s[i];
  }
  return false;
}

bool is_boundary(std::string_view text) {
  constexpr std::string_view marks = "'()+_,-./:=? ";
  return !text.empty() && text.size() <= max_boundary_bytes && text.back() != ' ' &&
         std::all_of(text.begin(), text.end(), [&](char c) {
           return (c >= '0' && c <= '9') || (lower(c) >= 'a' && lower(c) <= 'z') ||
                  marks.find(c) != std::string_view::npos;
         });
}

bool fail(std::string& problem, std::string_view what) {
  problem = what;
  return false;
}

/// The name in a Content-Disposition; false when it is not one of a form.
bool read_disposition(std::string_view value, std::string& name) {
  const auto end = std::min(value.find(';'), value.size());
  if (!same_word(trimmed(value.substr(0, end)), "form-data")) return false;
  value.remove_prefix(end);
  std::string_view key;
  std::string text;
  bool found = false;
  while (next_parameter(value, key, text)) {
    if (!same_word(key, "name")) continue;
    if (std::exchange(found, true)) return false;
    name = text;
  }
  return found && trimmed(value).empty();
}

/// `head`: the header lines of a part, each with its line end.
bool read_head(std::string_view head, std::string& name, std::string& problem) {
  bool named = false;
  while (!head.empty()) {
    const auto end = head.find(line_end);
    const std::string_view line = head.substr(0, end);
    head.remove_prefix(end + line_end.size());
    const auto colon = line.find(':');
    if (colon == std::string_view::npos || colon == 0)
      return fail(problem, "a line of a part's header is not `Name: value`");
    const std::string_view key = line.substr(0, colon);
    const std::string_view value = trimmed(line.substr(colon + 1));
    if (same_word(key, "content-disposition")) {
      if (std::exchange(named, true) || !read_disposition(value, name))
        return fail(problem, "a part needs one `Content-Disposition: form-data; name=\"...\"`");
    }
    if (same_word(key, "content-transfer-encoding") && !same_word(value, "binary") &&
        !same_word(value, "8bit") && !same_word(value, "7bit"))
      return fail(problem, "parts are sent as they are, without a Content-Transfer-Encoding");
  }
  return named || fail(problem, "a part has no Content-Disposition");
}

}  // namespace

bool is_form(std::string_view content_type, std::string& boundary) {
  boundary.clear();
  const auto end = std::min(content_type.find(';'), content_type.size());
  if (!same_word(trimmed(content_type.substr(0, end)), "multipart/form-data")) return false;
  content_type.remove_prefix(end);
  std::string_view key;
  std::string value;
  while (next_parameter(content_type, key, value)) {
    if (same_word(key, "boundary") && is_boundary(value)) boundary = value;
  }
  return true;
}

bool read_form(std::string_view body, std::string_view boundary, std::vector<form_part>& out,
               std::string& problem) {
  const std::string delimiter = std::string(line_end) + "--" + std::string(boundary);
  const std::string_view first = std::string_view(delimiter).substr(line_end.size());
  out.clear();
  if (!body.starts_with(first))
    return fail(problem, "it does not begin with the boundary that its type names");
  body.remove_prefix(first.size());
  while (true) {
    if (body.starts_with("--")) return true;
    while (!body.empty() && (body.front() == ' ' || body.front() == '\t')) body.remove_prefix(1);
    if (!body.starts_with(line_end)) return fail(problem, "a boundary is not at the end of its line");
    if (out.size() == max_parts) return fail(problem, "it has more than 16 parts");
    // The line end stays, so that an empty header ends like any other.
    const auto head_end = body.substr(0, max_part_head_bytes).find("\r\n\r\n");
    if (head_end == std::string_view::npos)
      return fail(problem, "a part's header does not end, or is longer than 8 KiB");
    form_part part;
    const std::string_view head = body.substr(line_end.size(), head_end);
    if (!read_head(head, part.name, problem)) return false;
    body.remove_prefix(head_end + line_end.size());
    const auto next = body.find(delimiter);
    if (next == std::string_view::npos) return fail(problem, "it is cut off before its last boundary");
    part.body = next == 0 ? std::string_view() : body.substr(line_end.size(), next - line_end.size());
    out.push_back(std::move(part));
    body.remove_prefix(next + delimiter.size());
  }
}

}  // namespace millrace::http::documents
