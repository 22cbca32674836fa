#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"
#include "http/simulator/question.hpp"

/// Judges a request as Anthropic's API does. Internal to `anthropic_api`.
namespace millrace::http::simulation {

/// The text that makes Anthropic's models think in secret; anything may follow it.
/// https://docs.claude.com/en/docs/build-with-claude/extended-thinking#thinking-redaction
inline constexpr std::string_view redaction_trigger = "ANTHROPIC_MAGIC_STRING_TRIGGER_REDACTED_THINKING";

/// One per request. Everything throws `rejected` for what is refused.
class anthropic_reader {
 public:
  anthropic_reader(question& q, dom::object body) : q_(q), body_(body) {}

  /// `caches`: the body says cache_control somewhere.
  void read(bool caches);

 private:
  enum class home : std::uint8_t { user, assistant, system, tool_result };

  // anthropic_request.cpp
  void read_sampling();
  void read_thinking();
  void read_output_config();
  void read_tools();
  void read_tool(dom::object tool, std::size_t index);
  void read_tool_choice();
  void read_system();

  std::int64_t integer(std::string_view name, std::int64_t least);
  double number(std::string_view name, double least, double most);

  // anthropic_messages.cpp
  void read_messages();
  void read_message(dom::element message, std::size_t index, bool last);
  void read_content(dom::element content, const std::string& path, home where, bool may_be_empty);
  void read_block(dom::element block, const std::string& path, home where);
  void read_text(dom::object block, const std::string& path, home where);
  void read_source(dom::object block, std::string_view type, const std::string& path);
  void read_tool_use(dom::object block, const std::string& path);
  void read_tool_result(dom::object block, const std::string& path);
  void read_thought(dom::object block, std::string_view type, const std::string& path);
  void judge_results(std::size_t index);
  void judge_cache_control(dom::object block, const std::string& path);
  void remember(std::string_view type, dom::object block);

  question& q_;
  dom::object body_;
  prompt_counter counter_;
  bool caches_ = false;
  std::uint32_t prefix_ = 0;  ///< CRC-32 of the prompt so far
  int cache_marks_ = 0;
  bool thinks_ = false;
  bool needs_thoughts_ = false;             ///< amid a tool's turn those of its start must come back
  std::vector<std::string_view> pending_;   ///< tool calls of the assistant's message before
  std::vector<std::string_view> calls_;     ///< of the message being read
  std::vector<std::string_view> answered_;  ///< results in the message being read
  std::set<std::string_view> seen_calls_;
  std::string said_;              ///< texts of the message being read
  std::string first_type_;        ///< of the first block of the message being read
  std::string assistant_starts_;  ///< the same of the last assistant's message
  bool said_text_ = false;
  std::size_t blocks_ = 0;
};

}  // namespace millrace::http::simulation
