#include "http/dialects/anthropic_tool_ids.hpp"

#include <algorithm>

#include "http/dialects/id_hash.hpp"

namespace millrace::http {
namespace {

bool is_allowed(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
}

}  // namespace

bool is_anthropic_name(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), is_allowed);
}

std::string_view anthropic_tool_ids::of_call(std::string_view id, std::string_view name) {
  if (!id.empty()) return respelt(id);
  open_.push_back({name, made()});
  return open_.back().id;
}

std::string_view anthropic_tool_ids::of_result(std::string_view id, std::string_view name) {
  if (!id.empty()) return respelt(id);
  const auto found = std::find_if(open_.begin(), open_.end(),
                                  [&](const open_call& c) { return name.empty() || c.name == name; });
  if (found == open_.end()) return made();
  const std::string_view answered = found->id;
  open_.erase(found);
  return answered;
}

/// Different ids stay different, and the same id is respelt the same way wherever it stands.
std::string_view anthropic_tool_ids::respelt(std::string_view id) {
  if (is_anthropic_name(id)) return id;
  std::string& text = texts_.emplace_back(id);
  std::replace_if(
      text.begin(), text.end(), [](char c) { return !is_allowed(c); }, '_');
  text.append("_").append(id_hash(id));
  return text;
}

std::string_view anthropic_tool_ids::made() {
  return texts_.emplace_back("millrace_call_" + std::to_string(made_++));
}

}  // namespace millrace::http
