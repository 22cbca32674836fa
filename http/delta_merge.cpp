#include "http/delta_merge.hpp"

#include <algorithm>
#include <array>

#include "http/canonical_json.hpp"

namespace millrace::http {
namespace {

constexpr std::array<std::string_view, 5> naming_keys = {"\"role\"", "\"id\"", "\"type\"", "\"name\"",
                                                         "\"format\""};

/// What is between the quotes or brackets.
std::string_view unquoted(std::string_view literal) {
  return literal.substr(1, literal.size() - 2);
}

bool all_indexed(std::string_view array) {
  json_scanner scanner(array);
  scanner.enter_array();
  while (scanner.next_element()) {
    std::int64_t index = -1;
    if (!read_index(scanner.value(), index) || index < 0) return false;
  }
  return true;
}

}  // namespace

bool read_index(std::string_view object, std::int64_t& index) {
  json_scanner scanner(object);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool wanted = key == "index";
    const std::string_view value = scanner.value();
    if (wanted && (!json_integer(value, index) || index < 0)) return false;
  }
  return scanner.at_end();
}

bool merged_value::merge_at(json_scanner& piece, arrays how, int depth) {
  const char first = piece.peek();
  if (first == '{') return merge_object(piece, how, depth);
  const std::string_view literal = piece.value();
  if (literal.empty()) return false;
  if (first == '[') return merge_array(literal, how, depth);
  if (first == '"') return merge_text(unquoted(literal));
  if (literal == "null") {
    if (kind_ == kind::none) kind_ = kind::null;
    return true;
  }
  if (!become(kind::other)) return false;
  text_ = literal;
  return true;
}

bool merged_value::merge_object(json_scanner& piece, arrays how, int depth) {
  if (depth == max_merge_depth || !piece.enter_object() || !become(kind::object)) return false;
  std::string_view key;
  std::string canonical;
  while (piece.next_member(key)) {
    canonical.clear();
    append_canonical_string(piece.key_literal(), piece.string_respelt(), canonical);
    merged_value* const part = member(canonical);
    if (part == nullptr || !part->merge_at(piece, how, depth + 1)) return false;
  }
  return piece.error() == json_error::none;
}

bool merged_value::merge_array(std::string_view literal, arrays how, int depth) {
  const std::string_view elements = json_trim(unquoted(literal));
  if (elements.empty()) return kind_ == kind::indexed || become(kind::list);
  if (how == arrays::appended) {
    if (!become(kind::list)) return false;
    text_.append(text_.empty() ? "" : ",").append(elements);
    return true;
  }
  if (all_indexed(literal)) return merge_elements(literal, how, depth);
  if (!become(kind::list) || !(text_.empty() || text_ == elements)) return false;
  text_ = elements;
  return true;
}

bool merged_value::merge_elements(std::string_view literal, arrays how, int depth) {
  if (kind_ == kind::list && text_.empty()) kind_ = kind::none;
  if (depth == max_merge_depth || !become(kind::indexed)) return false;
  json_scanner scanner(literal);
  scanner.enter_array();
  while (scanner.next_element()) {
    const std::string_view object = scanner.value();
    std::int64_t index = 0;
    read_index(object, index);
    merged_value* const part = element(index);
    json_scanner piece(object);
    if (part == nullptr || !part->merge_object(piece, how, depth + 1)) return false;
  }
  return true;
}

bool merged_value::merge_text(std::string_view text) {
  const bool names = std::find(naming_keys.begin(), naming_keys.end(), key_) != naming_keys.end();
  if (!become(kind::text)) return false;
  if (names && !text_.empty()) return text.empty() || text == text_;  // another name is of something else
  text_.append(text);
  return true;
}

/// Pieces of one value must be of one kind.
bool merged_value::become(kind k) {
  if (is_null()) kind_ = k;
  return kind_ == k;
}

void merged_value::set(std::string_view literal) {
  if (literal == "null") {
    if (kind_ == kind::none) kind_ = kind::null;
    return;
  }
  kind_ = kind::other;
  text_ = literal;
}

merged_value* merged_value::find(std::string_view key) {
  if (kind_ != kind::object) return nullptr;
  const auto found =
      std::find_if(parts_.begin(), parts_.end(), [key](const merged_value& p) { return p.key_ == key; });
  return found == parts_.end() ? nullptr : &*found;
}

merged_value* merged_value::member(std::string_view key) {
  if (merged_value* const there = find(key)) return there;
  if (!become(kind::object) || parts_.size() == max_merged_parts) return nullptr;
  parts_.emplace_back().key_ = key;
  return &parts_.back();
}

merged_value* merged_value::element(std::int64_t index) {
  const auto at =
      std::lower_bound(parts_.begin(), parts_.end(), index,
                       [](const merged_value& p, std::int64_t wanted) { return p.index_ < wanted; });
  if (at != parts_.end() && at->index_ == index) return &*at;
  if (parts_.size() == max_merged_parts) return nullptr;
  const auto made = parts_.emplace(at);
  made->index_ = index;
  return &*made;
}

void merged_value::drop_from_elements(std::string_view key) {
  if (kind_ != kind::indexed) return;
  for (merged_value& part : parts_)
    std::erase_if(part.parts_, [key](const merged_value& p) { return p.key_ == key; });
}

void merged_value::write_members(std::string& out) const {
  const char* separator = "";
  for (const merged_value& part : parts_) {
    out.append(separator).append(part.key_).append(":");
    part.write(out);
    separator = ",";
  }
}

void merged_value::write(std::string& out) const {
  switch (kind_) {
    case kind::none:
    case kind::null:
      out += "null";
      break;
    case kind::other:
      out += text_;
      break;
    case kind::text:
      out.append("\"").append(text_).append("\"");
      break;
    case kind::list:
      out.append("[").append(text_).append("]");
      break;
    case kind::object:
      out += '{';
      write_members(out);
      out += '}';
      break;
    case kind::indexed:
      for (const merged_value& part : parts_) {
        out += &part == parts_.data() ? '[' : ',';
        part.write(out);
      }
      out += ']';
      break;
  }
}

}  // namespace millrace::http
