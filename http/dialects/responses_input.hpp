#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/openai_fields.hpp"

namespace millrace::http {

/// Reads `input` of a request to /v1/responses. Internal to `responses_chat`.
class responses_input : protected openai_fields {
 protected:
  responses_input(chat_request& out, engine::api_error& error)
      : openai_fields(out, error, "OpenAI's Responses API") {}

  /// A text, or a list of items.
  bool read_input(json_literal input);

 private:
  bool read_item(json_literal item, const std::string& where);
  bool read_message(json_literal item, const std::string& where);
  bool read_call(json_literal item, const std::string& where);
  bool read_result(json_literal item, const std::string& where);
  bool read_reasoning(json_literal item, const std::string& where);
  bool read_content(json_literal content, const std::string& where, std::vector<chat_part>& parts);
  bool read_part(json_literal literal, const std::string& where, std::vector<chat_part>& parts);
  bool read_file(json_literal literal, const std::string& where, chat_part& part);
  bool known(const std::string& unknown, const std::string& where);
  chat_message& of_assistant();
};

}  // namespace millrace::http
