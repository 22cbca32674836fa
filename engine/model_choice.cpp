#include "engine/model_choice.hpp"

#include <algorithm>

namespace millrace::engine {

namespace {

bool has_private_target(const config& c, const model_config& m) {
  return std::any_of(m.targets.begin(), m.targets.end(),
                     [&](const target_config& t) { return c.providers[t.provider].private_data; });
}

bool fits(const choose_rule& rule, const prompt_traits& prompt, std::string_view tier) {
  return (!rule.complexity || *rule.complexity == prompt.complexity) && (!rule.tier || *rule.tier == tier) &&
         (!rule.code || *rule.code == prompt.code);
}

}  // namespace

size_t choose_model(const config& c, size_t model, const prompt_traits& prompt, std::string_view tier,
                    bool private_only) {
  while (true) {
    const auto& rules = c.models[model].choose;
    const auto rule = std::find_if(rules.begin(), rules.end(), [&](const choose_rule& r) {
      return fits(r, prompt, tier) && (!private_only || serves_private(c, c.models[r.model]));
    });
    if (rule == rules.end()) return model;
    model = rule->model;
  }
}

bool serves_private(const config& c, const model_config& m) {
  return has_private_target(c, m) ||
         std::any_of(m.fallback_models.begin(), m.fallback_models.end(),
                     [&](size_t f) { return has_private_target(c, c.models[f]); });
}

}  // namespace millrace::engine
