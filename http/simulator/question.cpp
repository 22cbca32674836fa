#include "http/simulator/question.hpp"

#include <utility>

#include <simdjson.h>
#include <zlib.h>

#include "http/openai.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/openai_strict.hpp"
#include "http/simulator/text.hpp"

namespace millrace::http::simulation {
namespace {

namespace od = simdjson::ondemand;
using engine::route_kind;

/// Raw values reach up to the next token; white space between the two belongs to neither.
std::string_view trimmed(std::string_view raw) {
  while (!raw.empty() &&
         (raw.back() == ' ' || raw.back() == '\n' || raw.back() == '\r' || raw.back() == '\t'))
    raw.remove_suffix(1);
  return raw;
}

/// `content` of a message: a string, or parts of which the texts count.
void read_content(od::value content, std::string& out) {
  switch (content.type()) {
    case od::json_type::string:
      out += std::string_view(content.get_string());
      return;
    case od::json_type::array:
      for (od::value part : content.get_array()) {
        if (part.type() != od::json_type::object) continue;
        if (std::string_view text; !part.get_object()["text"].get_string().get(text)) out += text;
      }
      return;
    default:
      return;
  }
}

std::string_view read_role(od::value value) {
  const std::string_view raw = value.raw_json_token();
  if (raw.starts_with("\"user\"")) return "user";
  if (raw.starts_with("\"system\"")) return "system";
  if (raw.starts_with("\"assistant\"")) return "assistant";
  return value.get_string();
}

/// Its text goes to q.said when it is the user's. What is not a text of one of the three is to be judged.
void read_message(od::object message, question& q) {
  std::string_view role;
  bool has_text = false;
  q.said.clear();
  for (auto field : message) {
    // A key written with escapes goes to the judge, who reads it.
    const od::raw_json_string name = field.key();
    od::value value = field.value();
    const bool string = value.type() == od::json_type::string;
    if (string && name == "role") {
      role = read_role(value);
    } else if (name == "content") {
      has_text = string;
      if (role.empty() || role == "user") read_content(value, q.said);
    } else {
      q.plain = false;
    }
  }
  q.last_is_user = role == "user";
  if (!has_text || (!q.last_is_user && role != "system" && role != "assistant")) q.plain = false;
}

void read_messages(od::array messages, question& q) {
  std::string& text = next_text(q);
  const std::string_view raw = messages.raw_json();
  q.digest = digest_of(raw);
  add_implicit_points(q.facts.model, raw, q.facts.input_tokens, q.cache_points);
  messages.reset();
  for (od::value message : messages) {
    q.last_is_user = false;
    if (message.type() != od::json_type::object) {
      q.plain = false;
      continue;
    }
    read_message(message.get_object(), q);
    if (!q.last_is_user) continue;
    text.swap(q.said);
  }
}

/// A string, or numbers (tokens), as one text.
void read_one_input(od::value value, std::string& out) {
  if (value.type() == od::json_type::string) {
    out += std::string_view(value.get_string());
  } else if (value.type() == od::json_type::array) {
    for (od::value token : value.get_array()) out.append(token.raw_json_token()).push_back(' ');
  }
}

/// `prompt` and `input`: a string, strings, tokens, or lists of tokens.
void read_inputs(od::value value, question& q) {
  if (value.type() == od::json_type::string) {
    q.digest = digest_of(value.raw_json_token());
    read_one_input(value, next_text(q));
    return;
  }
  if (value.type() != od::json_type::array) return;
  od::array inputs = value.get_array();
  q.digest = digest_of(inputs.raw_json());
  inputs.reset();
  bool tokens = false;
  for (od::value input : inputs) {
    if (input.type() == od::json_type::number) {
      if (!std::exchange(tokens, true)) next_text(q);
      q.text[q.texts - 1].append(input.raw_json_token()).push_back(' ');
    } else if (q.texts < question::max_inputs) {
      read_one_input(input, next_text(q));
    }
  }
}

void read_count(od::value value, std::int64_t& out) {
  if (std::int64_t n; !value.get_int64().get(n)) out = n;
}

void read_raw(od::value value, std::string& out) {
  std::string_view raw;
  if (value.type() == od::json_type::object) {
    od::object object = value.get_object();
    raw = object.raw_json();
  } else if (value.type() == od::json_type::array) {
    od::array array = value.get_array();
    raw = array.raw_json();
  } else if (value.type() == od::json_type::string) {
    raw = value.raw_json_token();
  }
  out = trimmed(raw);
}

void read_member(std::string_view name, od::value value, question& q, std::int64_t& older_max_tokens) {
  const bool chat = q.route == route_kind::chat;
  if (chat && name == "messages" && value.type() == od::json_type::array) {
    read_messages(value.get_array(), q);
  } else if ((q.route == route_kind::completions && name == "prompt") ||
             (q.route == route_kind::embeddings && name == "input")) {
    read_inputs(value, q);
  } else if (name == "model" || name == "stream" || name == "stream_options" || name == "user" ||
             name == "seed") {
    return;
  } else if (name == "temperature") {
    double n = 0;
    if (value.get_double().get(n) || n < 0 || n > 2) q.plain = false;
  } else if (name == "max_completion_tokens") {
    read_count(value, q.max_tokens);
    if (q.max_tokens < 1) q.plain = false;
  } else if (name == "max_tokens") {
    read_count(value, older_max_tokens);
    if (older_max_tokens < 1) q.plain = false;
  } else if (name == "n") {
    read_count(value, q.choices);
  } else if (chat && name == "tools") {
    read_raw(value, q.tools);
  } else if (chat && name == "tool_choice") {
    read_raw(value, q.tool_choice);
  } else if (chat && name == "response_format") {
    read_raw(value, q.response_format);
  } else if (chat && name == "parallel_tool_calls") {
    q.parallel_calls = !value.raw_json_token().starts_with("false");
  } else if (chat && name == "reasoning_effort") {
    const std::string_view raw = value.raw_json_token();
    q.reasons = raw.starts_with('"') && !raw.starts_with("\"none\"");
  } else if (name == "dimensions") {
    read_count(value, q.dimensions);
  } else if (name == "encoding_format") {
    q.base64 = value.raw_json_token().starts_with("\"base64\"");
  } else {
    q.plain = false;
  }
}

/// Members that are known and have their own place, but bear on each other.
void judge_combinations(question& q, std::int64_t older_max_tokens) {
  const bool both = q.max_tokens >= 0 && older_max_tokens >= 0;
  const bool tools = !q.tools.empty() || !q.tool_choice.empty() || !q.response_format.empty();
  const bool picky = wants_completion_tokens(q.facts.model);
  if (both || picky || tools || q.reasons || !q.parallel_calls ||
      (q.facts.stream_options_length > 0 && !q.facts.stream))
    q.plain = false;
}

bool refuse(engine::api_error& error, std::string param, std::string message) {
  error = {};
  error.status = 400;
  error.type = "invalid_request_error";
  error.code = "invalid_value";
  error.param = std::move(param);
  error.message = std::move(message);
  return false;
}

}  // namespace

void clear(question& q, route_kind route) {
  q.route = route;
  q.facts = {};
  q.max_tokens = -1;
  q.choices = 1;
  q.digest = 0;
  q.texts = 0;
  q.last_is_user = q.base64 = q.reasons = q.shows_thoughts = q.redacts_thoughts = false;
  q.parallel_calls = q.plain = true;
  q.writes_cache = q.array_stream = q.seals_thoughts = false;
  q.keeps = true;
  q.dimensions = q.prompt_tokens = 0;
  q.tools.clear();
  q.tool_choice.clear();
  q.response_format.clear();
  q.repeated.clear();
  q.cache_points.clear();
}

std::string& next_text(question& q) {
  if (q.texts == q.text.size()) q.text.emplace_back();
  std::string& t = q.text[q.texts++];
  t.clear();
  return t;
}

void add_function(std::string& tools, std::string_view name, std::string_view parameters) {
  tools += tools.empty() ? "[" : ",";
  tools += R"({"type":"function","function":{"name":")";
  append_escaped(tools, name);
  tools.append(R"(","parameters":)").append(parameters).append("}}");
}

std::string chosen_function(std::string_view name) {
  std::string out = R"({"type":"function","function":{"name":")";
  append_escaped(out, name);
  return out + "\"}}";
}

std::uint32_t digest_of(std::string_view raw) {
  raw = trimmed(raw);
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(raw.data()), static_cast<uInt>(raw.size())));
}

bool read_openai_question(route_kind route, std::string_view body, size_t padding, question& q,
                          engine::api_error& error) {
  // The dialect judges the body and counts its tokens: both sides of a limit count alike.
  if (!openai().read_request(route, body, q.facts, error)) return false;
  std::int64_t older_max_tokens = -1;
  try {
    thread_local od::parser parser;
    auto document =
        parser.iterate(simdjson::padded_string_view(body.data(), body.size(), body.size() + padding));
    for (auto field : document.get_object())
      read_member(std::string_view(field.unescaped_key()), field.value(), q, older_max_tokens);
  } catch (const simdjson::simdjson_error& e) {
    return refuse(error, "", std::string("The body could not be read: ") + e.what());
  }
  judge_combinations(q, older_max_tokens);
  if (q.max_tokens < 0) q.max_tokens = older_max_tokens;
  if (q.choices < 1 || q.choices > question::max_choices) return refuse(error, "n", "'n' must be 1 to 128.");
  if (q.dimensions < 0 || q.dimensions > question::max_dimensions)
    return refuse(error, "dimensions", "'dimensions' must be 1 to 4096.");
  if (!q.plain) {
    try {
      judge_openai(route, body, padding);
    } catch (const rejected& r) {
      error = r.error();
      return false;
    }
  }
  const bool empty = std::any_of(q.text.begin(), q.text.begin() + static_cast<std::ptrdiff_t>(q.texts),
                                 [](const std::string& text) { return text.empty(); });
  if (route == route_kind::embeddings && (q.texts == 0 || empty))
    return refuse(error, "input", "'$.input' is invalid: an input must not be empty.");
  if (q.texts == 0) next_text(q);
  q.prompt_tokens = q.facts.input_tokens;
  return true;
}

}  // namespace millrace::http::simulation
