#include "http/openai_answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "http/token_count.hpp"

namespace millrace::http {
namespace {

/// Strings lose their quotes, numbers stay as they are, everything else is no text.
std::string text_or_number(std::string_view value) {
  if (value.empty() || value.front() == '"') return json_text(value);
  std::int64_t number = 0;
  return json_integer(value, number) ? std::string(value) : std::string();
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

template <size_t N>
bool contains_any(std::string_view text, const std::array<std::string_view, N>& words) {
  return std::any_of(words.begin(), words.end(),
                     [&](auto word) { return text.find(word) != std::string_view::npos; });
}

/// Of OpenRouter, DeepSeek, Zhipu, vLLM and SGLang; as literals, which in a text would be escaped.
constexpr std::array<std::string_view, 4> failing_reasons = {
    R"("error")", R"("insufficient_system_resource")", R"("network_error")", R"("abort")"};

/// Wordings of OpenAI, Anthropic, DeepSeek, OpenRouter, xAI and Together for an empty account.
constexpr std::array<std::string_view, 16> credit_wordings = {
    "credit balance",     "insufficient credit", "insufficient balance", "insufficient funds",
    "insufficient_quota", "out of credit",       "not enough credit",    "no credit",
    "add credits",        "more credits",        "available credit",     "credit limit",
    "current quota",      "payment required",    "spending limit",       "account is not active"};

}  // namespace

void read_openai_usage(json_scanner& scanner, engine::usage& used) {
  if (!scanner.enter_object()) {
    scanner.value();
    return;
  }
  std::int64_t input = -1;
  std::int64_t output = -1;
  std::int64_t total = -1;
  std::int64_t cache_hit = 0;
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "prompt_tokens") {
      read_token_count(scanner.value(), input);
    } else if (key == "completion_tokens") {
      read_token_count(scanner.value(), output);
    } else if (key == "total_tokens") {
      read_token_count(scanner.value(), total);
    } else if (key == "prompt_tokens_details") {
      read_token_detail(scanner, "cached_tokens", used.cached_tokens);
    } else if (key == "completion_tokens_details") {
      read_token_detail(scanner, "reasoning_tokens", used.reasoning_tokens);
    } else if (key == "reasoning_tokens") {
      read_token_count(scanner.value(), used.reasoning_tokens);
    } else if (key == "prompt_cache_hit_tokens") {
      read_token_count(scanner.value(), cache_hit);
    } else {
      scanner.value();
    }
  }
  if (output < 0 && input >= 0 && total > input) output = total - input;
  // xAI, and some others, count what was thought beside what was said.
  const bool both = input >= 0 && output >= 0 && total >= input && total - input > output;
  if (both && total - input - output == used.reasoning_tokens) output += used.reasoning_tokens;
  if (used.cached_tokens == 0) used.cached_tokens = cache_hit;  // DeepSeek's word for it
  if (input >= 0) used.input_tokens = input;
  if (output >= 0) used.output_tokens = output;
  used.known = used.known || input >= 0 || output >= 0;
}

bool is_failing_reason(std::string_view literal) {
  return std::find(failing_reasons.begin(), failing_reasons.end(), literal) != failing_reasons.end();
}

namespace {

/// Nearly all answers end well: whether one may not is seen without reading it.
bool may_fail(std::string_view json) {
  constexpr std::string_view name = "\"finish_reason\"";
  const char* const end = json.data() + json.size();
  const char* at = json.data();
  while ((at = static_cast<const char*>(
              memmem(at, static_cast<size_t>(end - at), name.data(), name.size()))) != nullptr) {
    at += name.size();
    const std::string_view rest = json_trim({at, static_cast<size_t>(end - at)});
    if (!rest.starts_with(':')) continue;
    const std::string_view value = json_trim(rest.substr(1));
    if (is_failing_reason(value.substr(0, value.find('"', 1) + 1))) return true;
  }
  return false;
}

}  // namespace

std::string_view failing_reason_in(std::string_view json) {
  json_scanner scanner(json);
  if (!may_fail(json) || !scanner.enter_object()) return {};
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key != "choices" || !scanner.enter_array()) {
      scanner.value();
      continue;
    }
    while (scanner.next_element()) {
      if (!scanner.enter_object()) {
        scanner.value();
        continue;
      }
      while (scanner.next_member(key)) {
        const bool is_reason = key == "finish_reason";
        const std::string_view value = scanner.value();
        if (is_reason && is_failing_reason(value)) return value;
      }
    }
  }
  return {};
}

bool rewrite_openai_answer(std::string_view body, std::string_view client_model, std::string& out,
                           engine::usage& used, std::string_view told) {
  out.clear();
  used = {};
  json_scanner scanner(body);
  if (!scanner.enter_object()) return false;
  out.reserve(body.size() + client_model.size() + 2);
  size_t copied = 0;
  bool fails = false;
  bool tells = told.empty();
  std::string_view key;
  while (scanner.next_member(key)) {
    if (key == "usage") {
      read_openai_usage(scanner, used);
      continue;
    }
    const bool is_model = key == "model";
    const bool is_error = key == "error";
    const bool is_object = key == "object";
    const bool is_told = key == told;
    const std::string_view value = scanner.value();
    tells = tells || (is_told && value.starts_with('['));
    fails = fails || (is_error && value != "null") || (is_object && value == "\"error\"");
    if (!is_model || value.empty()) continue;
    const auto offset = static_cast<size_t>(value.data() - body.data());
    out.append(body, copied, offset - copied);
    json_quote(client_model, out);
    copied = offset + value.size();
  }
  if (!scanner.at_end()) used = {};
  if (!scanner.at_end() || fails || !tells || !failing_reason_in(body).empty()) {
    out.clear();
    return false;
  }
  out.append(body, copied);
  return true;
}

provider_error read_openai_error(std::string_view value) {
  provider_error e;
  json_scanner scanner(value);
  if (!scanner.enter_object()) {
    e.message = json_text(scanner.value());
    return e;
  }
  std::string_view key;
  while (scanner.next_member(key)) {
    std::string* into = nullptr;
    if (key == "message") into = &e.message;
    if (key == "type") into = &e.type;
    if (key == "code") into = &e.code;
    if (key == "status") into = &e.status;
    const bool is_param = key == "param";
    const std::string_view member = scanner.value();
    if (into != nullptr) *into = text_or_number(member);
    if (is_param) e.has_param = !text_or_number(member).empty();
  }
  return e;
}

bool speaks_of_credit(const provider_error& e, std::string_view request) {
  const std::string code = lower(e.code);
  const std::string type = lower(e.type);
  constexpr std::array<std::string_view, 5> names = {"insufficient_quota", "insufficient_balance", "billing",
                                                     "credit", "payment_required"};
  if (contains_any(code, names) || contains_any(type, names)) return true;
  // Rate limits advise to add a payment method or to look at billing; they pass by themselves.
  if (code.find("rate_limit") != std::string::npos || type.find("rate_limit") != std::string::npos)
    return false;
  if (type == "requests" || type == "tokens" || e.status == "RESOURCE_EXHAUSTED") return false;
  const bool own_code = code.find_first_not_of("0123456789") != std::string::npos;
  if (own_code || e.has_param) return false;
  const std::string message = lower(e.message);
  // What the request itself says may only be quoted: no client may talk a key into quarantine.
  return std::any_of(credit_wordings.begin(), credit_wordings.end(), [&](std::string_view wording) {
    return message.find(wording) != std::string::npos && lower(request).find(wording) == std::string::npos;
  });
}

bool speaks_of_credit(std::string_view body, std::string_view request) {
  json_scanner scanner(body);
  // Google's compatible endpoint wraps its errors in an array.
  if (scanner.enter_array() && !scanner.next_element()) return false;
  if (!scanner.enter_object()) return false;
  provider_error e;
  std::string_view key;
  while (scanner.next_member(key)) {
    const bool is_error = key == "error";
    const std::string_view value = scanner.value();
    if (is_error) e = read_openai_error(value);
  }
  return speaks_of_credit(e, request);
}

int status_of(const provider_error& e) {
  if (speaks_of_credit(e)) return 402;
  int status = 0;
  std::from_chars(e.code.data(), e.code.data() + e.code.size(), status);
  if (status >= 400 && status < 600) return status;
  const auto says = [&e](std::string_view word) {
    return e.code.find(word) != std::string::npos || e.type.find(word) != std::string::npos;
  };
  if (says("rate_limit")) return 429;
  if (says("overloaded") || says("unavailable")) return 503;
  if (says("timeout")) return 504;
  if (says("authentication") || says("invalid_api_key")) return 401;
  if (says("invalid_request")) return 400;
  return says("server_error") || says("api_error") ? 500 : 0;
}

}  // namespace millrace::http
