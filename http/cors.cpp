#include "http/cors.hpp"

#include <algorithm>

namespace millrace::http {

namespace {

/// How long a browser may remember a preflight answer, in seconds.
constexpr const char* max_age = "600";

std::string_view find(std::span<const header_field> fields, std::string_view name) {
  const auto found = std::ranges::find(fields, name, &header_field::name);
  return found == fields.end() ? std::string_view{} : found->value;
}

bool is_allowed(std::string_view origin, const std::vector<std::string>& allowed) {
  return !origin.empty() &&
         std::ranges::any_of(allowed, [&](const auto& a) { return a == "*" || a == origin; });
}

}  // namespace

void add_cors(std::span<const header_field> request, const std::vector<std::string>& allowed,
              engine::header_list& answer) {
  if (allowed.empty()) return;
  answer.emplace_back("Vary", "Origin");
  const auto origin = find(request, "origin");
  if (!is_allowed(origin, allowed)) return;
  answer.emplace_back("Access-Control-Allow-Origin", origin);
  answer.emplace_back("Access-Control-Expose-Headers", "*");
}

void add_preflight(std::span<const header_field> request, const std::vector<std::string>& allowed,
                   std::string_view allow, engine::header_list& answer) {
  if (find(request, "access-control-request-method").empty()) return;
  if (!is_allowed(find(request, "origin"), allowed)) return;
  answer.emplace_back("Access-Control-Allow-Methods", allow);
  if (const auto wanted = find(request, "access-control-request-headers"); !wanted.empty()) {
    answer.emplace_back("Access-Control-Allow-Headers", wanted);
  }
  answer.emplace_back("Access-Control-Max-Age", max_age);
}

}  // namespace millrace::http
