#include "http/dialects/answer_gist.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <string>

#include <nlohmann/json.hpp>

namespace millrace::http {

namespace {

using engine::route_kind;
using nlohmann::json;

/// Longer texts are no JSON with a confidence.
constexpr std::size_t max_text_bytes = 1U << 20;
/// Deepest nesting of an answer, or of the JSON in its text, that is looked at.
constexpr int max_depth = 32;

/// One choice of an answer.
struct spoken {
  std::string text;
  std::string arguments;  ///< of its first tool call
  double logprobs = 0;    ///< their sum
  std::int64_t tokens = 0;

  void add_logprob(const json& value) {
    if (!value.is_number()) return;
    logprobs += value.get<double>();
    ++tokens;
  }
};

/// Members that may be missing or of another type than they should.
const json& member(const json& object, const char* name) {
  static const json nothing;
  if (!object.is_object()) return nothing;
  const auto found = object.find(name);
  return found == object.end() ? nothing : *found;
}

const json& first(const json& list) {
  static const json nothing;
  return list.is_array() && !list.empty() ? list.front() : nothing;
}

std::string text_of(const json& value) {
  return value.is_string() ? value.get<std::string>() : std::string();
}

void add_logprobs(const json& list, const char* name, spoken& out) {
  if (!list.is_array()) return;
  for (const json& token : list) out.add_logprob(member(token, name));
}

void keep_arguments(const json& arguments, spoken& out) {
  if (!out.arguments.empty()) return;
  out.arguments = arguments.is_object() ? arguments.dump() : text_of(arguments);
}

void read_chat(const json& answer, spoken& out) {
  const json& choice = first(member(answer, "choices"));
  const json& message = member(choice, "message");
  out.text = text_of(member(message, "content"));
  const json& function = member(first(member(message, "tool_calls")), "function");
  keep_arguments(member(function, "arguments"), out);
  add_logprobs(member(member(choice, "logprobs"), "content"), "logprob", out);
}

void read_completion(const json& answer, spoken& out) {
  const json& choice = first(member(answer, "choices"));
  out.text = text_of(member(choice, "text"));
  const json& logprobs = member(member(choice, "logprobs"), "token_logprobs");
  if (!logprobs.is_array()) return;
  for (const json& value : logprobs) out.add_logprob(value);
}

void read_response(const json& answer, spoken& out) {
  const json& items = member(answer, "output");
  if (!items.is_array()) return;
  for (const json& item : items) {
    const std::string type = text_of(member(item, "type"));
    if (type == "function_call") keep_arguments(member(item, "arguments"), out);
    const json& parts = member(item, "content");
    if (type != "message" || !parts.is_array()) continue;
    for (const json& part : parts) {
      if (text_of(member(part, "type")) != "output_text") continue;
      out.text += text_of(member(part, "text"));
      add_logprobs(member(part, "logprobs"), "logprob", out);
    }
  }
}

void read_message(const json& answer, spoken& out) {
  const json& blocks = member(answer, "content");
  if (!blocks.is_array()) return;
  for (const json& block : blocks) {
    const std::string type = text_of(member(block, "type"));
    if (type == "text") out.text += text_of(member(block, "text"));
    if (type == "tool_use") keep_arguments(member(block, "input"), out);
  }
}

void read_generated(const json& answer, spoken& out) {
  const json& candidate = first(member(answer, "candidates"));
  const json& parts = member(member(candidate, "content"), "parts");
  if (parts.is_array()) {
    for (const json& part : parts) {
      if (member(part, "thought") != json(true)) out.text += text_of(member(part, "text"));
      keep_arguments(member(member(part, "functionCall"), "args"), out);
    }
  }
  add_logprobs(member(member(candidate, "logprobsResult"), "chosenCandidates"), "logProbability", out);
  if (out.tokens == 0) out.add_logprob(member(candidate, "avgLogprobs"));
}

spoken read(route_kind route, const json& answer) {
  spoken out;
  switch (route) {
    case route_kind::chat:
      read_chat(answer, out);
      break;
    case route_kind::completions:
      read_completion(answer, out);
      break;
    case route_kind::responses:
      read_response(answer, out);
      break;
    case route_kind::messages:
      read_message(answer, out);
      break;
    case route_kind::generate:
      read_generated(answer, out);
      break;
    default:
      break;
  }
  return out;
}

std::string_view trimmed(std::string_view s) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto begin = s.find_first_not_of(blanks);
  if (begin == std::string_view::npos) return {};
  return s.substr(begin, s.find_last_not_of(blanks) - begin + 1);
}

/// Discarded: it is no JSON, or nested so deep that writing it again would need much of a coroutine's stack.
json read_json(std::string_view text) {
  bool too_deep = false;
  json value = json::parse(
      text,
      [&too_deep](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > max_depth;
        return !too_deep;
      },
      false);
  return too_deep ? json(json::value_t::discarded) : value;
}

json parsed(std::string_view text) {
  json value = read_json(text);
  return value.is_object() ? value : json(json::value_t::discarded);
}

/// What stands in the first code fence; empty: none.
std::string_view fenced(std::string_view text) {
  constexpr std::string_view fence = "```";
  const auto open = text.find(fence);
  if (open == std::string_view::npos) return {};
  const auto line = text.find('\n', open);
  if (line == std::string_view::npos) return {};
  const auto close = text.find(fence, line);
  return close == std::string_view::npos ? std::string_view() : text.substr(line, close - line);
}

/// The object that a text is or holds; discarded where there is none.
json object_in(std::string_view text) {
  if (text.size() > max_text_bytes) return json(json::value_t::discarded);
  json whole = parsed(text);
  if (!whole.is_discarded()) return whole;
  json inside = parsed(fenced(text));
  if (!inside.is_discarded()) return inside;
  const auto open = text.find('{');
  const auto close = text.rfind('}');
  if (open == std::string_view::npos || close == std::string_view::npos || close < open)
    return json(json::value_t::discarded);
  return parsed(text.substr(open, close - open + 1));
}

/// Below 0: it is none.
double confidence_of(const json& value) {
  double number = -1;
  double scale = 1;
  if (value.is_number()) number = value.get<double>();
  if (value.is_string()) {
    const std::string text = value.get<std::string>();
    std::string_view digits = trimmed(text);
    if (digits.ends_with('%')) {
      scale = 100;
      digits = trimmed(digits.substr(0, digits.size() - 1));
    }
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    if (error != std::errc{} || end != digits.data() + digits.size()) number = -1;
  }
  number /= scale;
  return number >= 0 && number <= 1 ? number : -1;
}

/// Takes the member at the dotted `path` out of `object`.
double take_confidence(json& object, std::string_view path) {
  json* at = &object;
  for (auto dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    const auto found = at->is_object() ? at->find(std::string(path.substr(0, dot))) : at->end();
    if (!at->is_object() || found == at->end()) return -1;
    at = &*found;
    path.remove_prefix(dot + 1);
  }
  const std::string name(path);
  if (!at->is_object() || !at->contains(name)) return -1;
  const double confidence = confidence_of((*at)[name]);
  if (confidence >= 0) at->erase(name);
  return confidence;
}

}  // namespace

engine::answer_gist read_gist(route_kind route, std::string_view answer,
                              const engine::confidence_source& source) {
  engine::answer_gist gist;
  const json whole = read_json(answer);
  if (!whole.is_object()) return gist;
  const spoken said = read(route, whole);
  const std::string_view text = trimmed(said.text.empty() ? said.arguments : said.text);
  json object = object_in(text);
  if (source.logprobs && said.tokens > 0)
    gist.confidence = std::clamp(std::exp(said.logprobs / static_cast<double>(said.tokens)), 0.0, 1.0);
  if (!source.logprobs && object.is_object()) gist.confidence = take_confidence(object, source.field);
  gist.said = object.is_object() ? object.dump(-1, ' ', false, json::error_handler_t::replace) : text;
  return gist;
}

}  // namespace millrace::http
