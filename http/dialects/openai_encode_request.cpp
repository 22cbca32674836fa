#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "http/dialects/closed_schema.hpp"
#include "http/dialects/id_hash.hpp"
#include "http/dialects/json_members.hpp"
#include "http/dialects/openai_chat.hpp"

namespace millrace::http {

namespace {

using engine::api_error;

/// Thinking budgets below these, in tokens, are low and medium effort.
constexpr std::int64_t low_effort_tokens = 4096;
constexpr std::int64_t medium_effort_tokens = 16384;
/// Of the id of a call.
constexpr std::size_t max_id_bytes = 40;
constexpr std::string_view json_instruction = R"("Answer with one valid JSON object and nothing else.")";

class request_encoder {
 public:
  request_encoder(const chat_request& r, const encode_options& o, std::string& out,
                  std::vector<std::string>& dropped, api_error& error)
      : r_(r), options_(o), out_(out), dropped_(dropped), error_(error) {}

  bool encode();

 private:
  bool judge();
  bool refuse(std::string_view field, std::string_view why);
  void drop(std::string_view name);
  void number(std::string_view name, json_literal value);
  void count(std::string_view name, std::int64_t value);
  bool write_messages();
  bool write_message(const chat_message& m);
  bool write_results(const chat_message& m);
  bool write_result(const chat_part& result, std::vector<const chat_part*>& images);
  bool write_content(const std::vector<const chat_part*>& parts);
  bool write_part(const chat_part& part);
  void write_assistant(const chat_message& m);
  void write_call(const chat_part& call);
  void write_tools();
  void write_choice();
  void write_format();
  void write_strict(std::optional<bool> strict, json_literal schema);
  void write_id(std::string_view id);
  bool says_json() const;
  void write_limits();
  void write_data_url(const chat_part& part);
  void begin(std::string_view role);
  void separate();

  const chat_request& r_;
  const encode_options& options_;
  std::string& out_;
  std::vector<std::string>& dropped_;
  api_error& error_;
};

bool request_encoder::refuse(std::string_view field, std::string_view why) {
  const std::string name(field);
  error_ = {400, "invalid_request_error", "unsupported_field", {}, name, {}, true};
  error_.message.append("`")
      .append(name)
      .append("` cannot be said in OpenAI's API: ")
      .append(why)
      .append(".");
  return false;
}

void request_encoder::drop(std::string_view name) {
  if (std::find(dropped_.begin(), dropped_.end(), name) == dropped_.end()) dropped_.emplace_back(name);
}

void request_encoder::number(std::string_view name, json_literal value) {
  if (value.empty()) return;
  out_.append(",\"").append(name).append("\":").append(value);
}

void request_encoder::count(std::string_view name, std::int64_t value) {
  if (value >= 0) number(name, std::to_string(value));
}

/// Of what is translated to this API, Gemini's requests alone can ask for these, and their clients could not
/// be told.
bool request_encoder::judge() {
  if (r_.choices > 1) return refuse("generationConfig.candidateCount", "ask for one answer at a time");
  if (r_.logprobs || r_.top_logprobs > 0)
    return refuse("generationConfig.responseLogprobs", "leave it out, and logprobs");
  return true;
}

bool request_encoder::encode() {
  if (!judge()) return false;
  out_ += "{\"model\":";
  json_quote(options_.model, out_);
  if (!write_messages()) return false;
  write_tools();
  write_choice();
  write_format();
  write_limits();
  if (r_.stream) out_ += ",\"stream\":true";
  if (r_.stream && options_.stream_usage) out_ += R"(,"stream_options":{"include_usage":true})";
  out_ += '}';
  return true;
}

bool request_encoder::write_messages() {
  out_ += ",\"messages\":[";
  if (r_.format == answer_format::json && !says_json()) {
    begin("system");
    out_.append(",\"content\":").append(json_instruction).append("}");
  }
  for (const chat_message& m : r_.messages) {
    if (!write_message(m)) return false;
  }
  out_ += ']';
  return true;
}

/// Without the word in a message this API refuses its JSON mode.
bool request_encoder::says_json() const {
  constexpr std::string_view word = "json";
  const auto says = [&](const chat_part& p) {
    return std::search(p.text.begin(), p.text.end(), word.begin(), word.end(),
                       [](char any, char small) { return (any | 0x20) == small; }) != p.text.end();
  };
  return std::any_of(r_.messages.begin(), r_.messages.end(), [&](const chat_message& m) {
    return std::any_of(m.parts.begin(), m.parts.end(), says);
  });
}

/// Longer ones are refused; a call and its result get the same.
void request_encoder::write_id(std::string_view id) {
  if (id.size() <= max_id_bytes) return json_quote(id, out_);
  const std::string hash = id_hash(id);
  json_quote(std::string(id.substr(0, max_id_bytes - 1 - hash.size())) + "_" + hash, out_);
}

void request_encoder::separate() {
  if (out_.back() != '[') out_ += ',';
}

void request_encoder::begin(std::string_view role) {
  separate();
  out_.append("{\"role\":\"").append(role).append("\"");
}

bool request_encoder::write_message(const chat_message& m) {
  if (m.role == chat_role::assistant) {
    write_assistant(m);
    return true;
  }
  if (!write_results(m)) return false;
  std::vector<const chat_part*> parts;
  for (const chat_part& p : m.parts) {
    if (p.kind != part_kind::tool_result) parts.push_back(&p);
  }
  if (parts.empty()) return true;
  begin(m.role == chat_role::system ? "system" : "user");
  out_ += ",\"content\":";
  if (!write_content(parts)) return false;
  out_ += '}';
  return true;
}

/// Each result is a message of its own. Their images cannot be, and follow together.
bool request_encoder::write_results(const chat_message& m) {
  std::vector<const chat_part*> images;
  for (const chat_part& p : m.parts) {
    if (p.kind == part_kind::tool_result && !write_result(p, images)) return false;
  }
  if (images.empty()) return true;
  begin("user");
  out_ += ",\"content\":";
  if (!write_content(images)) return false;
  out_ += '}';
  return true;
}

bool request_encoder::write_result(const chat_part& result, std::vector<const chat_part*>& images) {
  begin("tool");
  out_ += ",\"tool_call_id\":";
  write_id(result.id);
  std::vector<const chat_part*> texts;
  for (const chat_part& p : result.result) {
    (p.kind == part_kind::text ? texts : images).push_back(&p);
  }
  if (result.failed) drop("is_error");
  out_ += ",\"content\":";
  if (texts.empty()) {
    out_ += "\"\"";
  } else if (!write_content(texts)) {
    return false;
  }
  out_ += '}';
  return true;
}

bool request_encoder::write_content(const std::vector<const chat_part*>& parts) {
  if (parts.size() == 1 && parts[0]->kind == part_kind::text) {
    if (!parts[0]->cache_control.empty()) drop("cache_control");
    out_ += parts[0]->text;
    return true;
  }
  out_ += '[';
  for (const chat_part* p : parts) {
    separate();
    if (!write_part(*p)) return false;
  }
  out_ += ']';
  return true;
}

bool request_encoder::write_part(const chat_part& part) {
  if (!part.cache_control.empty()) drop("cache_control");
  const auto say_text = [this](json_literal text) {
    out_.append(R"({"type":"text","text":)").append(text).append("}");
    return true;
  };
  switch (part.kind) {
    case part_kind::image:
      out_ += R"({"type":"image_url","image_url":{"url":)";
      if (part.url.empty()) {
        write_data_url(part);
      } else {
        json_quote(part.url, out_);
      }
      if (!part.detail.empty()) {
        out_ += ",\"detail\":";
        json_quote(part.detail, out_);
      }
      out_ += "}}";
      return true;
    case part_kind::document:
      if (!part.text.empty()) return say_text(part.text);
      if (part.data.empty()) return refuse("document", "it takes documents as data, not by URL");
      out_ += R"({"type":"file","file":{"filename":)";
      json_quote(part.name.empty() ? "document" : part.name, out_);
      out_ += ",\"file_data\":";
      write_data_url(part);
      out_ += "}}";
      return true;
    case part_kind::audio: {
      const bool mp3 = part.media_type == "audio/mp3" || part.media_type == "audio/mpeg";
      const bool wav = part.media_type == "audio/wav" || part.media_type == "audio/x-wav";
      if (!mp3 && !wav) return refuse("audio", "it takes wav and mp3 only");
      out_ += R"({"type":"input_audio","input_audio":{"data":)";
      json_quote(part.data, out_);
      out_ += mp3 ? R"(,"format":"mp3"}})" : R"(,"format":"wav"}})";
      return true;
    }
    default:
      return say_text(part.text);
  }
}

void request_encoder::write_data_url(const chat_part& part) {
  std::string url = "data:";
  url.append(part.media_type).append(";base64,").append(part.data);
  json_quote(url, out_);
}

void request_encoder::write_assistant(const chat_message& m) {
  std::vector<const chat_part*> texts;
  std::vector<const chat_part*> calls;
  json_literal refusal;
  for (const chat_part& p : m.parts) {
    if (p.kind == part_kind::text) texts.push_back(&p);
    if (p.kind == part_kind::tool_call) calls.push_back(&p);
    if (p.kind == part_kind::refusal) refusal = p.text;
    if (p.kind == part_kind::thinking || p.kind == part_kind::sealed_thinking) drop("thinking");
  }
  if (texts.empty() && calls.empty() && refusal.empty()) return;
  begin("assistant");
  out_ += ",\"content\":";
  if (texts.empty()) {
    out_ += "null";
  } else {
    write_content(texts);
  }
  number("refusal", refusal);
  if (!calls.empty()) {
    out_ += ",\"tool_calls\":[";
    for (const chat_part* c : calls) write_call(*c);
    out_ += ']';
  }
  out_ += '}';
}

void request_encoder::write_call(const chat_part& call) {
  separate();
  out_ += "{\"id\":";
  write_id(call.id);
  out_ += R"(,"type":"function","function":{"name":)";
  json_quote(call.name, out_);
  out_ += ",\"arguments\":";
  json_quote(call.arguments, out_);
  out_ += "}}";
}

void request_encoder::write_tools() {
  if (r_.tools.empty()) return;
  out_ += ",\"tools\":[";
  for (const chat_tool& t : r_.tools) {
    separate();
    if (!t.cache_control.empty()) drop("cache_control");
    out_ += R"({"type":"function","function":{"name":)";
    json_quote(t.name, out_);
    number("description", t.description);
    number("parameters", t.parameters);
    write_strict(t.strict, t.parameters);
    out_ += "}}";
  }
  out_ += ']';
  if (r_.parallel_tool_calls) number("parallel_tool_calls", *r_.parallel_tool_calls ? "true" : "false");
}

void request_encoder::write_choice() {
  switch (r_.tool_choice) {
    case tool_choice::unset:
      return;
    case tool_choice::automatic:
      return number("tool_choice", "\"auto\"");
    case tool_choice::none:
      return number("tool_choice", "\"none\"");
    case tool_choice::any:
      return number("tool_choice", "\"required\"");
    case tool_choice::named:
      out_ += R"(,"tool_choice":{"type":"function","function":{"name":)";
      json_quote(r_.chosen_tool, out_);
      out_ += "}}";
  }
}

void request_encoder::write_format() {
  if (r_.format == answer_format::json) out_ += R"(,"response_format":{"type":"json_object"})";
  if (r_.format != answer_format::schema) return;
  out_ += R"(,"response_format":{"type":"json_schema","json_schema":{"name":)";
  json_quote(r_.schema_name.empty() ? "answer" : r_.schema_name, out_);
  number("schema", r_.schema);
  write_strict(r_.schema_strict, r_.schema);
  out_ += "}}";
}

/// Other APIs are strict with schemas that this one would refuse to be strict with.
void request_encoder::write_strict(std::optional<bool> strict, json_literal schema) {
  const bool can = strict != true || takes_strictly(schema);
  if (!can) drop("strict");
  if (strict) number("strict", *strict && can ? "true" : "false");
}

void request_encoder::write_limits() {
  count(options_.newest_names ? "max_completion_tokens" : "max_tokens", r_.max_output_tokens);
  number("temperature", r_.temperature);
  number("top_p", r_.top_p);
  if (!r_.top_k.empty()) drop("top_k");
  number("presence_penalty", r_.presence_penalty);
  number("frequency_penalty", r_.frequency_penalty);
  number("seed", r_.seed);
  if (!r_.stop.empty()) {
    out_ += ",\"stop\":[";
    for (const json_literal s : r_.stop) {
      separate();
      out_ += s;
    }
    out_ += ']';
  }
  // Which models take an effort of `none` or `minimal`, and which of the others think, this API does not
  // tell.
  if (r_.thinking == thinking_mode::off && r_.effort != "none" && options_.thinks) drop("thinking");
  if (!r_.effort.empty()) {
    out_ += ",\"reasoning_effort\":";
    json_quote(r_.effort, out_);
  } else if (r_.thinking == thinking_mode::on) {
    const bool low = r_.thinking_tokens >= 0 && r_.thinking_tokens < low_effort_tokens;
    const bool medium = r_.thinking_tokens < medium_effort_tokens;
    number("reasoning_effort", low ? "\"low\"" : medium ? "\"medium\"" : "\"high\"");
  }
  if (!r_.end_user.empty()) {
    out_ += ",\"user\":";
    json_quote(r_.end_user, out_);
  }
}

}  // namespace

bool encode_openai_chat(const chat_request& request, const encode_options& options, std::string& out,
                        std::vector<std::string>& dropped, engine::api_error& error) {
  return request_encoder(request, options, out, dropped, error).encode();
}

}  // namespace millrace::http
