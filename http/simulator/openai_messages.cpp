#include "http/simulator/openai_messages.hpp"

#include <algorithm>

#include "http/simulator/errors.hpp"
#include "http/simulator/openai_judging.hpp"

namespace millrace::http::simulation {
namespace {

constexpr size_t max_call_id_bytes = 40;

void judge_image(dom::object part, const std::string& path) {
  const dom::object image = want_object(part, "image_url", path);
  const std::string inner = path + ".image_url";
  const std::string_view url = want_text(image, "url", inner);
  want_known(image, {"url", "detail"}, inner);
  if (find(image, "detail")) {
    const std::string_view detail = want_text(image, "detail", inner);
    if (!is_one_of(detail, {"auto", "low", "high", "original"}))
      refuse_value(inner + ".detail", detail, "'low', 'high', and 'auto'");
  }
  judge_image_url(url, inner + ".url");
}

void judge_audio(dom::object part, const std::string& path) {
  const dom::object audio = want_object(part, "input_audio", path);
  const std::string inner = path + ".input_audio";
  want_known(audio, {"data", "format"}, inner);
  const std::string_view format = want_text(audio, "format", inner);
  if (!is_one_of(format, {"wav", "mp3"})) refuse_value(inner + ".format", format, "'wav' and 'mp3'");
  if (!is_base64(want_text(audio, "data", inner)))
    throw rejected("Invalid '" + inner + ".data': not base64.", inner + ".data", "invalid_value");
}

void judge_file(dom::object part, const std::string& path) {
  const dom::object file = want_object(part, "file", path);
  const std::string inner = path + ".file";
  want_known(file, {"file_data", "file_id", "filename"}, inner);
  if (find(file, "file_id")) return;
  if (!is_data_url(want_text(file, "file_data", inner), ""))
    throw rejected("Invalid '" + inner + ".file_data': expected a base64 data URL.", inner + ".file_data",
                   "invalid_value");
  want_text(file, "filename", inner);
}

}  // namespace

void openai_messages::judge(dom::array messages) {
  size_t index = 0;
  for (const dom::element element : messages) {
    const std::string path = "messages[" + std::to_string(index++) + "]";
    const auto message = as_object(element);
    if (!message) refuse_type(path, "an object");
    judge_message(*message, path);
  }
  want_answers("messages[" + std::to_string(index) + "]");
}

void openai_messages::judge_message(dom::object message, const std::string& path) {
  const std::string_view role = want_text(message, "role", path);
  if (!is_one_of(role, {"system", "developer", "user", "assistant", "tool", "function"}))
    refuse_value(path + ".role", role, "'system', 'assistant', 'user', 'function', 'tool', and 'developer'");
  if (role == "assistant")
    want_known(message,
               {"role", "content", "name", "tool_calls", "refusal", "audio", "function_call", "annotations"},
               path);
  else if (role == "tool")
    want_known(message, {"role", "content", "tool_call_id", "name"}, path);
  else
    want_known(message, {"role", "content", "name"}, path);

  if (role == "tool") {
    judge_answer(message, path);
  } else {
    want_answers(path);
    calls_.clear();
  }
  if (role == "assistant" && find(message, "tool_calls")) judge_calls(message, path);
  judge_content(message, role, path);
}

void openai_messages::judge_content(dom::object message, std::string_view role, const std::string& path) {
  const std::string param = path + ".content";
  const auto content = find(message, "content");
  if (!content) {
    const bool says_otherwise =
        role == "assistant" && (find(message, "tool_calls") || find(message, "refusal") ||
                                find(message, "function_call") || find(message, "audio"));
    if (says_otherwise) return;
    throw rejected("Invalid value for 'content': expected a string, got null.", param, "invalid_type");
  }
  if (std::string_view text; !content->get(text)) return json_.read(text);
  if (!content->is_array()) refuse_type(param, "one of a string or array of objects");
  const dom::array parts = want_array(*content, param);
  size_t index = 0;
  for (const dom::element part : parts) judge_part(part, role, param + "[" + std::to_string(index++) + "]");
}

void openai_messages::judge_part(dom::element element, std::string_view role, const std::string& path) {
  const auto part = as_object(element);
  if (!part) refuse_type(path, "an object");
  const std::string_view type = want_text(*part, "type", path);
  const bool user = role == "user";
  const bool allowed = type == "text" || (role == "assistant" && type == "refusal") ||
                       (user && is_one_of(type, {"image_url", "input_audio", "file"}));
  if (!allowed)
    refuse_value(path + ".type", type,
                 user                  ? "'text', 'image_url', 'input_audio', and 'file'"
                 : role == "assistant" ? "'text' and 'refusal'"
                                       : "'text'");
  for (const auto& [name, value] : *part)
    if (name != "type" && name != type && name != "prompt_cache_breakpoint")
      refuse_unknown(inside_of(path, name));
  if (type == "text") json_.read(want_text(*part, "text", path));
  if (type == "refusal") want_text(*part, "refusal", path);
  if (type == "image_url") judge_image(*part, path);
  if (type == "input_audio") judge_audio(*part, path);
  if (type == "file") judge_file(*part, path);
}

void openai_messages::judge_calls(dom::object message, const std::string& path) {
  const std::string param = path + ".tool_calls";
  const dom::array calls = want_array(*find(message, "tool_calls"), param);
  size_t index = 0;
  for (const dom::element element : calls) {
    const std::string place = param + "[" + std::to_string(index++) + "]";
    const auto call = as_object(element);
    if (!call) refuse_type(place, "an object");
    const std::string_view id = want_text(*call, "id", place);
    want_no_longer(id, max_call_id_bytes, place + ".id");
    const std::string_view type = want_text(*call, "type", place);
    if (!is_one_of(type, {"function", "custom"}))
      refuse_value(place + ".type", type, "'function' and 'custom'");
    want_known(*call, {"id", "type", type}, place);
    const dom::object what = want_object(*call, type, place);
    const std::string inner = place + "." + std::string(type);
    want_name(want_text(what, "name", inner), "_-.", inner + ".name");
    want_text(what, type == "function" ? "arguments" : "input", inner);
    calls_.push_back(id);
  }
  open_ = calls_;
}

void openai_messages::judge_answer(dom::object message, const std::string& path) {
  const std::string_view id = want_text(message, "tool_call_id", path);
  if (calls_.empty())
    throw rejected(
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
        "'tool_calls'.",
        path + ".role", "invalid_value");
  if (std::find(calls_.begin(), calls_.end(), id) == calls_.end())
    throw rejected("Invalid parameter: 'tool_call_id' of '" + std::string(id) +
                       "' not found in 'tool_calls' of previous message.",
                   path + ".tool_call_id", "invalid_value");
  open_.erase(std::remove(open_.begin(), open_.end(), id), open_.end());
}

void openai_messages::want_answers(const std::string& path) const {
  if (open_.empty()) return;
  throw rejected(
      "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
      "'tool_call_id'. The following tool_call_ids did not have response messages: " +
          joined(open_),
      path + ".role", "invalid_value");
}

}  // namespace millrace::http::simulation
