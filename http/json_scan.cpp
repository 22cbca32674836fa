#include "http/json_scan.hpp"

#include <simdjson.h>

#include <bit>
#include <charconv>
#include <cstring>
#include <nlohmann/json.hpp>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace millrace::http {
namespace {

bool is_json_digit(char c) {
  return c >= '0' && c <= '9';
}

int hex_value(char c) {
  if (is_json_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// The 16 bits that four hexadecimal digits stand for; -1 when they are not such digits.
int hex4(const char* p) {
  int code = 0;
  for (int i = 0; i < 4; ++i) {
    const int digit = hex_value(p[i]);
    if (digit < 0) return -1;
    code = code * 16 + digit;
  }
  return code;
}

bool is_short_escape(char c) {
  switch (c) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
      return true;
    default:
      return false;
  }
}

bool is_high_surrogate(int code) {
  return code >= 0xD800 && code < 0xDC00;
}
bool is_low_surrogate(int code) {
  return code >= 0xDC00 && code < 0xE000;
}

void append_utf8(int code, std::string& out) {
  const auto put = [&out](int byte) { out.push_back(static_cast<char>(byte)); };
  if (code < 0x80) return put(code);
  if (code < 0x800) {
    put(0xC0 | code >> 6);
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
  }
  put(0x80 | (code & 0x3F));
}

/// Non-zero in the top bit of each byte of `x` that is a quote, a backslash or a control character; exact for
/// the lowest such byte (Sean Anderson, Bit Twiddling Hacks, "Determine if a word has a zero byte").
std::uint64_t special_bytes(std::uint64_t x) {
  constexpr std::uint64_t ones = 0x0101010101010101;
  constexpr std::uint64_t tops = 0x8080808080808080;
  const std::uint64_t quote = x ^ (ones * '"');
  const std::uint64_t backslash = x ^ (ones * '\\');
  return (((quote - ones) & ~quote) | ((backslash - ones) & ~backslash) | ((x - ones * 0x20) & ~x)) & tops;
}

}  // namespace

size_t find_special(std::string_view text, size_t at) {
#if defined(__SSE2__)
  const __m128i quote = _mm_set1_epi8('"');
  const __m128i backslash = _mm_set1_epi8('\\');
  const __m128i last_control = _mm_set1_epi8(0x1F);
  for (; at + 16 <= text.size(); at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(text.data() + at));
    const __m128i marks = _mm_or_si128(_mm_cmpeq_epi8(bytes, quote), _mm_cmpeq_epi8(bytes, backslash));
    const __m128i controls = _mm_cmpeq_epi8(_mm_max_epu8(bytes, last_control), last_control);
    if (const int hit = _mm_movemask_epi8(_mm_or_si128(marks, controls)))
      return at + static_cast<size_t>(std::countr_zero(static_cast<unsigned>(hit)));
  }
#endif
  if constexpr (std::endian::native == std::endian::little) {
    for (; at + 8 <= text.size(); at += 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, text.data() + at, sizeof word);
      if (const std::uint64_t hit = special_bytes(word))
        return at + static_cast<size_t>(std::countr_zero(hit)) / 8;
    }
  }
  while (at < text.size() && text[at] != '"' && text[at] != '\\' &&
         static_cast<unsigned char>(text[at]) >= 0x20)
    ++at;
  return at;
}

bool json_scanner::fail(json_error e) {
  if (error_ == json_error::none) error_ = e;
  return false;
}

bool json_scanner::enter(char bracket, bool object) {
  if (error_ != json_error::none) return false;
  if (peek() != bracket) return at_ < text_.size() ? false : fail();
  return open(object);
}

bool json_scanner::open(bool object) {
  if (depth_ == max_json_depth) return fail(json_error::too_deep);
  is_object_[depth_++] = object;
  ++at_;
  fresh_ = true;
  return true;
}

/// Behind an opening bracket or a value: moves on to the next value of the innermost object or array and
/// returns true, or closes it and returns false.
bool json_scanner::after_value() {
  const bool object = is_object_[depth_ - 1];
  const char c = peek();
  if (c == (object ? '}' : ']')) {
    ++at_;
    --depth_;
    fresh_ = false;
    return false;
  }
  if (!fresh_) {
    if (c != ',') return fail();
    ++at_;
  }
  fresh_ = false;
  return !object || member_key();
}

bool json_scanner::member_key() {
  if (peek() != '"') return fail();
  key_offset_ = at_;
  if (!string()) return false;
  key_length_ = at_ - key_offset_ - 2;
  key_escaped_ = string_escaped_;
  if (peek() != ':') return fail();
  ++at_;
  return true;
}

bool json_scanner::next_member(std::string_view& key) {
  if (error_ != json_error::none || !after_value()) return false;
  key = text_.substr(key_offset_ + 1, key_length_);
  if (key_escaped_) {
    key_.clear();
    json_unescape(key, key_);
    key = key_;
  }
  return true;
}

bool json_scanner::next_element() {
  return error_ == json_error::none && after_value();
}

std::string_view json_scanner::value() {
  if (error_ != json_error::none) return {};
  skip_space();
  const size_t start = at_;
  const size_t base = depth_;
  do {
    const char c = peek();
    if (c == '{' || c == '[') {
      if (!open(c == '{')) return {};
    } else if (!scalar()) {
      return {};
    }
    // Close whatever ends here, until another value follows or the one asked for is complete.
    while (depth_ > base && !after_value()) {
      if (error_ != json_error::none) return {};
    }
  } while (depth_ > base);
  return text_.substr(start, at_ - start);
}

bool json_scanner::at_end() {
  skip_space();
  return error_ == json_error::none && depth_ == 0 && at_ == text_.size();
}

bool json_scanner::scalar() {
  fresh_ = false;
  if (at_ == text_.size()) return fail();
  switch (text_[at_]) {
    case '"':
      return string();
    case 't':
      return literal("true");
    case 'f':
      return literal("false");
    case 'n':
      return literal("null");
    default:
      return number();
  }
}

bool json_scanner::literal(std::string_view word) {
  if (text_.substr(at_, word.size()) != word) return fail();
  at_ += word.size();
  return true;
}

bool json_scanner::digits() {
  const size_t start = at_;
  while (at_ < text_.size() && is_json_digit(text_[at_])) ++at_;
  return at_ > start || fail();
}

bool json_scanner::number() {
  const auto next_is = [this](char c) { return at_ < text_.size() && text_[at_] == c; };
  if (next_is('-')) ++at_;
  if (next_is('0')) {
    ++at_;
  } else if (!digits()) {
    return false;
  }
  if (next_is('.')) {
    ++at_;
    if (!digits()) return false;
  }
  if (next_is('e') || next_is('E')) {
    ++at_;
    if (next_is('+') || next_is('-')) ++at_;
    return digits();
  }
  return true;
}

bool json_scanner::string() {
  size_t run = ++at_;
  string_escaped_ = string_respelt_ = false;
  for (;;) {
    at_ = find_special(text_, at_);
    text_bytes_ += at_ - run;
    if (at_ == text_.size()) return fail();
    if (text_[at_] == '"') {
      ++at_;
      return true;
    }
    if (text_[at_] != '\\') return fail();
    string_escaped_ = true;
    if (!escape()) return false;
    run = at_;
  }
}

/// Stands on a backslash: checks and consumes one escape, a pair of surrogates counting as one.
bool json_scanner::escape() {
  const std::string_view rest = text_.substr(at_);
  if (rest.size() < 2) return fail();
  string_respelt_ = string_respelt_ || rest[1] == 'u' || rest[1] == '/';
  if (rest[1] != 'u') {
    if (!is_short_escape(rest[1])) return fail();
    at_ += 2;
    text_bytes_ += 1;
    return true;
  }
  const int code = rest.size() < 6 ? -1 : hex4(rest.data() + 2);
  if (code < 0) return fail();
  at_ += 6;
  if (is_high_surrogate(code) && rest.size() >= 12 && rest[6] == '\\' && rest[7] == 'u' &&
      is_low_surrogate(hex4(rest.data() + 8))) {
    at_ += 6;
    text_bytes_ += 4;
    return true;
  }
  text_bytes_ += code < 0x80 ? 1 : code < 0x800 ? 2 : 3;
  return true;
}

bool json_unescape(std::string_view written, std::string& out) {
  bool clean = true;
  for (size_t at = 0; at < written.size();) {
    const size_t stop = std::min(written.find('\\', at), written.size());
    out.append(written, at, stop - at);
    if (stop == written.size()) break;
    const char kind = written[stop + 1];
    at = stop + 2;
    switch (kind) {
      case 'b':
        out.push_back('\b');
        continue;
      case 'f':
        out.push_back('\f');
        continue;
      case 'n':
        out.push_back('\n');
        continue;
      case 'r':
        out.push_back('\r');
        continue;
      case 't':
        out.push_back('\t');
        continue;
      case 'u':
        break;
      default:
        out.push_back(kind);
        continue;
    }
    int code = hex4(written.data() + at);
    at += 4;
    if (is_high_surrogate(code) && written.size() - at >= 6 && written[at] == '\\' &&
        written[at + 1] == 'u') {
      const int low = hex4(written.data() + at + 2);
      if (is_low_surrogate(low)) {
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
      }
    }
    clean = clean && !(code >= 0xD800 && code < 0xE000);
    append_utf8(code, out);
  }
  return clean;
}

std::string json_text(std::string_view literal) {
  std::string text;
  if (literal.size() >= 2 && literal.front() == '"')
    json_unescape(literal.substr(1, literal.size() - 2), text);
  return text;
}

bool json_integer(std::string_view literal, std::int64_t& out) {
  std::int64_t number = 0;
  const auto [end, problem] = std::from_chars(literal.data(), literal.data() + literal.size(), number);
  if (problem != std::errc{} || end != literal.data() + literal.size()) return false;
  out = number;
  return true;
}

bool json_is_zero(std::string_view literal) {
  if (literal.empty() || !(is_json_digit(literal.front()) || literal.front() == '-')) return false;
  return literal.substr(0, literal.find_first_of("eE")).find_first_of("123456789") == std::string_view::npos;
}

void json_quote(std::string_view text, std::string& out) {
  if (!valid_utf8(text)) {
    out += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return;
  }
  out.push_back('"');
  for (size_t at = 0;;) {
    const size_t stop = find_special(text, at);
    out.append(text, at, stop - at);
    if (stop == text.size()) break;
    const char c = text[stop];
    at = stop + 1;
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        out += "\\u00";
        out.push_back("0123456789abcdef"[static_cast<unsigned char>(c) >> 4]);
        out.push_back("0123456789abcdef"[c & 15]);
    }
  }
  out.push_back('"');
}

std::string_view json_trim(std::string_view text) {
  while (!text.empty() && is_json_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_json_space(text.back())) text.remove_suffix(1);
  return text;
}

bool json_is_blank(std::string_view literal) {
  if (literal.empty() || literal == "null" || literal == "\"\"") return true;
  return (literal.front() == '[' || literal.front() == '{') && json_trim(literal.substr(1)).size() == 1;
}

bool valid_utf8(std::string_view text) {
  return simdjson::validate_utf8(text);
}

namespace {

/// Length of the character that `text` begins with; 0: it is none. Unicode, table 3-7.
size_t utf8_length(std::string_view text) {
  const auto byte = [text](size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0U;
  };
  const auto in = [](unsigned value, unsigned low, unsigned high) { return value >= low && value <= high; };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (!in(first, 0xC2, 0xF4)) return 0;
  const size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  const unsigned low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (!in(byte(1), low, high)) return 0;
  for (size_t i = 2; i < length; ++i)
    if (!in(byte(i), 0x80, 0xBF)) return 0;
  return length;
}

}  // namespace

void repair_utf8(std::string& text, size_t from) {
  const std::string_view rest = std::string_view(text).substr(from);
  if (valid_utf8(rest)) return;
  std::string repaired;
  for (size_t at = 0; at < rest.size();) {
    const size_t length = utf8_length(rest.substr(at));
    repaired += length > 0 ? rest.substr(at, length) : "\xEF\xBF\xBD";
    at += std::max<size_t>(length, 1);
  }
  text.replace(from, std::string::npos, repaired);
}

}  // namespace millrace::http
