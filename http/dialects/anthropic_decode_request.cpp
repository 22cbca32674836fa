#include <algorithm>
#include <cstdlib>
#include <utility>

#include "http/dialects/anthropic_blocks.hpp"
#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

constexpr std::int64_t least_thinking_tokens = 1024;

/// Members of a request that are read at once, by their place in `top_names`; the long ones are read where
/// they stand.
enum top : std::size_t {
  max_tokens,
  stream,
  temperature,
  top_p,
  top_k,
  stop_sequences,
  tool_choice_member,
  thinking_member,
  output_config,
  metadata,
  model,
  service_tier,
  speed,
  diagnostics,
  cache_control,
  top_count
};
constexpr std::array<std::string_view, top_count> top_names = {
    "max_tokens",     "stream",       "temperature", "top_p",         "top_k",
    "stop_sequences", "tool_choice",  "thinking",    "output_config", "metadata",
    "model",          "service_tier", "speed",       "diagnostics",   "cache_control"};

class request_decoder {
 public:
  request_decoder(chat_request& out, engine::api_error& error) : out_(out), blocks_(out, error) {}

  bool read(std::string_view body);

 private:
  bool fail(std::string code, std::string param, std::string_view why) {
    return blocks_.fail(std::move(code), std::move(param), why);
  }
  bool read_members(json_scanner& scanner);
  bool read_messages(json_scanner& scanner);
  bool read_message(json_scanner& scanner, block_place at);
  bool read_system(json_scanner& scanner);
  bool read_tools(json_scanner& scanner);
  bool read_tool(json_scanner& scanner, block_place at);
  bool judge_tool(const chat_tool& tool, block_place at);
  bool read_sampling();
  bool read_number(top which, json_literal& into);
  bool read_stops();
  bool read_tool_choice();
  bool read_thinking();
  bool read_output_config();
  bool read_format(json_literal format);
  bool read_metadata();
  bool not_object(std::string_view param) {
    return fail("invalid_type", std::string(param), "it must be an object.");
  }

  chat_request& out_;
  block_decoder blocks_;
  chat_message system_;
  bool has_messages_ = false;
  std::array<json_literal, top_count> top_;
};

bool request_decoder::read(std::string_view body) {
  json_scanner scanner(body);
  if (!scanner.enter_object()) return fail("invalid_json", "", "The body must be a JSON object.");
  if (!read_members(scanner)) return false;
  if (!scanner.at_end()) return fail("invalid_json", "", "The body is not valid JSON.");
  if (!has_messages_) return fail("missing_field", "messages", "send at least one message.");
  if (!system_.parts.empty()) out_.messages.insert(out_.messages.begin(), std::move(system_));
  for (const top hint : {service_tier, speed, diagnostics, cache_control}) {
    if (!top_[hint].empty()) blocks_.drop(top_names[hint]);
  }
  return read_sampling() && read_stops() && read_tool_choice() && read_thinking() && read_output_config() &&
         read_metadata();
}

bool request_decoder::read_members(json_scanner& scanner) {
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "messages") {
      if (!read_messages(scanner)) return false;
    } else if (key == "system" && scanner.peek() != 'n') {
      if (!read_system(scanner)) return false;
    } else if (key == "tools" && scanner.peek() != 'n') {
      if (!read_tools(scanner)) return false;
    } else {
      const auto known = std::find(top_names.begin(), top_names.end(), key);
      const bool is_known = known != top_names.end() || key == "system" || key == "tools";
      std::string name = is_known ? std::string() : std::string(key);
      const std::string_view value = scanner.value();
      if (value == "null") continue;
      if (!is_known) return blocks_.fail_unsupported(std::move(name));
      if (known != top_names.end()) top_[static_cast<std::size_t>(known - top_names.begin())] = value;
    }
  }
  return true;
}

bool request_decoder::read_messages(json_scanner& scanner) {
  if (!scanner.enter_array()) return fail("invalid_type", "messages", "it must be an array.");
  block_place at{"messages"};
  for (at.first = 0; scanner.next_element(); ++at.first) {
    has_messages_ = true;
    if (!read_message(scanner, at)) return false;
  }
  return true;
}

/// The content is read where it stands when its role is known by then, as it nearly always is.
bool request_decoder::read_message(json_scanner& scanner, block_place at) {
  if (!scanner.enter_object()) return fail("invalid_type", at.path(), "a message must be an object.");
  chat_message& message = out_.messages.emplace_back();
  bool has_role = false;
  bool has_content = false;
  json_literal late_content;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "role") {
      const std::string role = json_text(scanner.value());
      has_role = true;
      if (role == "user") {
        message.role = chat_role::user;
      } else if (role == "assistant") {
        message.role = chat_role::assistant;
      } else if (role == "system") {
        message.role = chat_role::system;
      } else {
        return fail("invalid_value", at.path("role"), "it must be user, assistant or system.");
      }
    } else if (key == "content") {
      has_content = true;
      if (!has_role) {
        late_content = scanner.value();
      } else if (!blocks_.read_content(scanner, at, place_of(message.role), message.parts)) {
        return false;
      }
    } else {
      std::string name(key);
      if (scanner.value() != "null") return blocks_.fail_unsupported(at.path(name));
    }
  }
  if (!has_role) return fail("missing_field", at.path("role"), "say whose message it is.");
  if (!has_content) return fail("missing_field", at.path("content"), "a message needs content.");
  if (late_content.empty()) return true;
  json_scanner inner(late_content);
  return blocks_.read_content(inner, at, place_of(message.role), message.parts);
}

bool request_decoder::read_system(json_scanner& scanner) {
  system_.role = chat_role::system;
  return blocks_.read_content(scanner, {"system"}, place_of(chat_role::system), system_.parts);
}

bool request_decoder::read_tools(json_scanner& scanner) {
  if (!scanner.enter_array()) return fail("invalid_type", "tools", "it must be an array.");
  block_place at{"tools"};
  for (at.first = 0; scanner.next_element(); ++at.first) {
    if (!read_tool(scanner, at)) return false;
  }
  return true;
}

bool request_decoder::read_tool(json_scanner& scanner, block_place at) {
  enum : std::size_t {
    name,
    description,
    schema,
    cache,
    type,
    strict,
    eager,
    examples,
    defer,
    callers,
    count
  };
  static constexpr std::array<std::string_view, count> names = {
      "name",   "description",           "input_schema",   "cache_control", "type",
      "strict", "eager_input_streaming", "input_examples", "defer_loading", "allowed_callers"};
  const json_members<count> value(scanner, names);
  if (!value.is_object) return fail("invalid_type", at.path(), "a tool must be an object.");
  // First the type: tools of other types have other members.
  if (!value[type].empty() && json_text(value[type]) != "custom")
    return blocks_.fail_unsupported(at.path("type"));
  if (!value.unknown.empty()) return blocks_.fail_unsupported(at.path(value.unknown));
  if (value[defer] == "true") return blocks_.fail_unsupported(at.path("defer_loading"));
  if (!value[callers].empty() && !is_direct_caller_list(value[callers]))
    return blocks_.fail_unsupported(at.path("allowed_callers"));
  if (!value[eager].empty()) blocks_.drop("eager_input_streaming");
  if (!value[examples].empty()) blocks_.drop("input_examples");
  chat_tool& tool = out_.tools.emplace_back();
  tool.name = text_of(value[name], out_);
  tool.description = value[description];
  tool.parameters = value[schema];
  if (!value[strict].empty()) tool.strict = value[strict] == "true";
  tool.cache_control = value[cache];
  return judge_tool(tool, at);
}

bool request_decoder::judge_tool(const chat_tool& tool, block_place at) {
  if (tool.name.empty()) return fail("missing_field", at.path("name"), "a tool needs a name.");
  if (tool.parameters.empty())
    return fail("missing_field", at.path("input_schema"), "a tool needs a schema.");
  if (tool.parameters.front() != '{')
    return fail("invalid_type", at.path("input_schema"), "it must be an object.");
  if (!tool.description.empty() && tool.description.front() != '"')
    return fail("invalid_type", at.path("description"), "it must be a string.");
  return blocks_.judge_cache_control(tool.cache_control, at);
}

bool request_decoder::read_sampling() {
  if (top_[max_tokens].empty())
    return fail("missing_field", "max_tokens", "say how many tokens to generate at most.");
  if (!json_integer(top_[max_tokens], out_.max_output_tokens) || out_.max_output_tokens < 0)
    return fail("invalid_value", "max_tokens", "it must be a whole number above 0.");
  if (out_.max_output_tokens == 0) return blocks_.fail_unsupported("max_tokens");
  const json_literal streamed = top_[stream];
  if (!streamed.empty() && streamed != "true" && streamed != "false")
    return fail("invalid_type", "stream", "it must be true or false.");
  // Streams of this dialect always tell usage.
  out_.stream = out_.include_usage = streamed == "true";
  if (!read_number(temperature, out_.temperature) || !read_number(top_p, out_.top_p) ||
      !read_number(top_k, out_.top_k)) {
    return false;
  }
  for (const top which : {temperature, top_p}) {
    if (top_[which].empty()) continue;
    const double number = std::strtod(std::string(top_[which]).c_str(), nullptr);
    if (number < 0 || number > 1)
      return fail("invalid_value", std::string(top_names[which]), "it must be between 0 and 1.");
  }
  return true;
}

bool request_decoder::read_number(top which, json_literal& into) {
  const json_literal value = top_[which];
  if (!value.empty() && value.front() != '-' && (value.front() < '0' || value.front() > '9'))
    return fail("invalid_type", std::string(top_names[which]), "it must be a number.");
  into = value;
  return true;
}

bool request_decoder::read_stops() {
  if (top_[stop_sequences].empty()) return true;
  json_scanner scanner(top_[stop_sequences]);
  if (!scanner.enter_array())
    return fail("invalid_type", "stop_sequences", "it must be an array of strings.");
  while (scanner.next_element()) {
    if (scanner.peek() != '"')
      return fail("invalid_type", "stop_sequences", "it must be an array of strings.");
    out_.stop.push_back(scanner.value());
  }
  return true;
}

/// Stands inside of the object then.
bool request_decoder::read_tool_choice() {
  if (top_[tool_choice_member].empty()) return true;
  const json_members<3> value(top_[tool_choice_member], {"type", "name", "disable_parallel_tool_use"});
  if (!value.is_object) return not_object("tool_choice");
  if (!value.unknown.empty()) return blocks_.fail_unsupported("tool_choice." + value.unknown);
  const std::string type = json_text(value[0]);
  if (type == "auto") {
    out_.tool_choice = tool_choice::automatic;
  } else if (type == "any") {
    out_.tool_choice = tool_choice::any;
  } else if (type == "none") {
    out_.tool_choice = tool_choice::none;
  } else if (type == "tool") {
    out_.tool_choice = tool_choice::named;
    out_.chosen_tool = text_of(value[1], out_);
    if (out_.chosen_tool.empty()) return fail("missing_field", "tool_choice.name", "name the tool to call.");
  } else {
    return fail("invalid_value", "tool_choice.type", "it must be auto, any, tool or none.");
  }
  if (!value[2].empty()) out_.parallel_tool_calls = value[2] != "true";
  return true;
}

bool request_decoder::read_thinking() {
  if (top_[thinking_member].empty()) return true;
  const json_members<3> value(top_[thinking_member], {"type", "budget_tokens", "display"});
  if (!value.is_object) return not_object("thinking");
  if (!value.unknown.empty()) return blocks_.fail_unsupported("thinking." + value.unknown);
  if (!value[2].empty()) blocks_.drop("thinking.display");
  const std::string type = json_text(value[0]);
  if (type == "disabled") {
    out_.thinking = thinking_mode::off;
  } else if (type == "adaptive") {
    out_.thinking = thinking_mode::on;
  } else if (type == "enabled") {
    out_.thinking = thinking_mode::on;
    if (!json_integer(value[1], out_.thinking_tokens) || out_.thinking_tokens < least_thinking_tokens)
      return fail("invalid_value", "thinking.budget_tokens", "it must be a whole number from 1024 on.");
    if (out_.thinking_tokens >= out_.max_output_tokens)
      return fail("invalid_value", "thinking.budget_tokens", "it must be less than max_tokens.");
  } else if (type == "between_tools") {
    return blocks_.fail_unsupported("thinking.type");
  } else {
    return fail("invalid_value", "thinking.type", "it must be enabled, disabled or adaptive.");
  }
  return true;
}

bool request_decoder::read_output_config() {
  if (top_[output_config].empty()) return true;
  const json_members<2> value(top_[output_config], {"effort", "format"});
  if (!value.is_object) return not_object("output_config");
  if (!value.unknown.empty()) return blocks_.fail_unsupported("output_config." + value.unknown);
  if (!value[0].empty()) {
    out_.effort = text_of(value[0], out_);
    if (out_.effort.empty())
      return fail("invalid_value", "output_config.effort", "it must be a level such as low.");
  }
  return value[1].empty() || read_format(value[1]);
}

bool request_decoder::read_format(json_literal format) {
  const json_members<2> value(format, {"type", "schema"});
  if (!value.is_object) return not_object("output_config.format");
  if (!value.unknown.empty()) return blocks_.fail_unsupported("output_config.format." + value.unknown);
  if (json_text(value[0]) != "json_schema")
    return fail("invalid_value", "output_config.format.type", "it must be json_schema.");
  if (value[1].empty() || value[1].front() != '{')
    return fail("invalid_type", "output_config.format.schema", "it must be an object.");
  out_.format = answer_format::schema;
  out_.schema = value[1];
  out_.schema_strict = true;
  return true;
}

bool request_decoder::read_metadata() {
  if (top_[metadata].empty()) return true;
  const json_members<1> value(top_[metadata], {"user_id"});
  if (!value.is_object) return not_object("metadata");
  if (!value.unknown.empty()) return blocks_.fail_unsupported("metadata." + value.unknown);
  out_.end_user = text_of(value[0], out_);
  return true;
}

}  // namespace

bool decode_anthropic_request(std::string_view body, chat_request& out, engine::api_error& error) {
  out = {};
  return request_decoder(out, error).read(body);
}

}  // namespace millrace::http
