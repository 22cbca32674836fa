#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

/// Taking whole answers apart, to replay them as streams. Pure functions, safe from any thread.
namespace millrace::http {

/// Most members of an answer, and of each object in it, that are replayed.
inline constexpr std::size_t max_answer_members = 256;

struct answer_member {
  std::string key;         ///< canonical, with quotes
  std::string_view value;  ///< as written
};
using answer_members = std::vector<answer_member>;

/// The members of `object`, of those with one name the last. False when that is no object, or too large.
/// Replaces `out`.
bool read_answer_members(std::string_view object, answer_members& out);

/// The value of a member (`key`: canonical, with quotes); empty when it is not there.
std::string_view value_of(const answer_members& all, std::string_view key);
/// Takes a member out and returns its value; empty when it is not there.
std::string_view take_member(answer_members& all, std::string_view key);

/// Appends `"key":value`.
void append_member(const answer_member& m, std::string& out);

/// Makes `answer` fit into the data of one event. In JSON, line ends only stand between values, where a space
/// does as well; in an event they would end its data. `storage` holds the text where it had to be changed.
/// False when it is not UTF-8, or had line ends and is no JSON.
bool on_one_line(std::string_view& answer, std::string& storage);

}  // namespace millrace::http
