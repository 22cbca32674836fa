#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::http {

/// Ids of tool calls as Anthropic takes them: ^[a-zA-Z0-9_-]+$. One per request; results see the ids that
/// their calls got. Views live as long as it does, or as the id that was given.
class anthropic_tool_ids {
 public:
  std::string_view of_call(std::string_view id, std::string_view name);
  /// A result without an id answers the earliest open call without one, of its name if it has one.
  std::string_view of_result(std::string_view id, std::string_view name);

 private:
  struct open_call {
    std::string_view name;
    std::string_view id;
  };
  std::string_view respelt(std::string_view id);
  std::string_view made();

  std::deque<std::string> texts_;
  std::vector<open_call> open_;  ///< calls without an id of their own
  std::size_t made_ = 0;
};

/// ^[a-zA-Z0-9_-]+$
bool is_anthropic_name(std::string_view text);

}  // namespace millrace::http
