#include <algorithm>

#include "engine/config_reader.hpp"

/// What a model says of calls that do not go as hoped.
namespace millrace::engine {

namespace {

constexpr std::string_view field_prefix = "field:";

/// Member names with dots between them.
bool is_path(std::string_view path) {
  return !path.empty() && path.front() != '.' && path.back() != '.' &&
         path.find("..") == std::string_view::npos;
}

confidence_source read_confidence(const config_value& value) {
  confidence_source source;
  const std::string text = value.text();
  source.logprobs = text == "logprobs";
  if (source.logprobs) return source;
  const bool field = text.starts_with(field_prefix) && is_path(text.substr(field_prefix.size()));
  if (!field)
    value.fail(
        "must be `logprobs`, or `field:` and the name of a member of the answer's JSON, like "
        "field:confidence or field:result.confidence");
  source.field = text.substr(field_prefix.size());
  return source;
}

}  // namespace

void read_degrade(const config_value& value, model_config& m) {
  const config_section s(value, {"stale", "builtin", "template"});
  s.read("stale", m.degrade.stale, 0s, degrade_config::longest_stale);
  if (m.degrade.stale > 0s && !m.cache.enabled)
    s.find("stale")->fail("there is nothing stale to serve: this model has `cache: { enabled: false }`");
  s.read("builtin", m.degrade.builtin);
  const auto* text = s.find("template");
  if (text == nullptr) return;
  m.degrade.text = text->text();
  if (m.degrade.text.size() > degrade_config::max_text_bytes) text->fail("is longer than 8192 bytes");
}

void read_hedge(const config_value& value, model_config& m) {
  if (!value.is_mapping()) {
    m.hedge.enabled = value.boolean();
    return;
  }
  const config_section s(value, {"enabled", "after"});
  m.hedge.enabled = true;
  s.read("enabled", m.hedge.enabled);
  s.read("after", m.hedge.after, 1ms, 1h);
}

void read_hedge_budget(const config_value& value, config& c) {
  const config_section s(value, {"budget"});
  s.read("budget", c.hedge_budget, 0, 1);
}

void read_upgrade(const config_value& value, const config& c, model_config& m) {
  const config_section s(value,
                         {"model", "threshold", "confidence", "when_unreadable", "max_wait", "sample"});
  upgrade_config u;
  const config_value& model = s.require("model", "name the better model to ask, one of `models`");
  u.model = model.text();
  const auto found = c.model_index.find(u.model);
  if (found == c.model_index.end()) {
    std::vector<std::string> names;
    for (const model_config& other : c.models) names.push_back(other.name);
    const std::string near = suggestion(u.model, names);
    model.fail("there is no model " + model.quoted() + (near.empty() ? "; define it under `models`" : near));
  }
  if (u.model == m.name) model.fail("a model cannot be its own upgrade");
  u.model_index = found->second;
  s.read("threshold", u.threshold, 0, 1);
  if (const auto* v = s.find("confidence")) u.confidence = read_confidence(*v);
  static const std::vector<std::string> choices = {"keep", "upgrade"};
  if (const auto* v = s.find("when_unreadable")) u.when_unreadable = v->choice(choices) == 1;
  s.read("max_wait", u.max_wait, 0s, 1h);
  s.read("sample", u.sample, 0, 1);
  m.upgrade = std::move(u);
}

}  // namespace millrace::engine
