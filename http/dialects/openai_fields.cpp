#include "http/dialects/openai_fields.hpp"

#include <algorithm>
#include <utility>

#include "http/dialects/openai_chat.hpp"

namespace millrace::http {

std::string openai_fields::at(std::string_view list, std::size_t index, std::string_view rest) {
  std::string out(list);
  out += '[' + std::to_string(index) + ']';
  return out += rest;
}

bool openai_fields::refuse(std::string code, std::string message, std::string param) {
  error_ = {400, "invalid_request_error", std::move(code), std::move(message), std::move(param), {}, true};
  return false;
}

bool openai_fields::invalid(std::string param, std::string_view expected) {
  return refuse("invalid_value", "`" + param + "` must be " + std::string(expected) + ".", param);
}

bool openai_fields::unsupported(std::string param) {
  return refuse("unsupported_field",
                "`" + param +
                    "` cannot be said to the provider that would answer. Leave it out, or ask for a model "
                    "whose provider speaks " +
                    std::string(api_) + ".",
                param);
}

void openai_fields::drop(std::string name) {
  const bool known = std::find(out_.dropped.begin(), out_.dropped.end(), name) != out_.dropped.end();
  if (!known) out_.dropped.push_back(std::move(name));
}

bool openai_fields::read_count(json_literal value, std::string_view name, std::int64_t& into) {
  if (value.empty() || (json_integer(value, into) && into >= 0)) return true;
  return invalid(std::string(name), "a whole number");
}

bool openai_fields::read_number(json_literal value, std::string_view name, json_literal& into) {
  const bool number =
      !value.empty() && (value.front() == '-' || (value.front() >= '0' && value.front() <= '9'));
  if (!value.empty() && !number) return invalid(std::string(name), "a number");
  if (number) into = value;
  return true;
}

bool openai_fields::read_flag(json_literal value, std::string_view name, bool& into) {
  if (!value.empty() && value != "true" && value != "false")
    return invalid(std::string(name), "true or false");
  if (!value.empty()) into = value == "true";
  return true;
}

bool openai_fields::read_arguments(json_literal text, const std::string& where, chat_part& call) {
  call.arguments = text_of(text, out_);
  if (json_trim(call.arguments).empty()) call.arguments = "{}";
  return is_json_object(call.arguments) || invalid(where, "a JSON object, as text");
}

bool openai_fields::read_image_url(json_literal url, const std::string& where, chat_part& image) {
  const std::string_view text = text_of(url, out_);
  if (text.empty()) return invalid(where, "a URL or a data URL");
  if (!split_data_url(text, image.media_type, image.data)) image.url = text;
  return true;
}

bool openai_fields::read_file_data(json_literal data, const std::string& where, chat_part& document) {
  const std::string_view text = text_of(data, out_);
  if (split_data_url(text, document.media_type, document.data)) return true;
  if (text.empty() || text.find(':') != std::string_view::npos) return invalid(where, "a data URL in base64");
  document.media_type = "application/pdf";
  document.data = text;
  return true;
}

bool openai_fields::read_audio(json_literal audio, const std::string& where, chat_part& part) {
  const json_members<2> a(audio, {"data", "format"});
  part.kind = part_kind::audio;
  part.data = text_of(a[0], out_);
  const std::string_view format = inside(a[1]);
  part.media_type = format == "mp3" ? "audio/mp3" : "audio/wav";
  if (part.data.empty() || (format != "mp3" && format != "wav"))
    return invalid(where, "base64 `data` with a `format` of wav or mp3");
  return true;
}

chat_message& openai_fields::results() {
  const bool joins = !out_.messages.empty() && out_.messages.back().role == chat_role::user &&
                     out_.messages.back().parts.back().kind == part_kind::tool_result;
  if (!joins) out_.messages.push_back({chat_role::user, {}});
  return out_.messages.back();
}

}  // namespace millrace::http
