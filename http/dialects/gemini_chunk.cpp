#include "http/dialects/gemini_chunk.hpp"

#include "http/dialects/gemini_formats.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

using part_type = gemini_answer_part::kind;

/// Consumes an object; `member(key)` consumes each value.
template <class F>
void each_member(json_scanner& scanner, F&& member) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::string_view key;
  while (scanner.next_member(key)) member(key);
}

/// Consumes a value; empty when it is no string, or an empty one.
json_literal read_text(json_scanner& scanner) {
  const json_literal value = scanner.value();
  return value.size() > 2 && value.front() == '"' ? value : json_literal();
}

void read_call(json_scanner& scanner, gemini_answer_part& part) {
  part.what = part_type::call;
  part.arguments = "{}";
  each_member(scanner, [&](std::string_view key) {
    if (key == "id") {
      part.id = read_text(scanner);
    } else if (key == "name") {
      part.name = read_text(scanner);
    } else if (key == "args" && scanner.peek() == '{') {
      part.arguments = scanner.value();
    } else {
      scanner.value();
    }
  });
}

void read_media(json_scanner& scanner, gemini_answer_part& part) {
  part.what = part_type::media;
  each_member(scanner, [&](std::string_view key) {
    if (key == "mimeType") {
      part.media_type = read_text(scanner);
    } else if (key == "data") {
      part.data = read_text(scanner);
    } else {
      scanner.value();
    }
  });
}

void read_part(json_scanner& scanner, gemini_answer_part& part) {
  each_member(scanner, [&](std::string_view key) {
    if (key == "text" && scanner.peek() == '"') {
      part.what = part_type::text;
      part.text = scanner.value();
    } else if (key == "thought") {
      part.thought = scanner.value() == "true";
    } else if (key == "thoughtSignature") {
      part.signature = read_text(scanner);
    } else if (key == "functionCall" && scanner.peek() == '{') {
      read_call(scanner, part);
    } else if (key == "inlineData" && scanner.peek() == '{') {
      read_media(scanner, part);
    } else {
      scanner.value();
    }
  });
}

void read_content(json_scanner& scanner, gemini_chunk& out) {
  each_member(scanner, [&](std::string_view key) {
    if (key != "parts" || !scanner.enter_array()) {
      scanner.value();
      return;
    }
    while (scanner.next_element()) read_part(scanner, out.parts.emplace_back());
  });
}

void read_candidate(json_scanner& scanner, gemini_chunk& out) {
  each_member(scanner, [&](std::string_view key) {
    if (key == "content") {
      read_content(scanner, out);
    } else if (key == "finishReason") {
      out.finish = read_text(scanner);
    } else {
      scanner.value();
    }
  });
}

void read_feedback(json_scanner& scanner, gemini_chunk& out) {
  each_member(scanner, [&](std::string_view key) {
    const bool is_reason = key == "blockReason";
    out.blocked = (!read_text(scanner).empty() && is_reason) || out.blocked;
  });
}

void read_candidates(json_scanner& scanner, gemini_chunk& out) {
  if (!scanner.enter_array()) {
    scanner.value();
    return;
  }
  while (scanner.next_element()) {
    if (out.any_candidate) {
      scanner.value();
    } else {
      out.any_candidate = true;
      read_candidate(scanner, out);
    }
  }
}

}  // namespace

bool read_gemini_chunk(std::string_view payload, gemini_chunk& out) {
  out.parts.clear();
  out = gemini_chunk{std::move(out.parts), {}, {}, {}, false, false, false, {}};
  json_scanner scanner(payload);
  if (!scanner.enter_object()) return false;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "candidates") {
      read_candidates(scanner, out);
    } else if (key == "promptFeedback") {
      read_feedback(scanner, out);
    } else if (key == "usageMetadata") {
      read_gemini_usage(scanner, out.used);
      out.any_usage = out.used.known;
    } else if (key == "responseId") {
      out.id = read_text(scanner);
    } else if (key == "error" && scanner.peek() != 'n') {
      out.error = scanner.value();
    } else {
      scanner.value();
    }
  }
  return scanner.at_end();
}

}  // namespace millrace::http
