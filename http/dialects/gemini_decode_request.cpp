#include <algorithm>

#include "http/dialects/gemini_decode.hpp"
#include "http/dialects/gemini_formats.hpp"

namespace millrace::http {
namespace {

class request_decoder {
 public:
  request_decoder(std::string_view body, chat_request& out, engine::api_error& error)
      : reader_(body, out.texts, error), contents_(reader_, out), out_(out) {}

  bool decode();

 private:
  bool read_member(std::string_view key);
  bool allow_tools();

  gemini_reader reader_;
  gemini_contents_reader contents_;
  chat_request& out_;
  chat_message system_;
  std::vector<std::string_view> allowed_;
  bool has_contents_ = false;
};

bool request_decoder::decode() {
  if (reader_.scanner.peek() != '{') return reader_.fail_json();
  const bool fine = reader_.members({}, [this](std::string_view key) { return read_member(key); });
  if (!fine || !reader_.scanner.at_end()) return reader_.fail_json();
  if (!has_contents_ || out_.messages.empty()) return reader_.missing("contents");
  if (!system_.parts.empty()) out_.messages.insert(out_.messages.begin(), std::move(system_));
  return allow_tools();
}

bool request_decoder::read_member(std::string_view key) {
  if (key == "contents") {
    has_contents_ = true;
    return contents_.read_contents();
  }
  if (is_gemini_field(key, "systemInstruction")) return contents_.read_system(system_);
  if (is_gemini_field(key, "generationConfig")) return read_gemini_generation_config(reader_, out_);
  if (key == "tools") return read_gemini_tools(reader_, out_);
  if (is_gemini_field(key, "toolConfig")) return read_gemini_tool_config(reader_, out_, allowed_);
  // The path says it.
  if (key == "model") return !reader_.scanner.value().empty();
  for (const std::string_view hint : {"safetySettings", "labels", "serviceTier", "store"}) {
    if (!is_gemini_field(key, hint)) continue;
    out_.dropped.emplace_back(hint);
    return !reader_.scanner.value().empty();
  }
  return reader_.unsupported(key);
}

/// Other dialects name one tool or none, so tools that may not be called are not told of at all.
bool request_decoder::allow_tools() {
  if (allowed_.empty()) return true;
  const auto is_allowed = [this](const chat_tool& tool) {
    return std::find(allowed_.begin(), allowed_.end(), tool.name) != allowed_.end();
  };
  for (const std::string_view name : allowed_) {
    const bool known = std::any_of(out_.tools.begin(), out_.tools.end(),
                                   [name](const chat_tool& tool) { return tool.name == name; });
    if (known) continue;
    return reader_.refuse("invalid_value",
                          "`allowedFunctionNames` names `" + std::string(name) + "`, which no tool declares.",
                          "toolConfig.functionCallingConfig.allowedFunctionNames");
  }
  if (out_.tool_choice == tool_choice::any && allowed_.size() == 1) {
    out_.tool_choice = tool_choice::named;
    out_.chosen_tool = allowed_.front();
    return true;
  }
  std::erase_if(out_.tools, [&](const chat_tool& tool) { return !is_allowed(tool); });
  return true;
}

}  // namespace

bool decode_gemini_request(std::string_view body, chat_request& out, engine::api_error& error) {
  out = {};
  error = {};
  return request_decoder(body, out, error).decode();
}

}  // namespace millrace::http
