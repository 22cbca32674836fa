#include <algorithm>

#include "http/dialects/json_members.hpp"
#include "http/dialects/openai_chat.hpp"
#include "http/openai_answer.hpp"

namespace millrace::http {

namespace {

void read_content(json_literal content, chat_answer& out) {
  if (is_string(content) && content.size() > 2) out.parts.emplace_back().text = content;
  each_openai_part(content, [&out](part_kind kind, json_literal text) {
    out.parts.emplace_back().kind = kind;
    out.parts.back().text = text;
  });
}

bool read_call(json_literal literal, chat_answer& out) {
  const json_members<2> call(literal, {"id", "function"});
  const json_members<2> function(call[1], {"name", "arguments"});
  std::string_view id = text_of(call[0], out);
  const auto same_id = [id](const chat_part& p) { return p.kind == part_kind::tool_call && p.id == id; };
  if (!id.empty() && std::any_of(out.parts.begin(), out.parts.end(), same_id))
    id = out.keep(std::string(id) + "_" + std::to_string(out.parts.size()));
  chat_part& part = out.parts.emplace_back();
  part.kind = part_kind::tool_call;
  part.id = id;
  part.name = text_of(function[0], out);
  // Some servers have the object itself here, not its text. What the model wrote may be no JSON: how that is
  // told is the affair of the client's dialect, since a call that asks for nothing would be another one.
  part.arguments = is_string(function[1]) ? text_of(function[1], out) : function[1];
  if (json_trim(part.arguments).empty()) part.arguments = "{}";
  return !part.name.empty();
}

bool read_message(json_literal literal, chat_answer& out) {
  const json_members<5> m(literal, {"content", "refusal", "tool_calls", "reasoning_content", "reasoning"});
  if (!m.is_object) return false;
  const json_literal thought = m[3].empty() ? m[4] : m[3];
  if (is_string(thought) && thought.size() > 2) {
    out.parts.emplace_back().kind = part_kind::thinking;
    out.parts.back().text = thought;
  }
  read_content(m[0], out);
  if (is_string(m[1])) {
    out.parts.emplace_back().kind = part_kind::refusal;
    out.parts.back().text = m[1];
  }
  if (m[2].empty()) return true;
  return each_element(m[2], [&](json_literal call, std::size_t) { return read_call(call, out); });
}

/// Texts of one kind as one string literal; null when there are none.
void write_texts(const chat_answer& answer, part_kind kind, std::string& out) {
  const std::size_t begin = out.size();
  for (const chat_part& p : answer.parts) {
    if (p.kind != kind) continue;
    if (out.size() == begin) out += '"';
    out += inside(p.text);
  }
  out += out.size() == begin ? "null" : "\"";
}

void write_calls(const chat_answer& answer, std::string& out) {
  std::size_t calls = 0;
  for (const chat_part& p : answer.parts) {
    if (p.kind != part_kind::tool_call) continue;
    out += calls++ == 0 ? ",\"tool_calls\":[" : ",";
    out += "{\"id\":";
    json_quote(p.id.empty() ? "call_" + std::to_string(calls) : std::string(p.id), out);
    out += R"(,"type":"function","function":{"name":)";
    json_quote(p.name, out);
    out += ",\"arguments\":";
    json_quote(p.arguments, out);
    out += "}}";
  }
  if (calls > 0) out += ']';
}

}  // namespace

void each_openai_part(json_literal content, const std::function<void(part_kind, json_literal)>& say) {
  if (content.empty() || content.front() != '[') return;
  each_element(content, [&](json_literal literal, std::size_t) {
    const json_members<3> part(literal, {"type", "text", "thinking"});
    if (is_string(part[1])) say(part_kind::text, part[1]);
    if (!json_says(part[0], "thinking")) return true;
    if (is_string(part[2])) say(part_kind::thinking, part[2]);
    if (part[2].empty() || part[2].front() != '[') return true;
    return each_element(part[2], [&](json_literal inner, std::size_t) {
      const json_members<1> thought(inner, {"text"});
      if (is_string(thought[0])) say(part_kind::thinking, thought[0]);
      return true;
    });
  });
}

finish_reason read_openai_finish(std::string_view word, bool calls) {
  if (word == "length") return finish_reason::length;
  if (word == "tool_calls" || word == "function_call") return finish_reason::tool_calls;
  if (word == "content_filter") return finish_reason::content_filter;
  if (word.empty()) return finish_reason::none;
  return calls ? finish_reason::tool_calls : finish_reason::stop;
}

std::string_view openai_finish_word(finish_reason finish) {
  switch (finish) {
    case finish_reason::length:
      return "length";
    case finish_reason::tool_calls:
      return "tool_calls";
    case finish_reason::content_filter:
      return "content_filter";
    default:
      return "stop";
  }
}

void write_openai_usage(const engine::usage& used, std::string& out) {
  const auto count = [&out](std::string_view name, std::int64_t n) {
    out.append(name).append(std::to_string(n));
  };
  count("{\"prompt_tokens\":", used.input_tokens);
  count(",\"completion_tokens\":", used.output_tokens);
  count(",\"total_tokens\":", used.input_tokens + used.output_tokens);
  count(",\"prompt_tokens_details\":{\"cached_tokens\":", used.cached_tokens);
  count("},\"completion_tokens_details\":{\"reasoning_tokens\":", used.reasoning_tokens);
  out += "}}";
}

bool decode_openai_answer(std::string_view body, chat_answer& out) {
  out = {};
  json_scanner whole(body);
  if (whole.peek() != '{' || whole.value().empty() || !whole.at_end()) return false;
  const json_members<5> answer(body, {"id", "created", "choices", "usage", "error"});
  out.id = text_of(answer[0], out);
  json_integer(answer[1], out.created);
  json_scanner usage(answer[3]);
  if (!answer[3].empty()) read_openai_usage(usage, out.used);
  if (!answer[4].empty()) return false;  // whatever else is there
  bool good = false;
  each_element(answer[2], [&](json_literal literal, std::size_t) {
    const json_members<2> choice(literal, {"message", "finish_reason"});
    good = read_message(choice[0], out) && !is_failing_reason(choice[1]);
    const bool calls = std::any_of(out.parts.begin(), out.parts.end(),
                                   [](const chat_part& p) { return p.kind == part_kind::tool_call; });
    out.finish = read_openai_finish(inside(choice[1]), calls);
    return false;  // the first is the answer: nobody may ask for more in another dialect
  });
  return good;
}

void encode_openai_answer(const chat_answer& answer, const encode_options& options, std::string& out) {
  out += "{\"id\":";
  json_quote(answer.id.empty() ? "chatcmpl-0" : answer.id, out);
  out += R"(,"object":"chat.completion","created":)";
  out += std::to_string(answer.created > 0 ? answer.created : options.now);
  out += ",\"model\":";
  json_quote(options.model, out);
  out += R"(,"choices":[{"index":0,"message":{"role":"assistant","content":)";
  write_texts(answer, part_kind::text, out);
  out += ",\"refusal\":";
  write_texts(answer, part_kind::refusal, out);
  const auto thinks = [](const chat_part& p) { return p.kind == part_kind::thinking; };
  if (std::any_of(answer.parts.begin(), answer.parts.end(), thinks)) {
    out += ",\"reasoning_content\":";
    write_texts(answer, part_kind::thinking, out);
  }
  write_calls(answer, out);
  out.append("},\"logprobs\":null,\"finish_reason\":\"").append(openai_finish_word(answer.finish));
  out += "\"}],\"usage\":";
  write_openai_usage(answer.used, out);
  out += '}';
}

}  // namespace millrace::http
