#include "http/openai.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/answers.hpp"
#include "http/json_scan.hpp"
#include "tests/http/json_maker.hpp"

namespace millrace::http {
namespace {

using namespace std::chrono_literals;

TEST(openai, rewrites_only_the_model_of_an_answer) {
  std::string out = "left over";
  engine::usage used;
  ASSERT_TRUE(openai().rewrite_answer(
      engine::route_kind::chat,
      R"({ "id":"x","model" : "theirs","choices":[{"model":"theirs"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}}} )",
      "mi\"ne", out, used));
  EXPECT_EQ(
      out,
      R"({ "id":"x","model" : "mi\"ne","choices":[{"model":"theirs"}],"usage":{"prompt_tokens":5,"completion_tokens":7,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":3,"audio_tokens":0}}} )");
  EXPECT_TRUE(used.known);
  EXPECT_EQ(used.input_tokens, 5);
  EXPECT_EQ(used.output_tokens, 7);
  EXPECT_EQ(used.cached_tokens, 2);
  EXPECT_EQ(used.reasoning_tokens, 3);
}

engine::usage usage_of(const std::string& usage) {
  std::string out;
  engine::usage used;
  used.known = true;
  used.input_tokens = 99;
  EXPECT_TRUE(openai().rewrite_answer(engine::route_kind::chat, "{\"choices\":[1],\"usage\":" + usage + "}",
                                      "m", out, used))
      << usage;
  return used;
}

TEST(openai, reads_usage_as_far_as_it_makes_sense) {
  EXPECT_EQ(usage_of(R"({"prompt_tokens":8,"total_tokens":8})").output_tokens, 0);
  EXPECT_EQ(usage_of(R"({"prompt_tokens":8,"total_tokens":20})").output_tokens, 12);
  for (const char* odd : {"null", "7", "[]", "{}", R"({"prompt_tokens":"8"})", R"({"prompt_tokens":-8})",
                          R"({"prompt_tokens":1e99,"completion_tokens":99999999999999999999})"}) {
    const auto used = usage_of(odd);
    EXPECT_FALSE(used.known) << odd;
    EXPECT_EQ(used.input_tokens, 0) << odd;
  }
  const auto odd =
      usage_of(R"({"prompt_tokens":8,"prompt_tokens_details":null,"completion_tokens_details":[1]})");
  EXPECT_TRUE(odd.known);
  EXPECT_EQ(odd.cached_tokens, 0);
}

TEST(openai, an_answer_that_is_no_object_is_refused) {
  for (const char* body :
       {"", "[]", "<html></html>", "{", "{\"model\":\"a\"", "{\"model\":}", "{} {}", "\"x\""}) {
    std::string out;
    engine::usage used;
    EXPECT_FALSE(openai().rewrite_answer(engine::route_kind::chat, body, "m", out, used)) << body;
    EXPECT_TRUE(out.empty());
    EXPECT_FALSE(used.known);
  }
}

TEST(openai, an_error_is_no_answer_whatever_its_status) {
  const auto taken = [](const char* body) {
    std::string out;
    engine::usage used;
    return openai().rewrite_answer(engine::route_kind::chat, body, "m", out, used);
  };
  EXPECT_FALSE(taken(R"({"error":{"message":"busy"}})"));
  EXPECT_FALSE(taken(R"({"error":"busy","usage":{"prompt_tokens":1}})"));
  EXPECT_TRUE(taken(R"({"error":null,"choices":[{}]})"));
  EXPECT_FALSE(taken(R"({"choices":[{"finish_reason":"error"}],"error":{"message":"cut"}})"));
}

TEST(openai, an_answer_without_the_list_of_its_route_is_none) {
  const auto taken = [](engine::route_kind route, const char* body) {
    std::string out;
    engine::usage used;
    return openai().rewrite_answer(route, body, "m", out, used);
  };
  for (const char* body : {"{}", R"({"choices":{}})", R"({"choices":null})", R"({"data":[1]})",
                           R"({"id":"x","model":"m","usage":{"prompt_tokens":1}})"}) {
    EXPECT_FALSE(taken(engine::route_kind::chat, body)) << body;
    EXPECT_FALSE(taken(engine::route_kind::completions, body)) << body;
  }
  EXPECT_TRUE(taken(engine::route_kind::embeddings, R"({"data":[{"embedding":[0.5]}]})"));
  EXPECT_FALSE(taken(engine::route_kind::embeddings, R"({"data":"x"})"));
  EXPECT_FALSE(taken(engine::route_kind::embeddings, R"({"choices":[1]})"));
}

TEST(openai, an_answer_that_ends_by_a_fault_is_none) {
  const auto taken = [](std::string_view body) {
    std::string out;
    engine::usage used;
    return openai().rewrite_answer(engine::route_kind::chat, body, "m", out, used);
  };
  EXPECT_FALSE(taken(R"({"choices":[{"finish_reason":"stop"},{"finish_reason":"error"}]})"));
  EXPECT_FALSE(taken("{\"choices\":[{\"finish_reason\" :\n\t\"abort\"}]}"));
  EXPECT_TRUE(taken(R"({"choices":[{"finish_reason":"errors"}]})"));
  EXPECT_TRUE(taken(R"({"choices":[{"finish_reason":null}],"x":{"finish_reason":"error"}})"));
  EXPECT_TRUE(
      taken(R"({"choices":[{"message":{"content":"\"finish_reason\":\"error\""},"finish_reason":""}]})"));
}

TEST(openai, every_model_member_of_an_answer_is_replaced) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(openai().rewrite_answer(engine::route_kind::chat,
                                      R"({"model":"a","mo\u0064el":null,"choices":[1]})", "m", out, used));
  EXPECT_EQ(out, R"({"model":"m","mo\u0064el":"m","choices":[1]})");
}

TEST(openai, every_other_byte_of_an_answer_is_the_providers) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    const std::string pattern =
        maker.space() + maker.object_with({"\"model\":@", "\"choices\":[" + maker.value(3) + "]"});
    const size_t at = pattern.find("\"model\":@") + 8;
    const auto filled = [&](const std::string& model) { return std::string(pattern).replace(at, 1, model); };
    std::string out;
    engine::usage used;
    ASSERT_TRUE(openai().rewrite_answer(
        engine::route_kind::chat, filled(maker.below(2) ? "\"a\\\\\"" : maker.value(1)), "mine", out, used));
    ASSERT_EQ(out, filled("\"mine\""));
  }
}

TEST(openai, tells_empty_accounts_from_everything_else) {
  for (
      const char* body :
      {R"({"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}})",
       R"({"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}})",
       R"({"error":{"message":"Your account is not active, please check your billing details on our website.","type":"billing_not_active","param":null,"code":"BILLING_NOT_ACTIVE"}})",
       R"({"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}})",
       R"({"error":{"message":"Insufficient credits. Add more using https://openrouter.ai/credits","code":402}})",
       R"({"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":null}})",
       R"({"error":"You have run out of credits"})"}) {
    EXPECT_TRUE(openai().speaks_of_credit(body, "{}")) << body;
  }
  for (
      const char* body :
      {// Rate limits pass by themselves, whatever they advise.
       R"({"error":{"message":"Rate limit reached for gpt-4 on requests per min. Visit https://platform.openai.com/account/billing to add a payment method.","type":"requests","param":null,"code":"rate_limit_exceeded"}})",
       R"({"error":{"message":"Rate limit reached. Please add a payment method: account/billing","type":"requests","param":null,"code":null}})",
       R"([{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details.","status":"RESOURCE_EXHAUSTED"}}])",
       // The client's own words, quoted by the provider.
       R"({"error":{"message":"Invalid value: 'credit balance'.","type":"invalid_request_error","param":"tools[0].type","code":null}})",
       R"({"error":{"message":"Invalid schema for function 'billing'","type":"invalid_request_error","param":null,"code":"invalid_function_parameters"}})",
       R"({"message":"billing"})", "billing", "", "[]", "[", R"({"error":null})"}) {
    EXPECT_FALSE(openai().speaks_of_credit(body, "{}")) << body;
  }
}

TEST(openai, no_client_can_talk_a_key_out_of_credit) {
  const std::string quoted =
      R"({"error":{"message":"Unrecognized request argument supplied: Credit Balance","type":"invalid_request_error","param":null,"code":null}})";
  EXPECT_FALSE(openai().speaks_of_credit(quoted, R"({"model":"m","credit balance":1})"));
  EXPECT_TRUE(openai().speaks_of_credit(quoted, R"({"model":"m"})"));
  EXPECT_FALSE(openai().speaks_of_credit(
      R"({"error":{"message":"Unrecognized request argument supplied: billing","param":null,"code":null}})",
      R"({"model":"m"})"));
}

TEST(openai, errors_have_the_shape_the_sdks_expect) {
  engine::api_error e;
  e.status = 400;
  e.type = "invalid_request_error";
  e.message = "say \"what\"\nto do";
  EXPECT_EQ(
      openai().error_body(e),
      R"({"error":{"message":"say \"what\"\nto do","type":"invalid_request_error","param":null,"code":null}})");
  e.code = "invalid_type";
  e.param = "model";
  EXPECT_EQ(
      openai().error_body(e),
      R"({"error":{"message":"say \"what\"\nto do","type":"invalid_request_error","param":"model","code":"invalid_type"}})");
  EXPECT_EQ(openai().error_event(e), "data: " + openai().error_body(e) + "\n\n");
  e.message = "bad \xFF byte";
  EXPECT_TRUE(valid_utf8(openai().error_body(e)));
}

TEST(openai, paths_and_credentials) {
  engine::provider_config provider;
  provider.base_path = "/openai/v1";
  const std::string body = R"({"model":"m","messages":[{"role":"user","content":"hi"}]})";
  engine::request_facts facts;
  engine::api_error error;
  ASSERT_TRUE(openai().read_request(engine::route_kind::chat, body, facts, error));
  const engine::header_list forwarded = {{"user-agent", "me"}};
  const auto asked = [&](engine::route_kind route, const engine::secret& key) {
    engine::provider_request out;
    EXPECT_TRUE(
        openai().encode_request({route, body, facts, forwarded, provider, key, "theirs"}, out, error));
    return out;
  };
  const auto chat = asked(engine::route_kind::chat, engine::secret("sk-1"));
  EXPECT_EQ(chat.path, "/openai/v1/chat/completions");
  EXPECT_EQ(chat.headers, (engine::header_list{{"user-agent", "me"}, {"authorization", "Bearer sk-1"}}));
  EXPECT_EQ(chat.body, R"({"model":"theirs","messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(asked(engine::route_kind::completions, {}).path, "/openai/v1/completions");
  const auto embeddings = asked(engine::route_kind::embeddings, engine::secret());
  EXPECT_EQ(embeddings.path, "/openai/v1/embeddings");
  EXPECT_EQ(embeddings.headers, forwarded);
}

TEST(answers, lists_models_in_the_order_of_the_configuration) {
  engine::config config;
  config.providers.resize(2);
  config.providers[1].name = "lab";
  for (const char* name : {"b\"1", "a"}) {
    config.models.emplace_back().name = name;
    config.models.back().targets.emplace_back().provider = 1;
  }
  EXPECT_EQ(
      models_body(config, 17),
      R"({"object":"list","data":[{"id":"b\"1","object":"model","created":17,"owned_by":"lab"},{"id":"a","object":"model","created":17,"owned_by":"lab"}]})");
  EXPECT_EQ(models_body(engine::config(), 17), R"({"object":"list","data":[]})");
}

TEST(answers, one_model_is_found_by_its_name) {
  engine::config config;
  config.providers.emplace_back().name = "lab";
  config.models.emplace_back().name = "a";
  config.models.back().targets.emplace_back();
  config.model_index["a"] = 0;
  EXPECT_EQ(model_body(config, "a", 17), R"({"id":"a","object":"model","created":17,"owned_by":"lab"})");
  EXPECT_EQ(model_body(config, "b", 17), std::nullopt);
}

}  // namespace
}  // namespace millrace::http
