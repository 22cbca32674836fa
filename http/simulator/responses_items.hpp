#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"
#include "http/simulator/openai_judging.hpp"
#include "http/simulator/question.hpp"

/// The part of `read_responses_question` that judges `input`.
namespace millrace::http::simulation {

class responses_items {
 public:
  explicit responses_items(question& q) : q_(q) {}
  /// A text or items; sets the question's text and who spoke last. Throws `rejected`.
  void judge(dom::element input);
  /// Whether "json" is written anywhere in them.
  bool say_json() const { return json_.found(); }

 private:
  void judge_item(dom::object item, const std::string& path);
  void judge_message(dom::object item, const std::string& path);
  void judge_content(dom::element content, std::string_view role, const std::string& path);
  void judge_part(dom::element part, std::string_view role, const std::string& path);
  void judge_call(dom::object item, const std::string& path);
  void judge_output(dom::object item, const std::string& path);
  void judge_thought(dom::object item, const std::string& path);
  void judge_id(dom::object item, std::string_view prefix, const std::string& path);
  void judge_call_id(std::string_view id, const std::string& path);
  void want_nothing_open() const;

  question& q_;
  std::vector<std::string_view> calls_;  ///< all so far
  std::vector<std::string_view> open_;   ///< those without an output
  std::set<std::string_view> ids_;
  std::string_view thought_;  ///< id of the item before, where it was a thought
  std::string said_;          ///< of the message being read
  word_finder json_{"json"};
};

}  // namespace millrace::http::simulation
