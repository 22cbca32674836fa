#include "http/simulator/openai_strict.hpp"

#include <optional>
#include <string>

#include "http/simulator/errors.hpp"
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

std::string shown(double n) {
  std::string text = std::to_string(n);
  while (text.ends_with('0')) text.pop_back();
  if (text.ends_with('.')) text.pop_back();
  return text;
}

class judge {
 public:
  judge(route_kind route, dom::object body) : route_(route), body_(body) {}
  void everything();

 private:
  void decimal(std::string_view name, double least, double most);
  void integer(std::string_view name, std::int64_t least);
  void one_of(std::string_view name, std::initializer_list<std::string_view> values);
  void stops();
  void tools();
  std::string_view tool(dom::element element, const std::string& path);
  void tool_choice();
  void response_format();
  void closed(dom::element schema, const std::string& what);

  route_kind route_;
  dom::object body_;
  openai_messages messages_;
  std::string names_;  ///< of the tools, each between line feeds
};

void judge::everything() {
  for (const auto& [name, value] : body_)
    if (!is_known(route_, name))
      throw rejected("Unknown parameter: '" + std::string(name) + "'.", std::string(name),
                     "unknown_parameter");
  decimal("temperature", 0, 2);
  decimal("top_p", 0, 1);
  decimal("presence_penalty", -2, 2);
  decimal("frequency_penalty", -2, 2);
  integer("max_tokens", 1);
  integer("max_completion_tokens", 1);
  integer("n", 1);
  if (find(body_, "max_tokens") && find(body_, "max_completion_tokens"))
    throw rejected("Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.");
  bool stream = false;
  const bool streams = !body_.at_key("stream").get(stream) && stream;
  if (find(body_, "stream_options") && !streams)
    throw rejected("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                   "stream_options");
  stops();
  if (route_ != route_kind::chat) return;
  one_of("reasoning_effort", {"none", "minimal", "low", "medium", "high", "xhigh", "max"});
  one_of("verbosity", {"low", "medium", "high"});
  bool logprobs = false;
  if (find(body_, "top_logprobs") && (body_.at_key("logprobs").get(logprobs) || !logprobs))
    throw rejected("'top_logprobs' is only allowed when 'logprobs' is set to true.", "top_logprobs");
  if (const auto messages = find(body_, "messages"); messages && messages->is_array())
    messages_.judge(dom::array(*messages));
  tools();
  tool_choice();
  response_format();
}

void judge::decimal(std::string_view name, double least, double most) {
  const auto value = find(body_, name);
  if (!value) return;
  const std::string param(name);
  double n = 0;
  if (value->get(n))
    throw rejected("Invalid type for '" + param + "': expected a decimal.", param, "invalid_type");
  if (n < least)
    throw rejected("Invalid '" + param + "': decimal below minimum value. Expected a value >= " +
                       shown(least) + ", but got " + shown(n) + " instead.",
                   param, "decimal_below_min_value");
  if (n > most)
    throw rejected("Invalid '" + param + "': decimal above maximum value. Expected a value <= " +
                       shown(most) + ", but got " + shown(n) + " instead.",
                   param, "decimal_above_max_value");
}

void judge::integer(std::string_view name, std::int64_t least) {
  const auto value = find(body_, name);
  if (!value) return;
  const std::string param(name);
  std::int64_t n = 0;
  if (value->get(n))
    throw rejected("Invalid type for '" + param + "': expected an integer.", param, "invalid_type");
  if (n < least)
    throw rejected("Invalid '" + param + "': integer below minimum value. Expected a value >= " +
                       std::to_string(least) + ", but got " + std::to_string(n) + " instead.",
                   param, "integer_below_min_value");
}

void judge::one_of(std::string_view name, std::initializer_list<std::string_view> values) {
  if (!find(body_, name)) return;
  const std::string_view value = find_text(body_, name).value_or("");
  if (is_one_of(value, values)) return;
  std::string supported;
  for (const std::string_view v : values)
    supported.append(supported.empty() ? "'" : ", '").append(v).append("'");
  throw rejected("Invalid value: '" + std::string(value) + "'. Supported values are: " + supported + ".",
                 std::string(name), "invalid_value");
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
  if (!value->is_array())
    throw rejected("Invalid type for 'tools': expected an array of objects.", "tools", "invalid_type");
  const dom::array tools(*value);
  if (tools.size() == 0)
    throw rejected(
        "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array "
        "instead.",
        "tools", "empty_array");
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
  if (!type)
    throw rejected("Missing required parameter: '" + path + ".type'.", path + ".type",
                   "missing_required_parameter");
  if (!is_one_of(*type, {"function", "custom"}))
    throw rejected(
        "Invalid value: '" + std::string(*type) + "'. Supported values are: 'function' and 'custom'.",
        path + ".type", "invalid_value");
  const auto value = find(*tool, *type);
  const auto what = value ? as_object(*value) : std::nullopt;
  const std::string inner = path + "." + std::string(*type);
  if (!what)
    throw rejected("Missing required parameter: '" + inner + "'.", inner, "missing_required_parameter");
  for (const auto& [name, ignored] : *tool)
    if (name != "type" && name != *type)
      throw rejected("Unknown parameter: '" + path + "." + std::string(name) + "'.",
                     path + "." + std::string(name), "unknown_parameter");
  const auto name = find_text(*what, "name");
  if (!name)
    throw rejected("Missing required parameter: '" + inner + ".name'.", inner + ".name",
                   "missing_required_parameter");
  if (!is_name(*name, "_-", 1, 64))
    throw rejected("Invalid '" + inner +
                       ".name': string does not match pattern. Expected a string that matches the "
                       "pattern '^[a-zA-Z0-9_-]+$'.",
                   inner + ".name", "invalid_value");
  if (*type == "custom") return *name;
  for (const auto& [member, ignored] : *what)
    if (!is_one_of(member, {"name", "description", "parameters", "strict"}))
      throw rejected("Unknown parameter: '" + inner + "." + std::string(member) + "'.",
                     inner + "." + std::string(member), "unknown_parameter");
  const auto parameters = find(*what, "parameters");
  const std::string what_for = "function '" + std::string(*name) + "'";
  if (parameters) {
    const auto schema = as_object(*parameters);
    if (!schema || (schema->size() > 0 && find_text(*schema, "type") != "object"))
      throw rejected(
          "Invalid schema for " + what_for + ": schema must be a JSON Schema of 'type: \"object\"'.",
          inner + ".parameters", "invalid_function_parameters");
    bool strict = false;
    if (!what->at_key("strict").get(strict) && strict) closed(*parameters, what_for);
  }
  return *name;
}

void judge::tool_choice() {
  const auto value = find(body_, "tool_choice");
  if (!value) return;
  if (names_.empty())
    throw rejected(
        "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        "tool_choice");
  if (value->is_string()) return one_of("tool_choice", {"none", "auto", "required"});
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
  if (!name)
    throw rejected("Missing required parameter: 'tool_choice.function.name'.", "tool_choice.function.name",
                   "missing_required_parameter");
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
  if (!named || !find_text(*named, "name"))
    throw rejected("Missing required parameter: 'response_format.json_schema.name'.",
                   "response_format.json_schema.name", "missing_required_parameter");
  const std::string_view name = *find_text(*named, "name");
  if (!is_name(name, "_-", 1, 64))
    throw rejected(
        "Invalid 'response_format.json_schema.name': string does not match pattern. Expected a string that "
        "matches the pattern '^[a-zA-Z0-9_-]+$'.",
        "response_format.json_schema.name");
  bool strict = false;
  if (!named->at_key("strict").get(strict) && strict)
    if (const auto schema = find(*named, "schema"))
      closed(*schema, "response_format '" + std::string(name) + "'");
}

void judge::closed(dom::element schema, const std::string& what) {
  if (!is_closed_schema(schema))
    throw rejected("Invalid schema for " + what +
                       ": In context=(), 'additionalProperties' is required to be supplied and to be false.",
                   "response_format", "invalid_json_schema");
}

}  // namespace

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
