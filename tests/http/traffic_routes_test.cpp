#include "http/traffic_routes.hpp"

#include <vector>

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "http/choosing.hpp"

namespace millrace::http {
namespace {

using engine::traffic_weights;
using nlohmann::json;
using testing::HasSubstr;

engine::config_ptr config_of(const std::string& model) {
  return engine::parse_config(R"(
auth: { keys: [ { name: plain, secret: s1, tenant: t1 }, { name: hidden, secret: s2, private: true } ] }
providers:
  api: { base_url: "http://a/v1", keys: [ { id: k, secret: x } ] }
  gpu: { base_url: "http://b/v1", private: true, keys: [ { id: k, secret: y } ] }
models:
  m: )" + model,
                              "c.yaml", [](const std::string&) { return std::nullopt; });
}

const std::string grouped = R"({ strategy: weighted, sticky: session,
  groups: [ { name: api, weight: 90 }, { name: gpu, weight: 10 } ],
  targets: [ { provider: api, model: x, group: api }, { provider: gpu, model: llama, group: gpu } ] })";
const std::string flat = R"({ targets: [ { provider: api, model: x }, { provider: gpu, model: y } ] })";

struct changed {
  bool good = false;
  traffic_weights weights;
  engine::api_error error;
};
changed change(const std::string& body, const std::string& model = grouped) {
  const auto c = config_of(model);
  changed out;
  out.weights = engine::configured_weights(c->models[0]);
  out.good = read_weights(*c, c->models[0], body, out.weights, out.error);
  return out;
}

TEST(traffic_routes, what_is_named_changes_and_the_rest_stays) {
  EXPECT_EQ(change(R"({"groups":{"gpu":50}})").weights, (traffic_weights{{90, 50}, {1, 1}}));
  EXPECT_EQ(change(R"({"groups":{"api":0,"gpu":2.5},"targets":{"gpu/llama":3}})").weights,
            (traffic_weights{{0, 2.5}, {1, 3}}));
}

TEST(traffic_routes, mistakes_are_named) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {"", "Send a JSON object"},
      {"[]", "Send a JSON object"},
      {"{}", "Send a JSON object"},
      {R"({"weights":{}})", "Send a JSON object"},
      {R"({"groups":[1]})", "`groups` must be an object"},
      {R"({"groups":{"cpu":1}})", "names `cpu`, but this model has `api`, `gpu`"},
      {R"({"targets":{"api/y":1}})", "`api/x`, `gpu/llama`"},
      {R"({"groups":{"api":"50"}})", "from 0 to 1000000"},
      {R"({"groups":{"api":-1}})", "from 0 to 1000000"},
      {R"({"groups":{"api":1e7}})", "from 0 to 1000000"},
      {R"({"groups":{"api":0,"gpu":0}})", "must stay above 0"},
      {"{\"groups\":{\"api\":1}," + std::string(max_weights_bytes, ' ') + "}", "Send a JSON object"},
  };
  for (const auto& [body, expected] : table) {
    const auto c = change(body);
    EXPECT_FALSE(c.good) << body.substr(0, 80);
    EXPECT_EQ(c.error.status, 400);
    EXPECT_EQ(c.error.code, "invalid_weights");
    EXPECT_THAT(c.error.message, HasSubstr(expected));
  }
  EXPECT_THAT(change(R"({"targets":{"api/x":1}})", flat).error.message, HasSubstr("looks at no weights"));
}

TEST(traffic_routes, the_weights_in_force_are_told_by_name) {
  const auto c = config_of(grouped);
  EXPECT_EQ(json(weights_json(*c, c->models[0], {{1, 2}, {3, 4}}, true)),
            json::parse(R"({"model":"m","groups":{"api":1,"gpu":2},"targets":{"api/x":3,"gpu/llama":4},
                            "changed":true})"));
}

/// A call of the first or second client with these headers.
struct applied {
  engine::call call;
  bool good = false;
  engine::api_error error;
};
applied apply(const engine::config_ptr& c, std::vector<header_field> headers, std::size_t client = 0,
              bool asked_private = false) {
  engine::cancellation gone;
  const edge_request r{.method = "POST",
                       .path = {},
                       .query = {},
                       .param = {},
                       .pattern = {},
                       .version = {},
                       .headers = headers,
                       .body = {},
                       .remote = {},
                       .received = {},
                       .gone = gone,
                       .thread = 0};
  applied a;
  a.call.config = c;
  a.call.client = &c->clients[client];
  a.call.private_only = asked_private;
  a.good = apply_model(r, true, a.call, a.error);
  return a;
}

TEST(choosing, a_session_is_known_by_its_header_and_tenant) {
  const auto c = config_of(grouped);
  const auto one = apply(c, {{"x-millrace-session", "s1"}}).call.affinity;
  EXPECT_NE(one, 0u);
  EXPECT_EQ(apply(c, {{"x-millrace-session", "s1"}}).call.affinity, one);
  EXPECT_NE(apply(c, {{"x-millrace-session", "s2"}}).call.affinity, one);
  EXPECT_NE(apply(c, {{"x-millrace-session", "s1"}}, 1).call.affinity, one) << "another tenant's";
  EXPECT_NE(apply(c, {}).call.affinity, 0u) << "without a session the tenant";
  EXPECT_EQ(apply(config_of(flat), {{"x-millrace-session", "s1"}}).call.affinity, 0u);
  EXPECT_EQ(apply(c, {{"x-millrace-session", ""}}).error.code, "invalid_session");
  EXPECT_EQ(apply(c, {{"x-millrace-session", std::string(257, 's')}}).error.code, "invalid_session");
}

TEST(choosing, header_client_and_model_each_make_a_request_private) {
  const auto open = config_of(flat);
  EXPECT_FALSE(apply(open, {}).call.private_only);
  EXPECT_TRUE(apply(open, {}, 0, true).call.private_only);
  EXPECT_TRUE(apply(open, {}, 1).call.private_only);
  const auto hidden = config_of(R"({ private: true, targets: [ { provider: gpu, model: y } ] })");
  EXPECT_TRUE(apply(hidden, {}).call.private_only);
}

}  // namespace
}  // namespace millrace::http
