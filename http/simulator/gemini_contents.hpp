#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/simulator/json_view.hpp"
#include "http/simulator/question.hpp"

/// The conversation in a request of Gemini's. Internal to `gemini_api`.
namespace millrace::http::simulation {

class gemini_contents {
 public:
  gemini_contents(question& q, prompt_counter& counter) : q_(q), counter_(counter) {}

  /// All throw `rejected`.
  void read_system(dom::object content);
  void read(const std::vector<dom::object>& contents);
  /// The texts of one content, which must have some.
  void read_texts(dom::object content, std::string& out);

 private:
  void read_content(dom::object content, const std::string& path);
  void read_part(dom::object part, bool model, const std::string& path);
  void read_signature(dom::object part, const std::string& path);
  void read_call(dom::object part, dom::object call);
  void read_response(dom::object response);
  void read_media(dom::object part, const std::string& path);

  question& q_;
  prompt_counter& counter_;
  std::vector<std::string_view> pending_;   ///< names of the calls of the model's turn before
  std::vector<std::string_view> calls_;     ///< of the content being read
  std::vector<std::string_view> answered_;  ///< the same of responses
  std::string said_;
  bool says_more_ = false;  ///< something but responses
  bool unsigned_ = false;   ///< a call of this turn has no signature
};

}  // namespace millrace::http::simulation
