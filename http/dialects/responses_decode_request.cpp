#include <array>
#include <utility>

#include "http/dialects/responses_chat.hpp"
#include "http/dialects/responses_input.hpp"

namespace millrace::http {
namespace {

enum field : std::size_t {
  model,
  input,
  instructions,
  stream,
  tools,
  choice,
  parallel,
  text,
  reasoning,
  max_output,
  temperature,
  top_p,
  top_logprobs,
  user,
  safety,
  background,
  previous,
  conversation,
  prompt,
  metadata,
  store,
  service_tier,
  truncation,
  include,
  cache_key,
  cache_retention,
  cache_options,
  stream_options,
  max_tool_calls,
  fields
};
constexpr std::array<std::string_view, fields> field_names = {"model",
                                                              "input",
                                                              "instructions",
                                                              "stream",
                                                              "tools",
                                                              "tool_choice",
                                                              "parallel_tool_calls",
                                                              "text",
                                                              "reasoning",
                                                              "max_output_tokens",
                                                              "temperature",
                                                              "top_p",
                                                              "top_logprobs",
                                                              "user",
                                                              "safety_identifier",
                                                              "background",
                                                              "previous_response_id",
                                                              "conversation",
                                                              "prompt",
                                                              "metadata",
                                                              "store",
                                                              "service_tier",
                                                              "truncation",
                                                              "include",
                                                              "prompt_cache_key",
                                                              "prompt_cache_retention",
                                                              "prompt_cache_options",
                                                              "stream_options",
                                                              "max_tool_calls"};

class request_decoder final : responses_input {
 public:
  request_decoder(std::string_view body, chat_request& out, engine::api_error& error)
      : responses_input(out, error), given_(body, field_names) {}

  bool decode();

 private:
  bool judge();
  bool read_instructions();
  bool read_reasoning_options();
  bool read_text_options();
  bool read_format(json_literal format);
  bool read_tools();
  bool read_tool_choice();

  const json_members<fields> given_;
};

bool request_decoder::decode() {
  if (!judge()) return false;
  bool parallel_calls = true;
  if (!read_flag(given_[parallel], field_names[parallel], parallel_calls)) return false;
  if (!given_[parallel].empty()) out_.parallel_tool_calls = parallel_calls;
  out_.end_user = text_of(given_[safety].empty() ? given_[user] : given_[safety], out_);
  const bool good = read_flag(given_[stream], "stream", out_.stream) &&
                    read_count(given_[max_output], "max_output_tokens", out_.max_output_tokens) &&
                    read_number(given_[temperature], "temperature", out_.temperature) &&
                    read_number(given_[top_p], "top_p", out_.top_p) && read_instructions() &&
                    read_reasoning_options() && read_text_options() && read_tools() && read_tool_choice() &&
                    read_input(given_[input]);
  out_.include_usage = out_.stream;
  return good && (!out_.messages.empty() || refuse("missing_field", "`input` must not be empty.", "input"));
}

/// What only OpenAI can do is refused, what changes no answer is dropped.
bool request_decoder::judge() {
  if (!given_.unknown.empty()) return unsupported(given_.unknown);
  for (const auto only_there : {previous, conversation, prompt}) {
    if (!given_[only_there].empty()) return unsupported(std::string(field_names[only_there]));
  }
  bool in_background = false;
  std::int64_t logprobs = 0;
  if (!read_flag(given_[background], "background", in_background) ||
      !read_count(given_[top_logprobs], "top_logprobs", logprobs))
    return false;
  if (in_background) return unsupported("background");
  if (logprobs > 0) return unsupported("top_logprobs");
  for (const auto hint : {metadata, store, service_tier, truncation, include, cache_key, cache_retention,
                          cache_options, stream_options, max_tool_calls}) {
    if (!given_[hint].empty()) drop(std::string(field_names[hint]));
  }
  return true;
}

bool request_decoder::read_instructions() {
  if (given_[instructions].empty()) return true;
  if (!is_string(given_[instructions])) return invalid("instructions", "a text");
  out_.messages.push_back({chat_role::system, {}});
  out_.messages.back().parts.emplace_back().text = given_[instructions];
  return true;
}

bool request_decoder::read_reasoning_options() {
  if (given_[reasoning].empty()) return true;
  const json_members<3> options(given_[reasoning], {"effort", "summary", "generate_summary"});
  if (!options.is_object) return invalid("reasoning", "an object");
  if (!options.unknown.empty()) return unsupported("reasoning." + options.unknown);
  if (!options[1].empty() || !options[2].empty()) drop("reasoning.summary");
  out_.effort = text_of(options[0], out_);
  if (out_.effort == "none") out_.thinking = thinking_mode::off;
  return true;
}

bool request_decoder::read_text_options() {
  if (given_[text].empty()) return true;
  const json_members<2> options(given_[text], {"format", "verbosity"});
  if (!options.is_object) return invalid("text", "an object");
  if (!options.unknown.empty()) return unsupported("text." + options.unknown);
  if (!options[1].empty()) drop("text.verbosity");
  return options[0].empty() || read_format(options[0]);
}

bool request_decoder::read_format(json_literal format) {
  const json_members<5> f(format, {"type", "name", "schema", "strict", "description"});
  const std::string_view type = inside(f[0]);
  if (type == "text") return true;
  if (type == "json_object") {
    out_.format = answer_format::json;
    return true;
  }
  if (type != "json_schema") return invalid("text.format.type", "text, json_object or json_schema");
  bool strict = false;
  if (!read_flag(f[3], "text.format.strict", strict)) return false;
  if (!f[3].empty()) out_.schema_strict = strict;
  if (!f[4].empty()) drop("text.format.description");
  out_.format = answer_format::schema;
  out_.schema_name = text_of(f[1], out_);
  out_.schema = f[2];
  const bool object = !out_.schema.empty() && out_.schema.front() == '{';
  return object || invalid("text.format.schema", "a JSON schema");
}

bool request_decoder::read_tools() {
  if (given_[tools].empty()) return true;
  if (given_[tools].front() != '[') return invalid("tools", "a list of tools");
  return each_element(given_[tools], [&](json_literal literal, std::size_t i) {
    const json_members<5> tool(literal, {"type", "name", "description", "parameters", "strict"});
    // First the type: tools of other types have other members.
    if (inside(tool[0]) != "function") return unsupported(at("tools", i, ".type"));
    if (!tool.unknown.empty()) return unsupported(at("tools", i, ".") + tool.unknown);
    bool strict = false;
    if (!read_flag(tool[4], at("tools", i, ".strict"), strict)) return false;
    chat_tool& out = out_.tools.emplace_back();
    out.name = text_of(tool[1], out_);
    out.description = tool[2];
    out.parameters = tool[3];
    if (!tool[4].empty()) out.strict = strict;
    return !out.name.empty() || invalid(at("tools", i, ".name"), "a name");
  });
}

bool request_decoder::read_tool_choice() {
  const json_literal chosen = given_[choice];
  if (chosen.empty()) return true;
  if (is_string(chosen)) {
    const std::string_view word = inside(chosen);
    if (word == "auto") out_.tool_choice = tool_choice::automatic;
    if (word == "none") out_.tool_choice = tool_choice::none;
    if (word == "required") out_.tool_choice = tool_choice::any;
    return out_.tool_choice != tool_choice::unset ||
           invalid("tool_choice", "none, auto, required or a function");
  }
  const json_members<2> named(chosen, {"type", "name"});
  if (inside(named[0]) != "function") return unsupported("tool_choice.type");
  out_.tool_choice = tool_choice::named;
  out_.chosen_tool = text_of(named[1], out_);
  return !out_.chosen_tool.empty() || invalid("tool_choice.name", "the name of a tool");
}

}  // namespace

bool decode_responses_request(std::string_view body, chat_request& out, engine::api_error& error) {
  out = {};
  error = {};
  return request_decoder(body, out, error).decode();
}

}  // namespace millrace::http
