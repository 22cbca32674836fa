#include <algorithm>
#include <utility>

#include "http/dialects/anthropic_codec.hpp"

namespace millrace::http {
namespace {

struct stop_reason {
  std::string_view name;
  finish_reason finish;
};
constexpr std::array<stop_reason, 7> stop_reasons = {
    {{"end_turn", finish_reason::stop},
     {"stop_sequence", finish_reason::stop},
     {"max_tokens", finish_reason::length},
     {"model_context_window_exceeded", finish_reason::length},
     {"tool_use", finish_reason::tool_calls},
     {"refusal", finish_reason::content_filter},
     {"pause_turn", finish_reason::paused}}};

void read_block(json_literal literal, chat_answer& out) {
  enum : std::size_t { type, text, thinking, signature, data, id, name, input, count };
  static constexpr std::array<std::string_view, count> names = {"type", "text", "thinking", "signature",
                                                                "data", "id",   "name",     "input"};
  const json_members<count> value(literal, names);
  if (!value.is_object) return;
  const std::string kind = json_text(value[type]);
  chat_part part;
  if (kind == "text") {
    part.text = value[text];
  } else if (kind == "thinking") {
    part.kind = part_kind::thinking;
    part.text = value[thinking];
    part.signature = value[signature];
  } else if (kind == "redacted_thinking") {
    part.kind = part_kind::sealed_thinking;
    part.signature = value[data];
  } else if (kind == "tool_use") {
    part.kind = part_kind::tool_call;
    part.id = text_of(value[id], out);
    part.name = text_of(value[name], out);
    part.arguments = value[input];
  } else {
    return;
  }
  for (json_literal* text_value : {&part.text, &part.signature}) {
    if (!text_value->empty() && text_value->front() != '"') *text_value = {};
  }
  out.parts.push_back(std::move(part));
}

void add_explanation(json_literal stop_details, chat_answer& out) {
  const json_members<1> value(stop_details, {"explanation"});
  if (json_is_blank(value[0]) || value[0].front() != '"') return;
  chat_part& part = out.parts.emplace_back();
  part.kind = part_kind::refusal;
  part.text = value[0];
}

void write_member(std::string_view name, json_literal value, std::string_view otherwise, std::string& out) {
  out.append(",\"").append(name).append("\":").append(value.empty() ? otherwise : value);
}

void write_part(const chat_part& part, std::size_t index, std::string& out) {
  switch (part.kind) {
    case part_kind::text:
    case part_kind::refusal:
      out += R"({"type":"text")";
      write_member("text", part.text, "\"\"", out);
      break;
    case part_kind::thinking:
      out += R"({"type":"thinking")";
      write_member("thinking", part.text, "\"\"", out);
      write_member("signature", part.signature, "\"\"", out);
      break;
    case part_kind::sealed_thinking:
      out += R"({"type":"redacted_thinking")";
      write_member("data", part.signature, "\"\"", out);
      break;
    case part_kind::tool_call:
      out += R"({"type":"tool_use","id":)";
      json_quote(part.id.empty() ? "toolu_" + std::to_string(index) : std::string(part.id), out);
      out += ",\"name\":";
      json_quote(part.name, out);
      write_member("input", part.arguments, "{}", out);
      break;
    default:
      return;
  }
  out += '}';
}

bool is_said_by_model(const chat_part& part) {
  switch (part.kind) {
    case part_kind::text:
    case part_kind::refusal:
    case part_kind::thinking:
    case part_kind::sealed_thinking:
    case part_kind::tool_call:
      return true;
    default:
      return false;
  }
}

json_literal explanation_of(const chat_answer& answer) {
  for (const chat_part& part : answer.parts) {
    if (part.kind == part_kind::refusal) return part.text;
  }
  return {};
}

}  // namespace

finish_reason read_anthropic_stop(std::string_view stop_reason) {
  for (const auto& known : stop_reasons) {
    if (known.name == stop_reason) return known.finish;
  }
  return stop_reason.empty() ? finish_reason::none : finish_reason::stop;
}

std::string_view anthropic_stop_literal(finish_reason finish, bool at_sequence) {
  switch (finish) {
    case finish_reason::none:
    case finish_reason::stop:
      return at_sequence ? "\"stop_sequence\"" : "\"end_turn\"";
    case finish_reason::length:
      return "\"max_tokens\"";
    case finish_reason::tool_calls:
      return "\"tool_use\"";
    case finish_reason::content_filter:
      return "\"refusal\"";
    case finish_reason::paused:
      return "\"pause_turn\"";
  }
  return "\"end_turn\"";
}

bool decode_anthropic_answer(std::string_view body, chat_answer& out) {
  enum : std::size_t { type, id, content, stop, sequence, details, used, count };
  static constexpr std::array<std::string_view, count> names = {
      "type", "id", "content", "stop_reason", "stop_sequence", "stop_details", "usage"};
  out = {};
  const json_members<count> value(body, names);
  if (!value.whole || json_text(value[type]) != "message") return false;
  json_scanner blocks(value[content]);
  if (!blocks.enter_array()) return false;
  while (blocks.next_element()) read_block(blocks.value(), out);
  out.id = text_of(value[id], out);
  out.finish = read_anthropic_stop(json_text(value[stop]));
  if (!value[sequence].empty() && value[sequence].front() == '"') out.stop_sequence = value[sequence];
  if (out.finish == finish_reason::content_filter) add_explanation(value[details], out);
  anthropic_usage usage;
  if (!value[used].empty()) {
    json_scanner counts(value[used]);
    usage.read(counts);
  }
  out.used = usage.total();
  return true;
}

/// A stream hands on the text of a call's arguments, whatever it is, and clients see that it is no JSON; here
/// they must be an object, and any that the model did not write would be run. So such an answer is none, as
/// it is where a stream is put together, and whoever is asked next may do better. Where the tokens ran out
/// that would be in vain: `max_tokens` says why the call is missing.
bool fit_anthropic_answer(chat_answer& answer) {
  const auto is_broken = [](const chat_part& part) {
    return part.kind == part_kind::tool_call && !part.arguments.empty() && !is_json_object(part.arguments);
  };
  const auto broken = std::remove_if(answer.parts.begin(), answer.parts.end(), is_broken);
  if (broken != answer.parts.end() && answer.finish != finish_reason::length) return false;
  answer.parts.erase(broken, answer.parts.end());
  return true;
}

void encode_anthropic_answer(const chat_answer& answer, const encode_options& options, std::string& out) {
  out += "{\"id\":";
  json_quote(answer.id.empty() ? "msg_" + std::to_string(options.now) : std::string(answer.id), out);
  out += R"(,"type":"message","role":"assistant","model":)";
  json_quote(options.model, out);
  const char* separator = "";
  out += ",\"content\":[";
  for (std::size_t i = 0; i < answer.parts.size(); ++i) {
    if (!is_said_by_model(answer.parts[i])) continue;
    out += separator;
    write_part(answer.parts[i], i, out);
    separator = ",";
  }
  const bool at_sequence = !answer.stop_sequence.empty();
  out.append("],\"stop_reason\":").append(anthropic_stop_literal(answer.finish, at_sequence));
  write_member("stop_sequence", answer.stop_sequence, "null", out);
  if (answer.finish == finish_reason::content_filter) {
    out += R"(,"stop_details":{"type":"refusal","category":null)";
    write_member("explanation", explanation_of(answer), "null", out);
    out += '}';
  }
  out += ",\"usage\":";
  write_anthropic_usage(answer.used, out);
  out += '}';
}

}  // namespace millrace::http
