#include "http/request_key.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "tests/http/json_maker.hpp"
#include "tests/http/json_respeller.hpp"

namespace millrace::http {
namespace {

using engine::cache_key;
using engine::route_kind;

cache_key key_of(std::string_view body) {
  return request_key(route_kind::chat, "acme", "gpt", false, body);
}

const std::string question =
    R"({"model":"gpt","messages":[{"role":"user","content":"hi"}],"temperature":0,"seed":7})";

TEST(request_key, is_the_same_for_another_spelling) {
  EXPECT_EQ(key_of(question), key_of(R"({ "seed": 7.0, "messages" : [ {"content":"h\u0069","role":"user"} ],
                                          "temperature": 0e5, "model":"gpt" })"));
}

// The key is on disk: another one for the same request would be a cache lost with an update.
TEST(request_key, does_not_change_from_version_to_version) {
  const cache_key key = key_of(question);
  std::string hex;
  for (const unsigned byte : key.bytes) {
    hex.push_back("0123456789abcdef"[byte >> 4]);
    hex.push_back("0123456789abcdef"[byte & 15]);
  }
  EXPECT_EQ(hex, "36637a860eeeae8c5256d04b90f9754048c87d47dc043259fe4bfbcaf333ce98");
}

TEST(request_key, tells_apart_who_asks_whom_and_how) {
  std::set<cache_key> keys = {key_of(question)};
  EXPECT_TRUE(keys.insert(request_key(route_kind::completions, "acme", "gpt", false, question)).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::embeddings, "acme", "gpt", false, question)).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::chat, "other", "gpt", false, question)).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::chat, "acme", "gpt-2", false, question)).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::chat, "acme", "gpt", true, question)).second);
  EXPECT_TRUE(
      keys.insert(request_key(route_kind::chat, "acme", "gpt", false, question, "openai-beta:a\n")).second);
  EXPECT_TRUE(
      keys.insert(request_key(route_kind::chat, "acme", "gpt", false, question, "openai-beta:b\n")).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::chat, "acmeg", "pt", false, question)).second);
  EXPECT_TRUE(keys.insert(request_key(route_kind::chat, "", "acmegpt", false, question)).second);
}

TEST(request_key, what_does_not_change_the_answer_does_not_count) {
  const std::string with = question.substr(0, question.size() - 1);
  for (const char* member : {"stream", "stream_options", "user", "metadata", "store", "service_tier"}) {
    EXPECT_EQ(key_of(with + ",\"" + member + "\":{\"b\":[1],\"a\":true}}"), key_of(question)) << member;
    EXPECT_NE(key_of(with + ",\"x\":{\"" + member + "\":1}}"), key_of(with + ",\"x\":{}}")) << member;
  }
  // The body's model is what the client wrote; the configured one is hashed.
  std::string other = question;
  other.replace(other.find("gpt"), 3, "alias");
  EXPECT_EQ(key_of(other), key_of(question));
}

TEST(request_key, everything_else_counts) {
  std::set<cache_key> keys = {key_of(question)};
  const std::string with = question.substr(0, question.size() - 1);
  for (const char* members : {R"(,"n":1)",
                              R"(,"n":2)",
                              R"(,"max_tokens":9)",
                              R"(,"tools":[])",
                              R"(,"stop":null)",
                              R"(,"stop":"")",
                              R"(,"stop":[])",
                              R"(,"stop":{})",
                              R"(,"stop":false)",
                              R"(,"stop":0)",
                              R"(,"stop":"0")",
                              R"(,"logit_bias":{"9007199254740993":1})",
                              R"(,"logit_bias":{"1":9007199254740993})",
                              R"(,"logit_bias":{"1":9007199254740992})",
                              R"(,"stop":["a","b"])",
                              R"(,"stop":["b","a"])",
                              R"(,"x":{"a":1,"a":2})",
                              R"(,"x":{"a":2,"a":1})",
                              R"(,"Stream":true)",
                              R"(,"streams":true)"}) {
    EXPECT_TRUE(keys.insert(key_of(with + members + "}")).second) << members;
  }
}

TEST(request_key, what_is_no_object_has_a_key_of_its_own) {
  std::set<cache_key> keys;
  for (const char* body : {"", "{}", "{} ", "{", "{}{}", "[]", "raw ", "raw {}"})
    EXPECT_EQ(keys.insert(key_of(body)).second, std::string_view(body) != "{} ") << body;
}

TEST(request_key, threads_agree) {
  std::vector<cache_key> keys(4);
  std::vector<std::thread> threads;
  for (auto& key : keys) {
    threads.emplace_back([&key] {
      for (int i = 0; i < 100; ++i) {
        key_of(std::string(static_cast<size_t>(i) * 5000, 'x'));
        key = key_of(question);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& key : keys) EXPECT_EQ(key, key_of(question));
}

/// All places in `value` where something stands, in a fixed order.
void places(nlohmann::json& value, std::vector<nlohmann::json*>& out) {
  out.push_back(&value);
  if (!value.is_structured()) return;
  for (auto& part : value) places(part, out);
}

/// Changes the meaning of `value` at one place.
void change(nlohmann::json& value, json_maker& maker) {
  const nlohmann::json before = value;
  if (value.is_object() && maker.below(2)) {
    value["added"] = before;
  } else if (value.is_array() && value.size() > 1 && value.front() != value.back() && maker.below(2)) {
    std::swap(value.front(), value.back());
  } else if (value.is_number()) {
    value = value.get<double>() + 1;
  } else if (value.is_string()) {
    value = value.get<std::string>() + "x";
  } else if (value.is_boolean()) {
    value = !value.get<bool>();
  } else {
    value = nlohmann::json::array({before});
  }
}

TEST(request_key, any_change_of_meaning_changes_it_and_no_spelling_does) {
  for (unsigned seed = 1; seed <= 1000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    json_respeller respell(seed);
    auto body = nlohmann::json::parse(maker.object_with({R"("messages":[{"role":"user"}])", R"("n":1)"}));
    const cache_key key = key_of(body.dump());
    ASSERT_EQ(key_of(respell(body)), key) << body;
    std::vector<nlohmann::json*> all;
    places(body, all);
    const nlohmann::json before = body;
    // The body itself must stay an object.
    change(*all[1 + maker.below(all.size() - 1)], maker);
    ASSERT_NE(body, before);
    ASSERT_NE(key_of(respell(body)), key) << before << "\n" << body;
  }
}

}  // namespace
}  // namespace millrace::http
