#include "http/simulator/openai_strict.hpp"

#include <optional>
#include <string>

#include "http/simulator/errors.hpp"
#include "http/simulator/openai_judging.hpp"
#include "http/simulator/openai_messages.hpp"

namespace millrace::http::simulation {
namespace {

using engine::route_kind;

constexpr size_t max_tools = 128;
constexpr size_t max_stops = 4;

/// Of the parameters of the `openai` package.
bool is_known(route_kind route, std::string_view name) {
  if (is_one_of(name, {"model", "user"})) return true;
  if (route == route_kind::embeddings) return is_one_of(name, {"input", "dimensions", "encoding_format"});
  if (is_one_of(name, {"frequency_penalty", "logit_bias", "logprobs", "max_tokens", "n", "presence_penalty",
                       "seed", "stop", "stream", "stream_options", "temperature", "top_p"}))
    return true;
  if (route == route_kind::completions) return is_one_of(name, {"prompt", "best_of", "echo", "suffix"});
  return is_one_of(name, {"messages",
                          "audio",
                          "function_call",
                          "functions",
                          "max_completion_tokens",
                          "metadata",
                          "modalities",
                          "moderation",
                          "parallel_tool_calls",
                          "prediction",
                          "prompt_cache_key",
                          "prompt_cache_options",
                          "prompt_cache_retention",
                          "reasoning_effort",
                          "response_format",
                          "safety_identifier",
                          "service_tier",
                          "store",
                          "tool_choice",
                          "tools",
                          "top_logprobs",
                          "verbosity",
                          "web_search_options"});
}

class judge {
 public:
  judge(route_kind route, dom::object body) : route_(route), body_(body) {}
  void everything();

 private:
  void judge_reasoning();
  void stops();
  void tools();
  std::string_view tool(dom::element element, const std::string& path);
  void tool_choice();
  void response_format();

  route_kind route_;
  dom::object body_;
  openai_messages messages_;
  std::string names_;  ///< of the tools, each between line feeds
};

void judge::everything() {
  for (const auto& [name, value] : body_)
    if (!is_known(route_, name)) refuse_unknown(std::string(name));
  judge_decimal(body_, "temperature", 0, 2);
  judge_decimal(body_, "top_p", 0, 1);
  judge_decimal(body_, "presence_penalty", -2, 2);
  judge_decimal(body_, "frequency_penalty", -2, 2);
  judge_integer(body_, "max_tokens", 1);
  judge_integer(body_, "max_completion_tokens", 1);
  judge_integer(body_, "n", 1);
  if (find(body_, "max_tokens") && find(body_, "max_completion_tokens"))
    throw rejected("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.");
  if (find(body_, "max_tokens") && route_ == route_kind::chat &&
      wants_completion_tokens(find_text(body_, "model").value_or("")))
    throw rejected(
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' "
        "instead.",
        "max_tokens", "unsupported_parameter");
  judge_reasoning();
  bool stream = false;
  const bool streams = !body_.at_key("stream").get(stream) && stream;
  if (find(body_, "stream_options") && !streams)
    throw rejected("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                   "stream_options");
  stops();
  if (route_ != route_kind::chat) return;
  judge_one_of(body_, "reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh", "max"});
  judge_one_of(body_, "verbosity", {"low", "medium", "high"});
  bool logprobs = false;
  if (find(body_, "top_logprobs") && (body_.at_key("logprobs").get(logprobs) || !logprobs))
    throw rejected("'top_logprobs' is only allowed when 'logprobs' is set to true.", "top_logprobs");
  if (const auto messages = find(body_, "messages"); messages && messages->is_array())
    messages_.judge(dom::array(*messages));
  tools();
  tool_choice();
  response_format();
}

void judge::judge_reasoning() {
  const std::string_view model = find_text(body_, "model").value_or("");
  double temperature = 1;
  const auto given = find(body_, "temperature");
  if (!given || given->get(temperature) || temperature == 1 ||
      !is_one_of(model.substr(0, 2), {"o1", "o3", "o4"}))
    return;
  throw rejected("Unsupported value: 'temperature' does not support " + std::to_string(temperature) +
                     " with this model. Only the default (1) value is supported.",
                 "temperature", "unsupported_value");
}

void judge::stops() {
  const auto value = find(body_, "stop");
  if (!value || value->is_string()) return;
  if (!value->is_array())
    throw rejected("Invalid type for 'stop': expected a string or an array of strings.", "stop",
                   "invalid_type");
  const dom::array stops(*value);
  if (stops.size() > max_stops)
    throw rejected(
        "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with "
        "length " +
            std::to_string(stops.size()) + " instead.",
        "stop", "array_above_max_length");
  for (const dom::element stop : stops)
    if (!stop.is_string())
      throw rejected("Invalid type for 'stop': expected a string or an array of strings.", "stop",
                     "invalid_type");
}

void judge::tools() {
  const auto value = find(body_, "tools");
  if (!value) {
    if (find(body_, "parallel_tool_calls"))
      throw rejected(
          "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are "
          "specified.",
          "parallel_tool_calls");
    return;
  }
  const dom::array tools = want_array(*value, "tools");
  if (tools.size() > max_tools)
    throw rejected("Invalid 'tools': array too long. Expected an array with maximum length 128.", "tools",
                   "array_above_max_length");
  size_t index = 0;
  names_ = "\n";
  for (const dom::element element : tools)
    names_.append(tool(element, "tools[" + std::to_string(index++) + "]")).append("\n");
}

std::string_view judge::tool(dom::element element, const std::string& path) {
  const auto tool = as_object(element);
  const auto type = tool ? find_text(*tool, "type") : std::nullopt;
  if (!type) refuse_missing(path + ".type");
  if (!is_one_of(*type, {"function", "custom"}))
    refuse_value(path + ".type", *type, "'function' and 'custom'");
  const auto value = find(*tool, *type);
  const auto what = value ? as_object(*value) : std::nullopt;
  const std::string inner = path + "." + std::string(*type);
  if (!what) refuse_missing(inner);
  for (const auto& [name, ignored] : *tool)
    if (name != "type" && name != *type) refuse_unknown(inside_of(path, name));
  const std::string_view name = want_text(*what, "name", inner);
  want_name(name, "_-", inner + ".name");
  if (*type == "custom") return name;
  want_known(*what, {"name", "description", "parameters", "strict"}, inner);
  bool strict = false;
  strict = !what->at_key("strict").get(strict) && strict;
  if (const auto parameters = find(*what, "parameters"))
    judge_parameters(*parameters, strict, name, inner + ".parameters");
  return name;
}

void judge::tool_choice() {
  const auto value = find(body_, "tool_choice");
  if (!value) return;
  if (names_.empty())
    throw rejected(
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        "tool_choice");
  if (value->is_string()) return judge_one_of(body_, "tool_choice", {"none", "auto", "required"});
  const auto choice = as_object(*value);
  const auto type = choice ? find_text(*choice, "type") : std::nullopt;
  if (!type || !is_one_of(*type, {"function", "custom", "allowed_tools"}))
    throw rejected(
        "Invalid value for 'tool_choice.type'. Supported values are: 'function', 'allowed_tools', and "
        "'custom'.",
        "tool_choice.type");
  if (*type == "allowed_tools") return;
  const auto what = find(*choice, *type);
  const auto object = what ? as_object(*what) : std::nullopt;
  const auto name = object ? find_text(*object, "name") : std::nullopt;
  if (!name) refuse_missing("tool_choice.function.name");
  if (names_.find("\n" + std::string(*name) + "\n") == std::string::npos)
    throw rejected("Tool choice '" + std::string(*name) + "' not found in 'tools' parameter.", "tool_choice");
}

void judge::response_format() {
  const auto value = find(body_, "response_format");
  if (!value) return;
  const auto format = as_object(*value);
  const auto type = format ? find_text(*format, "type") : std::nullopt;
  if (!type || !is_one_of(*type, {"text", "json_object", "json_schema"}))
    throw rejected(
        "Invalid value: 'response_format.type'. Supported values are: 'json_object', 'json_schema', and "
        "'text'.",
        "response_format.type");
  if (*type == "json_object" && !messages_.say_json())
    throw rejected(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type "
        "'json_object'.",
        "messages");
  if (*type != "json_schema") return;
  const auto inner = find(*format, "json_schema");
  const auto named = inner ? as_object(*inner) : std::nullopt;
  if (!named || !find_text(*named, "name")) refuse_missing("response_format.json_schema.name");
  const std::string_view name = *find_text(*named, "name");
  want_name(name, "_-", "response_format.json_schema.name");
  bool strict = false;
  if (!named->at_key("strict").get(strict) && strict)
    if (const auto schema = find(*named, "schema"))
      judge_closed(*schema, "response_format '" + std::string(name) + "'", "response_format");
}

}  // namespace

bool wants_completion_tokens(std::string_view model) {
  if (model.starts_with("gpt-5-chat")) return false;
  for (const std::string_view family : {"o1", "o3", "o4-mini", "gpt-5", "gpt-5.1", "gpt-5.2"}) {
    if (model.starts_with(family) && (model.size() == family.size() || model[family.size()] == '-'))
      return true;
  }
  return false;
}

void judge_openai(route_kind route, std::string_view body, size_t padding) {
  thread_local dom::parser parser;
  dom::element root;
  // Where the padding is too small the parser copies.
  const bool copy = padding < simdjson::SIMDJSON_PADDING;
  if (const auto e = parser.parse(body.data(), body.size(), copy).get(root); e)
    throw rejected("The body could not be read: " + std::string(simdjson::error_message(e)));
  if (const auto object = as_object(root)) judge(route, *object).everything();
}

}  // namespace millrace::http::simulation
