#include "engine/config.hpp"

#include <gmock/gmock.h>

#include "tests/engine/config_texts.hpp"

/// Without a file, and names without configured models.
namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

TEST(default_config, takes_the_providers_whose_keys_the_environment_holds) {
  const auto c = default_config(variables({{"OPENAI_API_KEY", "sk-env"}}));
  EXPECT_EQ(c->source, "embedded default");
  EXPECT_FALSE(c->wants_simulator);
  EXPECT_TRUE(c->open);
  ASSERT_EQ(c->providers.size(), 1u);
  EXPECT_EQ(c->providers[0].name, "openai");
  EXPECT_EQ(c->providers[0].host, "api.openai.com");
  EXPECT_EQ(c->providers[0].keys[0].id, "openai-1");
  EXPECT_EQ(c->providers[0].keys[0].key.reveal(), "sk-env");
  EXPECT_EQ(c->names->text(c->models[0].targets[0].name), "breaker/openai/*");
}

TEST(default_config, each_provider_comes_with_its_own_dialect) {
  const auto c = default_config(
      variables({{"OPENAI_API_KEY", "a"}, {"ANTHROPIC_API_KEY", "b"}, {"GOOGLE_API_KEY", "c"}}));
  ASSERT_EQ(c->providers.size(), 3u);
  EXPECT_EQ(c->providers[0].kind, provider_kind::openai);
  EXPECT_TRUE(c->providers[0].responses);
  EXPECT_EQ(c->providers[1].kind, provider_kind::anthropic);
  EXPECT_EQ(c->providers[2].kind, provider_kind::gemini);
  EXPECT_EQ(c->models[find_model(*c, "claude-sonnet-4-5")->model].name, "anthropic/*");
  EXPECT_EQ(c->models[find_model(*c, "gemini-2.5-pro")->model].name, "gemini/*");
}

TEST(default_config, the_builtin_provider_is_the_last_resort_but_not_of_the_simulator) {
  EXPECT_TRUE(default_config(variables({{"OPENAI_API_KEY", "k"}}))->models[0].degrade.builtin);
  EXPECT_FALSE(parse("log: { level: warn }", {{"OPENAI_API_KEY", "k"}})->models[0].degrade.builtin);
  EXPECT_FALSE(with_simulator(*default_config(variables({})), 1)->models[0].degrade.builtin);
}

TEST(default_config, without_keys_asks_for_the_simulator) {
  EXPECT_TRUE(default_config(variables({}))->wants_simulator);
  EXPECT_TRUE(default_config(variables({{"OPENAI_API_KEY", ""}}))->wants_simulator);
  EXPECT_TRUE(parse("log: { level: warn }")->wants_simulator);
  EXPECT_FALSE(parse("log: { level: warn }", {{"OPENAI_API_KEY", "k"}})->wants_simulator);
}

TEST(default_config, refuses_a_key_that_no_header_can_carry) {
  try {
    default_config(variables({{"OPENAI_API_KEY", "CANARY\r\nx: y"}}));
    ADD_FAILURE();
  } catch (const config_error& e) {
    EXPECT_THAT(e.what(), AllOf(HasSubstr("OPENAI_API_KEY"), Not(HasSubstr("CANARY"))));
  }
}

TEST(with_simulator, answers_any_model_name) {
  const auto base = default_config(variables({}));
  const auto c = with_simulator(*base, 4321);
  EXPECT_EQ(c->version, base->version);
  ASSERT_EQ(c->providers.size(), 1u);
  EXPECT_EQ(c->providers[0].name, "simulator");
  EXPECT_EQ(c->providers[0].base_url, "http://127.0.0.1:4321/v1");
  EXPECT_EQ(c->providers[0].port, 4321);
  EXPECT_NE(c->providers[0].keys[0].name, no_name);
  for (const std::string name : {"gpt-4o-mini", "claude-x", "anything", "a/b"}) {
    const auto found = find_model(*c, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->upstream_model, name);
    EXPECT_EQ(c->models[found->model].name, "simulator/*");
  }
  EXPECT_EQ(find_model(*c, "simulator/x")->upstream_model, "x");
  EXPECT_FALSE(find_model(*c, ""));
}

TEST(find_model, knows_the_configured_names_only) {
  const auto c = parse(two_providers);
  EXPECT_EQ(find_model(*c, "gpt-4o")->model, 1u);
  EXPECT_EQ(find_model(*c, "gpt-4o")->upstream_model, "");
  EXPECT_FALSE(find_model(*c, "gpt-5"));
  EXPECT_FALSE(find_model(*c, "openai/gpt-4o"));
}

TEST(find_model, goes_by_prefix_without_configured_models) {
  const auto c = parse(
      "providers:\n"
      "  openai: { base_url: http://h, keys: [ { id: a, secret: s } ] }\n"
      "  local: { base_url: http://l, keys: [ { id: a, secret: s } ] }\n");
  for (const std::string name :
       {"gpt-5", "chatgpt-4o-latest", "text-embedding-3-small", "dall-e-3", "o1", "o3-mini"}) {
    const auto found = find_model(*c, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(found->model, 0u);
    EXPECT_EQ(found->upstream_model, name);
  }
  EXPECT_EQ(find_model(*c, "local/llama/8b")->model, 1u);
  EXPECT_EQ(find_model(*c, "local/llama/8b")->upstream_model, "llama/8b");
  EXPECT_EQ(find_model(*c, "openai/other")->upstream_model, "other");
  for (const std::string name : {"llama", "omega", "o", "gpt", "claude-3", "nobody/x", "local/", "/x", ""}) {
    EXPECT_FALSE(find_model(*c, name)) << name;
  }
  EXPECT_FALSE(find_model(*c, "gpt-" + std::string(300, 'x')));
}

}  // namespace
}  // namespace millrace::engine
