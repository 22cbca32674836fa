#include <algorithm>
#include <cstdlib>
#include <utility>

#include "http/bad_request.hpp"
#include "http/dialects/anthropic_cache_marks.hpp"
#include "http/dialects/anthropic_codec.hpp"
#include "http/dialects/anthropic_thinking.hpp"
#include "http/dialects/anthropic_tool_ids.hpp"
#include "http/dialects/closed_schema.hpp"
#include "http/token_estimate.hpp"

namespace millrace::http {
namespace {

constexpr std::size_t max_tool_name_bytes = 128;
constexpr std::string_view ephemeral = anthropic_cache_mark;
constexpr std::string_view json_instruction =
    R"("Answer with one valid JSON object and nothing else: no prose, no code fence.")";

/// Only white space, written in any way but \u: the provider refuses such texts.
bool says_nothing(json_literal text) {
  for (std::size_t at = 1; at + 1 < text.size(); ++at) {
    if (text[at] == ' ') continue;
    if (text[at] != '\\') return false;
    ++at;
    if (text[at] != 'n' && text[at] != 't' && text[at] != 'r' && text[at] != 'f') return false;
  }
  return true;
}

double number_of(json_literal number) {
  return std::strtod(std::string(number).c_str(), nullptr);
}

class request_encoder {
 public:
  request_encoder(const chat_request& request, const encode_options& options, std::string& out,
                  std::vector<std::string>& dropped, engine::api_error& error)
      : request_(request), options_(options), out_(out), dropped_(dropped), error_(error) {}

  bool write();

 private:
  using message_run = std::pair<std::size_t, std::size_t>;  ///< from, to

  bool fail(std::string code, std::string param, std::string_view why);
  void drop(std::string_view name);
  bool judge();
  void choose_marks();
  void write_system();
  bool write_messages();
  bool write_run(message_run run, bool& empty);
  bool write_part(const chat_part& part);
  void write_thought(const chat_part& part);
  void open_block(std::string_view type);
  void close_block(json_literal cache_control);
  void write_text(json_literal text, json_literal cache_control);
  bool write_image(const chat_part& part);
  bool write_document(const chat_part& part);
  void write_base64(const chat_part& part);
  bool write_call(const chat_part& part);
  bool write_result(const chat_part& part);
  bool write_tools();
  void write_tool_choice();
  bool write_stops();
  void write_sampling();
  void write_number(std::string_view name, json_literal number);
  void write_thinking();
  void write_rest();

  const chat_request& request_;
  const encode_options& options_;
  std::string& out_;
  std::vector<std::string>& dropped_;
  engine::api_error& error_;
  anthropic_thinking plan_;
  anthropic_tool_ids ids_;
  bool system_is_all_ = false;  ///< there are no other messages
  bool mark_tools_ = false;
  bool mark_system_ = false;
  bool first_block_ = true;
};

bool request_encoder::write() {
  plan_ = plan_anthropic_thinking(request_, options_);
  if (!judge()) return false;
  system_is_all_ = std::all_of(request_.messages.begin(), request_.messages.end(),
                               [](const chat_message& m) { return m.role == chat_role::system; });
  if (options_.mark_prompt_cache) choose_marks();
  out_ += "{\"model\":";
  json_quote(options_.model, out_);
  out_.append(",\"max_tokens\":").append(std::to_string(plan_.max_tokens));
  write_system();
  if (!write_messages() || !write_tools()) return false;
  write_tool_choice();
  if (!write_stops()) return false;
  write_sampling();
  write_thinking();
  write_rest();
  out_ += '}';
  return true;
}

bool request_encoder::fail(std::string code, std::string param, std::string_view why) {
  std::string message = "`" + param + "`: " + std::string(why);
  error_ = bad_request(std::move(code), std::move(message), std::move(param));
  return false;
}

void request_encoder::drop(std::string_view name) {
  if (std::find(dropped_.begin(), dropped_.end(), name) == dropped_.end()) dropped_.emplace_back(name);
}

bool request_encoder::judge() {
  if (request_.choices > 1)
    return fail("unsupported_field", "n", "this provider gives one answer: ask for 1.");
  if (request_.logprobs || request_.top_logprobs > 0)
    return fail("unsupported_field", "logprobs", "this provider does not tell them: leave it out.");
  if (plan_.unknown_effort)
    return fail("invalid_value", "reasoning_effort",
                "it must be none, minimal, low, medium, high, xhigh or max.");
  if (plan_.max_tokens < 1) return fail("invalid_value", "max_tokens", "it must be above 0.");
  if (plan_.dropped) drop("reasoning_effort");
  for (const auto& [name, value] :
       {std::pair<std::string_view, json_literal>("presence_penalty", request_.presence_penalty),
        {"frequency_penalty", request_.frequency_penalty}}) {
    if (!value.empty() && !json_is_zero(value)) drop(name);
  }
  if (!request_.seed.empty()) drop("seed");
  return true;
}

/// The cache keeps what stands before a mark, tools before `system`, from a least length on.
void request_encoder::choose_marks() {
  std::size_t tool_bytes = 0;
  std::size_t system_bytes = 0;
  bool marked = false;
  for (const chat_tool& tool : request_.tools) {
    marked = marked || !tool.cache_control.empty();
    tool_bytes += tool.name.size() + tool.description.size() + tool.parameters.size();
  }
  for (const chat_message& message : request_.messages) {
    for (const chat_part& part : message.parts) {
      marked = marked || !part.cache_control.empty();
      if (message.role == chat_role::system) system_bytes += part.text.size();
    }
  }
  if (marked) return;
  mark_tools_ = token_estimate::of_text(tool_bytes) >= least_marked_tokens;
  mark_system_ = token_estimate::of_text(tool_bytes + system_bytes) >= least_marked_tokens;
}

void request_encoder::write_system() {
  std::vector<const chat_part*> texts;
  if (!system_is_all_) {
    for (const chat_message& message : request_.messages) {
      if (message.role != chat_role::system) continue;
      for (const chat_part& part : message.parts) {
        if (!says_nothing(part.text)) texts.push_back(&part);
      }
    }
  }
  const bool wants_json = request_.format == answer_format::json;
  if (wants_json) drop("response_format");
  if (texts.empty() && !wants_json) return;
  out_ += ",\"system\":[";
  first_block_ = true;
  for (const chat_part* part : texts) {
    const bool mark = mark_system_ && part == texts.back();
    write_text(part->text, mark ? ephemeral : part->cache_control);
  }
  if (wants_json) write_text(json_instruction, {});
  out_ += ']';
}

bool request_encoder::write_messages() {
  out_ += ",\"messages\":[";
  const auto& all = request_.messages;
  bool none = true;
  const auto skipped = [&](std::size_t i) { return all[i].role == chat_role::system && !system_is_all_; };
  for (std::size_t from = 0; from < all.size();) {
    if (skipped(from)) {
      ++from;
      continue;
    }
    std::size_t to = from + 1;
    while (to < all.size() && (skipped(to) || all[to].role == all[from].role)) ++to;
    const std::size_t before = out_.size();
    if (!none) out_ += ',';
    bool empty = true;
    if (!write_run({from, to}, empty)) return false;
    if (empty) out_.resize(before);
    none = none && empty;
    from = to;
  }
  if (none) return fail("invalid_value", "messages", "there is no text in them: say something.");
  out_ += ']';
  return true;
}

/// Messages of one role in a row, with system ones between them that stand elsewhere.
bool request_encoder::write_run(message_run run, bool& empty) {
  const chat_role role = request_.messages[run.first].role;
  out_ +=
      role == chat_role::assistant ? R"({"role":"assistant","content":[)" : R"({"role":"user","content":[)";
  first_block_ = true;
  const auto write_parts = [&](bool results) {
    for (std::size_t i = run.first; i < run.second; ++i) {
      if (request_.messages[i].role != role) continue;
      for (const chat_part& part : request_.messages[i].parts) {
        if ((part.kind == part_kind::tool_result) == results && !write_part(part)) return false;
      }
    }
    return true;
  };
  if (!write_parts(true) || !write_parts(false)) return false;
  empty = first_block_;
  out_ += "]}";
  return true;
}

bool request_encoder::write_part(const chat_part& part) {
  switch (part.kind) {
    case part_kind::text:
    case part_kind::refusal:
      if (!says_nothing(part.text)) write_text(part.text, part.cache_control);
      return true;
    case part_kind::image:
      return write_image(part);
    case part_kind::document:
      return write_document(part);
    case part_kind::audio:
      return fail("unsupported_field", "messages", "this provider takes no audio: leave `input_audio` out.");
    case part_kind::tool_call:
      return write_call(part);
    case part_kind::tool_result:
      return write_result(part);
    case part_kind::thinking:
    case part_kind::sealed_thinking:
      write_thought(part);
      return true;
  }
  return true;
}

/// Those of others would have the whole request refused.
void request_encoder::write_thought(const chat_part& part) {
  if (!is_anthropic_thought(part)) return drop("thinking");
  const bool sealed = part.kind == part_kind::sealed_thinking;
  open_block(sealed ? "redacted_thinking" : "thinking");
  if (!sealed) out_.append(",\"thinking\":").append(part.text.empty() ? "\"\"" : part.text);
  out_.append(sealed ? ",\"data\":" : ",\"signature\":").append(part.signature);
  close_block({});
}

void request_encoder::open_block(std::string_view type) {
  if (!std::exchange(first_block_, false)) out_ += ',';
  out_.append("{\"type\":\"").append(type).append("\"");
}

void request_encoder::close_block(json_literal cache_control) {
  if (!cache_control.empty()) out_.append(",\"cache_control\":").append(cache_control);
  out_ += '}';
}

void request_encoder::write_text(json_literal text, json_literal cache_control) {
  open_block("text");
  out_.append(",\"text\":").append(text);
  close_block(cache_control);
}

bool request_encoder::write_image(const chat_part& part) {
  constexpr std::array<std::string_view, 4> types = {"image/jpeg", "image/png", "image/gif", "image/webp"};
  if (!part.detail.empty() && part.detail != "auto") drop("detail");
  open_block("image");
  if (part.url.empty()) {
    if (std::find(types.begin(), types.end(), part.media_type) == types.end())
      return fail("invalid_value", "messages", "this provider takes images as jpeg, png, gif or webp.");
    write_base64(part);
  } else {
    out_ += R"(,"source":{"type":"url","url":)";
    json_quote(part.url, out_);
    out_ += '}';
  }
  close_block(part.cache_control);
  return true;
}

bool request_encoder::write_document(const chat_part& part) {
  open_block("document");
  if (!part.url.empty()) {
    out_ += R"(,"source":{"type":"url","url":)";
    json_quote(part.url, out_);
    out_ += '}';
  } else if (!part.text.empty()) {
    out_.append(R"(,"source":{"type":"text","media_type":"text/plain","data":)")
        .append(part.text)
        .append("}");
  } else if (part.media_type == "application/pdf") {
    write_base64(part);
  } else {
    return fail("invalid_value", "messages", "this provider takes documents as PDF or plain text.");
  }
  if (!part.name.empty()) {
    out_ += ",\"title\":";
    json_quote(part.name, out_);
  }
  close_block(part.cache_control);
  return true;
}

void request_encoder::write_base64(const chat_part& part) {
  out_ += R"(,"source":{"type":"base64","media_type":)";
  json_quote(part.media_type, out_);
  out_ += ",\"data\":";
  json_quote(part.data, out_);
  out_ += '}';
}

bool request_encoder::write_call(const chat_part& part) {
  if (!part.arguments.empty() && part.arguments.front() != '{')
    return fail("invalid_value", "messages", "the arguments of a tool call must be a JSON object.");
  open_block("tool_use");
  out_ += ",\"id\":";
  json_quote(ids_.of_call(part.id, part.name), out_);
  out_ += ",\"name\":";
  json_quote(part.name, out_);
  out_.append(",\"input\":").append(part.arguments.empty() ? "{}" : part.arguments);
  close_block(part.cache_control);
  return true;
}

bool request_encoder::write_result(const chat_part& part) {
  open_block("tool_result");
  out_ += ",\"tool_use_id\":";
  json_quote(ids_.of_result(part.id, part.name), out_);
  const std::size_t before = out_.size();
  out_ += ",\"content\":[";
  const bool was_first = std::exchange(first_block_, true);
  for (const chat_part& inner : part.result) {
    if (!write_part(inner)) return false;
  }
  if (first_block_) {
    out_.resize(before);
  } else {
    out_ += ']';
  }
  first_block_ = was_first;
  if (part.failed) out_ += ",\"is_error\":true";
  close_block(part.cache_control);
  return true;
}

bool request_encoder::write_tools() {
  const char* separator = ",\"tools\":[";
  for (const chat_tool& tool : request_.tools) {
    if (!is_anthropic_name(tool.name) || tool.name.size() > max_tool_name_bytes)
      return fail("invalid_value", "tools", "names of tools are letters, digits, _ and -, 128 at most.");
    out_.append(separator).append("{\"name\":");
    json_quote(tool.name, out_);
    if (!tool.description.empty()) out_.append(",\"description\":").append(tool.description);
    out_.append(",\"input_schema\":");
    out_.append(tool.parameters.empty() ? R"({"type":"object","properties":{}})" : tool.parameters);
    if (tool.strict) out_ += *tool.strict ? ",\"strict\":true" : ",\"strict\":false";
    close_block(mark_tools_ && &tool == &request_.tools.back() ? ephemeral : tool.cache_control);
    separator = ",";
  }
  if (!request_.tools.empty()) out_ += ']';
  return true;
}

void request_encoder::write_tool_choice() {
  if (request_.tools.empty()) return;
  const bool one_at_a_time = request_.parallel_tool_calls && !*request_.parallel_tool_calls;
  switch (request_.tool_choice) {
    case tool_choice::unset:
      if (!one_at_a_time) return;
      [[fallthrough]];
    case tool_choice::automatic:
      out_ += R"(,"tool_choice":{"type":"auto")";
      break;
    case tool_choice::none:
      out_ += R"(,"tool_choice":{"type":"none"})";
      return;
    case tool_choice::any:
      out_ += R"(,"tool_choice":{"type":"any")";
      break;
    case tool_choice::named:
      out_ += R"(,"tool_choice":{"type":"tool","name":)";
      json_quote(request_.chosen_tool, out_);
      break;
  }
  out_ += one_at_a_time ? ",\"disable_parallel_tool_use\":true}" : "}";
}

bool request_encoder::write_stops() {
  const char* separator = ",\"stop_sequences\":[";
  for (const json_literal stop : request_.stop) {
    if (says_nothing(stop))
      return fail("unsupported_field", "stop", "this provider does not stop at mere white space.");
    out_.append(separator).append(stop);
    separator = ",";
  }
  if (!request_.stop.empty()) out_ += ']';
  return true;
}

void request_encoder::write_sampling() {
  const json_literal temperature = request_.temperature;
  const double value = number_of(temperature);
  if (!temperature.empty()) {
    if (plan_.on && value != 1) {
      drop("temperature");
    } else if (value > 1 || value < 0) {
      drop("temperature");
      write_number("temperature", value > 1 ? "1" : "0");
    } else {
      write_number("temperature", temperature);
    }
  }
  const double top_p = number_of(request_.top_p);
  if (!request_.top_p.empty()) {
    const bool refused = (!temperature.empty() && top_p != 1) || (plan_.on && top_p < 0.95);
    if (refused) drop("top_p");
    if (!refused && temperature.empty()) write_number("top_p", request_.top_p);
  }
  if (!request_.top_k.empty()) {
    if (plan_.on) {
      drop("top_k");
    } else {
      write_number("top_k", request_.top_k);
    }
  }
}

void request_encoder::write_number(std::string_view name, json_literal number) {
  out_.append(",\"").append(name).append("\":").append(number);
}

void request_encoder::write_thinking() {
  if (!plan_.literal.empty()) {
    out_.append(",\"thinking\":").append(plan_.literal);
    if (plan_.budget >= 0) out_.append(std::to_string(plan_.budget)).append("}");
  }
  const bool has_schema = request_.format == answer_format::schema;
  if (plan_.effort.empty() && !has_schema) return;
  out_ += ",\"output_config\":{";
  if (!plan_.effort.empty()) out_.append("\"effort\":\"").append(plan_.effort).append("\"");
  if (has_schema) {
    if (!plan_.effort.empty()) out_ += ',';
    out_.append(R"("format":{"type":"json_schema","schema":)");
    append_closed_schema(request_.schema.empty() ? "{}" : request_.schema, out_);
    out_ += '}';
  }
  out_ += '}';
}

void request_encoder::write_rest() {
  if (!request_.end_user.empty()) {
    out_ += ",\"metadata\":{\"user_id\":";
    json_quote(request_.end_user, out_);
    out_ += '}';
  }
  if (request_.stream) out_ += ",\"stream\":true";
}

}  // namespace

bool encode_anthropic_request(const chat_request& request, const encode_options& options, std::string& out,
                              std::vector<std::string>& dropped, engine::api_error& error) {
  const std::size_t before = out.size();
  if (request_encoder(request, options, out, dropped, error).write()) return true;
  out.resize(before);
  return false;
}

}  // namespace millrace::http
