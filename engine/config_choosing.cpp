#include <algorithm>

#include "engine/config_reader.hpp"

/// What models say about choosing among their targets.
namespace millrace::engine {
namespace {

constexpr size_t max_groups = 32;
constexpr double max_weight = 1e6;

group_config read_group(const config_value& value, const std::vector<group_config>& before) {
  const config_section s(value, {"name", "weight", "strategy"});
  group_config g;
  const config_value& name = s.require("name", "the targets of the group name it with `group`");
  g.name = name.identifier();
  const bool twice =
      std::any_of(before.begin(), before.end(), [&](const group_config& b) { return b.name == g.name; });
  if (twice) name.fail("another group of this model has this name already; choose another");
  s.read("weight", g.weight, 0, max_weight);
  if (const auto* v = s.find("strategy")) g.strategy = strategy(v->choice(strategy_names));
  return g;
}

std::vector<std::string> group_names(const model_config& m) {
  std::vector<std::string> names;
  for (const group_config& g : m.groups) names.push_back(g.name);
  return names;
}

bool serves_private(const config& c, const model_config& m) {
  return std::any_of(m.targets.begin(), m.targets.end(),
                     [&](const target_config& t) { return c.providers[t.provider].private_data; });
}

}  // namespace

void read_groups(const config_section& s, model_config& m) {
  static const std::vector<std::string> kinds = {"none", "tenant", "session"};
  if (const auto* v = s.find("sticky")) m.sticky = stickiness(v->choice(kinds));
  s.read("private", m.private_data);
  const auto* groups = s.find("groups");
  if (groups == nullptr) return;
  for (const config_value& element : groups->list(max_groups))
    m.groups.push_back(read_group(element, m.groups));
  if (m.groups.empty()) groups->fail("is empty; list the groups that the targets name, or remove it");
  const bool weighed =
      std::any_of(m.groups.begin(), m.groups.end(), [](const group_config& g) { return g.weight > 0; });
  if (!weighed) groups->fail("every group has weight 0; give at least one of them a weight");
}

size_t read_target_group(const config_section& target, const model_config& m) {
  const auto* group = target.find("group");
  if (m.groups.empty()) {
    if (group != nullptr) group->fail("the model has no `groups`; list them there, or remove `group`");
    return 0;
  }
  const auto names = group_names(m);
  return target.require("group", "name one of " + join(names)).choice(names);
}

void check_choosing(const config_section& s, const config& c, const model_config& m) {
  for (size_t g = 0; g < m.groups.size(); ++g) {
    const bool used =
        std::any_of(m.targets.begin(), m.targets.end(), [g](const target_config& t) { return t.group == g; });
    if (!used)
      s.find("groups")->fail("no target of the model names the group `" + m.groups[g].name +
                             "`; add one with `group`, or remove the group");
  }
  if (!m.private_data || serves_private(c, m)) return;
  const bool behind = std::any_of(m.fallback_models.begin(), m.fallback_models.end(),
                                  [&](size_t f) { return serves_private(c, c.models[f]); });
  if (!behind)
    s.find("private")->fail(
        "no provider of the model's targets and fallbacks has `private: true`, so none could serve it; mark "
        "one, or remove `private`");
}

}  // namespace millrace::engine
