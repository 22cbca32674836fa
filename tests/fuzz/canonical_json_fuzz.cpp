#include <array>
#include <cstdint>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "http/canonical_json.hpp"
#include "http/openai.hpp"

// The canonical form of every body that is accepted is JSON that means the same, and its own canonical form.

namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

std::string canonical(std::string_view text, std::span<const std::string_view> left_out) {
  static millrace::http::canonical_writer writer;
  std::string out;
  require(writer.append(text, left_out, out));
  return out;
}

/// Whether `text` holds only what another parser tells apart as we do: no duplicate names, which it drops,
/// and no number or surrogate that it cannot hold. Zero bytes end its text.
bool same_reach(std::string_view text) {
  std::vector<std::set<std::string>> names;
  bool unique = true;
  const auto see = [&](int /*depth*/, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using type = nlohmann::json::parse_event_t;
    if (event == type::object_start) names.emplace_back();
    if (event == type::object_end) names.pop_back();
    if (event == type::key) unique = unique && names.back().insert(parsed.get<std::string>()).second;
    return true;
  };
  const auto parsed = nlohmann::json::parse(text, see, false);
  return !parsed.is_discarded() && unique && text.find('\0') == std::string_view::npos;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto route = static_cast<millrace::engine::route_kind>(data[0] % 3);
  const std::string_view body(reinterpret_cast<const char*>(data) + 1, size - 1);
  millrace::engine::request_facts facts;
  millrace::engine::api_error error;
  if (!millrace::http::openai().read_request(route, body, facts, error)) return 0;
  constexpr std::array<std::string_view, 2> left_out = {"model", "stream"};
  const std::string once = canonical(body, left_out);
  require(canonical(once, {}) == once);
  require(once.size() <= 5 * body.size());
  if (!same_reach(body)) return 0;
  auto expected = nlohmann::json::parse(body);
  for (const auto name : left_out) expected.erase(std::string(name));
  // Whole numbers above 2^53 are told apart by text, so both have the same one.
  require(nlohmann::json::parse(once) == expected);
  return 0;
}
