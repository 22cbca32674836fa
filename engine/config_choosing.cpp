#include <algorithm>
#include <functional>

#include "engine/config_reader.hpp"
#include "engine/model_choice.hpp"

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

constexpr size_t max_rules = 64;
const std::vector<std::string> complexity_names = {"simple", "medium", "complex"};

void read_words(const config_section& s, std::string_view key, std::vector<std::string>& words) {
  const auto* list = s.find(key);
  if (list == nullptr) return;
  words.clear();
  for (const config_value& element : list->list(complexity_config::max_words)) {
    words.push_back(element.text());
    if (words.back().size() > complexity_config::max_word_bytes)
      element.fail("is longer than 64 bytes; name a word or a short phrase");
  }
}

choose_rule read_rule(const config_value& value, const std::vector<std::string>& names, const config& c,
                      const model_config& m) {
  const config_section s(value, {"complexity", "tier", "code", "model"});
  choose_rule rule;
  if (const auto* v = s.find("complexity")) rule.complexity = complexity(v->choice(complexity_names));
  if (const auto* v = s.find("tier")) {
    std::vector<std::string> tiers;
    for (const auto& tier : c.tiers) tiers.push_back(tier.first);
    std::sort(tiers.begin(), tiers.end());
    rule.tier = tiers[v->choice(tiers)];
  }
  if (const auto* v = s.find("code")) rule.code = v->boolean();
  rule.model = other_model(s.require("model", "name the model that answers what fits"), names, c, m);
  return rule;
}

}  // namespace

size_t other_model(const config_value& element, const std::vector<std::string>& names, const config& c,
                   const model_config& m) {
  const std::string name = element.text();
  const auto found = c.model_index.find(name);
  if (found == c.model_index.end()) {
    const std::string near = suggestion(name, names);
    element.fail("there is no model " + element.quoted() +
                 (near.empty() ? "; define it under `models`" : near));
  }
  if (name == m.name) element.fail("a model cannot be its own fallback or choice; name another one");
  return found->second;
}

void read_complexity(const config_value& value, config& c) {
  const config_section s(value, {"simple_below", "design_words", "step_words"});
  s.read("simple_below", c.complexity.simple_below, 0, complexity_config::max_simple_below);
  read_words(s, "design_words", c.complexity.design_words);
  read_words(s, "step_words", c.complexity.step_words);
}

void read_choose(const config_section& s, const std::vector<std::string>& names, const config& c,
                 model_config& m) {
  const auto* rules = s.find("choose");
  if (rules == nullptr) return;
  for (const config_value& element : rules->list(max_rules)) {
    if (!m.choose.empty()) {
      const choose_rule& last = m.choose.back();
      if (!last.complexity && !last.tier && !last.code)
        element.fail("is never reached: the rule above fits everything; move it up");
    }
    m.choose.push_back(read_rule(element, names, c, m));
  }
}

void check_loops(const std::vector<config_section>& sections, const config& c) {
  enum class mark : std::uint8_t { unseen, under_way, good };
  std::vector<mark> marks(c.models.size(), mark::unseen);
  const std::function<void(size_t)> visit = [&](size_t model) {
    marks[model] = mark::under_way;
    for (const choose_rule& rule : c.models[model].choose) {
      if (marks[rule.model] == mark::under_way) {
        sections[model].find("choose")->fail("leads from `" + c.models[model].name + "` to `" +
                                             c.models[rule.model].name +
                                             "` and back again; remove one of the rules of this loop");
      }
      if (marks[rule.model] == mark::unseen) visit(rule.model);
    }
    marks[model] = mark::good;
  };
  for (size_t m = 0; m < c.models.size(); ++m) {
    if (marks[m] == mark::unseen) visit(m);
  }
}

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
  if (m.private_data && !serves_private(c, m))
    s.find("private")->fail(
        "no provider of the model's targets and fallbacks has `private: true`, so none could serve it; mark "
        "one, or remove `private`");
}

}  // namespace millrace::engine
