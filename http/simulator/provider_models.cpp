#include <array>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "http/simulator/answers.hpp"
#include "http/simulator/errors.hpp"
#include "http/simulator/provider.hpp"

/// The models there are, as each API lists them. Any other name will do as well.
namespace millrace::http::simulation {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, 4> openai_names = {"gpt-4o", "gpt-4o-mini", "text-embedding-3-large",
                                                          "text-embedding-3-small"};
constexpr std::array<std::string_view, 3> anthropic_names = {"claude-sonnet-4-5", "claude-haiku-4-5",
                                                             "claude-opus-4-1"};
constexpr std::array<std::string_view, 3> gemini_names = {"gemini-2.5-pro", "gemini-2.5-flash",
                                                          "gemini-embedding-001"};

template <class Names>
std::vector<std::string> with_configured(const Names& names, const simulator_settings& settings) {
  std::vector<std::string> all(names.begin(), names.end());
  for (const auto& [name, behaviour] : settings.models) all.push_back(name);
  return all;
}

json anthropic_entry(const std::string& name) {
  return {{"type", "model"}, {"id", name}, {"display_name", name}, {"created_at", "2025-01-01T00:00:00Z"}};
}

json anthropic_list(const std::vector<std::string>& names) {
  json data = json::array();
  for (const auto& name : names) data.push_back(anthropic_entry(name));
  return {{"data", data}, {"has_more", false}, {"first_id", names.front()}, {"last_id", names.back()}};
}

json gemini_entry(const std::string& name) {
  const bool embeds = name.find("embedding") != std::string::npos;
  return {{"name", "models/" + name},
          {"version", "001"},
          {"displayName", name},
          {"inputTokenLimit", embeds ? 2048 : 1'048'576},
          {"outputTokenLimit", embeds ? 1 : 65'536},
          {"supportedGenerationMethods", embeds ? json{"embedContent"} : json{"generateContent"}}};
}

std::string dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace

void provider::list_models(const http_request& request, reply& out) {
  constexpr std::string_view gemini_models = "/v1beta/models";
  constexpr std::string_view models = "/v1/models";
  if (request.path == gemini_models) {
    json list = json::array();
    for (const auto& name : with_configured(gemini_names, *settings_)) list.push_back(gemini_entry(name));
    return reply_plainly(request, dump({{"models", list}}), {}, out);
  }
  if (request.path.starts_with(gemini_models))
    return reply_plainly(
        request, dump(gemini_entry(std::string(request.path.substr(gemini_models.size() + 1)))), {}, out);
  const bool anthropic = !request.anthropic_version.empty();
  if (request.path == models)
    return reply_plainly(request,
                         anthropic ? dump(anthropic_list(with_configured(anthropic_names, *settings_)))
                                   : model_list(with_configured(openai_names, *settings_)),
                         {}, out);
  const std::string name(request.path.substr(models.size() + 1));
  reply_plainly(request, anthropic ? dump(anthropic_entry(name)) : model_entry(name), {}, out);
}

}  // namespace millrace::http::simulation
