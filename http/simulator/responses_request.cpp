#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>

#include "http/dialects/responses_passthrough.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/random.hpp"
#include "http/simulator/responses_api.hpp"
#include "http/simulator/responses_items.hpp"
#include "http/simulator/text.hpp"

namespace millrace::http::simulation {
namespace {

constexpr std::int64_t least_output_tokens = 16;
constexpr int response_not_found = 404;
/// Makes a kept thought's id from its number.
constexpr std::uint64_t thought_seed = 0x7265'6173'6f6e'6564;
constexpr std::string_view thought_prefix = "rs_";
constexpr size_t hex_digits = 16;

/// Of ResponseCreateParams in the `openai` package.
constexpr std::array<std::string_view, 31> known_members = {"background",
                                                            "context_management",
                                                            "conversation",
                                                            "include",
                                                            "input",
                                                            "instructions",
                                                            "max_output_tokens",
                                                            "max_tool_calls",
                                                            "metadata",
                                                            "model",
                                                            "moderation",
                                                            "parallel_tool_calls",
                                                            "previous_response_id",
                                                            "prompt",
                                                            "prompt_cache_key",
                                                            "prompt_cache_options",
                                                            "prompt_cache_retention",
                                                            "reasoning",
                                                            "safety_identifier",
                                                            "service_tier",
                                                            "store",
                                                            "stream",
                                                            "stream_options",
                                                            "temperature",
                                                            "text",
                                                            "tool_choice",
                                                            "tools",
                                                            "top_logprobs",
                                                            "top_p",
                                                            "truncation",
                                                            "user"};

struct moved_member {
  std::string_view from;
  std::string_view to;
};

/// What chat names otherwise.
constexpr std::array<moved_member, 6> moved_members = {{{"messages", "input"},
                                                        {"max_tokens", "max_output_tokens"},
                                                        {"max_completion_tokens", "max_output_tokens"},
                                                        {"response_format", "text.format"},
                                                        {"reasoning_effort", "reasoning.effort"},
                                                        {"verbosity", "text.verbosity"}}};

/// A member that a response repeats, and what it is where the request does not say it.
struct repeated_member {
  std::string_view name;
  std::string_view otherwise;
};

constexpr std::array<repeated_member, 15> repeated_members = {{{"instructions", "null"},
                                                               {"max_output_tokens", "null"},
                                                               {"max_tool_calls", "null"},
                                                               {"metadata", "{}"},
                                                               {"parallel_tool_calls", "true"},
                                                               {"previous_response_id", "null"},
                                                               {"prompt_cache_key", "null"},
                                                               {"safety_identifier", "null"},
                                                               {"store", "true"},
                                                               {"temperature", "1.0"},
                                                               {"tool_choice", "\"auto\""},
                                                               {"tools", "[]"},
                                                               {"top_logprobs", "0"},
                                                               {"top_p", "1.0"},
                                                               {"truncation", "\"disabled\""}}};

class responses_request {
 public:
  responses_request(question& q, dom::object body) : q_(q), body_(body) {}
  void read();

 private:
  void judge_members();
  void judge_what_is_kept();
  void judge_streaming();
  void read_includes();
  void read_reasoning();
  void read_text_options();
  void read_format(dom::object format);
  void read_tools();
  void read_tool(dom::element element, const std::string& path);
  void read_tool_choice();
  void repeat();

  bool flag(std::string_view name, bool otherwise) const;

  question& q_;
  dom::object body_;
  responses_items items_{q_};
  std::string names_;          ///< of the tools, each between line feeds
  bool wants_sealed_ = false;  ///< thoughts shall come encrypted
  std::string reasoning_;      ///< as it is repeated
  std::string text_ = R"({"format":{"type":"text"},"verbosity":"medium"})";  ///< the same
};

bool responses_request::flag(std::string_view name, bool otherwise) const {
  const auto value = find(body_, name);
  if (!value) return otherwise;
  bool is = false;
  if (value->get(is)) refuse_type(std::string(name), "a boolean");
  return is;
}

void responses_request::read() {
  judge_members();
  judge_decimal(body_, "temperature", 0, 2);
  judge_decimal(body_, "top_p", 0, 1);
  judge_integer(body_, "max_output_tokens", least_output_tokens);
  judge_integer(body_, "max_tool_calls", 1);
  judge_integer(body_, "top_logprobs", 0);
  judge_one_of(body_, "truncation", {"auto", "disabled"});
  judge_one_of(body_, "service_tier", {"auto", "default", "flex", "scale", "priority"});
  if (const auto instructions = find(body_, "instructions"); instructions && !instructions->is_string())
    refuse_type("instructions", "a string");
  if (find(body_, "max_output_tokens")) q_.max_tokens = std::int64_t(*find(body_, "max_output_tokens"));
  q_.parallel_calls = flag("parallel_tool_calls", true);
  judge_what_is_kept();
  judge_streaming();
  read_includes();
  read_reasoning();
  const auto input = find(body_, "input");
  if (!input) refuse_missing("input");
  items_.judge(*input);
  read_tools();
  read_tool_choice();
  read_text_options();
  q_.keeps = flag("store", true);
  q_.seals_thoughts = wants_sealed_;
  repeat();
}

void responses_request::judge_members() {
  for (const auto& [name, value] : body_) {
    if (std::find(known_members.begin(), known_members.end(), name) != known_members.end()) continue;
    for (const moved_member& m : moved_members)
      if (m.from == name)
        throw rejected("Unsupported parameter: '" + std::string(name) +
                           "'. In the Responses API, this parameter has moved to '" + std::string(m.to) +
                           "'. Try again with the new parameter. See the API documentation for more "
                           "information: https://platform.openai.com/docs/api-reference/responses/create.",
                       std::string(name), "unsupported_parameter");
    refuse_unknown(std::string(name));
  }
}

/// Nothing is kept here but the ids of thoughts.
void responses_request::judge_what_is_kept() {
  if (flag("background", false))
    throw rejected("Background responses are not simulated: leave out 'background'.", "background",
                   "unsupported_value");
  if (find(body_, "previous_response_id"))
    throw rejected("Previous response with id '" + std::string(want_text(body_, "previous_response_id", "")) +
                       "' not found.",
                   "previous_response_id", "previous_response_not_found");
  if (const auto conversation = find(body_, "conversation")) {
    const auto object = as_object(*conversation);
    const std::string_view id =
        object ? want_text(*object, "id", "conversation") : want_text(body_, "conversation", "");
    throw rejected("Conversation with id '" + std::string(id) + "' not found.", "", "", response_not_found);
  }
  if (find(body_, "prompt"))
    throw rejected("Prompt with id '" +
                       std::string(want_text(want_object(body_, "prompt", ""), "id", "prompt")) +
                       "' not found.",
                   "prompt", "", response_not_found);
}

void responses_request::judge_streaming() {
  q_.facts.stream = flag("stream", false);
  const auto options = find(body_, "stream_options");
  if (!options) return;
  if (!q_.facts.stream)
    throw rejected("The 'stream_options' parameter is only allowed when 'stream' is enabled.",
                   "stream_options");
  want_known(want_object(body_, "stream_options", ""), {"include_obfuscation"}, "stream_options");
}

void responses_request::read_includes() {
  const auto include = find(body_, "include");
  if (!include) return;
  if (!include->is_array()) refuse_type("include", "an array of strings");
  size_t index = 0;
  for (const dom::element element : dom::array(*include)) {
    const std::string path = "include[" + std::to_string(index++) + "]";
    std::string_view what;
    if (element.get(what)) refuse_type(path, "a string");
    if (!is_one_of(what, {"file_search_call.results", "web_search_call.results",
                          "web_search_call.action.sources", "message.input_image.image_url",
                          "computer_call_output.output.image_url", "code_interpreter_call.outputs",
                          "reasoning.encrypted_content", "message.output_text.logprobs"}))
      refuse_value(path, what,
                   "'code_interpreter_call.outputs', 'computer_call_output.output.image_url', "
                   "'file_search_call.results', 'message.input_image.image_url', "
                   "'message.output_text.logprobs', and 'reasoning.encrypted_content'");
    wants_sealed_ = wants_sealed_ || what == "reasoning.encrypted_content";
  }
}

void responses_request::read_reasoning() {
  std::string effort = "null";
  std::string summary = "null";
  if (find(body_, "reasoning")) {
    const dom::object reasoning = want_object(body_, "reasoning", "");
    want_known(reasoning, {"context", "effort", "generate_summary", "mode", "summary"}, "reasoning");
    judge_one_of(reasoning, "effort", {"none", "minimal", "low", "medium", "high", "xhigh", "max"},
                 "reasoning");
    for (const std::string_view name : {"summary", "generate_summary"}) {
      judge_one_of(reasoning, name, {"auto", "concise", "detailed"}, "reasoning");
      if (!find(reasoning, name)) continue;
      q_.shows_thoughts = true;
      summary = simdjson::minify(*find(reasoning, name));
    }
    if (find(reasoning, "effort")) effort = simdjson::minify(*find(reasoning, "effort"));
    q_.reasons = effort != "\"none\"";
  }
  reasoning_.append("{\"effort\":").append(effort).append(",\"summary\":").append(summary).append("}");
}

void responses_request::read_text_options() {
  if (!find(body_, "text")) return;
  const dom::object text = want_object(body_, "text", "");
  want_known(text, {"format", "verbosity"}, "text");
  judge_one_of(text, "verbosity", {"low", "medium", "high"}, "text");
  const auto verbosity = find(text, "verbosity");
  const auto format = find(text, "format");
  if (format) read_format(want_object(text, "format", "text"));
  text_ = "{\"format\":";
  text_ += format ? simdjson::minify(*format) : R"({"type":"text"})";
  text_ += ",\"verbosity\":";
  text_ += verbosity ? simdjson::minify(*verbosity) : "\"medium\"";
  text_ += '}';
}

/// Put as chat says it.
void responses_request::read_format(dom::object format) {
  const std::string path = "text.format";
  want_text(format, "type", path);
  judge_one_of(format, "type", {"json_object", "json_schema", "text"}, path);
  const std::string_view type = *find_text(format, "type");
  if (type == "text") return want_known(format, {"type"}, path);
  if (type == "json_object") {
    want_known(format, {"type"}, path);
    if (!items_.say_json())
      throw rejected(
          "Response input messages must contain the word 'json' in some form to use 'text.format' of type "
          "'json_object'.",
          "input", "");
    q_.response_format = R"({"type":"json_object"})";
    return;
  }
  want_known(format, {"type", "name", "schema", "strict", "description"}, path);
  const std::string_view name = want_text(format, "name", path);
  want_name(name, "_-", path + ".name");
  want_object(format, "schema", path);
  const dom::element schema = *find(format, "schema");
  bool strict = false;
  if (!format.at_key("strict").get(strict) && strict)
    judge_closed(schema, "response_format '" + std::string(name) + "'", path + ".schema");
  q_.response_format = R"({"type":"json_schema","json_schema":{"schema":)" + simdjson::minify(schema) + "}}";
}

void responses_request::read_tools() {
  const auto tools = find(body_, "tools");
  if (!tools) return;
  if (!tools->is_array()) refuse_type("tools", "an array of objects");
  size_t index = 0;
  names_ = "\n";
  for (const dom::element element : dom::array(*tools))
    read_tool(element, "tools[" + std::to_string(index++) + "]");
  if (!q_.tools.empty()) q_.tools += ']';
}

void responses_request::read_tool(dom::element element, const std::string& path) {
  const auto tool = as_object(element);
  if (!tool) refuse_type(path, "an object");
  const std::string_view type = want_text(*tool, "type", path);
  judge_one_of(*tool, "type",
               {"function", "custom", "file_search", "web_search", "web_search_preview", "computer",
                "computer_use_preview", "code_interpreter", "image_generation", "mcp", "local_shell", "shell",
                "apply_patch", "namespace", "tool_search"},
               path);
  if (type != "function" && type != "custom") return;  // the provider's own: never called
  const std::string_view name = want_text(*tool, "name", path);
  want_name(name, "_-", path + ".name");
  names_.append(name).append("\n");
  if (type == "custom") return;
  want_known(*tool,
             {"type", "name", "description", "parameters", "strict", "allowed_callers", "defer_loading",
              "output_schema"},
             path);
  bool strict = false;
  strict = !tool->at_key("strict").get(strict) && strict;
  const auto parameters = find(*tool, "parameters");
  if (parameters) judge_parameters(*parameters, strict, name, path + ".parameters");
  add_function(q_.tools, name, parameters ? std::string(simdjson::minify(*parameters)) : "{}");
}

void responses_request::read_tool_choice() {
  const auto value = find(body_, "tool_choice");
  if (!value) return;
  if (value->is_string()) {
    judge_one_of(body_, "tool_choice", {"none", "auto", "required"});
    if (names_.size() <= 1 && find_text(body_, "tool_choice") == "required" && !find(body_, "tools"))
      throw rejected("Tool choice 'required' must be specified with 'tools' parameter.", "tool_choice");
    q_.tool_choice = simdjson::minify(*value);
    return;
  }
  const dom::object choice = want_object(body_, "tool_choice", "");
  const std::string_view type = want_text(choice, "type", "tool_choice");
  if (type != "function" && type != "custom") return;  // of a hosted tool, or allowed_tools
  const std::string_view name = want_text(choice, "name", "tool_choice");
  if (names_.find("\n" + std::string(name) + "\n") == std::string::npos)
    throw rejected("Tool choice '" + std::string(type) + "' not found in 'tools' parameter.", "tool_choice");
  q_.tool_choice = chosen_function(name);
}

void responses_request::repeat() {
  std::string& out = q_.repeated;
  for (const repeated_member& m : repeated_members) {
    out.append(",\"").append(m.name).append("\":");
    const auto value = find(body_, m.name);
    out.append(value ? simdjson::minify(*value) : std::string(m.otherwise));
  }
  out.append(",\"reasoning\":").append(reasoning_);
  out.append(",\"text\":").append(text_);
  out.append(R"(,"service_tier":"default")");
}

}  // namespace

std::string kept_thought_id(std::uint64_t number) {
  std::string id(thought_prefix);
  append_hex(id, number);
  append_hex(id, mix(thought_seed, number));
  return id;
}

bool is_kept_thought_id(std::string_view id) {
  if (!id.starts_with(thought_prefix) || id.size() != thought_prefix.size() + 2 * hex_digits) return false;
  std::uint64_t number = 0;
  const char* const digits = id.data() + thought_prefix.size();
  const auto read = std::from_chars(digits, digits + hex_digits, number, 16);
  return read.ptr == digits + hex_digits && kept_thought_id(number) == id;
}

bool read_responses_question(std::string_view body, size_t padding, question& q, engine::api_error& error) {
  try {
    thread_local dom::parser parser;
    dom::element root;
    // Where the padding is too small the parser copies.
    const bool copy = padding < simdjson::SIMDJSON_PADDING;
    if (const auto e = parser.parse(body.data(), body.size(), copy).get(root); e)
      throw rejected("The body could not be read: " + std::string(simdjson::error_message(e)));
    const auto object = as_object(root);
    if (!object) throw rejected("The body is not an object.");
    q.facts.model = want_text(*object, "model", "");
    responses_request(q, *object).read();
    // What Millrace reckons with: both sides of a limit count alike.
    if (!responses_client().read_request(engine::route_kind::responses, body, q.facts, error)) return false;
    q.prompt_tokens = q.facts.input_tokens;
    const std::string_view input = raw_member(body, "input");
    q.digest = digest_of(input);
    add_implicit_points(q.facts.model, input, q.prompt_tokens, q.cache_points);
    return true;
  } catch (const rejected& r) {
    error = r.error();
    return false;
  }
}

}  // namespace millrace::http::simulation
