#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "http/json_scan.hpp"

/// Putting the pieces of a streamed JSON value together.
namespace millrace::http {

/// Most members of one object, and most elements of one array, that are put together.
inline constexpr size_t max_merged_parts = 1024;
/// Deepest nesting of the objects and indexed arrays that are.
inline constexpr int max_merge_depth = 16;

/// Finds member `index` of `object`, given as written. False when that is no object, or has an `index` that
/// is not a whole number from 0 on; an object without one leaves `index` as it is.
bool read_index(std::string_view object, std::int64_t& index);

/// A value put together from pieces, each read from one chunk of a stream:
/// - texts are joined, but those that name something (`role`, `id`, `type`, `name`, `format`) are the same in
///   every piece, or empty: Ollama numbers all parallel calls 0, and pieces of two must not become one;
/// - objects are merged member by member;
/// - arrays of objects that all have an `index` are merged by it and stand in its order;
/// - of numbers, true and false the last one counts;
/// - null, [] and {} replace nothing.
/// Anything else - pieces of different kinds, different arrays without indexes - has no plain meaning and is
/// refused, and so is what exceeds a bound. Texts are joined as they are escaped, so the two halves of a
/// surrogate pair may come apart. Members are known by their keys in canonical spelling, quotes included.
class merged_value {
 public:
  enum class arrays : std::uint8_t {
    by_index,
    appended,  ///< one behind the other, with or without indexes, as in `logprobs`
  };

  /// Consumes the value that comes next; `how` holds for what is inside of it, too. False when it was refused
  /// or is no JSON; then this value is of no use any more.
  bool merge(json_scanner& piece, arrays how = arrays::by_index) { return merge_at(piece, how, 0); }
  /// Makes this value `literal`, as written; null replaces nothing.
  void set(std::string_view literal);

  /// Appends the value as JSON; without any piece it is null.
  void write(std::string& out) const;
  /// The same for the members of an object, without its braces.
  void write_members(std::string& out) const;

  bool is_object() const { return kind_ == kind::object; }
  /// No piece came, or nothing but null.
  bool is_null() const { return kind_ == kind::none || kind_ == kind::null; }

  /// The member of this object, or nullptr.
  merged_value* find(std::string_view key);
  /// The same, made where it is missing: then nullptr means that this is no object (no pieces are one), or
  /// that there are too many.
  merged_value* member(std::string_view key);
  /// Takes the member out of all objects in this array.
  void drop_from_elements(std::string_view key);

 private:
  enum class kind : std::uint8_t { none, null, other, text, list, object, indexed };

  bool merge_at(json_scanner& piece, arrays how, int depth);
  bool merge_object(json_scanner& piece, arrays how, int depth);
  bool merge_array(std::string_view literal, arrays how, int depth);
  bool merge_elements(std::string_view literal, arrays how, int depth);
  bool merge_text(std::string_view text);
  bool become(kind k);
  merged_value* element(std::int64_t index);

  kind kind_ = kind::none;
  std::int64_t index_ = 0;           ///< as an element
  std::string key_;                  ///< as a member
  std::string text_;                 ///< other: as written; text: without quotes; list: without brackets
  std::vector<merged_value> parts_;  ///< members or elements
};

}  // namespace millrace::http
