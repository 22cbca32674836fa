#include "http/simulator/gemini_contents.hpp"

#include <algorithm>
#include <array>

#include "http/simulator/errors.hpp"
#include "http/simulator/gemini_fields.hpp"
#include "http/simulator/signature.hpp"

namespace millrace::http::simulation {
namespace {

/// https://ai.google.dev/gemini-api/docs/thought-signatures
constexpr std::array<std::string_view, 2> free_signatures = {"skip_thought_signature_validator",
                                                             "context_engineering_is_the_way_to_go"};
/// What a part may be; one of them it must be.
constexpr std::array<std::string_view, 9> part_data = {
    "text",           "inlineData",          "functionCall", "functionResponse", "fileData",
    "executableCode", "codeExecutionResult", "toolCall",     "toolResponse"};

/// In the usual alphabet, padded.
std::string plain_base64(std::string_view text) {
  std::string out(text);
  std::replace(out.begin(), out.end(), '-', '+');
  std::replace(out.begin(), out.end(), '_', '/');
  while (out.size() % 4 != 0) out += '=';
  return out;
}

}  // namespace

void gemini_contents::read_system(dom::object content) {
  counter_.message();
  std::string text;
  read_texts(content, text);
  counter_.text(text);
}

void gemini_contents::read_texts(dom::object content, std::string& out) {
  const auto parts = objects_field(content, "parts");
  if (parts.empty()) throw rejected("* content.parts: contents.parts must not be empty.\n");
  for (const dom::object part : parts) {
    const auto text = text_field(part, "text");
    if (!text) throw rejected("* content.parts: only text is supported here.\n");
    out += *text;
  }
}

void gemini_contents::read(const std::vector<dom::object>& contents) {
  if (contents.empty()) throw rejected("* GenerateContentRequest.contents: contents is not specified\n");
  next_text(q_);
  size_t index = 0;
  for (const dom::object content : contents)
    read_content(content, "contents[" + std::to_string(index++) + "]");
  if (!pending_.empty())
    throw rejected("Please ensure that multiturn requests ends with a user role or a function response.");
  if (unsigned_ && q_.facts.model.starts_with("gemini-3"))
    throw rejected(
        "Function call is missing a thought_signature in functionCall parts. This is required for tools "
        "to work correctly, and missing thought_signature may lead to degraded model performance.");
}

void gemini_contents::read_content(dom::object content, const std::string& path) {
  const std::string_view role = text_field(content, "role").value_or("user");
  if (!is_one_of(role, {"user", "model", "function"}))
    throw rejected("Please use a valid role: user, model.");
  const bool model = role == "model";
  const auto parts = objects_field(content, "parts");
  if (parts.empty())
    throw rejected("* GenerateContentRequest." + path + ".parts: contents.parts must not be empty.\n");
  calls_.clear();
  answered_.clear();
  said_.clear();
  says_more_ = false;
  size_t index = 0;
  for (const dom::object part : parts)
    read_part(part, model, path + ".parts[" + std::to_string(index++) + "]");
  if (!answered_.empty() && pending_.empty())
    throw rejected("Please ensure that function response turn comes immediately after a function call turn.");
  if (answered_.size() != pending_.size())
    throw rejected(
        "Please ensure that the number of function response parts is equal to the number of function call "
        "parts of the function call turn.");
  pending_ = calls_;
  if (model || says_more_) counter_.message();
  q_.last_is_user = !model && says_more_;
  if (!q_.last_is_user) return;
  q_.text[0] = said_;
  unsigned_ = false;
}

void gemini_contents::read_part(dom::object part, bool model, const std::string& path) {
  std::string_view data;
  for (const std::string_view name : part_data) {
    if (!field(part, name)) continue;
    if (!data.empty())
      throw rejected("Invalid value at '" + path +
                     "' (oneof), oneof field 'data' is already set. Cannot set '" + std::string(name) + "'");
    data = name;
  }
  if (data.empty())
    throw rejected("* GenerateContentRequest." + path +
                   ".data: required oneof field 'data' must have one initialized field\n");
  if (model) read_signature(part, path);
  says_more_ = says_more_ || data != "functionResponse";
  if (data == "text") {
    const std::string_view text = *text_field(part, "text");
    bool thought = false;
    if (const auto value = field(part, "thought"); value && value->get(thought))
      throw rejected("Invalid value at '" + path + ".thought' (TYPE_BOOL)");
    if (thought) return;
    said_ += text;
    counter_.text(text);
  } else if (data == "functionCall") {
    if (!model)
      throw rejected(
          "Please ensure that function call turn comes immediately after a user turn or after a function "
          "response turn.");
    read_call(part, *object_field(part, data));
  } else if (data == "functionResponse") {
    if (model)
      throw rejected(
          "Please ensure that function response turn comes immediately after a function call turn.");
    read_response(*object_field(part, data));
  } else if (data == "inlineData" || data == "fileData") {
    read_media(part, path);
  } else {
    counter_.json(*field(part, data));
  }
}

void gemini_contents::read_signature(dom::object part, const std::string& path) {
  const auto signature = text_field(part, "thoughtSignature");
  if (!signature) return;
  if (!is_base64(*signature, true))
    throw rejected("Invalid value at '" + path +
                   ".thought_signature' (TYPE_BYTES), Base64 decoding failed for \"" +
                   std::string(*signature) + "\"");
  const bool free =
      std::find(free_signatures.begin(), free_signatures.end(), *signature) != free_signatures.end();
  if (!free && !is_seal(plain_base64(*signature))) throw rejected("Corrupted thought signature.");
}

void gemini_contents::read_call(dom::object part, dom::object call) {
  const std::string_view name = text_field(call, "name").value_or("");
  if (name.empty())
    throw rejected("* GenerateContentRequest.contents: function_call.name: Name cannot be empty.\n");
  const auto arguments = object_field(call, "args");
  // Of calls at once only the first is signed.
  if (calls_.empty() && !text_field(part, "thoughtSignature")) unsigned_ = true;
  calls_.push_back(name);
  counter_.call(text_field(call, "id").value_or(""), name,
                arguments ? simdjson::minify(dom::element(*field(call, "args"))).size() : 2);
}

void gemini_contents::read_response(dom::object response) {
  const std::string_view name = text_field(response, "name").value_or("");
  if (name.empty())
    throw rejected("* GenerateContentRequest.contents: function_response.name: Name cannot be empty.\n");
  if (!object_field(response, "response"))
    throw rejected(
        "* GenerateContentRequest.contents: function_response.response: required field is not set.\n");
  if (pending_.empty())
    throw rejected("Please ensure that function response turn comes immediately after a function call turn.");
  const auto asked = std::count(pending_.begin(), pending_.end(), name);
  if (std::count(answered_.begin(), answered_.end(), name) >= asked)
    throw rejected("Please ensure that function response '" + std::string(name) +
                   "' answers a function call of that name in the turn before.");
  answered_.push_back(name);
  counter_.message();
  counter_.text(name);
  counter_.json(*field(response, "response"));
}

void gemini_contents::read_media(dom::object part, const std::string& path) {
  const auto blob = object_field(part, "inlineData");
  const dom::object media = blob ? *blob : *object_field(part, "fileData");
  const std::string_view type = text_field(media, "mimeType").value_or("");
  const std::string_view data = text_field(media, blob ? "data" : "fileUri").value_or("");
  if (blob && type.find('/') == std::string_view::npos)
    throw rejected("Unable to process input: unsupported MIME type: " + std::string(type));
  if (blob && !is_base64(data, true))
    throw rejected("Invalid value at '" + path +
                   ".inline_data.data' (TYPE_BYTES), Base64 decoding failed for \"" +
                   std::string(data.substr(0, 32)) + "\"");
  if (!blob && data.find("://") == std::string_view::npos)
    throw rejected("Invalid or unsupported file uri: " + std::string(data));
  if (type.starts_with("image/"))
    counter_.image();
  else
    counter_.attachment(data.size());
}

}  // namespace millrace::http::simulation
