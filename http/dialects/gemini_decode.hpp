#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/gemini_reader.hpp"

/// The parts of gemini_chat's `decode_request`.
namespace millrace::http {

/// Reads `contents` and `systemInstruction` into messages.
class gemini_contents_reader {
 public:
  gemini_contents_reader(gemini_reader& reader, chat_request& out) : reader_(reader), out_(out) {}

  /// Consumes the value of `contents`.
  bool read_contents();
  /// Consumes the value of `systemInstruction`.
  bool read_system(chat_message& system);

 private:
  struct raw_part;
  struct call {
    std::string_view id;
    std::string_view name;
    bool answered = false;
  };

  bool read_content();
  bool read_parts(std::vector<raw_part>& parts);
  bool read_part(raw_part& part);
  bool read_data(std::string_view key, raw_part& part);
  bool read_inline_data(chat_part& part, std::string_view field);
  bool read_file_data(chat_part& part);
  bool read_call(chat_part& part);
  bool read_response(chat_part& part);
  bool read_response_parts(chat_part& part);
  bool name_call(chat_part& part);
  bool name_response(chat_part& part);
  void take_result(json_literal response, chat_part& part);
  bool add(chat_message& message, raw_part& raw, bool joins);
  void sign(chat_message& message, json_literal signature);
  json_literal joined(json_literal first, json_literal second);
  void drop(std::string_view name);

  gemini_reader& reader_;
  chat_request& out_;
  std::vector<call> calls_;
};

/// Consumes the value of `tools`.
bool read_gemini_tools(gemini_reader& reader, chat_request& out);
/// Consumes the value of `toolConfig`; `allowed` gets the names that may be called, empty: all.
bool read_gemini_tool_config(gemini_reader& reader, chat_request& out,
                             std::vector<std::string_view>& allowed);
/// Consumes the value of `generationConfig`.
bool read_gemini_generation_config(gemini_reader& reader, chat_request& out);

}  // namespace millrace::http
