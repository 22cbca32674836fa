#include "engine/traffic_weights.hpp"

#include <algorithm>

namespace millrace::engine {

traffic_weights configured_weights(const model_config& m) {
  traffic_weights w;
  for (const group_config& g : m.groups) w.groups.push_back(g.weight);
  for (const target_config& t : m.targets) w.targets.push_back(t.weight);
  return w;
}

bool uses_weights(const model_config& m) {
  const auto weighs = [](strategy s) { return s == strategy::weighted || s == strategy::least_busy; };
  return !m.groups.empty() || weighs(m.strategy);
}

bool same_traffic(const config& before, const model_config& m, const config& after, const model_config& n) {
  const auto same_group = [](const group_config& a, const group_config& b) {
    return a.name == b.name && a.weight == b.weight;
  };
  const auto same_target = [&](const target_config& a, const target_config& b) {
    return before.providers[a.provider].name == after.providers[b.provider].name && a.model == b.model &&
           a.group == b.group && a.weight == b.weight;
  };
  return std::equal(m.groups.begin(), m.groups.end(), n.groups.begin(), n.groups.end(), same_group) &&
         std::equal(m.targets.begin(), m.targets.end(), n.targets.begin(), n.targets.end(), same_target);
}

}  // namespace millrace::engine
