#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/config.hpp"

namespace millrace::engine {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const environment nothing = [](const std::string&) -> std::optional<std::string> { return std::nullopt; };

constexpr auto providers = R"(providers: { p: { base_url: "http://h/v1", keys: [ { id: k, secret: s } ] } }
models: { m: { targets: [ { provider: p, model: x } ] } }
)";

documents_config read(const std::string& section) {
  return parse_config(providers + ("documents: " + section), "f", nothing)->documents;
}

std::string refusal(const std::string& section) {
  try {
    read(section);
  } catch (const config_error& e) {
    return e.what();
  }
  return "taken";
}

TEST(config_documents, has_defaults) {
  const auto d = parse_config(providers, "f", nothing)->documents;
  EXPECT_EQ(d.model, "");
  EXPECT_EQ(d.max_file_bytes, 20LL << 20);
  EXPECT_EQ(d.max_pages, 5);
  EXPECT_EQ(d.ttl, 24h);
  ASSERT_EQ(d.industries.size(), 1);
  EXPECT_EQ(d.industries[0].name, "finance");
  EXPECT_THAT(d.industries[0].labels,
              testing::IsSupersetOf({"bank_statement", "invoice", "drivers_license"}));
}

TEST(config_documents, reads_every_key) {
  const auto d = read(
      "{ model: m, max_file: 1MiB, max_pages: 2, max_pixels: 20000, time_limit: 3s, memory: 512MiB, edge: "
      "640, "
      "quality: 70, max_tokens: 50, temperature: 0, ttl: 1h, workers: 3, max_waiting: 0, "
      "industries: { law: [ deed, will ] } }");
  EXPECT_EQ(d.model, "m");
  EXPECT_EQ(d.max_file_bytes, 1 << 20);
  EXPECT_EQ(d.max_pages, 2);
  EXPECT_EQ(d.max_pixels, 20000);
  EXPECT_EQ(d.time_limit, 3s);
  EXPECT_EQ(d.memory_bytes, 512 << 20);
  EXPECT_EQ(d.edge, 640);
  EXPECT_EQ(d.quality, 70);
  EXPECT_EQ(d.max_tokens, 50);
  EXPECT_EQ(d.temperature, 0);
  EXPECT_EQ(d.ttl, 1h);
  EXPECT_EQ(d.workers, 3);
  EXPECT_EQ(d.max_waiting, 0);
  ASSERT_NE(find_industry(d, "law"), nullptr);
  EXPECT_THAT(find_industry(d, "law")->labels, ElementsAre("deed", "will"));
  EXPECT_NE(find_industry(d, "finance"), nullptr) << "the default industry stays";
}

TEST(config_documents, an_industry_may_be_named_anew) {
  const auto d = read("{ industries: { finance: [ cheque, other ] } }");
  ASSERT_EQ(d.industries.size(), 1);
  EXPECT_THAT(d.industries[0].labels, ElementsAre("cheque", "other"));
}

TEST(config_documents, says_what_is_wrong_and_where) {
  EXPECT_THAT(refusal("{ model: none }"), HasSubstr("f:3: documents.model: no such model is configured"));
  EXPECT_THAT(refusal("{ pages: 3 }"), HasSubstr("documents.pages: this version knows no such key"));
  EXPECT_THAT(refusal("{ max_file: 5 }"), HasSubstr("documents.max_file"));
  EXPECT_THAT(refusal("{ edge: 100 }"), HasSubstr("documents.edge"));
  EXPECT_THAT(refusal("{ quality: 101 }"), HasSubstr("documents.quality"));
  EXPECT_THAT(refusal("{ temperature: 3 }"), HasSubstr("documents.temperature"));
  EXPECT_THAT(refusal("{ workers: 0 }"), HasSubstr("documents.workers"));
  EXPECT_THAT(refusal("{ time_limit: 10 }"), HasSubstr("documents.time_limit"));
  EXPECT_THAT(refusal("{ industries: { law: [ deed ] } }"), HasSubstr("at least two labels"));
  EXPECT_THAT(refusal("{ industries: { law: [ deed, deed ] } }"), HasSubstr("each label once"));
  EXPECT_THAT(refusal("{ industries: { law: [ 'a deed', will ] } }"), HasSubstr("documents.industries.law"));
}

TEST(config_documents, the_embedded_default_asks_openai_where_its_key_is_set) {
  EXPECT_EQ(default_config(nothing)->documents.model, "");
  const environment openai = [](const std::string& name) -> std::optional<std::string> {
    if (name != "OPENAI_API_KEY") return std::nullopt;
    return "secret";
  };
  EXPECT_EQ(default_config(openai)->documents.model, "gpt-4o-mini");
}

}  // namespace
}  // namespace millrace::engine
