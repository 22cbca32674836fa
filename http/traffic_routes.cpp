#include "http/traffic_routes.hpp"

#include <algorithm>
#include <optional>

#include <nlohmann/json.hpp>

#include "engine/log.hpp"
#include "http/plain_request.hpp"

namespace millrace::http {

namespace {

using engine::answer;
using engine::api_error;
using json = nlohmann::ordered_json;

constexpr double max_weight = 1e6;

api_error bad_weights(std::string message) {
  return {400, "invalid_request_error", "invalid_weights", std::move(message), "", {}, true};
}

/// "openai/gpt-4o"
std::string target_label(const engine::config& c, const engine::target_config& t) {
  return c.providers[t.provider].name + "/" + (t.model.empty() ? "*" : t.model);
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const auto& n : names) out.append(out.empty() ? "`" : ", `").append(n).append("`");
  return out;
}

/// Sets the weights that `object` names. Several of one name, which targets may have, all get it.
bool read_part(const json& object, std::string_view part, const std::vector<std::string>& names,
               std::vector<double>& weights, api_error& error) {
  if (!object.is_object()) {
    error = bad_weights("`" + std::string(part) + "` must be an object of names and weights.");
    return false;
  }
  for (const auto& [name, value] : object.items()) {
    if (std::find(names.begin(), names.end(), name) == names.end()) {
      error = bad_weights("`" + std::string(part) + "` names `" + name.substr(0, 128) +
                          "`, but this model has " + (names.empty() ? "none" : listed(names)) + ".");
      return false;
    }
    const double weight = value.is_number() ? value.get<double>() : -1;
    if (!(weight >= 0 && weight <= max_weight)) {
      error = bad_weights("The weight of `" + name + "` must be a number from 0 to 1000000.");
      return false;
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (names[i] == name) weights[i] = weight;
    }
  }
  return true;
}

bool any_weight(const std::vector<double>& weights) {
  return weights.empty() || std::any_of(weights.begin(), weights.end(), [](double w) { return w > 0; });
}

std::vector<std::string> names_of_groups(const engine::model_config& m) {
  std::vector<std::string> names;
  for (const auto& g : m.groups) names.push_back(g.name);
  return names;
}

std::vector<std::string> names_of_targets(const engine::config& c, const engine::model_config& m) {
  std::vector<std::string> names;
  for (const auto& t : m.targets) names.push_back(target_label(c, t));
  return names;
}

/// One model of the node as it is now.
struct weighed_model {
  std::shared_ptr<const node_view> view;
  const engine::model_config* model = nullptr;  ///< null: no such model
  engine::traffic_weights weights;
  bool changed = false;
};

std::optional<weighed_model> look(api_services& services, const edge_request& r, engine::yield y) {
  weighed_model found;
  found.view = services.look(r.thread, r.gone, y);
  if (!found.view) return std::nullopt;
  const auto& c = *found.view->config;
  const auto at = c.model_index.find(std::string(r.param));
  if (at == c.model_index.end()) return found;
  found.model = &c.models[at->second];
  const auto changed = found.view->dispatcher.weights.find(static_cast<std::uint32_t>(at->second));
  found.changed = changed != found.view->dispatcher.weights.end();
  found.weights = found.changed ? changed->second : engine::configured_weights(*found.model);
  return found;
}

answer told(plain_request& plain, const weighed_model& m) {
  answer a;
  json body = json::object();
  body["object"] = "model.weights";
  body.update(weights_json(*m.view->config, *m.model, m.weights, m.changed));
  a.body = body.dump();
  return plain.finish(std::move(a));
}

answer unknown(plain_request& plain, std::string_view name) {
  return plain.refuse({404,
                       "invalid_request_error",
                       "model_not_found",
                       "The model `" + std::string(name.substr(0, 128)) +
                           "` is not configured here. GET /v1/models lists those that are.",
                       "model",
                       {},
                       true});
}

answer get_weights(api_services& services, const edge_request& r, engine::yield y) {
  plain_request plain(services, r);
  if (auto refusal = refuse_unless_admin(r, plain)) return std::move(*refusal);
  const auto now = look(services, r, y);
  if (!now) return plain.give_up();
  return now->model ? told(plain, *now) : unknown(plain, r.param);
}

answer put_weights(api_services& services, const edge_request& r, engine::yield y) {
  plain_request plain(services, r);
  if (auto refusal = refuse_unless_admin(r, plain)) return std::move(*refusal);
  const auto before = look(services, r, y);
  if (!before) return plain.give_up();
  if (!before->model) return unknown(plain, r.param);
  engine::traffic_weights wanted = before->weights;
  api_error error;
  if (!read_weights(*before->view->config, *before->model, r.body, wanted, error)) return plain.refuse(error);
  services.set_weights({before->model->name, before->view->config->version, wanted.groups, wanted.targets});
  const auto after = look(services, r, y);
  if (!after) return plain.give_up();
  if (!after->model || !(after->weights == wanted)) {
    return plain.refuse(
        {409,
         "invalid_request_error",
         "weights_changed",
         "The configuration or these weights were changed by somebody else meanwhile. Look at "
         "GET /v1/models/{id}/weights and send this again.",
         "",
         {},
         true});
  }
  engine::log_event(
      engine::log_level::info, "weights_changed",
      {{"model", after->model->name},
       {"weights",
        weights_json(*after->view->config, *after->model, after->weights, after->changed).dump()}});
  return told(plain, *after);
}

}  // namespace

bool read_weights(const engine::config& c, const engine::model_config& m, std::string_view body,
                  engine::traffic_weights& weights, api_error& error) {
  if (!engine::uses_weights(m)) {
    error = bad_weights("The model `" + m.name +
                        "` looks at no weights: it has no groups, and its strategy is neither weighted nor "
                        "least_busy.");
    return false;
  }
  const json parsed =
      body.size() <= max_weights_bytes ? json::parse(body, nullptr, false) : json(json::value_t::discarded);
  const bool known = parsed.is_object() && !parsed.empty() &&
                     std::all_of(parsed.items().begin(), parsed.items().end(), [](const auto& item) {
                       return item.key() == "groups" || item.key() == "targets";
                     });
  if (!known) {
    error = bad_weights(
        R"(Send a JSON object like {"groups":{"api":50,"gpu":50}} or {"targets":{"provider/model":3}}.)");
    return false;
  }
  if (parsed.contains("groups") &&
      !read_part(parsed["groups"], "groups", names_of_groups(m), weights.groups, error))
    return false;
  if (parsed.contains("targets") &&
      !read_part(parsed["targets"], "targets", names_of_targets(c, m), weights.targets, error))
    return false;
  if (any_weight(weights.groups) && any_weight(weights.targets)) return true;
  error = bad_weights("At least one weight must stay above 0: where all are 0 none is chosen by weight.");
  return false;
}

nlohmann::ordered_json weights_json(const engine::config& c, const engine::model_config& m,
                                    const engine::traffic_weights& weights, bool changed) {
  json groups = json::object();
  json targets = json::object();
  for (std::size_t i = 0; i < m.groups.size(); ++i) groups[m.groups[i].name] = weights.groups[i];
  for (std::size_t i = 0; i < m.targets.size(); ++i) {
    targets[target_label(c, m.targets[i])] = weights.targets[i];
  }
  return {{"model", m.name},
          {"groups", std::move(groups)},
          {"targets", std::move(targets)},
          {"changed", changed}};
}

void add_traffic_routes(api_services& s, std::vector<route>& out) {
  constexpr const char* pattern = "/v1/models/{id}/weights";
  out.push_back(
      {"GET", pattern, [&s](const edge_request& r, engine::yield y) { return get_weights(s, r, y); }});
  out.push_back(
      {"PUT", pattern, [&s](const edge_request& r, engine::yield y) { return put_weights(s, r, y); }});
}

}  // namespace millrace::http
