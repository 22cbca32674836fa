#include "engine/model_table.hpp"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>

#include "engine/config_reader.hpp"
#include "tests/engine/config_texts.hpp"

/// Prices and sizes by a model's name: whose they are, and what replaces them.
namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::HasSubstr;

/// A file that is gone at the end of the test.
class model_file {
 public:
  explicit model_file(const std::string& text) {
    const int fd = mkstemp(path_.data());
    if (fd >= 0) ::close(fd);
    std::ofstream(path_) << text;
  }
  ~model_file() { ::unlink(path_.c_str()); }
  model_file(const model_file&) = delete;
  model_file& operator=(const model_file&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_ = testing::TempDir() + "millrace-models-XXXXXX";
};

provider_config at(provider_kind kind, std::string host) {
  provider_config p;
  p.kind = kind;
  p.host = std::move(host);
  return p;
}

/// The only target of a model at a provider with this address.
target_config target(const std::string& base_url, const std::string& keys, const std::string& head = {},
                     const std::string& kind = "openai") {
  return parse(head + "providers:\n  p:\n    kind: " + kind + "\n    base_url: " + base_url +
               "\n    keys: [ { id: a, secret: s } ]\nmodels:\n  m: { targets: [ { provider: p, " + keys +
               " } ] }\n")
      ->models[0]
      .targets[0];
}

TEST(model_table, the_built_in_one_holds_at_the_vendors_own_hosts_only) {
  const auto table = model_table::built_in();
  const auto* gpt = table->find(at(provider_kind::openai, "api.openai.com"), "gpt-4o-mini");
  ASSERT_NE(gpt, nullptr);
  EXPECT_EQ(gpt->input_usd, 0.15);
  EXPECT_EQ(gpt->cached_usd, 0.075);
  EXPECT_EQ(gpt->context_tokens, 128000);
  EXPECT_NE(table->find(at(provider_kind::openai, "eu.api.openai.com"), "gpt-4o"), nullptr);
  EXPECT_NE(table->find(at(provider_kind::anthropic, "api.anthropic.com"), "claude-sonnet-4-5"), nullptr);
  EXPECT_NE(table->find(at(provider_kind::gemini, "generativelanguage.googleapis.com"), "gemini-2.5-pro"),
            nullptr);
  EXPECT_EQ(table->find(at(provider_kind::openai, "127.0.0.1"), "gpt-4o"), nullptr);
  EXPECT_EQ(table->find(at(provider_kind::openai, "x.openai.azure.com"), "gpt-4o"), nullptr);
  EXPECT_EQ(table->find(at(provider_kind::openai, "api.openai.com"), "claude-sonnet-4-5"), nullptr);
  EXPECT_EQ(table->find(at(provider_kind::openai, "notapi.openai.com.example"), "gpt-4o"), nullptr);
}

TEST(model_table, a_name_stands_for_its_dated_versions_unless_they_have_an_entry) {
  const auto openai = at(provider_kind::openai, "api.openai.com");
  const auto table = model_table::built_in();
  EXPECT_EQ(table->find(openai, "gpt-4o-2024-08-06"), table->find(openai, "gpt-4o"));
  EXPECT_EQ(table->find(openai, "gpt-4o-2024-05-13")->input_usd, 5);
  EXPECT_EQ(table->find(openai, "gpt-4o-audio"), nullptr);
  EXPECT_EQ(without_version("claude-sonnet-4-5-20250929"), "claude-sonnet-4-5");
  EXPECT_EQ(without_version("claude-3-5-haiku-latest"), "claude-3-5-haiku");
  EXPECT_EQ(without_version("gemini-2.0-flash-001"), "gemini-2.0-flash");
  EXPECT_EQ(without_version("gpt-4"), "gpt-4");
  EXPECT_EQ(without_version("-latest"), "");
}

TEST(model_table, every_built_in_price_is_sane) {
  const auto table = model_table::built_in();
  for (const char* name : {"gpt-5", "o3", "claude-opus-4-1", "claude-haiku-4-5", "gemini-2.5-flash"}) {
    const model_facts* f = nullptr;
    for (const auto& p :
         {at(provider_kind::openai, "api.openai.com"), at(provider_kind::anthropic, "api.anthropic.com"),
          at(provider_kind::gemini, "generativelanguage.googleapis.com")}) {
      if (f == nullptr) f = table->find(p, name);
    }
    ASSERT_NE(f, nullptr) << name;
    EXPECT_GT(f->output_usd, f->input_usd) << name;
    EXPECT_LT(f->cached_usd, f->input_usd) << name;
    EXPECT_GE(f->cache_write_usd, f->input_usd) << name;
    EXPECT_GT(f->context_tokens, f->max_output_tokens) << name;
  }
}

TEST(model_table, a_target_without_prices_at_a_vendor_has_the_tables) {
  const target_config t = target("https://api.anthropic.com", "model: claude-sonnet-4-5", {}, "anthropic");
  EXPECT_EQ(t.input_usd, 3);
  EXPECT_EQ(t.output_usd, 15);
  EXPECT_EQ(t.cached_usd, 0.3);
  EXPECT_EQ(t.cache_write_usd, 3.75);
  EXPECT_EQ(t.context_tokens, 200000);
  EXPECT_EQ(t.max_output_tokens, 64000);
}

TEST(model_table, elsewhere_nothing_is_known) {
  const target_config t = target("http://127.0.0.1:1/v1", "model: gpt-4o");
  EXPECT_EQ(t.input_usd, 0);
  EXPECT_EQ(t.cached_usd, 0);
  EXPECT_EQ(t.context_tokens, 0);
}

TEST(model_table, a_target_that_names_a_price_names_all) {
  const target_config t =
      target("https://api.openai.com/v1", "model: gpt-4o, input_usd: 2, context_tokens: 5");
  EXPECT_EQ(t.input_usd, 2);
  EXPECT_EQ(t.output_usd, 0);
  EXPECT_EQ(t.cached_usd, 2) << "cached input costs what fresh input costs";
  EXPECT_EQ(t.cache_write_usd, 2);
  EXPECT_EQ(t.context_tokens, 5);
  EXPECT_EQ(t.max_output_tokens, 16384) << "sizes are each their own";
}

TEST(model_table, a_file_goes_before_the_built_in_one_and_holds_everywhere) {
  const model_file file(R"({"gpt-4o": {"input_usd": 1}, "own": {"output_usd": 7, "image_usd": 0.5}})");
  const std::string head = "model_data: " + file.path() + "\n";
  const target_config gpt = target("http://127.0.0.1:1/v1", "model: gpt-4o-2024-08-06", head);
  EXPECT_EQ(gpt.input_usd, 1);
  EXPECT_EQ(gpt.cached_usd, 1) << "the price of cached input belongs to the one that was replaced";
  EXPECT_EQ(gpt.output_usd, 10) << "not said: as built in";
  EXPECT_EQ(gpt.context_tokens, 128000);
  const target_config own = target("http://127.0.0.1:1/v1", "model: own", head);
  EXPECT_EQ(own.output_usd, 7);
  EXPECT_EQ(own.image_usd, 0.5);
  EXPECT_EQ(target("http://127.0.0.1:1/v1", "model: own, output_usd: 3", head).output_usd, 3);
}

TEST(model_table, entries_may_stand_in_the_configuration_itself) {
  const target_config t =
      target("http://127.0.0.1:1/v1", "model: own", "model_data: { own: { input_usd: 4 } }\n");
  EXPECT_EQ(t.input_usd, 4);
  EXPECT_THAT(complaint("model_data:\n  own: { input: 4 }\n"), HasSubstr("c.yaml:2: model_data.own.input: "));
}

TEST(model_table, a_bad_file_is_refused_with_both_places) {
  const auto said = [](const std::string& text) {
    const model_file file(text);
    return complaint("node: {}\nmodel_data: " + file.path() + "\n");
  };
  EXPECT_THAT(said("a: { input_usd: -1 }\n"), HasSubstr("c.yaml:2: model_data: "));
  EXPECT_THAT(said("a: { input_usd: -1 }\n"), HasSubstr(":1: a.input_usd: "));
  EXPECT_THAT(said("a: {}\nb: { vendor: openai }\n"),
              HasSubstr(":2: b.vendor: this version knows no such key"));
  EXPECT_THAT(said("a: ["), HasSubstr("neither YAML nor JSON"));
  EXPECT_THAT(complaint("model_data: /nowhere/models.yaml\n"), HasSubstr("cannot be read"));
}

}  // namespace
}  // namespace millrace::engine
