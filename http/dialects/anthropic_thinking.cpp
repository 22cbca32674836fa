#include "http/dialects/anthropic_thinking.hpp"

#include <algorithm>
#include <array>

#include "http/dialects/gemini_signature.hpp"
#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

constexpr std::int64_t least_budget = 1024;

struct effort_level {
  std::string_view name;
  std::int64_t budget;
  std::string_view anthropic;
};
constexpr std::array<effort_level, 6> levels = {{{"minimal", least_budget, "low"},
                                                 {"low", 2048, "low"},
                                                 {"medium", 8192, "medium"},
                                                 {"high", 24576, "high"},
                                                 {"xhigh", 32768, "xhigh"},
                                                 {"max", 65536, "max"}}};
constexpr std::string_view default_effort = "medium";

const effort_level* level_of(std::string_view effort) {
  const auto found =
      std::find_if(levels.begin(), levels.end(), [&](const effort_level& l) { return l.name == effort; });
  return found == levels.end() ? nullptr : &*found;
}

/// The lowest of low, medium and high that reaches `budget`.
std::string_view effort_of(std::int64_t budget) {
  for (const effort_level& level : levels) {
    if (level.name == "high" || budget <= level.budget) return level.anthropic;
  }
  return {};
}

bool has_result(const chat_message& message) {
  return std::any_of(message.parts.begin(), message.parts.end(),
                     [](const chat_part& p) { return p.kind == part_kind::tool_result; });
}

void set_budget(const chat_request& request, const encode_options& options, const effort_level& level,
                anthropic_thinking& plan) {
  std::int64_t budget = request.thinking_tokens >= 0 ? request.thinking_tokens : level.budget;
  if (request.max_output_tokens < 0) {
    budget = std::max(budget, least_budget);
    plan.max_tokens = options.default_max_output_tokens + budget;
  } else if (budget >= plan.max_tokens) {
    budget = plan.max_tokens / 2;
  }
  if (budget < least_budget || lacks_thoughts(request)) {
    plan.max_tokens =
        request.max_output_tokens < 0 ? options.default_max_output_tokens : request.max_output_tokens;
    plan.on = false;
    plan.dropped = true;
    return;
  }
  plan.literal = R"({"type":"enabled","budget_tokens":)";
  plan.budget = budget;
}

}  // namespace

bool takes_thinking_budget(std::string_view model) {
  // A closed list: what is not on it is newer.
  constexpr std::array<std::string_view, 12> older = {
      "claude-2",          "claude-3",          "claude-instant",  "claude-opus-4-0",
      "claude-opus-4-1",   "claude-opus-4-5",   "claude-opus-4-2", "claude-sonnet-4-0",
      "claude-sonnet-4-2", "claude-sonnet-4-5", "claude-haiku-4",  "claude-sonnet-4@"};
  return std::any_of(older.begin(), older.end(),
                     [&](std::string_view name) { return model.find(name) != std::string_view::npos; });
}

bool is_anthropic_thought(const chat_part& part) {
  const bool thought = part.kind == part_kind::thinking || part.kind == part_kind::sealed_thinking;
  return thought && !json_is_blank(part.signature) && !is_gemini_signature(part.signature);
}

bool lacks_thoughts(const chat_request& request) {
  bool amid_loop = false;
  for (auto message = request.messages.rbegin(); message != request.messages.rend(); ++message) {
    if (message->role == chat_role::user) amid_loop = amid_loop || has_result(*message);
    if (message->role != chat_role::assistant) continue;
    return amid_loop && (message->parts.empty() || !is_anthropic_thought(message->parts.front()));
  }
  return false;
}

anthropic_thinking plan_anthropic_thinking(const chat_request& request, const encode_options& options) {
  anthropic_thinking plan;
  plan.max_tokens =
      request.max_output_tokens < 0 ? options.default_max_output_tokens : request.max_output_tokens;
  const bool older = takes_thinking_budget(options.model);
  const bool none = request.effort == "none" || request.thinking == thinking_mode::off;
  const bool asked =
      request.thinking == thinking_mode::on || request.thinking_tokens > 0 || !request.effort.empty();
  // The older ones do not think unless they are asked to.
  if (none && !older) plan.literal = R"({"type":"disabled"})";
  const effort_level* level = level_of(request.effort.empty() ? default_effort : request.effort);
  if (level == nullptr) {
    plan.unknown_effort = request.effort != "none";
    return plan;
  }
  if (!older && !request.effort.empty()) plan.effort = level->anthropic;
  if (none) return plan;
  if (!asked) return plan;
  if (request.tool_choice == tool_choice::any || request.tool_choice == tool_choice::named) {
    plan.dropped = true;
    return plan;
  }
  plan.on = true;
  if (older) {
    set_budget(request, options, *level, plan);
    return plan;
  }
  plan.literal = R"({"type":"adaptive"})";
  if (plan.effort.empty() && request.thinking_tokens > 0) plan.effort = effort_of(request.thinking_tokens);
  return plan;
}

}  // namespace millrace::http
