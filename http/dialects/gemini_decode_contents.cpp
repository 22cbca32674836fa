#include <algorithm>

#include "http/base64.hpp"
#include "http/dialects/gemini_decode.hpp"
#include "http/dialects/gemini_media.hpp"
#include "http/dialects/gemini_signature.hpp"

namespace millrace::http {

/// A part as it stands in the request.
struct gemini_contents_reader::raw_part {
  chat_part part;
  int data = 0;  ///< how many of the fields that exclude each other it has
  std::optional<bool> thought;
  json_literal signature;
};

namespace {

bool is_empty_text(const chat_part& part) {
  return part.kind == part_kind::text && json_is_blank(part.text);
}

}  // namespace

void gemini_contents_reader::drop(std::string_view name) {
  if (std::find(out_.dropped.begin(), out_.dropped.end(), name) == out_.dropped.end())
    out_.dropped.emplace_back(name);
}

bool gemini_contents_reader::read_contents() {
  reader_.place = {"contents", -1, {}, -1};
  const char first = reader_.scanner.peek();
  if (first != '[' && first != '{' && first != 'n') return reader_.wrong_type({}, "an array");
  const bool fine = reader_.elements([this](std::int64_t i) {
    reader_.place = {"contents", i, {}, -1};
    return read_content();
  });
  reader_.place = {};
  return fine;
}

bool gemini_contents_reader::read_system(chat_message& system) {
  system.role = chat_role::system;
  reader_.place = {"systemInstruction", -1, {}, -1};
  const gemini_place place = reader_.place;
  std::vector<raw_part> parts;
  const bool fine = reader_.members({}, [&](std::string_view key) {
    reader_.place = place;
    if (key == "parts") return read_parts(parts);
    if (key == "role") return !reader_.scanner.value().empty();
    return reader_.unsupported(key);
  });
  reader_.place = place;
  if (!fine) return false;
  for (raw_part& raw : parts) {
    if (raw.part.kind != part_kind::text)
      return reader_.refuse("invalid_value", "`systemInstruction` may only hold text.", "systemInstruction");
    if (!is_empty_text(raw.part)) system.parts.push_back(std::move(raw.part));
  }
  reader_.place = {};
  return true;
}

bool gemini_contents_reader::read_content() {
  const gemini_place place = reader_.place;
  std::string_view role = "user";
  std::vector<raw_part> parts;
  const bool fine = reader_.members({}, [&](std::string_view key) {
    reader_.place = place;
    if (key == "role") return reader_.text("role", role);
    if (key == "parts") return read_parts(parts);
    return reader_.unsupported(key);
  });
  reader_.place = place;
  if (!fine) return false;
  if (role != "user" && role != "model" && role != "function" && !role.empty())
    return reader_.refuse("invalid_value", "`" + place.of("role") + "` must be user or model.",
                          place.of("role"));
  if (parts.empty()) return reader_.missing("parts");
  const chat_role meant = role == "model" ? chat_role::assistant : chat_role::user;
  // What a stream brought in pieces comes back as several contents of the model.
  const bool joins =
      meant == chat_role::assistant && !out_.messages.empty() && out_.messages.back().role == meant;
  if (!joins) out_.messages.push_back({meant, {}});
  bool first = joins;
  for (raw_part& raw : parts) {
    reader_.place.inner = "parts";
    reader_.place.inner_index = &raw - parts.data();
    if (!add(out_.messages.back(), raw, std::exchange(first, false))) return false;
  }
  if (out_.messages.back().parts.empty()) out_.messages.pop_back();
  return true;
}

bool gemini_contents_reader::read_parts(std::vector<raw_part>& parts) {
  const gemini_place place = reader_.place;
  return reader_.elements([&](std::int64_t i) {
    reader_.place = place;
    reader_.place.inner = "parts";
    reader_.place.inner_index = i;
    return read_part(parts.emplace_back());
  });
}

bool gemini_contents_reader::read_part(raw_part& part) {
  const bool fine = reader_.members({}, [&](std::string_view key) { return read_data(key, part); });
  if (!fine) return false;
  if (part.data == 0 && part.signature.empty()) return reader_.missing("text");
  if (part.data > 1) {
    const std::string where = reader_.place.of({});
    return reader_.refuse("invalid_value",
                          "`" + where +
                              "` may have one of text, inlineData, fileData, functionCall and "
                              "functionResponse only.",
                          where);
  }
  return true;
}

bool gemini_contents_reader::read_data(std::string_view key, raw_part& part) {
  if (key == "thought") return reader_.boolean(key, part.thought);
  if (is_gemini_field(key, "thoughtSignature")) return reader_.string("thoughtSignature", part.signature);
  // Hints of how to look at media, and notes of the client's own.
  if (is_gemini_field(key, "mediaResolution") || is_gemini_field(key, "partMetadata")) {
    drop(is_gemini_field(key, "mediaResolution") ? "mediaResolution" : "partMetadata");
    return !reader_.scanner.value().empty();
  }
  ++part.data;
  if (key == "text") return reader_.string("text", part.part.text);
  if (is_gemini_field(key, "inlineData")) return read_inline_data(part.part, "inlineData");
  if (is_gemini_field(key, "fileData")) return read_file_data(part.part);
  if (is_gemini_field(key, "functionCall")) return read_call(part.part);
  if (is_gemini_field(key, "functionResponse")) return read_response(part.part);
  return reader_.unsupported(key);
}

bool gemini_contents_reader::read_inline_data(chat_part& part, std::string_view field) {
  const std::string prefix = std::string(field) + ".";
  const bool fine = reader_.members(field, [&](std::string_view key) {
    if (key == "data") return reader_.text(prefix + "data", part.data);
    if (is_gemini_field(key, "mimeType")) return reader_.text(prefix + "mimeType", part.media_type);
    if (is_gemini_field(key, "displayName")) return reader_.text(prefix + "displayName", part.name);
    return reader_.unsupported(prefix + std::string(key));
  });
  if (!fine) return false;
  if (part.data.empty()) return reader_.missing(prefix + "data");
  if (part.media_type.empty()) return reader_.missing(prefix + "mimeType");
  if (!gemini_media_kind(part.media_type, part.kind)) return reader_.unsupported(prefix + "mimeType");
  std::string text;
  if (part.media_type.starts_with("text/") && base64_decode(part.data, text) && valid_utf8(text)) {
    std::string literal;
    json_quote(text, literal);
    part.text = reader_.keep(std::move(literal));
    part.data = {};
  } else if (!base64_is_standard(part.data)) {
    part.data = reader_.keep(base64_to_standard(part.data));
  }
  return true;
}

bool gemini_contents_reader::read_file_data(chat_part& part) {
  const bool fine = reader_.members("fileData", [&](std::string_view key) {
    if (is_gemini_field(key, "fileUri")) return reader_.text("fileData.fileUri", part.url);
    if (is_gemini_field(key, "mimeType")) return reader_.text("fileData.mimeType", part.media_type);
    if (is_gemini_field(key, "displayName")) return reader_.text("fileData.displayName", part.name);
    return reader_.unsupported("fileData." + std::string(key));
  });
  if (!fine) return false;
  if (part.url.empty()) return reader_.missing("fileData.fileUri");
  const bool is_web = part.url.starts_with("https://") || part.url.starts_with("http://");
  // Only Google can read what was uploaded to it.
  if (!is_web || part.url.find("generativelanguage.googleapis.com") != std::string_view::npos)
    return reader_.unsupported("fileData.fileUri");
  if (part.media_type.empty()) part.media_type = media_type_of_url(part.url);
  if (part.media_type.empty()) return reader_.missing("fileData.mimeType");
  // Sound goes to no other provider by its address.
  if (!gemini_media_kind(part.media_type, part.kind) || part.kind == part_kind::audio)
    return reader_.unsupported("fileData.mimeType");
  return true;
}

bool gemini_contents_reader::read_call(chat_part& part) {
  part.kind = part_kind::tool_call;
  part.arguments = "{}";
  const bool fine = reader_.members("functionCall", [&](std::string_view key) {
    if (key == "id") return reader_.text("functionCall.id", part.id);
    if (key == "name") return reader_.text("functionCall.name", part.name);
    if (key == "args") return reader_.object("functionCall.args", part.arguments);
    return reader_.unsupported("functionCall." + std::string(key));
  });
  if (!fine) return false;
  return !part.name.empty() || reader_.missing("functionCall.name");
}

bool gemini_contents_reader::read_response(chat_part& part) {
  part.kind = part_kind::tool_result;
  json_literal response;
  const bool fine = reader_.members("functionResponse", [&](std::string_view key) {
    if (key == "id") return reader_.text("functionResponse.id", part.id);
    if (key == "name") return reader_.text("functionResponse.name", part.name);
    if (key == "response") return reader_.object("functionResponse.response", response);
    if (key == "parts") return read_response_parts(part);
    return reader_.unsupported("functionResponse." + std::string(key));
  });
  if (!fine) return false;
  if (part.name.empty()) return reader_.missing("functionResponse.name");
  if (response.empty()) return reader_.missing("functionResponse.response");
  take_result(response, part);
  return true;
}

bool gemini_contents_reader::read_response_parts(chat_part& part) {
  return reader_.elements([&](std::int64_t) {
    chat_part media;
    const bool fine = reader_.members("functionResponse.parts", [&](std::string_view key) {
      if (is_gemini_field(key, "inlineData"))
        return read_inline_data(media, "functionResponse.parts.inlineData");
      return reader_.unsupported("functionResponse.parts." + std::string(key));
    });
    if (!fine) return false;
    if (media.media_type.empty()) return reader_.missing("functionResponse.parts.inlineData");
    if (media.kind == part_kind::audio)
      return reader_.unsupported("functionResponse.parts.inlineData.mimeType");
    part.result.push_back(std::move(media));
    return true;
  });
}

/// Gemini asks for an object with `output` or `error`; SDKs write `result`, too. Anything else is told as the
/// JSON it is.
void gemini_contents_reader::take_result(json_literal response, chat_part& part) {
  json_literal said = response;
  size_t count = 0;
  json_scanner scanner(response);
  scanner.enter_object();
  std::string_view key;
  bool failed = false;
  bool known = false;
  while (scanner.next_member(key)) {
    failed = key == "error";
    known = failed || key == "output" || key == "result";
    said = scanner.value();
    ++count;
  }
  if (count != 1 || !known) said = response;
  part.failed = count == 1 && failed;
  chat_part text;
  if (said.front() == '"') {
    text.text = said;
  } else {
    std::string literal;
    json_quote(said, literal);
    text.text = reader_.keep(std::move(literal));
  }
  part.result.insert(part.result.begin(), std::move(text));
}

/// Calls without an id get one by their place in the conversation: the same in every request of it.
bool gemini_contents_reader::name_call(chat_part& part) {
  if (part.id.empty()) part.id = reader_.keep("call_" + std::to_string(calls_.size()));
  calls_.push_back({part.id, part.name});
  return true;
}

bool gemini_contents_reader::name_response(chat_part& part) {
  auto found = calls_.end();
  if (!part.id.empty()) {
    found = std::find_if(calls_.begin(), calls_.end(),
                         [&](const call& c) { return !c.answered && c.id == part.id; });
  }
  if (found == calls_.end()) {
    found = std::find_if(calls_.begin(), calls_.end(),
                         [&](const call& c) { return !c.answered && c.name == part.name; });
  }
  if (found == calls_.end()) {
    const std::string where = reader_.place.of("functionResponse");
    return reader_.refuse("invalid_value",
                          "`" + where + "` answers no functionCall that came before it and is still open.",
                          where);
  }
  found->answered = true;
  part.id = found->id;
  return true;
}

/// The literal of both texts, one behind the other.
json_literal gemini_contents_reader::joined(json_literal first, json_literal second) {
  if (json_is_blank(first)) return second;
  if (json_is_blank(second)) return first;
  // A long row of pieces grows the same text.
  if (!out_.texts.empty() && out_.texts.back().data() == first.data()) {
    std::string& text = out_.texts.back();
    text.pop_back();
    return text.append(second.substr(1));
  }
  std::string text(first.substr(0, first.size() - 1));
  return reader_.keep(std::move(text.append(second.substr(1))));
}

/// Gemini signs the part that follows a thought, other dialects the thought.
void gemini_contents_reader::sign(chat_message& message, json_literal signature) {
  const json_literal literal = reader_.keep(unwrap_from_gemini_client(signature));
  if (!message.parts.empty()) {
    chat_part& last = message.parts.back();
    if (last.kind == part_kind::thinking && last.signature.empty()) {
      last.signature = literal;
      return;
    }
  }
  chat_part sealed;
  sealed.kind = part_kind::sealed_thinking;
  sealed.signature = literal;
  message.parts.push_back(std::move(sealed));
}

bool gemini_contents_reader::add(chat_message& message, raw_part& raw, bool joins) {
  chat_part& part = raw.part;
  const bool of_model = message.role == chat_role::assistant;
  const bool is_text = part.kind == part_kind::text;
  if (part.kind == part_kind::tool_call && !(of_model && name_call(part)))
    return reader_.refuse("invalid_value", "A functionCall must be in a content with role model.",
                          reader_.place.of("functionCall"));
  if (part.kind == part_kind::tool_result) {
    if (of_model)
      return reader_.refuse("invalid_value", "A functionResponse must be in a content with role user.",
                            reader_.place.of("functionResponse"));
    if (!name_response(part)) return false;
  }
  chat_part* last = message.parts.empty() ? nullptr : &message.parts.back();
  if (of_model && is_text && raw.thought.value_or(false)) {
    if (last != nullptr && last->kind == part_kind::thinking && last->signature.empty()) {
      last->text = joined(last->text, part.text);
    } else if (!is_empty_text(part)) {
      part.kind = part_kind::thinking;
      message.parts.push_back(std::move(part));
    }
    if (!json_is_blank(raw.signature)) sign(message, raw.signature);
    return true;
  }
  if (of_model && !json_is_blank(raw.signature)) {
    sign(message, raw.signature);
    last = nullptr;
  }
  if (is_empty_text(part) && (of_model || !message.parts.empty())) return true;
  if (is_text && part.text.empty()) part.text = "\"\"";
  if (is_text && joins && last != nullptr && last->kind == part_kind::text) {
    last->text = joined(last->text, part.text);
  } else {
    message.parts.push_back(std::move(part));
  }
  return true;
}

}  // namespace millrace::http
