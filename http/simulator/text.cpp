#include "http/simulator/text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

namespace millrace::http::simulation {
namespace {

using nlohmann::json;

constexpr size_t payload_piece_bytes = 12;
constexpr int max_schema_depth = 16;
constexpr size_t max_calls = 16;

constexpr std::array<std::string_view, 32> words = {
    " water", " turns", " the",     " wheel", " and",   " every", " grain", " finds",
    " its",   " way",   " through", " stone", " while", " light", " falls", " on",
    " a",     " quiet", " river",   " that",  " runs",  " below", " old",   " walls",
    " as",    " if",    " nothing", " had",   " ever",  " moved", " so",    " far"};

char hex_digit(unsigned n) {
  return "0123456789abcdef"[n & 15];
}

/// Length of the first `characters` UTF-8 characters.
size_t bytes_of(std::string_view text, size_t characters) {
  size_t at = 0;
  for (; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80 && characters-- == 0) break;
  return at;
}

bool contains_ignoring_case(std::string_view text, std::string_view lower) {
  const auto same = [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + ('a' - 'A') : a) == b; };
  return std::search(text.begin(), text.end(), lower.begin(), lower.end(), same) != text.end();
}

std::string lower_case(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c + ('a' - 'A'));
  return text;
}

/// A value that a JSON schema allows, as far as type, enum, const, properties, items and anyOf say it.
json example_of(const json& schema, const std::string& text, int depth) {
  if (!schema.is_object() || depth > max_schema_depth) return text;
  if (schema.contains("const")) return schema["const"];
  if (schema.contains("enum") && !schema["enum"].empty()) return schema["enum"][0];
  if (schema.contains("anyOf") && !schema["anyOf"].empty())
    return example_of(schema["anyOf"][0], text, depth + 1);
  json type = schema.value("type", json(schema.contains("properties") ? "object" : "string"));
  if (type.is_array() && !type.empty()) type = json(type[0]);
  if (type.is_string()) type = lower_case(type.get<std::string>());  // Gemini writes OBJECT
  if (type == "object") {
    json out = json::object();
    if (schema.contains("properties"))
      for (const auto& [name, property] : schema["properties"].items())
        out[name] = example_of(property, text, depth + 1);
    return out;
  }
  if (type == "array")
    return schema.contains("items") ? json::array({example_of(schema["items"], text, depth + 1)})
                                    : json::array();
  if (type == "integer") return 42;
  if (type == "number") return 42.5;
  if (type == "boolean") return true;
  if (type == "null") return nullptr;
  return text;
}

bool wants_several(const question& q) {
  return q.parallel_calls && q.last_is_user && contains_ignoring_case(q.text[0], "parallel");
}

bool wants_tool(const question& q) {
  if (q.tools.empty() || q.tool_choice == "\"none\"") return false;
  if (q.tool_choice == "\"required\"" || q.tool_choice.starts_with('{')) return true;
  return q.last_is_user && contains_ignoring_case(q.text[0], "use the tool");
}

void append_word(std::string& out, std::uint32_t seed, std::int64_t token) {
  // Multiplying by an odd constant spreads neighbouring tokens over the table (Knuth, TAOCP 3, 6.4).
  out += words[((seed + static_cast<std::uint32_t>(token)) * 2654435769U) >> 27];
}

}  // namespace

void append_escaped(std::string& out, std::string_view text) {
  size_t plain = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    out.append(text, plain, i - plain);
    plain = i + 1;
    if (c == '"' || c == '\\') {
      out += {'\\', static_cast<char>(c)};
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += {'\\', 'u', '0', '0', hex_digit(c >> 4), hex_digit(c)};
    }
  }
  out.append(text, plain);
}

void append_number(std::string& out, std::int64_t n) {
  char digits[20];
  out.append(digits, std::to_chars(digits, digits + sizeof digits, n).ptr);
}

void append_hex(std::string& out, std::uint64_t n) {
  for (int shift = 60; shift >= 0; shift -= 4) out += hex_digit(static_cast<unsigned>(n >> shift));
}

reply_text::reply_text(const question& q, size_t index, const model_behaviour& behaviour)
    : digest_(q.digest), stamp_(behaviour.stamp), probability_(behaviour.probability) {
  const std::string& text = q.text[index];
  echoed_ = text.substr(0, bytes_of(text, echoed_characters));
  if (wants_tool(q)) {
    call_tools(q);
  } else if (!behaviour.say.empty()) {
    cut_payload(behaviour.say);
  } else if (q.response_format.find("\"json_") != std::string::npos) {
    answer_as_json(q);
  }
  const auto wish = payload_.empty() ? behaviour.tokens : static_cast<std::int64_t>(payload_.size());
  if (q.reasons) thought_tokens_ = q.max_tokens < 0 ? thought_length : std::min(thought_length, q.max_tokens);
  const std::int64_t most = q.max_tokens < 0 ? -1 : q.max_tokens - thought_tokens_;
  const bool as_asked = wish == 0 && most >= 0;
  tokens_ = as_asked ? most : wish == 0 ? model_behaviour{}.tokens : wish;
  if (most >= 0 && most < tokens_) tokens_ = most;
  tokens_ = std::min(tokens_, max_simulated_tokens);
  cut_ = most >= 0 && tokens_ == most;
  while (calls_.size() > 1 && calls_.back().first >= tokens_) calls_.pop_back();
  if (!calls_.empty() && calls_.back().end > tokens_) {
    calls_.back().end = tokens_;
    calls_.back().arguments.clear();
  }
}

bool reply_text::is_cut() const {
  return cut_ && (payload_.empty() || tokens_ < static_cast<std::int64_t>(payload_.size()));
}

std::string_view reply_text::finish_reason() const {
  if (is_cut()) return "length";
  return calls_tool() ? "tool_calls" : "stop";
}

std::string reply_text::echo() const {
  std::string out = "echo ";
  for (int shift = 28; shift >= 0; shift -= 4) out += hex_digit(digest_ >> shift);
  return out + ":";
}

void reply_text::append(std::string& out, std::int64_t token, std::int64_t now_us) const {
  if (!payload_.empty()) {
    out += payload_[static_cast<size_t>(token)];
  } else if (token == 0) {
    out += echo();
  } else if (token == 1) {
    out += ' ';
    append_escaped(out, echoed_);
  } else if (stamp_) {
    out += " t";
    append_number(out, now_us);
  } else {
    append_word(out, digest_, token);
  }
}

void reply_text::append_thought(std::string& out, std::int64_t token) const {
  if (token == 0)
    out += "Thinking of";
  else
    append_word(out, ~digest_, token);
}

void reply_text::call_tools(const question& q) {
  const json tools = json::parse(q.tools, nullptr, false);
  const json choice = json::parse(q.tool_choice, nullptr, false);
  std::string wanted;
  if (choice.is_object() && choice.contains("function")) wanted = choice["function"].value("name", "");
  for (const json& tool : tools) {
    if (!tool.is_object() || !tool.contains("function") || !tool["function"].is_object()) continue;
    const json& function = tool["function"];
    const std::string name = function.value("name", "tool");
    if (!wanted.empty() && name != wanted) continue;
    call& c = calls_.emplace_back();
    append_escaped(c.name, name);
    const json arguments =
        example_of(function.value("parameters", json::object()), echo() + " " + echoed_, 0);
    c.arguments = arguments.is_object() ? arguments.dump() : "{}";
    c.first = static_cast<std::int64_t>(payload_.size());
    cut_payload(c.arguments);
    c.end = static_cast<std::int64_t>(payload_.size());
    if (!wanted.empty() || calls_.size() == max_calls || !wants_several(q)) return;
  }
}

void reply_text::answer_as_json(const question& q) {
  const json format = json::parse(q.response_format, nullptr, false);
  if (!format.is_object()) return;
  const std::string text = echo() + " " + echoed_;
  if (format.contains("json_schema") && format["json_schema"].is_object()) {
    cut_payload(example_of(format["json_schema"].value("schema", json::object()), text, 0).dump());
  } else {
    cut_payload(json{{"echo", text}}.dump());
  }
}

void reply_text::cut_payload(const std::string& document) {
  for (size_t at = 0; at < document.size();) {
    size_t end = std::min(document.size(), at + payload_piece_bytes);
    while (end < document.size() && (static_cast<unsigned char>(document[end]) & 0xC0) == 0x80) ++end;
    append_escaped(payload_.emplace_back(), std::string_view(document).substr(at, end - at));
    at = end;
  }
}

}  // namespace millrace::http::simulation
