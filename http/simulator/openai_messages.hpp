#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"
#include "http/simulator/openai_judging.hpp"

/// The part of `judge_openai` that judges the conversation.
namespace millrace::http::simulation {

class openai_messages {
 public:
  /// Throws `rejected`.
  void judge(dom::array messages);
  /// Whether "json" is written anywhere in them.
  bool say_json() const { return json_.found(); }

 private:
  void judge_message(dom::object message, const std::string& path);
  void judge_content(dom::object message, std::string_view role, const std::string& path);
  void judge_part(dom::element part, std::string_view role, const std::string& path);
  void judge_calls(dom::object message, const std::string& path);
  void judge_answer(dom::object message, const std::string& path);
  void want_answers(const std::string& path) const;

  std::vector<std::string_view> open_;   ///< calls without an answer so far
  std::vector<std::string_view> calls_;  ///< all of the assistant's message that may be answered now
  word_finder json_{"json"};
};

}  // namespace millrace::http::simulation
