#include <algorithm>
#include <utility>

#include "http/bad_request.hpp"
#include "http/dialects/gemini_encode.hpp"
#include "http/dialects/gemini_formats.hpp"
#include "http/dialects/gemini_media.hpp"
#include "http/dialects/gemini_signature.hpp"

namespace millrace::http {
namespace {

constexpr size_t max_stop_sequences = 5;
/// What Google documents for calls that another model made: Gemini 3 refuses them without any signature.
/// https://ai.google.dev/gemini-api/docs/thought-signatures
constexpr std::string_view foreign_call_signature = "\"skip_thought_signature_validator\"";

class request_encoder {
 public:
  request_encoder(const chat_request& request, const encode_options& options, std::string& out,
                  std::vector<std::string>& dropped, engine::api_error& error)
      : request_(request), options_(options), out_(out), dropped_(dropped), error_(error) {}

  bool encode();

 private:
  using messages = std::vector<chat_message>;

  bool judge();
  bool write_system();
  bool write_contents();
  bool write_user(messages::const_iterator first, messages::const_iterator last);
  bool write_result(const chat_part& part);
  bool write_user_part(const chat_part& part);
  void write_model(messages::const_iterator first, messages::const_iterator last);
  void write_model_part(const chat_part& part);
  void write_thought(const chat_part& part);
  void write_call(const chat_part& part);
  void write_media(const chat_part& part);
  void write_media_fields(const chat_part& part);
  void write_text(json_literal text);

  void start_content(std::string_view role);
  void start_part();
  void end_part();
  void end_content();
  std::string_view name_of_call(std::string_view id) const;
  void drop(std::string_view name);
  bool refuse(std::string code, std::string message, std::string param);

  const chat_request& request_;
  const encode_options& options_;
  std::string& out_;
  std::vector<std::string>& dropped_;
  engine::api_error& error_;

  messages::const_iterator at_;  ///< the message being written
  std::string_view role_;        ///< of the content being written
  bool open_ = false;            ///< that content has a part
  bool any_content_ = false;
  bool call_signed_ = false;  ///< a call of this content was written
  std::string signature_;     ///< for the next part
};

bool request_encoder::encode() {
  if (!judge()) return false;
  out_ += '{';
  if (!write_system() || !write_contents()) return false;
  write_gemini_tools(request_, out_, dropped_);
  write_gemini_config(request_, options_.model, out_, dropped_);
  out_ += '}';
  return true;
}

bool request_encoder::judge() {
  const auto cannot = [this](std::string_view field, std::string_view advice) {
    return refuse(
        "unsupported_field",
        "`" + std::string(field) + "` cannot be said to a Gemini model: " + std::string(advice) + ".",
        std::string(field));
  };
  if (request_.choices > 1) return cannot("n", "ask for one answer at a time");
  if (request_.logprobs) return cannot("logprobs", "leave it out");
  if (request_.top_logprobs > 0) return cannot("top_logprobs", "leave it out");
  if (request_.stop.size() > max_stop_sequences) return cannot("stop", "name at most 5 sequences");
  if (request_.parallel_tool_calls == false) drop("parallel_tool_calls");
  if (!request_.end_user.empty()) drop("user");
  return true;
}

/// All system messages, wherever they stood: Gemini has one place for them. With nothing else to answer they
/// are what the user says.
bool request_encoder::write_system() {
  const auto is_system = [](const chat_message& m) { return m.role == chat_role::system; };
  const bool alone = std::all_of(request_.messages.begin(), request_.messages.end(), is_system);
  bool any = false;
  for (const chat_message& m : request_.messages) {
    if (!is_system(m)) continue;
    for (const chat_part& part : m.parts) {
      if (part.kind != part_kind::text)
        return refuse("invalid_value", "A system message may only hold text.", "messages");
      if (!part.cache_control.empty()) drop("cache_control");
      if (json_is_blank(part.text)) continue;
      if (!any)
        out_ += alone ? R"("contents":[{"role":"user","parts":[)" : R"("systemInstruction":{"parts":[)";
      if (std::exchange(any, true)) out_ += ',';
      out_.append("{\"text\":").append(part.text).append("}");
    }
  }
  if (any) out_ += alone ? "]}]" : "]},";
  any_content_ = any && alone;
  if (alone && !any)
    return refuse("missing_field", "`messages` says nothing: add a user message.", "messages");
  return true;
}

bool request_encoder::write_contents() {
  if (any_content_) return true;
  out_ += "\"contents\":[";
  const messages& all = request_.messages;
  const auto is_assistant = [](const chat_message& m) { return m.role == chat_role::assistant; };
  for (auto first = all.begin(); first != all.end();) {
    if (first->role == chat_role::system) {
      ++first;
      continue;
    }
    const bool model = is_assistant(*first);
    const auto last = std::find_if(first, all.end(), [&](const chat_message& m) {
      return m.role != chat_role::system && is_assistant(m) != model;
    });
    if (model) {
      write_model(first, last);
    } else if (!write_user(first, last)) {
      return false;
    }
    first = last;
  }
  out_ += ']';
  return any_content_ || refuse("missing_field", "`messages` says nothing: add a user message.", "messages");
}

/// Results come in a content of their own, right behind the calls; then all the rest.
bool request_encoder::write_user(messages::const_iterator first, messages::const_iterator last) {
  start_content("user");
  for (at_ = first; at_ != last; ++at_) {
    for (const chat_part& part : at_->parts) {
      if (at_->role != chat_role::system && part.kind == part_kind::tool_result && !write_result(part))
        return false;
    }
  }
  end_content();
  start_content("user");
  for (auto m = first; m != last; ++m) {
    for (const chat_part& part : m->parts) {
      if (m->role != chat_role::system && !write_user_part(part)) return false;
    }
  }
  end_content();
  return true;
}

/// The texts of a result are one; Gemini 3 takes its media in it, to others they are shown right behind.
bool request_encoder::write_result(const chat_part& part) {
  const std::string_view name = name_of_call(part.id);
  if (name.empty()) {
    return refuse("invalid_value",
                  "`tool_call_id` " + std::string(part.id) + " names no tool call of an earlier message.",
                  "messages");
  }
  if (!part.cache_control.empty()) drop("cache_control");
  start_part();
  out_ += "\"functionResponse\":{\"id\":";
  json_quote(part.id, out_);
  out_ += ",\"name\":";
  json_quote(name, out_);
  out_ += part.failed ? ",\"response\":{\"error\":\"" : ",\"response\":{\"output\":\"";
  bool any = false;
  for (const chat_part& piece : part.result) {
    if (piece.text.size() < 2) continue;
    if (std::exchange(any, true)) out_ += "\\n";
    out_.append(piece.text, 1, piece.text.size() - 2);
  }
  out_ += "\"}";
  bool media = false;
  for (const chat_part& piece : part.result) {
    if (piece.data.empty() || !is_gemini_3(options_.model)) continue;
    out_ += std::exchange(media, true) ? ",{" : ",\"parts\":[{";
    write_media_fields(piece);
    out_ += '}';
  }
  if (media) out_ += ']';
  out_ += '}';
  end_part();
  return true;
}

bool request_encoder::write_user_part(const chat_part& part) {
  if (!part.cache_control.empty()) drop("cache_control");
  switch (part.kind) {
    case part_kind::tool_result:
      for (const chat_part& piece : part.result) {
        const bool told = !piece.data.empty() && is_gemini_3(options_.model);
        if (!told && (!piece.data.empty() || !piece.url.empty())) write_media(piece);
      }
      return true;
    case part_kind::image:
    case part_kind::document:
    case part_kind::audio:
      write_media(part);
      return true;
    case part_kind::text:
    case part_kind::refusal:
      if (!json_is_blank(part.text)) write_text(part.text);
      return true;
    case part_kind::tool_call:
    case part_kind::thinking:
    case part_kind::sealed_thinking:
      break;
  }
  return refuse("invalid_value", "A user message may hold no tool calls and no thoughts.", "messages");
}

void request_encoder::write_model(messages::const_iterator first, messages::const_iterator last) {
  start_content("model");
  call_signed_ = false;
  for (at_ = first; at_ != last; ++at_) {
    if (at_->role == chat_role::system) continue;
    for (const chat_part& part : at_->parts) write_model_part(part);
  }
  if (!signature_.empty()) write_text("\"\"");
  end_content();
}

void request_encoder::write_model_part(const chat_part& part) {
  if (!part.cache_control.empty()) drop("cache_control");
  switch (part.kind) {
    case part_kind::thinking:
    case part_kind::sealed_thinking:
      return write_thought(part);
    case part_kind::tool_call:
      return write_call(part);
    case part_kind::image:
    case part_kind::document:
    case part_kind::audio:
      return write_media(part);
    case part_kind::text:
    case part_kind::refusal:
      if (!json_is_blank(part.text)) write_text(part.text);
      return;
    case part_kind::tool_result:
      return;
  }
}

/// Gemini signs the part that follows a thought. Thoughts that another provider signed say nothing to it.
void request_encoder::write_thought(const chat_part& part) {
  const bool own = is_gemini_signature(part.signature);
  if (!own && !json_is_blank(part.signature)) return drop("thinking");
  if (!signature_.empty()) write_text("\"\"");
  if (part.kind == part_kind::thinking && !json_is_blank(part.text)) {
    start_part();
    out_.append("\"thought\":true,\"text\":").append(part.text).append("}");
  }
  if (own) signature_ = unmark_gemini_signature(part.signature);
}

void request_encoder::write_call(const chat_part& part) {
  if (!std::exchange(call_signed_, true) && signature_.empty() && is_gemini_3(options_.model))
    signature_ = foreign_call_signature;
  start_part();
  out_ += "\"functionCall\":{";
  if (!part.id.empty()) {
    out_ += "\"id\":";
    json_quote(part.id, out_);
    out_ += ',';
  }
  out_ += "\"name\":";
  json_quote(part.name, out_);
  out_.append(",\"args\":").append(json_is_blank(part.arguments) ? "{}" : part.arguments).append("}");
  end_part();
}

void request_encoder::write_text(json_literal text) {
  start_part();
  out_.append("\"text\":").append(text);
  end_part();
}

void request_encoder::write_media(const chat_part& part) {
  if (part.kind == part_kind::document && !part.name.empty()) drop("filename");
  if (!part.detail.empty() && part.detail != "auto") drop("detail");
  if (!json_is_blank(part.text)) return write_text(part.text);
  start_part();
  write_media_fields(part);
  end_part();
}

void request_encoder::write_media_fields(const chat_part& part) {
  const bool inside = part.url.empty();
  const std::string_view type = part.media_type.empty() ? media_type_of_url(part.url) : part.media_type;
  out_ += inside ? "\"inlineData\":{" : "\"fileData\":{";
  if (!type.empty()) {
    out_ += "\"mimeType\":";
    json_quote(type, out_);
    out_ += ',';
  }
  out_ += inside ? "\"data\":" : "\"fileUri\":";
  json_quote(inside ? part.data : part.url, out_);
  out_ += '}';
}

void request_encoder::start_content(std::string_view role) {
  role_ = role;
  open_ = false;
}

void request_encoder::start_part() {
  if (std::exchange(open_, true)) {
    out_ += ",{";
    return;
  }
  if (std::exchange(any_content_, true)) out_ += ',';
  out_.append("{\"role\":\"").append(role_).append("\",\"parts\":[{");
}

void request_encoder::end_part() {
  if (!signature_.empty()) out_.append(",\"thoughtSignature\":").append(std::exchange(signature_, {}));
  out_ += '}';
}

void request_encoder::end_content() {
  if (open_) out_ += "]}";
}

/// The latest call before the message being written: ids may come again in long conversations.
std::string_view request_encoder::name_of_call(std::string_view id) const {
  for (auto m = at_; m != request_.messages.begin();) {
    --m;
    for (const chat_part& part : m->parts) {
      if (part.kind == part_kind::tool_call && part.id == id) return part.name;
    }
  }
  return {};
}

void request_encoder::drop(std::string_view name) {
  add_gemini_drop(name, dropped_);
}

bool request_encoder::refuse(std::string code, std::string message, std::string param) {
  error_ = bad_request(std::move(code), std::move(message), std::move(param));
  return false;
}

}  // namespace

bool encode_gemini_request(const chat_request& request, const encode_options& options, std::string& out,
                           std::vector<std::string>& dropped, engine::api_error& error) {
  const size_t before = out.size();
  if (request_encoder(request, options, out, dropped, error).encode()) return true;
  out.resize(before);
  return false;
}

}  // namespace millrace::http
