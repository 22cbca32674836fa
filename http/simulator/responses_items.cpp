#include "http/simulator/responses_items.hpp"

#include <algorithm>

#include "http/simulator/errors.hpp"
#include "http/simulator/responses_api.hpp"
#include "http/simulator/signature.hpp"

namespace millrace::http::simulation {
namespace {

constexpr size_t max_id_bytes = 64;
constexpr int not_found = 404;

constexpr std::string_view item_types =
    "'message', 'function_call', 'function_call_output', 'reasoning', 'item_reference', 'custom_tool_call', "
    "and 'custom_tool_call_output'";

/// Items of the provider's own tools are known by name only.
bool is_of_own_tools(std::string_view type) {
  return is_one_of(type, {"file_search_call",  "computer_call",           "computer_call_output",
                          "web_search_call",   "image_generation_call",   "code_interpreter_call",
                          "local_shell_call",  "local_shell_call_output", "shell_call",
                          "shell_call_output", "apply_patch_call",        "apply_patch_call_output",
                          "mcp_list_tools",    "mcp_approval_request",    "mcp_approval_response",
                          "mcp_call",          "custom_tool_call",        "custom_tool_call_output",
                          "compaction",        "tool_search_call",        "tool_search_output"});
}

void judge_image(dom::object part, const std::string& path) {
  want_known(part, {"type", "image_url", "detail", "file_id", "prompt_cache_breakpoint"}, path);
  judge_one_of(part, "detail", {"low", "high", "auto", "original"}, path);
  if (find(part, "file_id")) return;
  judge_image_url(want_text(part, "image_url", path), path + ".image_url");
}

void judge_file(dom::object part, const std::string& path) {
  want_known(part,
             {"type", "file_data", "file_id", "file_url", "filename", "detail", "prompt_cache_breakpoint"},
             path);
  if (find(part, "file_id")) return;
  if (find(part, "file_url")) {
    want_text(part, "file_url", path);
    return;
  }
  if (!is_data_url(want_text(part, "file_data", path), ""))
    throw rejected("Invalid '" + path + ".file_data': expected a base64 data URL.", path + ".file_data",
                   "invalid_value");
  want_text(part, "filename", path);
}

}  // namespace

void responses_items::judge(dom::element input) {
  next_text(q_);
  if (std::string_view text; !input.get(text)) {
    json_.read(text);
    q_.text[0] = text;
    q_.last_is_user = true;
    return;
  }
  if (!input.is_array()) refuse_type("input", "one of a string or array of objects");
  size_t index = 0;
  for (const dom::element element : want_array(input, "input")) {
    const std::string path = "input[" + std::to_string(index++) + "]";
    const auto item = as_object(element);
    if (!item) refuse_type(path, "an object");
    judge_item(*item, path);
  }
  want_nothing_open();
}

void responses_items::judge_item(dom::object item, const std::string& path) {
  const bool typed = find(item, "type").has_value();
  const std::string_view type = typed ? want_text(item, "type", path) : "message";
  const bool own = is_of_own_tools(type);
  const bool known = own || is_one_of(type, {"message", "function_call", "function_call_output", "reasoning",
                                             "item_reference"});
  if (!known) refuse_value(path + ".type", type, item_types);
  const bool of_model = type == "function_call" || type == "reasoning" || own ||
                        (type == "message" && find_text(item, "role") == "assistant");
  if (!thought_.empty() && !of_model) want_nothing_open();
  thought_ = {};
  q_.last_is_user = false;
  if (type == "message") judge_message(item, path);
  if (type == "function_call") judge_call(item, path);
  if (type == "function_call_output") judge_output(item, path);
  if (type == "reasoning") judge_thought(item, path);
  if (type == "item_reference")
    throw rejected("Item with id '" + std::string(want_text(item, "id", path)) + "' not found.", "input", "",
                   not_found);
}

void responses_items::judge_message(dom::object item, const std::string& path) {
  want_known(item, {"type", "role", "content", "id", "status", "phase"}, path);
  const std::string_view role = want_text(item, "role", path);
  if (!is_one_of(role, {"user", "assistant", "system", "developer"}))
    refuse_value(path + ".role", role, "'assistant', 'system', 'developer', and 'user'");
  judge_id(item, "msg", path);
  judge_one_of(item, "status", {"in_progress", "completed", "incomplete"}, path);
  const auto content = find(item, "content");
  if (!content) refuse_missing(path + ".content");
  said_.clear();
  judge_content(*content, role, path + ".content");
  q_.last_is_user = role == "user";
  if (q_.last_is_user) q_.text[0] = said_;
}

void responses_items::judge_content(dom::element content, std::string_view role, const std::string& path) {
  if (std::string_view text; !content.get(text)) {
    json_.read(text);
    said_ += text;
    return;
  }
  if (!content.is_array()) refuse_type(path, "one of a string or array of objects");
  size_t index = 0;
  for (const dom::element part : dom::array(content))
    judge_part(part, role, path + "[" + std::to_string(index++) + "]");
}

void responses_items::judge_part(dom::element element, std::string_view role, const std::string& path) {
  const auto part = as_object(element);
  if (!part) refuse_type(path, "an object");
  const std::string_view type = want_text(*part, "type", path);
  const bool assistant = role == "assistant";
  const bool allowed = assistant ? is_one_of(type, {"output_text", "refusal"})
                                 : is_one_of(type, {"input_text", "input_image", "input_file"});
  if (!allowed)
    refuse_value(path + ".type", type,
                 assistant ? "'output_text' and 'refusal'" : "'input_text', 'input_image', and 'input_file'");
  if (type == "input_image") return judge_image(*part, path);
  if (type == "input_file") return judge_file(*part, path);
  if (type == "refusal") {
    want_known(*part, {"type", "refusal"}, path);
    want_text(*part, "refusal", path);
    return;
  }
  if (type == "input_text")
    want_known(*part, {"type", "text", "prompt_cache_breakpoint"}, path);
  else
    want_known(*part, {"type", "text", "annotations", "logprobs"}, path);
  const std::string_view text = want_text(*part, "text", path);
  json_.read(text);
  said_ += text;
}

void responses_items::judge_call(dom::object item, const std::string& path) {
  want_known(item, {"type", "id", "call_id", "name", "arguments", "status", "caller", "namespace"}, path);
  judge_id(item, "fc", path);
  const std::string_view id = want_text(item, "call_id", path);
  judge_call_id(id, path);
  want_name(want_text(item, "name", path), "_-.", path + ".name");
  want_text(item, "arguments", path);
  calls_.push_back(id);
  open_.push_back(id);
}

void responses_items::judge_output(dom::object item, const std::string& path) {
  want_known(item, {"type", "id", "call_id", "output", "status", "caller"}, path);
  judge_id(item, "fc", path);
  const std::string_view id = want_text(item, "call_id", path);
  judge_call_id(id, path);
  const auto output = find(item, "output");
  if (!output) refuse_missing(path + ".output");
  said_.clear();
  judge_content(*output, "tool", path + ".output");
  if (std::find(calls_.begin(), calls_.end(), id) == calls_.end())
    throw rejected("No tool call found for function call output with call_id " + std::string(id) + ".",
                   "input", "");
  open_.erase(std::remove(open_.begin(), open_.end(), id), open_.end());
}

void responses_items::judge_thought(dom::object item, const std::string& path) {
  want_known(item, {"type", "id", "summary", "content", "encrypted_content", "status"}, path);
  const std::string_view id = want_text(item, "id", path);
  judge_id(item, "rs", path);
  const auto summary = find(item, "summary");
  if (!summary) refuse_missing(path + ".summary");
  if (!summary->is_array()) refuse_type(path + ".summary", "an array of objects");
  size_t index = 0;
  for (const dom::element element : dom::array(*summary)) {
    const std::string place = path + ".summary[" + std::to_string(index++) + "]";
    const auto part = as_object(element);
    if (!part) refuse_type(place, "an object");
    want_known(*part, {"type", "text"}, place);
    judge_one_of(*part, "type", {"summary_text"}, place);
    want_text(*part, "text", place);
  }
  if (find(item, "encrypted_content")) {
    const std::string_view sealed = want_text(item, "encrypted_content", path);
    if (!is_seal(sealed))
      throw rejected("The encrypted content " + std::string(sealed.substr(0, 4)) +
                         "... could not be verified. Reason: Encrypted content could not be decrypted or "
                         "parsed.",
                     "", "invalid_encrypted_content");
  } else if (!is_kept_thought_id(id)) {
    throw rejected("Item with id '" + std::string(id) +
                       "' not found. Items are not persisted when `store` is set to false. Try again with "
                       "`store` set to true, or remove this item from your input.",
                   "input", "", not_found);
  }
  thought_ = id;
}

void responses_items::judge_id(dom::object item, std::string_view prefix, const std::string& path) {
  if (!find(item, "id")) return;
  const std::string_view id = want_text(item, "id", path);
  want_no_longer(id, max_id_bytes, path + ".id");
  if (!id.starts_with(prefix))
    throw rejected("Invalid '" + path + ".id': '" + std::string(id) + "'. Expected an ID that begins with '" +
                       std::string(prefix) + "'.",
                   path + ".id", "invalid_value");
  if (!ids_.insert(id).second)
    throw rejected("Duplicate item found with id " + std::string(id) +
                       ". Remove duplicate items from your input and try again.",
                   "input", "");
}

void responses_items::judge_call_id(std::string_view id, const std::string& path) {
  const std::string param = path + ".call_id";
  if (id.empty())
    throw rejected("Invalid '" + param +
                       "': empty string. Expected a string with minimum length 1, but got an empty string "
                       "instead.",
                   param, "empty_string");
  want_no_longer(id, max_id_bytes, param);
}

void responses_items::want_nothing_open() const {
  if (!thought_.empty())
    throw rejected("Item '" + std::string(thought_) +
                       "' of type 'reasoning' was provided without its required following item.",
                   "input", "");
  if (!open_.empty())
    throw rejected("No tool output found for function call " + std::string(open_.front()) + ".", "input", "");
}

}  // namespace millrace::http::simulation
