#include <utility>

#include "http/base64.hpp"
#include "http/dialects/gemini_answer_parts.hpp"
#include "http/dialects/gemini_chunk.hpp"
#include "http/dialects/gemini_formats.hpp"
#include "http/dialects/gemini_signature.hpp"

namespace millrace::http {
namespace {

using part_type = gemini_answer_part::kind;

class answer_decoder {
 public:
  answer_decoder(const gemini_chunk& chunk, chat_answer& out) : chunk_(chunk), out_(out) {}

  void decode();

 private:
  void add(const gemini_answer_part& part);
  /// `more` points into the payload or is kept.
  void add_text(json_literal more);
  void add_call(const gemini_answer_part& part);
  void sign(json_literal signature);
  std::string_view text_of(json_literal literal);

  const gemini_chunk& chunk_;
  chat_answer& out_;
  size_t calls_ = 0;
};

std::string_view answer_decoder::text_of(json_literal literal) {
  if (literal.size() < 2) return {};
  if (literal.find('\\') != std::string_view::npos) return out_.keep(json_text(literal));
  return literal.substr(1, literal.size() - 2);
}

void answer_decoder::decode() {
  out_.id = text_of(chunk_.id);
  out_.used = chunk_.used;
  for (const gemini_answer_part& part : chunk_.parts) add(part);
  out_.finish = read_gemini_finish(text_of(chunk_.finish));
  if (chunk_.candidates.empty()) out_.finish = finish_reason::content_filter;
  if (out_.finish == finish_reason::stop && calls_ > 0) out_.finish = finish_reason::tool_calls;
}

void answer_decoder::add(const gemini_answer_part& part) {
  if (part.thought && part.what == part_type::text) {
    chat_part thought;
    thought.kind = part_kind::thinking;
    thought.text = part.text;
    if (!json_is_blank(part.text)) out_.parts.push_back(std::move(thought));
    if (!part.signature.empty()) sign(part.signature);
    return;
  }
  if (!part.signature.empty()) sign(part.signature);
  if (part.what == part_type::text) return add_text(part.text);
  if (part.what == part_type::call) return add_call(part);
  if (part.what == part_type::media || part.what == part_type::own) add_text(out_.keep(gemini_note_of(part)));
}

/// Pieces of one text are one.
void answer_decoder::add_text(json_literal more) {
  if (json_is_blank(more)) return;
  if (out_.parts.empty() || out_.parts.back().kind != part_kind::text) {
    out_.parts.emplace_back().text = more;
    return;
  }
  json_literal& text = out_.parts.back().text;
  // A long row of pieces grows the same text.
  if (out_.texts.empty() || out_.texts.back().data() != text.data()) text = out_.keep(std::string(text));
  std::string& both = out_.texts.back();
  both.pop_back();
  text = both.append(more.substr(1));
}

void answer_decoder::add_call(const gemini_answer_part& part) {
  chat_part call;
  call.kind = part_kind::tool_call;
  call.name = text_of(part.name);
  call.id = part.id.empty() ? out_.keep(gemini_call_id(out_.id, calls_)) : text_of(part.id);
  call.arguments = part.arguments;
  out_.parts.push_back(std::move(call));
  ++calls_;
}

/// Gemini signs the part behind a thought, other dialects the thought.
void answer_decoder::sign(json_literal signature) {
  const json_literal marked = out_.keep(mark_gemini_signature(signature));
  if (!out_.parts.empty()) {
    chat_part& last = out_.parts.back();
    if (last.kind == part_kind::thinking && last.signature.empty()) {
      last.signature = marked;
      return;
    }
  }
  chat_part sealed;
  sealed.kind = part_kind::sealed_thinking;
  sealed.signature = marked;
  out_.parts.push_back(std::move(sealed));
}

/// False when nothing was written: what Gemini cannot say, or a call whose arguments are no object.
bool write_part(const chat_part& part, std::string& out, bool& malformed) {
  switch (part.kind) {
    case part_kind::text:
    case part_kind::refusal:
      if (json_is_blank(part.text)) return false;
      out.append("{\"text\":").append(part.text).append("}");
      return true;
    case part_kind::thinking:
    case part_kind::sealed_thinking:
      out.append("{\"text\":").append(part.text.empty() ? "\"\"" : part.text).append(",\"thought\":true");
      if (!json_is_blank(part.signature))
        out.append(",\"thoughtSignature\":").append(wrap_for_gemini_client(part.signature));
      out += '}';
      return true;
    case part_kind::tool_call:
      if (write_gemini_call(part.id, part.name, part.arguments, out)) return true;
      malformed = true;
      return false;
    case part_kind::image:
    case part_kind::audio:
    case part_kind::document:
      if (part.data.empty()) return false;
      out += "{\"inlineData\":{\"mimeType\":";
      json_quote(part.media_type, out);
      out += ",\"data\":";
      json_quote(part.data, out);
      out += "}}";
      return true;
    case part_kind::tool_result:
      return false;
  }
  return false;
}

}  // namespace

std::string gemini_note_of(const gemini_answer_part& part) {
  const std::string type = json_text(part.media_type);
  const std::string what = part.what == part_type::own ? "A file or code"
                           : type.empty()              ? "Data"
                                                       : "Data of type " + type;
  std::string out;
  json_quote("\n[" + what +
                 " is left out here: this API has no word for it. Ask by Gemini's own generateContent to get "
                 "it.]\n",
             out);
  return out;
}

std::string gemini_call_id(std::string_view answer_id, size_t index) {
  std::string id = "call_";
  if (!answer_id.empty()) id.append(answer_id).append("_");
  return id.append(std::to_string(index));
}

bool write_gemini_call(std::string_view id, std::string_view name, std::string_view arguments,
                       std::string& out) {
  arguments = json_trim(arguments);
  if (arguments.empty()) arguments = "{}";
  json_scanner scanner(arguments);
  if (arguments.front() != '{' || scanner.value().empty() || !scanner.at_end()) return false;
  out += "{\"functionCall\":{";
  if (!id.empty()) {
    out += "\"id\":";
    json_quote(id, out);
    out += ',';
  }
  out += "\"name\":";
  json_quote(name, out);
  out.append(",\"args\":").append(arguments).append("}}");
  return true;
}

bool decode_gemini_answer(std::string_view body, chat_answer& out) {
  out = {};
  gemini_chunk chunk;
  if (!read_gemini_chunk(body, chunk) || !chunk.error.empty()) return false;
  if (chunk.candidates.empty() && !chunk.blocked) return false;
  answer_decoder(chunk, out).decode();
  return true;
}

void encode_gemini_answer(const chat_answer& answer, const encode_options& options, std::string& out) {
  out += R"({"candidates":[{"content":{"parts":[)";
  bool malformed = false;
  const size_t before = out.size();
  for (const chat_part& part : answer.parts) {
    const size_t start = out.size();
    if (start != before) out += ',';
    if (!write_part(part, out, malformed)) out.resize(start);
  }
  out += R"(],"role":"model"})";
  const std::string_view finish = malformed ? "MALFORMED_FUNCTION_CALL" : gemini_finish_name(answer.finish);
  out.append(",\"finishReason\":\"").append(finish).append("\",\"index\":0}],");
  if (answer.used.known) {
    write_gemini_usage(answer.used, out);
    out += ',';
  }
  out += "\"modelVersion\":";
  json_quote(options.model, out);
  out += ",\"responseId\":";
  json_quote(answer.id, out);
  out += '}';
}

}  // namespace millrace::http
