#include <algorithm>
#include <cmath>
#include <utility>

#include "http/dialects/anthropic_wire.hpp"
#include "http/simulator/anthropic_api.hpp"
#include "http/simulator/anthropic_reader.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/text.hpp"

namespace millrace::http::simulation {
namespace {

using engine::route_kind;

constexpr std::size_t max_tool_name_bytes = 128;
constexpr std::int64_t least_thinking_budget = 1024;
/// With thinking top_p may not be lower.
constexpr double least_top_p = 0.95;

/// Of MessageCreateParams and MessageCountTokensParams in @anthropic-ai/sdk.
bool is_known_member(route_kind route, std::string_view name) {
  if (is_one_of(name, {"messages", "model", "cache_control", "output_config", "speed", "system", "thinking",
                       "tool_choice", "tools", "user_profile_id", "workspace_id"}))
    return true;
  return route == route_kind::messages &&
         is_one_of(name, {"max_tokens", "container", "context_management", "diagnostics", "inference_geo",
                          "mcp_servers", "metadata", "service_tier", "stop_sequences", "stream",
                          "temperature", "top_k", "top_p"});
}

/// Models that refuse temperature and top_p together.
bool samples_one_way(std::string_view model) {
  for (const std::string_view part : {"-4-1", "-4-5", "-4-6", "-4-7", "-4-8", "-5"})
    if (model.starts_with("claude-") && model.find(part) != std::string_view::npos) return true;
  return false;
}

}  // namespace

void anthropic_reader::read(bool caches) {
  caches_ = caches;
  for (const auto& [name, value] : body_)
    if (!is_known_member(q_.route, name))
      throw rejected(std::string(name) + ": Extra inputs are not permitted");
  if (!find_text(body_, "model")) throw rejected("model: Field required");
  if (q_.route == route_kind::messages) q_.max_tokens = integer("max_tokens", 1);
  read_thinking();
  read_sampling();
  read_output_config();
  read_tools();
  read_tool_choice();
  read_system();
  read_messages();
  q_.prompt_tokens = counter_.total();
  if (const auto mark = find(body_, "cache_control")) {
    judge_cache_control(body_, "");
    q_.cache_points.push_back(point_at(q_.facts.model, prefix_, q_.prompt_tokens));
  }
  q_.writes_cache = !q_.cache_points.empty();
}

std::int64_t anthropic_reader::integer(std::string_view name, std::int64_t least) {
  const auto value = find(body_, name);
  if (!value) throw rejected(std::string(name) + ": Field required");
  std::int64_t n = 0;
  if (value->get(n)) throw rejected(std::string(name) + ": Input should be a valid integer");
  if (n < least)
    throw rejected(std::string(name) + ": Input should be greater than or equal to " + std::to_string(least));
  return n;
}

double anthropic_reader::number(std::string_view name, double least, double most) {
  double n = 0;
  if (find(body_, name)->get(n)) throw rejected(std::string(name) + ": Input should be a valid number");
  if (!(n >= least)) throw rejected(std::string(name) + ": Input should be greater than or equal to 0");
  if (n > most) throw rejected(std::string(name) + ": Input should be less than or equal to 1");
  return n;
}

void anthropic_reader::read_sampling() {
  const bool temperature = find(body_, "temperature").has_value();
  const bool top_p = find(body_, "top_p").has_value();
  if (temperature && number("temperature", 0, 1) != 1 && thinks_)
    throw rejected("`temperature` may only be set to 1 when thinking is enabled.");
  if (top_p && number("top_p", 0, 1) < least_top_p && thinks_)
    throw rejected("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.");
  if (temperature && top_p && samples_one_way(q_.facts.model))
    throw rejected("`temperature` and `top_p` cannot both be specified for this model. Please use only one.");
  if (find(body_, "top_k")) {
    integer("top_k", 0);
    if (thinks_) throw rejected("`top_k` must be unset when thinking is enabled.");
  }
  if (const auto stops = find(body_, "stop_sequences")) {
    if (!stops->is_array()) throw rejected("stop_sequences: Input should be a valid list");
    for (const dom::element stop : dom::array(*stops)) {
      std::string_view text;
      if (stop.get(text)) throw rejected("stop_sequences: Input should be a valid string");
      if (is_blank(text)) throw rejected("stop_sequences: each stop sequence must contain non-whitespace");
    }
  }
  if (const auto metadata = find(body_, "metadata")) {
    const auto object = as_object(*metadata);
    if (!object) throw rejected("metadata: Input should be a valid dictionary");
    for (const auto& [name, value] : *object)
      if (name != "user_id")
        throw rejected("metadata." + std::string(name) + ": Extra inputs are not permitted");
  }
}

void anthropic_reader::read_thinking() {
  const auto value = find(body_, "thinking");
  if (!value) return;
  const auto thinking = as_object(*value);
  const auto type = thinking ? find_text(*thinking, "type") : std::nullopt;
  if (!type || !is_one_of(*type, {"enabled", "disabled", "adaptive", "between_tools"}))
    throw rejected(
        "thinking: Input tag does not match any of the expected tags: 'adaptive', 'disabled', "
        "'enabled'");
  for (const auto& [name, inner] : *thinking) {
    const bool known = name == "type" || (name == "display" && *type != "disabled") ||
                       (name == "budget_tokens" && *type == "enabled");
    if (!known)
      throw rejected("thinking." + std::string(*type) + "." + std::string(name) +
                     ": Extra inputs are not permitted");
  }
  thinks_ = *type == "enabled" || *type == "adaptive";
  q_.reasons = thinks_;
  q_.shows_thoughts = thinks_ && find_text(*thinking, "display") != "omitted";
  needs_thoughts_ = *type == "enabled";
  if (!needs_thoughts_) return;
  std::int64_t budget = 0;
  if (thinking->at_key("budget_tokens").get(budget))
    throw rejected("thinking.enabled.budget_tokens: Field required");
  if (budget < least_thinking_budget)
    throw rejected("thinking.enabled.budget_tokens: Input should be greater than or equal to 1024");
  if (q_.max_tokens >= 0 && budget >= q_.max_tokens)
    throw rejected(
        "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our "
        "documentation at "
        "https://docs.claude.com/en/docs/build-with-claude/extended-thinking#max-tokens-and-"
        "context-window-size");
}

void anthropic_reader::read_output_config() {
  const auto value = find(body_, "output_config");
  if (!value) return;
  const auto config = as_object(*value);
  if (!config) throw rejected("output_config: Input should be a valid dictionary");
  for (const auto& [name, inner] : *config)
    if (!is_one_of(name, {"effort", "format"}))
      throw rejected("output_config." + std::string(name) + ": Extra inputs are not permitted");
  if (const auto effort = find(*config, "effort"))
    if (!is_one_of(find_text(*config, "effort").value_or(""), {"low", "medium", "high", "xhigh", "max"}))
      throw rejected("output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'");
  const auto format = find(*config, "format");
  if (!format) return;
  const auto object = as_object(*format);
  const auto schema = object ? find(*object, "schema") : std::nullopt;
  if (!object || find_text(*object, "type") != "json_schema")
    throw rejected("output_config.format.type: Input should be 'json_schema'");
  if (!schema || !schema->is_object()) throw rejected("output_config.format.schema: Field required");
  for (const auto& [name, inner] : *object)
    if (!is_one_of(name, {"type", "schema"}))
      throw rejected("output_config.format." + std::string(name) + ": Extra inputs are not permitted");
  if (!is_closed_schema(*schema))
    throw rejected(
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly "
        "set to false");
  q_.response_format = R"({"type":"json_schema","json_schema":{"schema":)" + simdjson::minify(*schema) + "}}";
  counter_.json(*schema);
}

void anthropic_reader::read_tools() {
  const auto value = find(body_, "tools");
  if (!value) return;
  if (!value->is_array()) throw rejected("tools: Input should be a valid list");
  std::set<std::string_view> names;
  std::size_t index = 0;
  for (const dom::element element : dom::array(*value)) {
    const auto tool = as_object(element);
    if (!tool) throw rejected("tools." + std::to_string(index) + ": Input should be a valid dictionary");
    if (const auto name = find_text(*tool, "name"); name && !names.insert(*name).second)
      throw rejected("tools: Tool names must be unique.");
    read_tool(*tool, index++);
  }
  if (!q_.tools.empty()) q_.tools += ']';
}

void anthropic_reader::read_tool(dom::object tool, std::size_t index) {
  const std::string path = "tools." + std::to_string(index);
  // Tools of the provider's own have types with dates, and members of their own.
  if (const auto type = find(tool, "type"); type && find_text(tool, "type") != "custom") {
    const std::string_view name = find_text(tool, "type").value_or("");
    if (name.size() < 9 || name[name.size() - 9] != '_')
      throw rejected(path + ": Input tag '" + std::string(name) +
                     "' found using 'type' does not match any of "
                     "the expected tags: 'custom', ...");
    judge_cache_control(tool, path);
    return;
  }
  for (const auto& [name, value] : tool)
    if (!is_one_of(name, {"type", "name", "input_schema", "description", "cache_control", "allowed_callers",
                          "defer_loading", "eager_input_streaming", "input_examples", "strict"}))
      throw rejected(path + ".custom." + std::string(name) + ": Extra inputs are not permitted");
  const auto name = find_text(tool, "name");
  if (!name) throw rejected(path + ".custom.name: Field required");
  if (!is_name(*name, "_-", 1, max_tool_name_bytes))
    throw rejected(path + ".custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'");
  const auto schema = find(tool, "input_schema");
  if (!schema) throw rejected(path + ".custom.input_schema: Field required");
  const auto object = as_object(*schema);
  if (!object) throw rejected(path + ".custom.input_schema: Input should be a valid dictionary");
  if (!find(*object, "type")) throw rejected(path + ".custom.input_schema.type: Field required");
  if (find_text(*object, "type") != "object")
    throw rejected(path + ".custom.input_schema.type: Input should be 'object'");
  if (find(tool, "description") && !find_text(tool, "description"))
    throw rejected(path + ".custom.description: Input should be a valid string");
  counter_.tool(*name, find_text(tool, "description"), schema);
  add_function(q_.tools, *name, simdjson::minify(*schema));
  judge_cache_control(tool, path);
  remember("tool", tool);
}

void anthropic_reader::read_tool_choice() {
  const auto value = find(body_, "tool_choice");
  if (!value) return;
  const auto choice = as_object(*value);
  const std::string_view type = choice ? find_text(*choice, "type").value_or("") : "";
  if (!is_one_of(type, {"auto", "any", "tool", "none"}))
    throw rejected(
        "tool_choice: Input tag '" + std::string(type) +
        "' found using 'type' does not match any of the expected tags: 'auto', 'any', 'tool', 'none'");
  for (const auto& [name, inner] : *choice) {
    const bool known = name == "type" || (name == "name" && type == "tool") ||
                       (name == "disable_parallel_tool_use" && type != "none");
    if (!known)
      throw rejected("tool_choice." + std::string(type) + "." + std::string(name) +
                     ": Extra inputs are not permitted");
  }
  if (!find(body_, "tools"))
    throw rejected("tool_choice: tool_choice may only be specified while providing tools.");
  if (thinks_ && (type == "any" || type == "tool"))
    throw rejected("Thinking may not be enabled when tool_choice forces tool use.");
  bool alone = false;
  if (!choice->at_key("disable_parallel_tool_use").get(alone)) q_.parallel_calls = !alone;
  if (type == "none") q_.tool_choice = "\"none\"";
  if (type == "any") q_.tool_choice = "\"required\"";
  if (type != "tool") return;
  const auto name = find_text(*choice, "name");
  if (!name) throw rejected("tool_choice.tool.name: Field required");
  std::string quoted;
  append_escaped(quoted, *name);
  if (q_.tools.find("{\"name\":\"" + quoted + "\"") == std::string::npos)
    throw rejected("Tool '" + std::string(*name) + "' not found in provided tools");
  q_.tool_choice = chosen_function(*name);
}

void anthropic_reader::read_system() {
  const auto system = find(body_, "system");
  if (!system) return;
  if (!system->is_string() && !system->is_array()) throw rejected("system: Input should be a valid string");
  counter_.message();
  read_content(*system, "system", home::system, true);
}

namespace {

/// Versions are dates; newer SDKs send newer ones.
bool is_anthropic_version(std::string_view text) {
  constexpr std::string_view form = "dddd-dd-dd";
  if (text.size() != form.size() || text < "2023") return false;
  for (std::size_t i = 0; i < form.size(); ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (form[i] == 'd' ? !digit : text[i] != '-') return false;
  }
  return true;
}

}  // namespace

bool read_anthropic_question(route_kind route, const http_request& request, question& q,
                             engine::api_error& error) {
  if (request.anthropic_version.empty()) {
    error = rejected("anthropic-version: header is required").error();
    return false;
  }
  if (!is_anthropic_version(request.anthropic_version)) {
    error = rejected("anthropic-version: \"" + std::string(request.anthropic_version) +
                     "\" is not a valid version. Use \"2023-06-01\".")
                .error();
    return false;
  }
  try {
    thread_local dom::parser parser;
    dom::element body;
    const std::string_view text = request.body;
    if (const auto e = parser.parse(text.data(), text.size(), false).get(body); e)
      throw rejected("The request body is not valid JSON: " + std::string(simdjson::error_message(e)));
    const auto object = as_object(body);
    if (!object) throw rejected("The request body is not an object.");
    q.facts.model = find_text(*object, "model").value_or("");
    anthropic_reader(q, *object).read(text.find("cache_control") != std::string_view::npos);
    // What Millrace reckons with, for the limits: both sides count alike.
    if (!read_anthropic_request(route, text, q.facts, error)) return false;
    q.facts.input_tokens =
        route == route_kind::count_tokens ? 0 : std::min(q.facts.input_tokens, q.prompt_tokens);
    q.digest = digest_of(raw_member(text, "messages"));
    return true;
  } catch (const rejected& r) {
    error = r.error();
    return false;
  }
}

}  // namespace millrace::http::simulation
