#include "http/dialects/responses_input.hpp"

#include <utility>

#include "http/dialects/responses_output.hpp"

namespace millrace::http {

bool responses_input::known(const std::string& unknown, const std::string& where) {
  return unknown.empty() || unsupported(where + "." + unknown);
}

bool responses_input::read_input(json_literal input) {
  if (is_string(input)) {
    out_.messages.push_back({chat_role::user, {}});
    out_.messages.back().parts.emplace_back().text = input;
    return true;
  }
  if (input.empty() || input.front() != '[') return invalid("input", "a text or a list of items");
  return each_element(input,
                      [this](json_literal item, std::size_t i) { return read_item(item, at("input", i)); });
}

bool responses_input::read_item(json_literal item, const std::string& where) {
  const json_members<2> kind(item, {"type", "role"});
  if (!kind.is_object) return invalid(where, "an object");
  const std::string_view type = inside(kind[0]);
  // Messages may leave it out, and so may references, which have no role.
  if (type == "message" || (kind[0].empty() && !kind[1].empty())) return read_message(item, where);
  if (type == "function_call") return read_call(item, where);
  if (type == "function_call_output") return read_result(item, where);
  if (type == "reasoning") return read_reasoning(item, where);
  return unsupported(where + ".type");
}

/// What the assistant did in a row is one message.
chat_message& responses_input::of_assistant() {
  if (out_.messages.empty() || out_.messages.back().role != chat_role::assistant)
    out_.messages.push_back({chat_role::assistant, {}});
  return out_.messages.back();
}

bool responses_input::read_message(json_literal item, const std::string& where) {
  enum : std::size_t { type, role, content, id, status, phase, count };
  const json_members<count> m(item, {"type", "role", "content", "id", "status", "phase"});
  if (!known(m.unknown, where)) return false;
  if (!m[phase].empty()) drop("input.phase");
  const std::string_view who = inside(m[role]);
  std::vector<chat_part> parts;
  if (!read_content(m[content], where + ".content", parts)) return false;
  if (who == "assistant") {
    auto& all = of_assistant().parts;
    for (chat_part& p : parts) all.push_back(std::move(p));
    return true;
  }
  const bool system = who == "system" || who == "developer";
  if (!system && who != "user") return invalid(where + ".role", "system, developer, user or assistant");
  if (parts.empty()) return invalid(where + ".content", "a text or a list of parts that is not empty");
  out_.messages.push_back({system ? chat_role::system : chat_role::user, std::move(parts)});
  return true;
}

bool responses_input::read_content(json_literal content, const std::string& where,
                                   std::vector<chat_part>& parts) {
  return read_text_or_parts(content, where, parts, [&](json_literal part, const std::string& place) {
    return read_part(part, place, parts);
  });
}

bool responses_input::read_part(json_literal literal, const std::string& where,
                                std::vector<chat_part>& parts) {
  enum : std::size_t {
    type,
    text,
    refusal,
    url,
    detail,
    id,
    audio,
    data,
    file,
    name,
    notes,
    odds,
    mark,
    count
  };
  const json_members<count> p(
      literal, {"type", "text", "refusal", "image_url", "detail", "file_id", "input_audio", "file_data",
                "file_url", "filename", "annotations", "logprobs", "prompt_cache_breakpoint"});
  if (!p.is_object) return invalid(where, "an object");
  if (!p[id].empty()) return unsupported(where + ".file_id");
  if (!known(p.unknown, where)) return false;
  if (!json_is_blank(p[notes])) drop("input.annotations");
  if (!p[mark].empty()) drop("input.prompt_cache_breakpoint");
  chat_part& part = parts.emplace_back();
  const std::string_view kind = inside(p[type]);
  if (kind == "input_text" || kind == "output_text") {
    part.text = p[text];
    return is_string(part.text) || invalid(where + ".text", "a text");
  }
  if (kind == "refusal") {
    part.kind = part_kind::refusal;
    part.text = p[refusal];
    return is_string(part.text) || invalid(where + ".refusal", "a text");
  }
  if (kind == "input_image") {
    part.kind = part_kind::image;
    part.detail = text_of(p[detail], out_);
    return read_image_url(p[url], where + ".image_url", part);
  }
  if (kind == "input_file") return read_file(literal, where, part);
  if (kind == "input_audio") return read_audio(p[audio], where + ".input_audio", part);
  return unsupported(where + ".type");
}

bool responses_input::read_file(json_literal literal, const std::string& where, chat_part& part) {
  const json_members<3> f(literal, {"file_data", "file_url", "filename"});
  part.kind = part_kind::document;
  part.name = text_of(f[2], out_);
  if (f[1].empty()) return read_file_data(f[0], where + ".file_data", part);
  part.url = text_of(f[1], out_);
  return !part.url.empty() || invalid(where + ".file_url", "a URL");
}

bool responses_input::read_call(json_literal item, const std::string& where) {
  const json_members<6> call(item, {"type", "call_id", "name", "arguments", "id", "status"});
  if (!known(call.unknown, where)) return false;
  chat_part part;
  part.kind = part_kind::tool_call;
  part.id = text_of(call[1], out_);
  part.name = text_of(call[2], out_);
  if (part.id.empty() || part.name.empty()) return invalid(where, "a call with `call_id` and `name`");
  if (!read_arguments(call[3], where + ".arguments", part)) return false;
  of_assistant().parts.push_back(std::move(part));
  return true;
}

bool responses_input::read_result(json_literal item, const std::string& where) {
  const json_members<5> given(item, {"type", "call_id", "output", "id", "status"});
  if (!known(given.unknown, where)) return false;
  chat_part part;
  part.kind = part_kind::tool_result;
  part.id = text_of(given[1], out_);
  if (part.id.empty()) return invalid(where + ".call_id", "the id of a call");
  if (!read_content(given[2], where + ".output", part.result)) return false;
  results().parts.push_back(std::move(part));
  return true;
}

/// Only what Millrace itself handed out means anything to a provider; what OpenAI encrypted, it alone reads.
bool responses_input::read_reasoning(json_literal item, const std::string& where) {
  const json_members<6> given(item, {"type", "summary", "encrypted_content", "content", "id", "status"});
  if (!known(given.unknown, where)) return false;
  chat_part part;
  part.kind = part_kind::thinking;
  std::string text;
  for (const json_literal list : {given[1], given[3]}) {
    if (!text.empty()) break;
    each_element(list, [&](json_literal literal, std::size_t) {
      const json_members<1> said(literal, {"text"});
      text += inside(said[0]);
      return true;
    });
  }
  bool sealed = false;
  std::string signature;
  if (unmark_response_signature(given[2], signature, sealed)) {
    part.signature = out_.keep(std::move(signature));
    if (sealed) part.kind = part_kind::sealed_thinking;
  } else if (!given[2].empty()) {
    drop("input.encrypted_content");
  }
  if (!sealed) part.text = out_.keep('"' + text + '"');
  if (text.empty() && part.signature.empty()) return true;
  of_assistant().parts.push_back(std::move(part));
  return true;
}

}  // namespace millrace::http
