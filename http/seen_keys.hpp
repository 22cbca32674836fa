#pragma once

#include <algorithm>
#include <cstddef>
#include <forward_list>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {

/// Most members of a request's body; beyond them the answer is 400.
inline constexpr std::size_t max_top_level_members = 256;

/// The top-level keys of a body that were seen so far. There are a dozen or two, so comparing with each is
/// cheaper than hashing. Not thread-safe.
class seen_keys {
 public:
  seen_keys() { keys_.reserve(32); }
  bool full() const { return keys_.size() == max_top_level_members; }
  /// False when `key` was there before. A key that is not `stable` is copied; others must outlive this.
  bool insert(std::string_view key, bool stable) {
    if (std::find(keys_.begin(), keys_.end(), key) != keys_.end()) return false;
    keys_.push_back(stable ? key : copies_.emplace_front(key));
    return true;
  }

 private:
  std::vector<std::string_view> keys_;
  std::forward_list<std::string> copies_;
};

}  // namespace millrace::http
