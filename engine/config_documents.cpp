#include <algorithm>

#include "engine/config_reader.hpp"

/// The section `documents`.
namespace millrace::engine {
namespace {

constexpr std::string_view default_industry = "finance";

std::vector<std::string> read_labels(const config_value& value) {
  std::vector<std::string> labels;
  for (const config_value& element : value.list(documents_config::most_labels)) {
    const std::string label = element.identifier();
    if (std::find(labels.begin(), labels.end(), label) != labels.end())
      element.fail("is there already; name each label once");
    labels.push_back(label);
  }
  if (labels.size() < 2) value.fail("needs at least two labels to choose from");
  return labels;
}

/// An industry that is configured takes the place of a default one of its name.
void read_industries(const config_value& value, documents_config& d) {
  for (const auto& [name, labels] : value.entries(documents_config::most_industries)) {
    if (!is_identifier(name)) labels.fail("an industry has " + std::string(identifier_rule));
    industry_config industry{name, read_labels(labels)};
    const auto known = std::find_if(d.industries.begin(), d.industries.end(),
                                    [&](const industry_config& i) { return i.name == industry.name; });
    if (known != d.industries.end()) {
      *known = std::move(industry);
    } else {
      d.industries.push_back(std::move(industry));
    }
  }
}

}  // namespace

documents_config default_documents() {
  documents_config d;
  d.industries.push_back(
      {std::string(default_industry),
       {"bank_statement", "invoice", "drivers_license", "passport", "receipt", "tax_form", "pay_stub",
        "contract", "insurance_claim", "loan_application", "utility_bill", "purchase_order", "other"}});
  return d;
}

const industry_config* find_industry(const documents_config& d, const std::string& name) {
  const auto found = std::find_if(d.industries.begin(), d.industries.end(),
                                  [&](const industry_config& i) { return i.name == name; });
  return found == d.industries.end() ? nullptr : &*found;
}

void read_documents(const config_value& value, config& c) {
  const config_section s(
      value, {"model", "max_file", "max_pages", "max_pixels", "time_limit", "memory", "edge", "quality",
              "max_tokens", "temperature", "ttl", "workers", "max_waiting", "industries"});
  documents_config& d = c.documents;
  if (const auto* v = s.find("model")) {
    d.model = v->text();
    // The simulator, which is not there yet, answers to any name.
    if (!c.wants_simulator && !find_model(c, d.model))
      v->fail(
          "no such model is configured; name one of `models`, or leave it out to use the builtin classifier");
  }
  s.read_bytes("max_file", d.max_file_bytes, 1LL << 10, 1LL << 30);
  s.read("max_pages", d.max_pages, 1, 50);
  s.read("max_pixels", d.max_pixels, 10'000, 1'000'000'000);
  s.read("time_limit", d.time_limit, 100ms, 5min);
  s.read_bytes("memory", d.memory_bytes, 256LL << 20, 1LL << 40);
  s.read("edge", d.edge, 128, 8192);
  s.read("quality", d.quality, 1, 100);
  s.read("max_tokens", d.max_tokens, 16, 100'000);
  s.read("temperature", d.temperature, 0, 2);
  s.read("ttl", d.ttl, 1s, 365 * 24h);
  s.read("workers", d.workers, 1, 1024);
  s.read("max_waiting", d.max_waiting, 0, 100'000);
  if (const auto* v = s.find("industries")) read_industries(*v, d);
}

}  // namespace millrace::engine
