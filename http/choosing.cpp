#include "http/choosing.hpp"

#include <algorithm>
#include <string_view>

#include "engine/model_choice.hpp"
#include "engine/rendezvous.hpp"
#include "http/prompt_text.hpp"

namespace millrace::http {

namespace {

constexpr std::string_view session_header = "x-millrace-session";

/// The number of a tenant, or of one of its sessions. Zero means nobody.
std::uint64_t number_of(const engine::call& c, std::string_view session) {
  std::uint64_t h = engine::hash_text(c.client->tenant, engine::hash_text("tenant/"));
  if (!session.empty()) h = engine::hash_text(session, engine::hash_text("/session/", h));
  return std::max<std::uint64_t>(h, 1);
}

void choose(std::string_view body, engine::call& c) {
  std::string prompt;
  read_prompt(c.route, body, engine::complexity_config::max_prompt_bytes, prompt);
  c.judged = c.config->judge->judge(prompt);
  c.model.model = engine::choose_model(*c.config, c.model.model, *c.judged, c.client->tier, c.private_only);
}

}  // namespace

bool apply_model(const edge_request& r, bool by_prompt, engine::call& c, engine::api_error& error) {
  const std::string_view session = r.header(session_header);
  if (session.size() > max_session_bytes || (session.empty() && r.has_header(session_header))) {
    error = {400,
             "invalid_request_error",
             "invalid_session",
             "x-millrace-session must be 1 to 256 bytes: any name that stays the same for one session.",
             "",
             {},
             true};
    return false;
  }
  const engine::model_config& asked = c.config->models[c.model.model];
  c.asked = c.model.model;
  c.private_only = c.private_only || c.client->private_data || asked.private_data;
  if (by_prompt && !asked.choose.empty()) choose(r.body, c);
  const engine::model_config& model = c.config->models[c.model.model];
  c.private_only = c.private_only || model.private_data;
  if (model.sticky != engine::stickiness::none)
    c.affinity = number_of(c, model.sticky == engine::stickiness::session ? session : std::string_view());
  return true;
}

std::string question_model(const engine::call& c) {
  return c.facts.model + "\n" + c.config->models[c.model.model].name;
}

}  // namespace millrace::http
