// What a configuration says about choosing among targets.

#include <gmock/gmock.h>

#include "engine/rendezvous.hpp"
#include "engine/traffic_weights.hpp"
#include "tests/engine/config_texts.hpp"

namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::AllOf;
using testing::HasSubstr;

const std::string providers = R"(providers:
  api: { base_url: https://api.example.com/v1, keys: [ { id: k, secret: one } ] }
  gpu: { base_url: http://gpu:8000/v1, private: true, keys: [ { id: k, secret: two } ] }
)";

std::string model(const std::string& fields) {
  return providers + "models:\n  m:\n" + fields;
}

TEST(config_choosing, groups_stickiness_and_privacy_are_read) {
  const auto c = parse(R"(auth: { keys: [ { name: a, secret: sa, private: true }, { name: b, secret: sb } ] }
)" + model(R"(
    strategy: weighted
    sticky: session
    private: true
    groups: [ { name: api, weight: 90, strategy: cost }, { name: gpu, weight: 0, strategy: least_busy } ]
    targets: [ { provider: gpu, model: llama, group: gpu }, { provider: api, model: x, group: api, weight: 3 } ]
)"));
  EXPECT_TRUE(c->clients[0].private_data);
  EXPECT_FALSE(c->clients[1].private_data);
  const model_config& m = c->models[0];
  EXPECT_EQ(m.sticky, stickiness::session);
  EXPECT_TRUE(m.private_data);
  ASSERT_EQ(m.groups.size(), 2u);
  EXPECT_EQ(m.groups[0].name, "api");
  EXPECT_EQ(m.groups[0].weight, 90);
  EXPECT_EQ(m.groups[1].strategy, strategy::least_busy);
  EXPECT_EQ(m.targets[0].group, 1u);
  EXPECT_EQ(m.targets[1].group, 0u);
  EXPECT_EQ(m.targets[1].place, hash_text("breaker/api/x")) << "the same on every node";
  EXPECT_EQ(configured_weights(m), (traffic_weights{{90, 0}, {1, 3}}));
  EXPECT_TRUE(uses_weights(m));
}

TEST(config_choosing, without_a_word_nothing_changes) {
  const auto c = parse(model("    targets: [ { provider: api, model: x } ]\n"));
  EXPECT_EQ(c->models[0].sticky, stickiness::none);
  EXPECT_FALSE(c->models[0].private_data);
  EXPECT_TRUE(c->models[0].groups.empty());
  EXPECT_FALSE(uses_weights(c->models[0]));
}

TEST(config_choosing, mistakes_are_named_with_their_line) {
  const std::string target = "    targets: [ { provider: api, model: x, group: g } ]\n";
  const std::vector<std::pair<std::string, std::string>> table = {
      {"    groups: [ { name: g } ]\n    targets: [ { provider: api, model: x } ]\n", "name one of g"},
      {"    groups: [ { name: h } ]\n" + target, "models.m.targets[0].group"},
      {target, "the model has no `groups`"},
      {"    groups: []\n" + target, "is empty"},
      {"    groups: [ { name: g }, { name: g } ]\n" + target, "has this name already"},
      {"    groups: [ { name: g }, { name: h } ]\n" + target, "no target of the model names the group `h`"},
      {"    groups: [ { name: g, weight: 0 } ]\n" + target, "every group has weight 0"},
      {"    groups: [ { name: g, weight: -1 } ]\n" + target, "models.m.groups[0].weight"},
      {"    groups: [ { name: g, strategy: best } ]\n" + target, "models.m.groups[0].strategy"},
      {"    sticky: user\n    targets: [ { provider: api, model: x } ]\n", "models.m.sticky"},
      {"    private: true\n    targets: [ { provider: api, model: x } ]\n", "has `private: true`"},
  };
  for (const auto& [fields, expected] : table) {
    EXPECT_THAT(complaint(model(fields)), AllOf(HasSubstr("c.yaml:"), HasSubstr(expected))) << fields;
  }
}

TEST(config_choosing, a_private_model_may_have_its_private_provider_in_a_fallback) {
  EXPECT_EQ(complaint(model(R"(
    private: true
    targets: [ { provider: api, model: x } ]
    fallbacks: [ n ]
  n: { targets: [ { provider: gpu, model: llama } ] }
)")),
            "");
}

TEST(config_choosing, a_reload_keeps_changed_weights_of_models_it_says_nothing_new_of) {
  const auto text = [](const std::string& api_weight, const std::string& fallback) {
    return model("    groups: [ { name: api, weight: " + api_weight + " }, { name: gpu } ]\n" + R"(
    targets: [ { provider: gpu, model: llama, group: gpu }, { provider: api, model: x, group: api } ]
)" + fallback);
  };
  const auto before = parse(text("9", ""));
  const auto same = parse(text("9", "    coalesce: true\n"));
  const auto other = parse(text("8", ""));
  EXPECT_TRUE(same_traffic(*before, before->models[0], *same, same->models[0]));
  EXPECT_FALSE(same_traffic(*before, before->models[0], *other, other->models[0]));
}

}  // namespace
}  // namespace millrace::engine
