#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"
#include "http/dialects/json_members.hpp"

namespace millrace::http {

/// What the decoders of OpenAI's requests have in common: fields of simple types, and refusals. Every reader
/// takes a value as written, empty where it was not sent, and returns false with `error_` set when it is
/// not what it must be.
class openai_fields {
 protected:
  /// `api`: how the client's API is called, for who is told to look for a provider of it.
  openai_fields(chat_request& out, engine::api_error& error, std::string_view api)
      : out_(out), error_(error), api_(api) {}

  /// Where in the request something is: "messages[2].content".
  static std::string at(std::string_view list, std::size_t index, std::string_view rest = {});

  // These return false.
  bool refuse(std::string code, std::string message, std::string param);
  bool invalid(std::string param, std::string_view expected);
  bool unsupported(std::string param);

  /// Notes a documented drop, once.
  void drop(std::string name);

  bool read_count(json_literal value, std::string_view name, std::int64_t& into);
  bool read_number(json_literal value, std::string_view name, json_literal& into);
  bool read_flag(json_literal value, std::string_view name, bool& into);
  /// The text of a call's arguments, an object; "{}" where there is none.
  bool read_arguments(json_literal text, const std::string& where, chat_part& call);
  /// An address, or a data URL.
  bool read_image_url(json_literal url, const std::string& where, chat_part& image);
  /// A data URL, or base64 of a PDF.
  bool read_file_data(json_literal data, const std::string& where, chat_part& document);
  /// {"data", "format"}
  bool read_audio(json_literal audio, const std::string& where, chat_part& part);

  /// A text, which becomes a part, or a list of parts: `read(part, where)` adds each.
  template <class Read>
  bool read_text_or_parts(json_literal content, const std::string& where, std::vector<chat_part>& parts,
                          Read&& read) {
    if (is_string(content)) {
      parts.emplace_back().text = content;
      return true;
    }
    if (content.empty() || content.front() != '[') return invalid(where, "a text or a list of parts");
    return each_element(content, [&](json_literal part, std::size_t i) { return read(part, at(where, i)); });
  }

  /// The last message, if it holds results of tools, or a new one: those of parallel calls come one by one
  /// and belong together.
  chat_message& results();

  chat_request& out_;
  engine::api_error& error_;

 private:
  const std::string_view api_;
};

}  // namespace millrace::http
