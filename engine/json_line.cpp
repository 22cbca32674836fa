#include "engine/json_line.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include <simdjson.h>

#include "engine/log.hpp"

namespace millrace::engine {
namespace {

/// True for the bytes that stand for themselves in a JSON string.
constexpr std::array<bool, 256> plain = [] {
  std::array<bool, 256> out{};
  for (size_t c = 0x20; c < 0x7f; ++c) out[c] = c != '"' && c != '\\';
  return out;
}();

/// At most `max_log_text` bytes, without half a character at the end.
std::string_view cut(std::string_view text) {
  if (text.size() <= max_log_text) return text;
  size_t size = max_log_text;
  while (size > 0 && (static_cast<unsigned char>(text[size]) & 0xc0) == 0x80) --size;
  return text.substr(0, size);
}

char* put_unicode(char* out, unsigned code) {
  static constexpr char hex[] = "0123456789abcdef";
  *out++ = '\\';
  *out++ = 'u';
  for (int shift = 12; shift >= 0; shift -= 4) *out++ = hex[code >> shift & 0xf];
  return out;
}

/// Writes at most six bytes for each of `text`; returns the end.
char* escape(char* out, std::string_view text) {
  const bool utf8 = simdjson::validate_utf8(text.data(), text.size());
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (plain[u] || (u >= 0x80 && utf8)) {
      *out++ = c;
    } else if (u >= 0x80) {
      out = put_unicode(out, 0xfffd);
    } else if (c == '"' || c == '\\') {
      *out++ = '\\';
      *out++ = c;
    } else {
      out = put_unicode(out, u);
    }
  }
  return out;
}

}  // namespace

void json_line::value(std::string_view text) {
  text = cut(text);
  char* const begin = room(text.size() * 6 + 2);
  char* out = begin;
  *out++ = '"';
  size_t clean = 0;
  for (; clean < text.size() && plain[static_cast<unsigned char>(text[clean])]; ++clean) *out++ = text[clean];
  if (clean < text.size()) out = escape(out, text.substr(clean));
  *out++ = '"';
  used(static_cast<size_t>(out - begin));
}

void json_line::real(std::string_view name, double number) {
  begin(name);
  if (!std::isfinite(number)) return literal("null");
  fmt::format_to(std::back_inserter(buffer_), "{}", number);
}

void json_line::usd(std::string_view name, double usd) {
  begin(name);
  decimal(std::llround(std::clamp(usd, 0.0, 1e9) * 1e9), 9);
}

void json_line::milliseconds(std::string_view name, duration d) {
  begin(name);
  decimal(std::max<std::int64_t>(0, std::chrono::duration_cast<std::chrono::microseconds>(d).count()), 3);
}

/// `value` / 10^`places` without trailing zeros: much cheaper than printing a double.
void json_line::decimal(std::int64_t value, int places) {
  std::int64_t unit = 1;
  for (int i = 0; i < places; ++i) unit *= 10;
  digits(fmt::format_int(value / unit));
  std::int64_t rest = value % unit;
  if (rest == 0) return;
  char* const begin = room(static_cast<size_t>(places) + 1);
  char* out = begin;
  for (*out++ = '.'; rest != 0; rest %= unit) {
    unit /= 10;
    *out++ = static_cast<char>('0' + rest / unit);
  }
  used(static_cast<size_t>(out - begin));
}

}  // namespace millrace::engine
