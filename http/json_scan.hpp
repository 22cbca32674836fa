#pragma once

#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

/// Reading JSON where the bytes matter. Passthrough edits bodies in place, so a reader must know where each
/// value stands in the original text; a tree does not, and simdjson's on-demand interface does not check what
/// it skips. This scanner walks a text once, checks all of RFC 8259's grammar on the way, allocates nothing
/// and needs no padding.
namespace millrace::http {

/// Deepest nesting of arrays and objects that is read, the outermost one included.
inline constexpr size_t max_json_depth = 128;

enum class json_error : std::uint8_t {
  none,
  syntax,    ///< not JSON
  too_deep,  ///< nested above `max_json_depth`
};

inline bool is_json_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/// A forward-only cursor over one JSON text, which must outlive it. One thread at a time. After an error
/// every call fails; `error()` and `offset()` say what and where. UTF-8 is not checked: see `valid_utf8`.
/// Lone surrogate escapes are JSON, as RFC 8259 section 8.2 has it.
class json_scanner {
 public:
  explicit json_scanner(std::string_view text) : text_(text) {}

  /// Steps into the object or array that comes next; false when something else does (then nothing is consumed
  /// and no error is set, unless the text ends or is too deep).
  bool enter_object() { return enter('{', true); }
  bool enter_array() { return enter('[', false); }

  /// Moves to the next member of the object entered last and stands before its value, which must be consumed
  /// before the next call. False when the object ended, or on an error. `key` is unescaped; it points into
  /// the text, or, when `key_escaped()`, into the scanner and is gone with the next member that has an
  /// escaped key.
  bool next_member(std::string_view& key);
  bool key_escaped() const { return key_escaped_; }
  /// Offset of the opening quote of the key given last.
  size_t key_offset() const { return key_offset_; }
  /// The key given last as written, quotes included.
  std::string_view key_literal() const { return text_.substr(key_offset_, key_length_ + 2); }

  /// The same for the array entered last.
  bool next_element();

  /// First byte of what comes next, white space skipped; '\0' at the end of the text.
  char peek() {
    skip_space();
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  /// Consumes the next value whatever it is and returns it as written, without surrounding white space; empty
  /// on error.
  std::string_view value();
  /// Whether the string consumed last, as a key or a value or inside of one, holds an escape of a character
  /// that can be written in another way, too: \u or "\/".
  bool string_respelt() const { return string_respelt_; }

  /// True when nothing but white space is left and every object and array is closed.
  bool at_end();

  /// Of the next byte to be read.
  size_t offset() const { return at_; }
  /// Bytes of all keys and strings consumed so far, unescaped and without their quotes.
  size_t text_bytes() const { return text_bytes_; }
  json_error error() const { return error_; }

 private:
  bool enter(char open, bool object);
  bool fail(json_error e = json_error::syntax);
  /// Mostly there is none.
  void skip_space() {
    while (at_ < text_.size() && text_[at_] <= ' ' && is_json_space(text_[at_])) ++at_;
  }
  bool open(bool object);
  bool member_key();
  bool after_value();
  bool scalar();
  bool string();
  bool escape();
  bool number();
  bool digits();
  bool literal(std::string_view word);

  std::string_view text_;
  size_t at_ = 0;
  size_t depth_ = 0;
  size_t text_bytes_ = 0;
  size_t key_offset_ = 0;
  size_t key_length_ = 0;
  bool fresh_ = false;  ///< just behind an opening bracket: neither a comma nor a value came yet
  bool key_escaped_ = false;
  bool string_escaped_ = false;  ///< the string consumed last holds a backslash
  bool string_respelt_ = false;
  json_error error_ = json_error::none;
  std::bitset<max_json_depth> is_object_;  ///< by depth - 1
  std::string key_;                        ///< the last escaped key, unescaped
};

/// Appends the text of a string literal (`written`: without its quotes, grammar already checked) to `out`. A
/// lone surrogate becomes the three bytes that UTF-8's scheme gives its number, so different literals stay
/// different; then the result is false, because those bytes are not UTF-8.
bool json_unescape(std::string_view written, std::string& out);

/// The text of `literal`, a value as `json_scanner::value` returns it; empty when it is not a string.
std::string json_text(std::string_view literal);

/// `literal` as an integer; false when it is not a number without fraction and exponent that fits 64 bits.
bool json_integer(std::string_view literal, std::int64_t& out);

/// Whether `literal` is a number whose value is exactly 0, however it is spelt.
bool json_is_zero(std::string_view literal);

/// Appends `text` as a string literal with quotes. Bytes that are not UTF-8 become U+FFFD.
void json_quote(std::string_view text, std::string& out);

/// `text` without the white space around it.
std::string_view json_trim(std::string_view text);

/// Null, "", [] or {}, as written: members that say nothing. So does no text at all.
bool json_is_blank(std::string_view literal);

bool valid_utf8(std::string_view text);

/// Bytes of `text` from `from` on that are not UTF-8 become U+FFFD.
void repair_utf8(std::string& text, size_t from);

/// Index of the first quote, backslash or control character at or behind `at`; `text.size()` when there is
/// none.
size_t find_special(std::string_view text, size_t at);

}  // namespace millrace::http
