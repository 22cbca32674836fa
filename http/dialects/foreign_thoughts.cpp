#include "http/dialects/foreign_thoughts.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "http/dialects/json_members.hpp"
#include "http/dialects/responses_output.hpp"

namespace millrace::http {
namespace {

constexpr std::string_view signature_key = "\"signature\"";

const char* find_bytes(const char* at, const char* end, std::string_view bytes) {
  return static_cast<const char*>(memmem(at, static_cast<size_t>(end - at), bytes.data(), bytes.size()));
}

bool is_space(char c) {
  return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

/// An item that `response_object` made; see there.
bool is_foreign_item(json_literal item) {
  const json_members<3> given(item, {"type", "id", "encrypted_content"});
  if (!json_says(given[0], "reasoning")) return false;
  std::string signature;
  bool sealed = false;
  return inside(given[1]).starts_with(foreign_thought_prefix) ||
         unmark_response_signature(given[2], signature, sealed);
}

struct place {
  size_t begin;
  size_t end;
};

/// Elements of `list` that are foreign, each with the comma that goes with it.
std::vector<place> foreign_items(json_literal list) {
  std::vector<place> found;
  json_scanner scanner(list);
  if (!scanner.enter_array()) return found;
  size_t last_end = scanner.offset();
  bool kept_one = false;
  while (scanner.next_element()) {
    const json_literal item = scanner.value();
    if (item.empty()) return {};
    const auto begin = static_cast<size_t>(item.data() - list.data());
    const size_t end = begin + item.size();
    if (!is_foreign_item(item)) {
      // The first that stays needs no comma before it.
      if (!kept_one && !found.empty()) found.back().end = begin;
      kept_one = true;
    } else if (kept_one || found.empty()) {
      found.push_back({last_end, end});
    } else {
      found.back().end = end;
    }
    last_end = end;
  }
  return found;
}

}  // namespace

bool holds_bytes(std::string_view body, std::string_view bytes) {
  return find_bytes(body.data(), body.data() + body.size(), bytes) != nullptr;
}

bool holds_blank_signature(std::string_view body) {
  const char* const end = body.data() + body.size();
  for (const char* at = body.data(); (at = find_bytes(at, end, signature_key)) != nullptr;) {
    at += signature_key.size();
    const char* next = std::find_if_not(at, end, is_space);
    if (next == end || *next != ':') continue;
    next = std::find_if_not(next + 1, end, is_space);
    if (end - next >= 2 && next[0] == '"' && next[1] == '"') return true;
  }
  return false;
}

bool has_foreign_thought(const chat_request& request, bool (*is_own)(const chat_part& thought)) {
  const auto is_foreign = [is_own](const chat_part& part) {
    return (part.kind == part_kind::thinking || part.kind == part_kind::sealed_thinking) && !is_own(part);
  };
  return std::any_of(request.messages.begin(), request.messages.end(), [&](const chat_message& message) {
    return std::any_of(message.parts.begin(), message.parts.end(), is_foreign);
  });
}

bool drop_foreign_reasoning(std::string& body) {
  if (!holds_bytes(body, foreign_thought_prefix) && !holds_bytes(body, response_signature_mark)) return false;
  const json_members<1> given(body, {"input"});
  const std::vector<place> found = foreign_items(given[0]);
  if (found.empty()) return false;
  const auto offset = static_cast<size_t>(given[0].data() - body.data());
  for (auto item = found.rbegin(); item != found.rend(); ++item)
    body.erase(offset + item->begin, item->end - item->begin);
  return true;
}

}  // namespace millrace::http
