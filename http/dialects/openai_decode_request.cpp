#include <utility>

#include "http/dialects/openai_chat.hpp"
#include "http/dialects/openai_fields.hpp"

namespace millrace::http {

namespace {

using engine::api_error;
using names = std::string_view;

class request_decoder : openai_fields {
 public:
  request_decoder(std::string_view body, chat_request& out, api_error& error)
      : openai_fields(out, error, "OpenAI's API"), body_(body) {}

  bool decode();

 private:
  bool read_members();
  bool read_messages(json_literal messages);
  bool read_message(json_literal message, const std::string& where);
  bool read_content(json_literal content, const std::string& where, std::vector<chat_part>& parts);
  bool read_part(json_literal part, const std::string& where, std::vector<chat_part>& parts);
  bool read_image(json_literal image, const std::string& where, chat_part& part);
  bool read_file(json_literal file, const std::string& where, chat_part& part);
  bool read_tool_calls(json_literal calls, const std::string& where, std::vector<chat_part>& parts);
  bool read_tools(json_literal tools);
  bool read_tool_choice(json_literal choice);
  bool read_format(json_literal format);
  bool read_stop(json_literal stop);

  const std::string_view body_;
};

bool request_decoder::decode() {
  return read_members() &&
         (!out_.messages.empty() || refuse("missing_field", "`messages` must not be empty.", "messages"));
}

enum field : std::size_t {
  model,
  messages,
  stream,
  stream_options,
  tools,
  choice,
  parallel,
  format,
  max_tokens,
  max_completion,
  temperature,
  top_p,
  top_k,
  presence,
  frequency,
  seed,
  stop,
  effort,
  n,
  logprobs,
  top_logprobs,
  user,
  safety,
  modalities,
  logit_bias,
  metadata,
  store,
  service_tier,
  cache_key,
  cache_retention,
  prediction,
  verbosity,
  fields
};
constexpr std::array<names, fields> field_names = {"model",
                                                   "messages",
                                                   "stream",
                                                   "stream_options",
                                                   "tools",
                                                   "tool_choice",
                                                   "parallel_tool_calls",
                                                   "response_format",
                                                   "max_tokens",
                                                   "max_completion_tokens",
                                                   "temperature",
                                                   "top_p",
                                                   "top_k",
                                                   "presence_penalty",
                                                   "frequency_penalty",
                                                   "seed",
                                                   "stop",
                                                   "reasoning_effort",
                                                   "n",
                                                   "logprobs",
                                                   "top_logprobs",
                                                   "user",
                                                   "safety_identifier",
                                                   "modalities",
                                                   "logit_bias",
                                                   "metadata",
                                                   "store",
                                                   "service_tier",
                                                   "prompt_cache_key",
                                                   "prompt_cache_retention",
                                                   "prediction",
                                                   "verbosity"};

bool request_decoder::read_members() {
  const json_members<fields> given(body_, field_names);
  if (!given.unknown.empty()) return unsupported(given.unknown);
  for (const auto hint : {metadata, store, service_tier, cache_key, cache_retention, prediction, verbosity}) {
    if (!given[hint].empty()) drop(std::string(field_names[hint]));
  }
  if (!json_is_blank(given[logit_bias])) return unsupported("logit_bias");
  if (!given[modalities].empty() && given[modalities] != R"(["text"])") return unsupported("modalities");
  bool parallel_calls = true;
  if (!read_flag(given[parallel], field_names[parallel], parallel_calls)) return false;
  if (!given[parallel].empty()) out_.parallel_tool_calls = parallel_calls;
  if (!given[stream_options].empty()) {
    const json_members<1> options(given[stream_options], {"include_usage"});
    if (!read_flag(options[0], "stream_options.include_usage", out_.include_usage)) return false;
  }
  out_.end_user = text_of(given[safety].empty() ? given[user] : given[safety], out_);
  out_.effort = text_of(given[effort], out_);
  if (out_.effort == "none") out_.thinking = thinking_mode::off;
  const json_literal most = given[max_completion].empty() ? given[max_tokens] : given[max_completion];
  return read_flag(given[stream], "stream", out_.stream) &&
         read_flag(given[logprobs], "logprobs", out_.logprobs) &&
         read_count(most, "max_tokens", out_.max_output_tokens) && read_count(given[n], "n", out_.choices) &&
         read_count(given[top_logprobs], "top_logprobs", out_.top_logprobs) &&
         read_number(given[temperature], "temperature", out_.temperature) &&
         read_number(given[top_p], "top_p", out_.top_p) && read_number(given[top_k], "top_k", out_.top_k) &&
         read_number(given[presence], "presence_penalty", out_.presence_penalty) &&
         read_number(given[frequency], "frequency_penalty", out_.frequency_penalty) &&
         read_number(given[seed], "seed", out_.seed) && read_stop(given[stop]) && read_tools(given[tools]) &&
         read_tool_choice(given[choice]) && read_format(given[format]) && read_messages(given[messages]);
}

bool request_decoder::read_messages(json_literal list) {
  if (list.empty() || list.front() != '[') return invalid("messages", "a list of messages");
  return each_element(list,
                      [this](json_literal m, std::size_t i) { return read_message(m, at("messages", i)); });
}

bool request_decoder::read_message(json_literal literal, const std::string& where) {
  const json_members<8> m(literal, {"role", "content", "name", "tool_calls", "tool_call_id", "refusal",
                                    "reasoning_content", "annotations"});
  if (!m.is_object) return invalid(where, "an object");
  if (!m.unknown.empty()) return unsupported(where + "." + m.unknown);
  if (!m[2].empty()) drop("messages.name");
  const std::string_view role = inside(m[0]);
  if (role == "tool") {
    chat_part result;
    result.kind = part_kind::tool_result;
    result.id = text_of(m[4], out_);
    if (result.id.empty()) return invalid(where + ".tool_call_id", "the id of a tool call");
    if (!read_content(m[1], where + ".content", result.result)) return false;
    results().parts.push_back(std::move(result));
    return true;
  }
  chat_message message;
  if (role == "system" || role == "developer") {
    message.role = chat_role::system;
  } else if (role == "assistant") {
    message.role = chat_role::assistant;
  } else if (role != "user") {
    return invalid(where + ".role", "system, developer, user, assistant or tool");
  }
  if (message.role != chat_role::assistant && !(m[3].empty() && m[5].empty()))
    return invalid(where + ".role", "assistant, since only that calls tools and refuses");
  if (message.role == chat_role::assistant && !m[6].empty()) drop("messages.reasoning_content");
  if (!m[1].empty() && !read_content(m[1], where + ".content", message.parts)) return false;
  if (!m[5].empty()) {
    message.parts.emplace_back().kind = part_kind::refusal;
    message.parts.back().text = m[5];
  }
  if (!m[3].empty() && !read_tool_calls(m[3], where + ".tool_calls", message.parts)) return false;
  if (message.parts.empty() && message.role != chat_role::assistant)
    return invalid(where + ".content", "a text or a list of parts that is not empty");
  if (!message.parts.empty()) out_.messages.push_back(std::move(message));
  return true;
}

bool request_decoder::read_content(json_literal content, const std::string& where,
                                   std::vector<chat_part>& parts) {
  return read_text_or_parts(content, where, parts, [&](json_literal part, const std::string& place) {
    return read_part(part, place, parts);
  });
}

bool request_decoder::read_part(json_literal literal, const std::string& where,
                                std::vector<chat_part>& parts) {
  const json_members<7> p(literal,
                          {"type", "text", "image_url", "input_audio", "file", "refusal", "cache_control"});
  if (!p.is_object) return invalid(where, "an object");
  if (!p.unknown.empty()) return unsupported(where + "." + p.unknown);
  chat_part& part = parts.emplace_back();
  part.cache_control = p[6];
  const std::string_view type = inside(p[0]);
  if (type == "text") {
    part.text = p[1];
    return is_string(part.text) || invalid(where + ".text", "a text");
  }
  if (type == "refusal") {
    part.kind = part_kind::refusal;
    part.text = p[5];
    return is_string(part.text) || invalid(where + ".refusal", "a text");
  }
  if (type == "image_url") return read_image(p[2], where + ".image_url", part);
  if (type == "file") return read_file(p[4], where + ".file", part);
  if (type == "input_audio") return read_audio(p[3], where + ".input_audio", part);
  return invalid(where + ".type", "text, image_url, input_audio, file or refusal");
}

bool request_decoder::read_image(json_literal image, const std::string& where, chat_part& part) {
  const json_members<2> i(image, {"url", "detail"});
  part.kind = part_kind::image;
  part.detail = text_of(i[1], out_);
  return read_image_url(i[0], where + ".url", part);
}

bool request_decoder::read_file(json_literal file, const std::string& where, chat_part& part) {
  const json_members<3> f(file, {"file_data", "filename", "file_id"});
  if (!f[2].empty()) return unsupported(where + ".file_id");
  part.kind = part_kind::document;
  part.name = text_of(f[1], out_);
  return read_file_data(f[0], where + ".file_data", part);
}

bool request_decoder::read_tool_calls(json_literal calls, const std::string& where,
                                      std::vector<chat_part>& parts) {
  const auto read = [&](json_literal literal, std::size_t i) {
    const json_members<3> call(literal, {"id", "type", "function"});
    const json_members<2> function(call[2], {"name", "arguments"});
    if (!function.is_object) return unsupported(at(where, i, ".type"));
    chat_part& part = parts.emplace_back();
    part.kind = part_kind::tool_call;
    part.id = text_of(call[0], out_);
    part.name = text_of(function[0], out_);
    if (part.id.empty() || part.name.empty())
      return invalid(at(where, i), "a call with `id` and `function.name`");
    return read_arguments(function[1], at(where, i, ".function.arguments"), part);
  };
  return each_element(calls, read) || !error_.code.empty() ? error_.code.empty()
                                                           : invalid(where, "a list of tool calls");
}

bool request_decoder::read_tools(json_literal list) {
  if (list.empty()) return true;
  const auto read = [&](json_literal literal, std::size_t i) {
    const json_members<3> tool(literal, {"type", "function", "cache_control"});
    if (inside(tool[0]) != "function") return unsupported(at("tools", i, ".type"));
    const json_members<4> function(tool[1], {"name", "description", "parameters", "strict"});
    chat_tool& out = out_.tools.emplace_back();
    out.name = text_of(function[0], out_);
    out.description = function[1];
    out.parameters = function[2];
    out.cache_control = tool[2];
    if (!function[3].empty()) out.strict = function[3] == "true";
    if (!function.unknown.empty()) return unsupported(at("tools", i, ".function.") + function.unknown);
    return !out.name.empty() || invalid(at("tools", i, ".function.name"), "a name");
  };
  if (list.front() != '[') return invalid("tools", "a list of tools");
  return each_element(list, read);
}

bool request_decoder::read_tool_choice(json_literal choice) {
  if (choice.empty()) return true;
  if (is_string(choice)) {
    const std::string_view word = inside(choice);
    if (word == "auto") out_.tool_choice = tool_choice::automatic;
    if (word == "none") out_.tool_choice = tool_choice::none;
    if (word == "required") out_.tool_choice = tool_choice::any;
    return out_.tool_choice != tool_choice::unset ||
           invalid("tool_choice", "none, auto, required or a function");
  }
  const json_members<2> named(choice, {"type", "function"});
  if (inside(named[0]) != "function") return unsupported("tool_choice.type");
  const json_members<1> function(named[1], {"name"});
  out_.tool_choice = tool_choice::named;
  out_.chosen_tool = text_of(function[0], out_);
  return !out_.chosen_tool.empty() || invalid("tool_choice.function.name", "the name of a tool");
}

bool request_decoder::read_format(json_literal format) {
  if (format.empty()) return true;
  const json_members<2> f(format, {"type", "json_schema"});
  const std::string_view type = inside(f[0]);
  if (type == "text") return true;
  if (type == "json_object") {
    out_.format = answer_format::json;
    return true;
  }
  if (type != "json_schema") return invalid("response_format.type", "text, json_object or json_schema");
  const json_members<4> schema(f[1], {"name", "schema", "strict", "description"});
  out_.format = answer_format::schema;
  out_.schema_name = text_of(schema[0], out_);
  out_.schema = schema[1];
  if (!schema[2].empty()) out_.schema_strict = schema[2] == "true";
  if (!schema[3].empty()) drop("response_format.json_schema.description");
  const bool object = !out_.schema.empty() && out_.schema.front() == '{';
  return object || invalid("response_format.json_schema.schema", "a JSON schema");
}

bool request_decoder::read_stop(json_literal stop) {
  if (stop.empty()) return true;
  if (is_string(stop)) {
    out_.stop.push_back(stop);
    return true;
  }
  const auto take = [this](json_literal s, std::size_t) {
    out_.stop.push_back(s);
    return is_string(s);
  };
  return each_element(stop, take) || invalid("stop", "a text or a list of texts");
}

}  // namespace

bool split_data_url(std::string_view url, std::string_view& media_type, std::string_view& data) {
  constexpr std::string_view scheme = "data:";
  constexpr std::string_view mark = ";base64,";
  if (!url.starts_with(scheme)) return false;
  const auto at = url.find(mark);
  if (at == std::string_view::npos) return false;
  media_type = url.substr(scheme.size(), at - scheme.size());
  media_type = media_type.substr(0, media_type.find(';'));
  data = url.substr(at + mark.size());
  return true;
}

bool decode_openai_request(std::string_view body, chat_request& out, engine::api_error& error) {
  out = {};
  error = {};
  return request_decoder(body, out, error).decode();
}

}  // namespace millrace::http
