#include "http/answers.hpp"

#include "http/json_scan.hpp"

namespace millrace::http {
namespace {

void add_model(const std::string& id, const std::string& owner, std::int64_t created, std::string& out) {
  out += "{\"id\":";
  json_quote(id, out);
  out += ",\"object\":\"model\",\"created\":" + std::to_string(created) + ",\"owned_by\":";
  json_quote(owner, out);
  out += '}';
}

std::string owner_of(const engine::config& config, const engine::model_config& model) {
  return model.targets.empty() ? "millrace" : config.providers.at(model.targets.front().provider).name;
}

}  // namespace

std::string models_body(const engine::config& config, std::int64_t created) {
  std::string out = "{\"object\":\"list\",\"data\":[";
  for (const auto& model : config.models) {
    if (&model != config.models.data()) out += ',';
    add_model(model.name, owner_of(config, model), created, out);
  }
  return out + "]}";
}

std::optional<std::string> model_body(const engine::config& config, const std::string& id,
                                      std::int64_t created) {
  const auto found = engine::find_model(config, id);
  if (!found) return std::nullopt;
  std::string out;
  add_model(id, owner_of(config, config.models.at(found->model)), created, out);
  return out;
}

}  // namespace millrace::http
