#include "http/dialects/gemini_chunk.hpp"

#include <algorithm>

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
    const bool type = key == "mimeType";
    const json_literal value = type ? read_text(scanner) : scanner.value();
    if (type) part.media_type = value;
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
    } else if (key == "fileData" || key == "executableCode" || key == "codeExecutionResult") {
      part.what = part_type::own;
      scanner.value();
    } else {
      scanner.value();
    }
  });
}

bool says(const gemini_answer_part& part) {
  return part.what != part_type::text || !json_is_blank(part.text) || !part.signature.empty();
}

void read_content(json_scanner& scanner, std::vector<gemini_answer_part>& parts) {
  each_member(scanner, [&](std::string_view key) {
    if (key != "parts" || !scanner.enter_array()) {
      scanner.value();
      return;
    }
    while (scanner.next_element()) read_part(scanner, parts.emplace_back());
  });
}

void read_candidate(json_scanner& scanner, std::vector<gemini_answer_part>& parts, json_literal& finish,
                    gemini_candidate& candidate) {
  each_member(scanner, [&](std::string_view key) {
    if (key == "content") {
      read_content(scanner, parts);
    } else if (key == "finishReason") {
      finish = read_text(scanner);
    } else {
      const bool is_index = key == "index";
      const json_literal value = scanner.value();
      if (is_index) json_integer(value, candidate.index);
    }
  });
  candidate.says = std::any_of(parts.begin(), parts.end(), says);
  candidate.ended = !finish.empty();
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
    gemini_candidate candidate;
    if (out.candidates.empty()) {
      read_candidate(scanner, out.parts, out.finish, candidate);
    } else {
      std::vector<gemini_answer_part> parts;
      json_literal finish;
      read_candidate(scanner, parts, finish, candidate);
    }
    out.candidates.push_back(candidate);
  }
}

}  // namespace

bool read_gemini_chunk(std::string_view payload, gemini_chunk& out) {
  out.parts.clear();
  out.candidates.clear();
  out.finish = out.id = out.model_version = out.error = {};
  out.blocked = out.any_usage = false;
  out.used = {};
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
    } else if (key == "modelVersion" && scanner.peek() == '"') {
      out.model_version = scanner.value();
    } else if (key == "error" && scanner.peek() != 'n') {
      out.error = scanner.value();
    } else {
      scanner.value();
    }
  }
  return scanner.at_end();
}

}  // namespace millrace::http
