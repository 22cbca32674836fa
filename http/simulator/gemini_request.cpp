#include <algorithm>
#include <set>
#include <utility>

#include "http/dialects/gemini_request.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/gemini_api.hpp"
#include "http/simulator/gemini_contents.hpp"
#include "http/simulator/gemini_fields.hpp"
#include "http/simulator/text.hpp"

namespace millrace::http::simulation {
namespace {

using engine::route_kind;

constexpr size_t max_stops = 5;
constexpr size_t max_function_name_bytes = 64;

class reader {
 public:
  reader(question& q, dom::object body) : q_(q), body_(body) {}
  void read_conversation();
  void read_embeddings();

 private:
  void read_config();
  void in_range(dom::object config, std::string_view name, double least, double most);
  void read_format(dom::object config);
  void read_thinking(dom::object thinking);
  void read_tools();
  void read_declaration(dom::object declaration);
  void read_tool_config();
  void read_embedding(dom::object request);

  question& q_;
  dom::object body_;
  prompt_counter counter_;
  std::set<std::string_view> functions_;
};

void reader::read_conversation() {
  judge_gemini_fields(gemini_message::generate, body_);
  read_config();
  read_tools();
  read_tool_config();
  gemini_contents contents(q_, counter_);
  if (const auto system = object_field(body_, "systemInstruction")) contents.read_system(*system);
  contents.read(objects_field(body_, "contents"));
  q_.prompt_tokens = counter_.total();
}

void reader::in_range(dom::object config, std::string_view name, double least, double most) {
  const auto n = number_field(config, name);
  if (!n || (*n >= least && *n <= most)) return;
  const std::string snake = snake_case(name);
  throw rejected("* GenerateContentRequest.generation_config." + snake + ": " + snake +
                 " must be in the range [" + std::to_string(least).substr(0, 4) + ", " +
                 std::to_string(most).substr(0, 4) + "].\n");
}

void reader::read_config() {
  const auto config = object_field(body_, "generationConfig");
  if (!config) return;
  in_range(*config, "temperature", 0, 2);
  in_range(*config, "topP", 0, 1);
  if (const auto n = integer_field(*config, "topK"); n && *n < 1)
    throw rejected("* GenerateContentRequest.generation_config.top_k: top_k must be positive.\n");
  if (const auto n = integer_field(*config, "maxOutputTokens")) {
    if (*n < 1)
      throw rejected(
          "* GenerateContentRequest.generation_config.max_output_tokens: max_output_tokens must be "
          "positive.\n");
    q_.max_tokens = *n;
  }
  if (const auto n = integer_field(*config, "candidateCount"); n && *n != 1)
    throw rejected("Only one candidate can be specified in the current model");
  if (const auto stops = field(*config, "stopSequences"); stops && stops->is_array()) {
    const dom::array all(*stops);
    if (all.size() > max_stops)
      throw rejected("* GenerateContentRequest.generation_config.stop_sequences: at most 5 are allowed.\n");
    for (const dom::element stop : all)
      if (std::string_view text; stop.get(text) || text.empty())
        throw rejected("* GenerateContentRequest.generation_config.stop_sequences: must not be empty.\n");
  }
  read_format(*config);
  if (const auto thinking = object_field(*config, "thinkingConfig")) read_thinking(*thinking);
}

void reader::read_format(dom::object config) {
  const std::string_view type = text_field(config, "responseMimeType").value_or("text/plain");
  const auto schema = field(config, "responseSchema");
  const auto json_schema = field(config, "responseJsonSchema");
  if (!is_one_of(type, {"text/plain", "application/json", "text/x.enum"}))
    throw rejected(
        "* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are "
        "`text/plain`, `application/json`, `application/xml`, `application/yaml` and `text/x.enum`.\n");
  if (schema && json_schema)
    throw rejected(
        "* GenerateContentRequest.generation_config: only one of response_schema and "
        "response_json_schema may be set.\n");
  if ((schema || json_schema) && type == "text/plain")
    throw rejected(
        "* GenerateContentRequest.generation_config.response_mime_type: must be `application/json` with a "
        "response schema.\n");
  if (type != "application/json") return;
  if (field(body_, "tools") && !q_.facts.model.starts_with("gemini-3"))
    throw rejected("Function calling with a response mime type: 'application/json' is unsupported");
  if (!schema && !json_schema) {
    q_.response_format = R"({"type":"json_object"})";
    return;
  }
  const dom::element value = schema ? *schema : *json_schema;
  counter_.json(value);
  q_.response_format = R"({"type":"json_schema","json_schema":{"schema":)" + simdjson::minify(value) + "}}";
}

void reader::read_thinking(dom::object thinking) {
  for (const auto& [name, value] : thinking)
    if (!is_one_of(name, {"includeThoughts", "include_thoughts", "thinkingBudget", "thinking_budget",
                          "thinkingLevel", "thinking_level"}))
      throw rejected("Invalid JSON payload received. Unknown name \"" + std::string(name) +
                         "\" at 'generation_config.thinking_config': Cannot find field.",
                     {}, "unknown_field");
  const auto budget = integer_field(thinking, "thinkingBudget");
  const auto level = text_field(thinking, "thinkingLevel");
  if (budget && level) throw rejected("You can only set only one of thinking budget and thinking level.");
  if (budget && *budget < -1)
    throw rejected("The thinking budget " + std::to_string(*budget) + " is invalid.");
  std::string upper(level.value_or("HIGH"));
  std::transform(upper.begin(), upper.end(), upper.begin(), [](unsigned char c) { return std::toupper(c); });
  if (!is_one_of(upper, {"MINIMAL", "LOW", "MEDIUM", "HIGH", "THINKING_LEVEL_UNSPECIFIED"}))
    throw rejected("Invalid value at 'generation_config.thinking_config.thinking_level' (TYPE_ENUM), \"" +
                   upper + "\"");
  q_.reasons = !budget || *budget != 0;
  bool shows = false;
  if (const auto value = field(thinking, "includeThoughts"); value && value->get(shows))
    throw rejected("Invalid value at 'generation_config.thinking_config.include_thoughts' (TYPE_BOOL)");
  if (shows && !q_.reasons) throw rejected("Unable to include thoughts when thinking is disabled.");
  q_.shows_thoughts = shows;
}

void reader::read_tools() {
  for (const dom::object tool : objects_field(body_, "tools"))
    for (const dom::object declaration : objects_field(tool, "functionDeclarations"))
      read_declaration(declaration);
  if (!q_.tools.empty()) q_.tools += ']';
}

void reader::read_declaration(dom::object declaration) {
  const std::string_view name = text_field(declaration, "name").value_or("");
  const bool starts_well =
      !name.empty() && is_name(name.substr(0, 1), "_", 1, 1) && !(name[0] >= '0' && name[0] <= '9');
  if (!starts_well || !is_name(name, "_.:-", 1, max_function_name_bytes))
    throw rejected(
        "* GenerateContentRequest.tools[0].function_declarations[0].name: Invalid function name. Must start "
        "with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), "
        "colons (:), or dashes (-), with a maximum length of 64.\n");
  if (!functions_.insert(name).second)
    throw rejected("Duplicate function declaration found: " + std::string(name));
  const auto parameters = field(declaration, "parameters");
  const auto schema = field(declaration, "parametersJsonSchema");
  if (parameters && schema)
    throw rejected(
        "* GenerateContentRequest.tools[0].function_declarations[0]: parameters and parameters_json_schema "
        "are mutually exclusive.\n");
  const auto either = parameters ? parameters : schema;
  counter_.tool(name, text_field(declaration, "description"), either);
  add_function(q_.tools, name, either ? std::string(simdjson::minify(*either)) : "{}");
}

void reader::read_tool_config() {
  const auto outer = object_field(body_, "toolConfig");
  const auto config = outer ? object_field(*outer, "functionCallingConfig") : std::nullopt;
  if (!config) return;
  const std::string_view mode = text_field(*config, "mode").value_or("AUTO");
  if (!is_one_of(mode, {"MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"}))
    throw rejected("Invalid value at 'tool_config.function_calling_config.mode' (TYPE_ENUM), \"" +
                   std::string(mode) + "\"");
  const auto names = field(*config, "allowedFunctionNames");
  std::string_view only;
  if (names && names->is_array()) {
    const dom::array all(*names);
    if (all.size() > 0 && !is_one_of(mode, {"ANY", "VALIDATED"}))
      throw rejected(
          "* GenerateContentRequest.tool_config.function_calling_config.allowed_function_names: may only be "
          "set when the mode is ANY.\n");
    for (const dom::element element : all)
      if (element.get(only) || !functions_.contains(only))
        throw rejected(
            "* GenerateContentRequest.tool_config.function_calling_config.allowed_function_names: should "
            "only contain names of declared functions.\n");
  }
  if (mode == "ANY" && functions_.empty())
    throw rejected("Function calling mode is ANY but no function_declarations are provided.");
  if (mode == "NONE") q_.tool_choice = "\"none\"";
  if (mode == "ANY") q_.tool_choice = "\"required\"";
  if (mode == "ANY" && !only.empty()) q_.tool_choice = chosen_function(only);
}

void reader::read_embeddings() {
  const bool batch = q_.route == route_kind::batch_embed;
  judge_gemini_fields(batch ? gemini_message::batch_embed : gemini_message::embed, body_);
  if (!batch) return read_embedding(body_);
  const auto requests = objects_field(body_, "requests");
  if (requests.empty())
    throw rejected("* BatchEmbedContentsRequest.requests: at least one request is required\n");
  for (const dom::object request : requests) {
    if (text_field(request, "model") != "models/" + q_.facts.model)
      throw rejected(
          "* BatchEmbedContentsRequest.requests[0].model: model must match the one in the request path.\n");
    read_embedding(request);
  }
}

void reader::read_embedding(dom::object request) {
  if (q_.texts >= question::max_inputs)
    throw rejected("* BatchEmbedContentsRequest.requests: at most 100 requests\n");
  const auto content = object_field(request, "content");
  if (!content) throw rejected("* EmbedContentRequest.content: contents is not specified\n");
  prompt_counter nothing;
  gemini_contents(q_, nothing).read_texts(*content, next_text(q_));
  if (q_.text[q_.texts - 1].empty()) throw rejected("* EmbedContentRequest.content: content is empty\n");
  if (const auto n = integer_field(request, "outputDimensionality")) {
    if (*n < 1 || *n > question::max_dimensions)
      throw rejected("* EmbedContentRequest.output_dimensionality: must be 1 to 4096\n");
    q_.dimensions = *n;
  }
}

/// The model and the method in the path.
void read_path(const http_request& request, question& q) {
  constexpr std::string_view prefix = "/v1beta/models/";
  const size_t colon = request.path.rfind(':');
  q.facts.model = request.path.substr(prefix.size(), colon - prefix.size());
  q.facts.stream = request.path.substr(colon) == ":streamGenerateContent";
  const std::string query = "&" + std::string(request.query) + "&";
  q.array_stream = q.facts.stream && query.find("&alt=sse&") == std::string::npos;
}

}  // namespace

bool read_gemini_question(route_kind route, const http_request& request, question& q,
                          engine::api_error& error) {
  read_path(request, q);
  try {
    thread_local dom::parser parser;
    dom::element body;
    const std::string_view text = request.body;
    if (const auto e = parser.parse(text.data(), text.size(), false).get(body); e)
      throw rejected("Invalid JSON payload received. " + std::string(simdjson::error_message(e)));
    const auto object = as_object(body);
    if (!object) throw rejected("Invalid JSON payload received. Expected an object.");
    reader r(q, *object);
    route == route_kind::generate ? r.read_conversation() : r.read_embeddings();
    // What Millrace reckons with, for the limits: both sides count alike.
    if (!read_gemini_request(route, text, q.facts, error)) return false;
    const std::string_view raw = raw_member(text, route == route_kind::generate ? "contents"
                                                  : route == route_kind::embed  ? "content"
                                                                                : "requests");
    q.digest = digest_of(raw);
    if (route == route_kind::generate) {
      q.facts.input_tokens = std::min(q.facts.input_tokens, q.prompt_tokens);
      add_implicit_points(q.facts.model, std::string(raw_member(text, "systemInstruction")).append(raw),
                          q.prompt_tokens, q.cache_points);
    } else {
      q.prompt_tokens = q.facts.input_tokens;
    }
    return true;
  } catch (const rejected& r) {
    error = r.error();
    return false;
  }
}

void append_gemini_embeddings(std::string& out, const question& q) {
  const bool batch = q.route == route_kind::batch_embed;
  out += batch ? R"({"embeddings":[)" : R"({"embedding":)";
  for (size_t i = 0; i < q.texts; ++i) {
    if (i > 0) out += ',';
    out += R"({"values":)";
    append_vector(out, q.text[i], q.dimensions);
    out += '}';
  }
  out += batch ? "]}" : "}";
}

}  // namespace millrace::http::simulation
