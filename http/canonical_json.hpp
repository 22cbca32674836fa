#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/json_scan.hpp"

/// One text for all spellings of the same JSON object, so that equal questions can be recognised by a hash.
namespace millrace::http {

/// Members of one body that are put in order. A body with more keeps the order it was written in: other
/// orders of it are then taken for other bodies, which costs a cache hit and nothing else.
inline constexpr size_t max_sorted_members = 1U << 18;

/// Memory that a writer keeps from one body to the next, each of its buffers.
inline constexpr size_t max_kept_canonical_bytes = 1U << 20;

/// Appends the canonical spelling of `literal`, a string as written with its quotes, whose grammar was
/// checked. `respelt`: `json_scanner::string_respelt` of it; where that is false nothing has to change.
void append_canonical_string(std::string_view literal, bool respelt, std::string& out);

/// Writes JSON objects in a canonical form that is JSON itself and its own canonical form:
/// - no white space; the members of every object in the byte order of their canonical keys, members of one
///   name in the order they were written in;
/// - strings with the fewest escapes: equal after unescaping means equal bytes. Lone surrogates stay escaped;
/// - numbers as RFC 8785 (JSON Canonicalization Scheme) tells them apart, which is as IEEE 754 doubles:
/// 1, 1.0
///   and 10e-1 are one, and so are 0 and -0. Numbers that doubles do not hold exactly enough - whole ones
///   beyond 2^53 in magnitude, and what over- or underflows - keep their text instead.
/// Takes linear time but for the sorting, and allocates only where a body needs more than those before it.
/// Not thread-safe; needs little stack at any depth.
class canonical_writer {
 public:
  /// Appends the canonical form of `object` without the top-level members whose unescaped names are in
  /// `left_out`. False, with `out` unchanged, when it is not one JSON object nested at most `max_json_depth`
  /// deep. UTF-8 is not checked.
  bool append(std::string_view object, std::span<const std::string_view> left_out, std::string& out);

 private:
  /// A member in the draft, its key's quotes included.
  struct member {
    size_t begin = 0;
    size_t key_end = 0;
    size_t end = 0;
    size_t object = 0;  ///< the first of `objects_` that begins in or behind it
  };
  /// An object in the draft. Objects stand in the order of their opening braces.
  struct object {
    size_t begin = 0;
    size_t end = 0;
    size_t next = 0;   ///< the first of `objects_` behind it
    size_t first = 0;  ///< of its members in `members_`
    size_t count = 0;  ///< 0: they are in order as they stand
  };
  /// An object or array that is still open.
  struct level {
    bool is_object = false;
    bool empty = true;
    bool in_order = true;
    size_t object = 0;
    size_t first_waiting = 0;
  };

  bool write_draft(std::string_view text, std::span<const std::string_view> left_out);
  void open(bool is_object);
  void close();
  bool begin_member(json_scanner& scanner, std::span<const std::string_view> left_out);
  bool begin_element(json_scanner& scanner);
  void note_member(level& in, size_t begin);
  void write_value(json_scanner& scanner);
  void sort_waiting(size_t first);
  bool before(const member& a, const member& b) const;
  void emit(size_t begin, size_t end, size_t object, std::string& out) const;
  void forget();

  std::string draft_;  ///< canonical but for the order of members
  std::array<level, max_json_depth> levels_;
  size_t depth_ = 0;
  std::vector<member> waiting_;  ///< of the open objects, the innermost one's last
  std::vector<object> objects_;
  std::vector<member> members_;  ///< of objects that were not in order, sorted
  size_t member_count_ = 0;
};

}  // namespace millrace::http
