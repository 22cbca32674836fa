#include "http/canonical_json.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <system_error>
#include <utility>

namespace millrace::http {
namespace {

/// Fewer members than this are sorted by insertion.
constexpr size_t few_members = 16;

constexpr double first_inexact = 9007199254740992.0;  // 2^53
constexpr std::string_view first_inexact_digits = "9007199254740992";

bool is_hex_of(char c, std::string_view digits) {
  return digits.find(c) != std::string_view::npos;
}

/// Whether `escape` starts with two \u escapes that are one character.
bool is_surrogate_pair(std::string_view escape) {
  return escape.size() >= 12 && is_hex_of(escape[2], "dD") && is_hex_of(escape[3], "89abAB") &&
         escape[6] == '\\' && escape[7] == 'u' && is_hex_of(escape[8], "dD") &&
         is_hex_of(escape[9], "cdefCDEF");
}

/// The escapes that RFC 8785 leaves: quote, backslash and control characters.
void append_escaped(char c, std::string& out) {
  out.push_back('\\');
  switch (c) {
    case '"':
    case '\\':
      out.push_back(c);
      break;
    case '\b':
      out.push_back('b');
      break;
    case '\f':
      out.push_back('f');
      break;
    case '\n':
      out.push_back('n');
      break;
    case '\r':
      out.push_back('r');
      break;
    case '\t':
      out.push_back('t');
      break;
    default:
      out += "u00";
      out.push_back("0123456789abcdef"[static_cast<unsigned char>(c) >> 4]);
      out.push_back("0123456789abcdef"[c & 15]);
  }
}

/// Writes the \u escape, or the pair of them, that `rest` starts with; returns its length.
size_t append_code(std::string_view rest, std::string& out) {
  const size_t length = is_surrogate_pair(rest) ? 12 : 6;
  std::string text;
  if (!json_unescape(rest.substr(0, length), text)) {
    for (const char c : rest.substr(0, length))
      out.push_back(c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c);
  } else if (text[0] == '"' || text[0] == '\\' || static_cast<unsigned char>(text[0]) < 0x20) {
    append_escaped(text[0], out);
  } else {
    out += text;
  }
  return length;
}

/// Whether a number that reads as 2^53 is 2^53: its neighbour above reads so, too.
bool is_first_inexact(std::string_view literal) {
  std::string_view wanted = first_inexact_digits;
  bool leading = true;
  for (const char c : literal.substr(0, literal.find_first_of("eE"))) {
    if (c == '-' || c == '.' || (c == '0' && (leading || wanted.empty()))) continue;
    leading = false;
    if (wanted.empty() || wanted.front() != c) return false;
    wanted.remove_prefix(1);
  }
  return wanted.empty();
}

void append_number(std::string_view literal, std::string& out) {
  // Whole numbers written plainly have one spelling each.
  const bool plain = literal.find_first_of(".eE") == std::string_view::npos;
  if (plain && literal != "-0") {
    out.append(literal);
    return;
  }
  if (json_is_zero(literal)) {
    out.push_back('0');
    return;
  }
  double number = 0;
  const auto [end, problem] = std::from_chars(literal.data(), literal.data() + literal.size(), number);
  const double magnitude = std::fabs(number);
  const bool held = problem == std::errc{} && number != 0 &&
                    (magnitude < first_inexact || (magnitude == first_inexact && is_first_inexact(literal)));
  if (!held) {
    out.append(literal);
    return;
  }
  std::array<char, 32> text{};
  const auto written = number == std::trunc(number)
                           ? std::to_chars(text.begin(), text.end(), static_cast<std::int64_t>(number))
                           : std::to_chars(text.begin(), text.end(), number);
  out.append(text.data(), written.ptr);
}

template <class Buffer>
void bound(Buffer& buffer) {
  if (buffer.capacity() * sizeof(buffer[0]) > max_kept_canonical_bytes) {
    buffer.clear();
    buffer.shrink_to_fit();
  }
}

}  // namespace

void append_canonical_string(std::string_view literal, bool respelt, std::string& out) {
  size_t copied = 0;
  for (size_t at = respelt ? literal.find('\\') : std::string_view::npos; at != std::string_view::npos;
       at = literal.find('\\', at)) {
    const char kind = literal[at + 1];
    if (kind != 'u' && kind != '/') {
      at += 2;
      continue;
    }
    out.append(literal, copied, at - copied);
    if (kind == 'u') {
      at += append_code(literal.substr(at), out);
    } else {
      out.push_back('/');
      at += 2;
    }
    copied = at;
  }
  out.append(literal, copied);
}

bool canonical_writer::append(std::string_view object, std::span<const std::string_view> left_out,
                              std::string& out) {
  draft_.clear();
  waiting_.clear();
  objects_.clear();
  members_.clear();
  depth_ = member_count_ = 0;
  const bool is_object = write_draft(object, left_out);
  if (is_object) {
    if (member_count_ > max_sorted_members) objects_.clear();
    emit(0, draft_.size(), 0, out);
  }
  forget();
  return is_object;
}

bool canonical_writer::write_draft(std::string_view text, std::span<const std::string_view> left_out) {
  json_scanner scanner(text);
  if (!scanner.enter_object()) return false;
  open(true);
  while (depth_ > 0) {
    const bool more =
        levels_[depth_ - 1].is_object ? begin_member(scanner, left_out) : begin_element(scanner);
    if (more) {
      write_value(scanner);
    } else if (scanner.error() == json_error::none) {
      close();
    } else {
      return false;
    }
  }
  return scanner.at_end();
}

void canonical_writer::open(bool is_object) {
  level& l = levels_[depth_++];
  l = {is_object, true, true, objects_.size(), waiting_.size()};
  if (is_object && member_count_ <= max_sorted_members) objects_.push_back({draft_.size()});
  draft_.push_back(is_object ? '{' : '[');
}

void canonical_writer::close() {
  const level l = levels_[--depth_];
  draft_.push_back(l.is_object ? '}' : ']');
  if (!l.is_object || member_count_ > max_sorted_members) return;
  object& o = objects_[l.object];
  o.end = draft_.size();
  o.next = objects_.size();
  if (waiting_.size() > l.first_waiting) waiting_.back().end = o.end - 1;
  if (!l.in_order) {
    sort_waiting(l.first_waiting);
    o.first = members_.size();
    o.count = waiting_.size() - l.first_waiting;
    members_.insert(members_.end(), waiting_.begin() + static_cast<std::ptrdiff_t>(l.first_waiting),
                    waiting_.end());
  }
  waiting_.resize(l.first_waiting);
}

/// Writes the next member's key, those left out passed over; false when the object ended, or on an error.
bool canonical_writer::begin_member(json_scanner& scanner, std::span<const std::string_view> left_out) {
  std::string_view key;
  while (scanner.next_member(key)) {
    if (depth_ == 1 && std::find(left_out.begin(), left_out.end(), key) != left_out.end()) {
      scanner.value();
      continue;
    }
    level& l = levels_[depth_ - 1];
    if (!l.empty) draft_.push_back(',');
    const size_t begin = draft_.size();
    append_canonical_string(scanner.key_literal(), scanner.string_respelt(), draft_);
    note_member(l, begin);
    draft_.push_back(':');
    return true;
  }
  return false;
}

bool canonical_writer::begin_element(json_scanner& scanner) {
  if (!scanner.next_element()) return false;
  level& l = levels_[depth_ - 1];
  if (!l.empty) draft_.push_back(',');
  l.empty = false;
  return true;
}

void canonical_writer::note_member(level& in, size_t begin) {
  const bool first = std::exchange(in.empty, false);
  if (member_count_ > max_sorted_members || ++member_count_ > max_sorted_members) return;
  const member m{begin, draft_.size(), 0, objects_.size()};
  if (!first) {
    waiting_.back().end = begin - 1;
    if (in.in_order) in.in_order = !before(m, waiting_.back());
  }
  waiting_.push_back(m);
}

void canonical_writer::write_value(json_scanner& scanner) {
  const char first = scanner.peek();
  if (first == '{' || first == '[') {
    if (first == '{' ? scanner.enter_object() : scanner.enter_array()) open(first == '{');
    return;
  }
  const std::string_view literal = scanner.value();
  if (first == '"' && !literal.empty()) {
    append_canonical_string(literal, scanner.string_respelt(), draft_);
  } else if (first == '-' || (first >= '0' && first <= '9')) {
    append_number(literal, draft_);
  } else {
    draft_.append(literal);
  }
}

/// By key in the order of bytes, then by place.
bool canonical_writer::before(const member& a, const member& b) const {
  const std::string_view text = draft_;
  // The closing quotes are no part of the keys, so that one key may be another's beginning.
  const int order =
      text.substr(a.begin, a.key_end - a.begin - 1).compare(text.substr(b.begin, b.key_end - b.begin - 1));
  return order < 0 || (order == 0 && a.begin < b.begin);
}

void canonical_writer::sort_waiting(size_t first) {
  const auto less = [this](const member& a, const member& b) { return before(a, b); };
  const auto begin = waiting_.begin() + static_cast<std::ptrdiff_t>(first);
  if (waiting_.size() - first > few_members) {
    std::sort(begin, waiting_.end(), less);
    return;
  }
  for (auto next = begin + 1; next < waiting_.end(); ++next) {
    const member m = *next;
    auto at = next;
    for (; at > begin && less(m, at[-1]); --at) *at = at[-1];
    *at = m;
  }
}

/// Copies a part of the draft, every object from `object` on that lies in it with its members sorted. Calls
/// itself once per level that was out of order.
void canonical_writer::emit(size_t begin, size_t end, size_t object, std::string& out) const {
  while (object < objects_.size() && objects_[object].begin < end) {
    const auto& o = objects_[object];
    if (o.count == 0) {
      ++object;
      continue;
    }
    out.append(draft_, begin, o.begin - begin);
    for (size_t i = o.first; i < o.first + o.count; ++i) {
      out.push_back(i == o.first ? '{' : ',');
      emit(members_[i].begin, members_[i].end, members_[i].object, out);
    }
    out.push_back('}');
    begin = o.end;
    object = o.next;
  }
  out.append(draft_, begin, end - begin);
}

void canonical_writer::forget() {
  bound(draft_);
  bound(waiting_);
  bound(objects_);
  bound(members_);
}

}  // namespace millrace::http
