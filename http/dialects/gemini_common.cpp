#include <algorithm>

#include "http/dialects/gemini_formats.hpp"
#include "http/token_count.hpp"

namespace millrace::http {
namespace {

void read_detail(json_literal detail, gemini_error& e) {
  json_scanner scanner(detail);
  if (!scanner.enter_object()) return;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "reason") {
      e.reason = json_text(scanner.value());
    } else if (key == "retryDelay") {
      e.retry_delay = json_text(scanner.value());
    } else if (key == "@type") {
      const std::string type = json_text(scanner.value());
      e.quota_failure = e.quota_failure || type == "type.googleapis.com/google.rpc.QuotaFailure";
    } else {
      scanner.value();
    }
  }
}

}  // namespace

gemini_error read_gemini_error(json_literal value) {
  gemini_error e;
  json_scanner scanner(value);
  if (!scanner.enter_object()) {
    e.message = json_text(value);
    return e;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "code") {
      read_token_count(scanner.value(), e.code);
    } else if (key == "message") {
      e.message = json_text(scanner.value());
    } else if (key == "status") {
      e.status = json_text(scanner.value());
    } else if (key == "details" && scanner.enter_array()) {
      while (scanner.next_element()) read_detail(scanner.value(), e);
    } else {
      scanner.value();
    }
  }
  return e;
}

bool read_gemini_error_body(std::string_view body, gemini_error& out) {
  json_scanner scanner(body);
  if (scanner.enter_array() && !scanner.next_element()) return false;
  if (!scanner.enter_object()) return false;
  bool found = false;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_error = key == "error";
    const json_literal value = scanner.value();
    if (!is_error || value.empty() || value == "null") continue;
    out = read_gemini_error(value);
    found = true;
  }
  return found && scanner.error() == json_error::none;
}

void read_gemini_usage(json_scanner& scanner, engine::usage& used) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::int64_t prompt = -1;
  std::int64_t tools = 0;
  std::int64_t candidates = -1;
  std::int64_t thoughts = 0;
  std::int64_t total = -1;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "promptTokenCount") {
      read_token_count(scanner.value(), prompt);
    } else if (key == "toolUsePromptTokenCount") {
      read_token_count(scanner.value(), tools);
    } else if (key == "candidatesTokenCount") {
      read_token_count(scanner.value(), candidates);
    } else if (key == "thoughtsTokenCount") {
      read_token_count(scanner.value(), thoughts);
    } else if (key == "totalTokenCount") {
      read_token_count(scanner.value(), total);
    } else if (key == "cachedContentTokenCount") {
      read_token_count(scanner.value(), used.cached_tokens);
    } else {
      scanner.value();
    }
  }
  if (candidates < 0 && thoughts == 0 && prompt >= 0 && total > prompt + tools)
    candidates = total - prompt - tools;
  if (prompt >= 0) used.input_tokens = prompt + tools;
  if (candidates >= 0 || thoughts > 0) used.output_tokens = std::max<std::int64_t>(candidates, 0) + thoughts;
  used.reasoning_tokens = thoughts;
  used.known = used.known || prompt >= 0 || candidates >= 0 || thoughts > 0;
}

void write_gemini_usage(const engine::usage& used, std::string& out) {
  const auto count = [&out](std::string_view name, std::int64_t number) {
    out.append(",\"").append(name).append("\":").append(std::to_string(number));
  };
  const std::int64_t thoughts = std::clamp<std::int64_t>(used.reasoning_tokens, 0, used.output_tokens);
  out.append("\"usageMetadata\":{\"promptTokenCount\":").append(std::to_string(used.input_tokens));
  count("candidatesTokenCount", used.output_tokens - thoughts);
  count("totalTokenCount", used.input_tokens + used.output_tokens);
  if (used.cached_tokens > 0) count("cachedContentTokenCount", used.cached_tokens);
  if (thoughts > 0) count("thoughtsTokenCount", thoughts);
  out += '}';
}

finish_reason read_gemini_finish(std::string_view name) {
  if (name.empty() || name == "FINISH_REASON_UNSPECIFIED") return finish_reason::none;
  if (name == "STOP") return finish_reason::stop;
  return name == "MAX_TOKENS" ? finish_reason::length : finish_reason::content_filter;
}

std::string_view gemini_finish_name(finish_reason finish) {
  switch (finish) {
    case finish_reason::none:  // its clients take an answer without a reason for one that goes on
    case finish_reason::stop:
    case finish_reason::tool_calls:
      return "STOP";
    case finish_reason::length:
      return "MAX_TOKENS";
    case finish_reason::content_filter:
      return "SAFETY";
    case finish_reason::paused:
      return "OTHER";
  }
  return {};
}

}  // namespace millrace::http
