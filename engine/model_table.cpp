#include "engine/model_table.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "engine/config.hpp"
#include "engine/config_reader.hpp"

namespace millrace::engine {
namespace {

constexpr std::int64_t max_tokens = 1'000'000'000;
const std::vector<std::string> vendors = {"openai", "anthropic", "gemini"};

bool all_digits(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; });
}

/// Whose own host a provider is; empty when it is nobody's.
std::string_view vendor_of(const provider_config& p) {
  const std::string& h = p.host;
  if (p.kind == provider_kind::openai && (h == "api.openai.com" || h.ends_with(".api.openai.com")))
    return "openai";
  if (p.kind == provider_kind::anthropic && h == "api.anthropic.com") return "anthropic";
  if (p.kind == provider_kind::gemini && h == "generativelanguage.googleapis.com") return "gemini";
  return {};
}

/// The entry on top of `facts`. `vendors_own`: the built-in file, whose entries say whose they are.
void read_entry(const config_value& value, bool vendors_own, model_facts& facts) {
  std::vector<std::string> keys = {"input_usd", "output_usd",     "cached_usd",       "cache_write_usd",
                                   "image_usd", "context_tokens", "max_output_tokens"};
  if (vendors_own) keys.emplace_back("vendor");
  const config_section s(value, keys);
  if (vendors_own) facts.vendor = vendors[s.require("vendor", "one of three").choice(vendors)];
  s.read("input_usd", facts.input_usd, 0, max_usd);
  s.read("output_usd", facts.output_usd, 0, max_usd);
  // Whoever has another price for fresh input has one for cached input, too.
  if (s.find("input_usd") != nullptr) facts.cached_usd = facts.cache_write_usd = facts.input_usd;
  s.read("cached_usd", facts.cached_usd, 0, max_usd);
  s.read("cache_write_usd", facts.cache_write_usd, 0, max_usd);
  s.read("image_usd", facts.image_usd, 0, max_usd);
  s.read("context_tokens", facts.context_tokens, 0, max_tokens);
  s.read("max_output_tokens", facts.max_output_tokens, 0, max_tokens);
}

const model_facts* look_up(const std::map<std::string, model_facts, std::less<>>& facts,
                           std::string_view model) {
  auto found = facts.find(model);
  if (found == facts.end()) found = facts.find(without_version(model));
  return found == facts.end() ? nullptr : &found->second;
}

}  // namespace

std::string_view without_version(std::string_view model) {
  constexpr std::string_view latest = "-latest";
  if (model.ends_with(latest)) return model.substr(0, model.size() - latest.size());
  // -2024-08-06, -20241022, -001
  constexpr std::array<std::string_view, 3> patterns = {"-dddd-dd-dd", "-dddddddd", "-ddd"};
  for (const std::string_view pattern : patterns) {
    if (model.size() <= pattern.size()) continue;
    const std::string_view end = model.substr(model.size() - pattern.size());
    const bool fits = std::equal(end.begin(), end.end(), pattern.begin(), [](char c, char p) {
      return p == 'd' ? all_digits({&c, 1}) : c == p;
    });
    if (fits) return model.substr(0, model.size() - pattern.size());
  }
  return model;
}

std::shared_ptr<const model_table> model_table::built_in() {
  static const std::shared_ptr<const model_table> table = [] {
    auto t = std::make_shared<model_table>();
    const environment none = [](const std::string&) { return std::nullopt; };
    const config_source source{"well_known_models.yaml", none};
    const config_value root(source, load_document(well_known_models_yaml, source.name), "", 1);
    for (const auto& [name, entry] : root.entries()) read_entry(entry, true, t->built_in_[name]);
    return t;
  }();
  return table;
}

std::shared_ptr<const model_table> model_table::with(const config_value& entries) const {
  auto t = std::make_shared<model_table>(*this);
  for (const auto& [name, entry] : entries.entries()) {
    model_facts facts;
    if (const auto known = built_in_.find(name); known != built_in_.end()) facts = known->second;
    facts.vendor.clear();
    read_entry(entry, false, facts);
    t->own_[name] = facts;
  }
  return t;
}

const model_facts* model_table::find(const provider_config& provider, std::string_view model) const {
  if (const auto* own = look_up(own_, model)) return own;
  const auto* facts = look_up(built_in_, model);
  return facts != nullptr && facts->vendor == vendor_of(provider) ? facts : nullptr;
}

void complete_target(const model_facts* known, bool names_price, bool names_cached, bool names_cache_write,
                     target_config& t) {
  if (known != nullptr && !names_price) {
    t.input_usd = known->input_usd;
    t.output_usd = known->output_usd;
    t.cached_usd = known->cached_usd;
    t.cache_write_usd = known->cache_write_usd;
    t.image_usd = known->image_usd;
  } else {
    if (!names_cached) t.cached_usd = t.input_usd;
    if (!names_cache_write) t.cache_write_usd = t.input_usd;
  }
  if (known == nullptr) return;
  if (t.context_tokens == 0) t.context_tokens = known->context_tokens;
  if (t.max_output_tokens == 0) t.max_output_tokens = known->max_output_tokens;
}

}  // namespace millrace::engine
