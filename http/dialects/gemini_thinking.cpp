#include "http/dialects/gemini_thinking.hpp"

#include <algorithm>

#include "http/dialects/gemini_media.hpp"

namespace millrace::http {
namespace {

constexpr std::int64_t unsaid = -1;
constexpr std::int64_t largest_budget = 24576;
constexpr std::int64_t largest_pro_budget = 32768;
constexpr std::int64_t smallest_pro_budget = 128;

bool contains(std::string_view text, std::string_view word) {
  return text.find(word) != std::string_view::npos;
}

bool cannot_think(std::string_view model) {
  return contains(model, "gemini-2.0") || contains(model, "gemini-1.");
}

std::int64_t budget_of(std::string_view effort) {
  if (effort == "minimal" || effort == "low") return 1024;
  if (effort == "medium") return 8192;
  return effort == "high" || effort == "xhigh" || effort == "max" ? largest_budget : unsaid;
}

std::string_view level_of(std::string_view effort, std::string_view model) {
  if (effort == "minimal") return contains(model, "flash") ? "minimal" : "low";
  if (effort == "low" || effort == "medium" || effort == "high") return effort;
  return effort == "xhigh" || effort == "max" ? "high" : "";
}

void drop_effort(std::vector<std::string>& dropped) {
  if (std::find(dropped.begin(), dropped.end(), "reasoning_effort") == dropped.end())
    dropped.emplace_back("reasoning_effort");
}

}  // namespace

std::string gemini_thinking_config(const chat_request& request, std::string_view model,
                                   std::vector<std::string>& dropped) {
  const bool off = request.thinking == thinking_mode::off || request.effort == "none";
  const bool shown = !off && request.thinking == thinking_mode::on;
  const bool says_more = shown || request.thinking_tokens >= 0 || !request.effort.empty();
  if (!off && !says_more) return {};
  if (cannot_think(model)) {
    if (!off) drop_effort(dropped);
    return {};
  }
  std::int64_t budget = off ? 0 : request.thinking_tokens;
  std::string_view level;
  if (is_gemini_3(model)) {
    level = level_of(off ? "minimal" : request.effort, model);
    if (!level.empty()) budget = unsaid;
    if (off || (!request.effort.empty() && level != request.effort)) drop_effort(dropped);
  } else {
    if (budget < 0) budget = budget_of(request.effort);
    if (!request.effort.empty() && !off && budget < 0) drop_effort(dropped);
    const bool pro = contains(model, "pro");
    const std::int64_t wanted = budget;
    if (budget >= 0)
      budget = std::clamp(budget, pro ? smallest_pro_budget : 0, pro ? largest_pro_budget : largest_budget);
    if (budget != wanted) drop_effort(dropped);
  }
  std::string out;
  const auto add = [&out](std::string_view member) { out.append(out.empty() ? "{" : ",").append(member); };
  if (!level.empty()) add("\"thinkingLevel\":\"" + std::string(level) + "\"");
  if (budget >= 0) add("\"thinkingBudget\":" + std::to_string(budget));
  if (shown) add("\"includeThoughts\":true");
  if (!out.empty()) out += '}';
  return out;
}

}  // namespace millrace::http
