#include "http/answer_members.hpp"

#include <algorithm>

#include "http/canonical_json.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

template <class Members>
auto find_member(Members& all, std::string_view key) {
  return std::find_if(all.begin(), all.end(), [key](const answer_member& m) { return m.key == key; });
}

bool is_json(std::string_view text) {
  json_scanner scanner(text);
  return !scanner.value().empty() && scanner.at_end();
}

}  // namespace

bool read_answer_members(std::string_view object, answer_members& out) {
  out.clear();
  json_scanner scanner(object);
  if (!scanner.enter_object()) return false;
  std::string_view unescaped;
  std::string key;
  while (scanner.next_member(unescaped)) {
    key.clear();
    append_canonical_string(scanner.key_literal(), scanner.string_respelt(), key);
    const std::string_view value = scanner.value();
    const auto there = find_member(out, key);
    if (there != out.end()) {
      there->value = value;
    } else if (out.size() < max_answer_members) {
      out.push_back({key, value});
    } else {
      return false;
    }
  }
  return scanner.at_end();
}

std::string_view value_of(const answer_members& all, std::string_view key) {
  const auto found = find_member(all, key);
  return found == all.end() ? std::string_view() : found->value;
}

std::string_view take_member(answer_members& all, std::string_view key) {
  const auto found = find_member(all, key);
  if (found == all.end()) return {};
  const std::string_view value = found->value;
  all.erase(found);
  return value;
}

void append_member(const answer_member& m, std::string& out) {
  out.append(m.key).append(":").append(m.value);
}

bool on_one_line(std::string_view& answer, std::string& storage) {
  if (!valid_utf8(answer)) return false;
  if (answer.find_first_of("\r\n") == std::string_view::npos) return true;
  if (!is_json(answer)) return false;
  storage = answer;
  std::replace_if(
      storage.begin(), storage.end(), [](char c) { return c == '\r' || c == '\n'; }, ' ');
  answer = storage;
  return true;
}

}  // namespace millrace::http
