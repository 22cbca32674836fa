#include <string>

#include "tests/http/simulator_client.hpp"

namespace millrace::http::simulator_tests {
namespace {

class AzureSimulator : public Simulator {
 protected:
  answer post_azure(const std::string& path, const json& body,
                    const std::string& key_header = "api-key: k1") {
    const std::string text = body.dump();
    client c(port_);
    c.write("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + key_header +
            "\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text);
    return c.read();
  }
  const std::string deployment_ = "/openai/deployments/ours/";
  const std::string version_ = "?api-version=2024-10-21";
};

TEST_F(AzureSimulator, TakesTheModelFromThePathAndTheKeyFromItsHeader) {
  start(R"({"require_keys":["k1"]})");
  const answer a = post_azure(deployment_ + "chat/completions" + version_, chat("hello"));
  ASSERT_EQ(a.status, 200) << a.body;
  EXPECT_EQ(a.headers.at("x-ratelimit-remaining-tokens"), "-1");
  EXPECT_EQ(a.headers.at("x-ratelimit-limit-requests"), "-1");
  EXPECT_EQ(json::parse(provider_->stats())["models"], (json{{"ours", 1}}));
  const json input = {{"model", "m"}, {"input", "x"}};
  EXPECT_EQ(post_azure(deployment_ + "embeddings" + version_, input).status, 200);
  EXPECT_EQ(post_azure("/openai/responses?api-version=2025-04-01-preview", input).status, 200);

  const answer bearer =
      post_azure(deployment_ + "chat/completions" + version_, chat("hello"), "Authorization: Bearer k1");
  EXPECT_EQ(bearer.status, 401);
  EXPECT_EQ(bearer.parsed()["error"]["code"], "401");
  EXPECT_FALSE(bearer.parsed()["error"].contains("type"));
}

TEST_F(AzureSimulator, WantsAVersion) {
  start();
  for (const char* query : {"", "?api-version=", "?api-version=new", "?version=2024-10-21"}) {
    const answer a = post_azure(deployment_ + "chat/completions" + query, chat("hello"));
    EXPECT_EQ(a.status, 404) << query;
    EXPECT_EQ(a.parsed()["error"]["message"], "Resource not found");
  }
}

TEST_F(AzureSimulator, BeginsAStreamWithItsVerdictOnThePrompt) {
  start();
  const json body = with(chat("hello"), "stream", true);
  const auto all = events(post_azure(deployment_ + "chat/completions" + version_, body).body);
  EXPECT_EQ(json::parse(all.front())["choices"], json::array());
  EXPECT_TRUE(json::parse(all.front()).contains("prompt_filter_results"));
  EXPECT_EQ(json::parse(all[1])["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(all.back(), "[DONE]");
}

TEST_F(AzureSimulator, LimitsAndFailsInItsOwnWords) {
  start(R"({"rpm":1})");
  EXPECT_EQ(post_azure(deployment_ + "chat/completions" + version_, chat("hello"))
                .headers.at("x-ratelimit-remaining-requests"),
            "0");
  const answer limited = post_azure(deployment_ + "chat/completions" + version_, chat("hello"));
  EXPECT_EQ(limited.status, 429);
  EXPECT_EQ(limited.parsed()["error"]["code"], "429");
  EXPECT_FALSE(limited.headers.at("retry-after").empty());
  const answer gone =
      post_azure("/openai/deployments/fault-404/chat/completions" + version_, chat("hello"), "api-key: k2");
  EXPECT_EQ(gone.parsed()["error"]["code"], "DeploymentNotFound");
}

TEST_F(Simulator, TellsNoUsageWhereAskedTo) {
  start(R"({"models":{"llama":{"usage":false}}})");
  EXPECT_FALSE(ask(chat("hello", "llama")).parsed().contains("usage"));
  EXPECT_TRUE(ask(chat("hello")).parsed().contains("usage"));
  json body = with(chat("hello", "llama"), "stream", true);
  body["stream_options"] = {{"include_usage", true}};
  EXPECT_EQ(ask(body).body.find("usage"), std::string::npos);
  until([&] { return stats()["models"]["llama"]["output_tokens"] == 64; });  // it still counts
}

}  // namespace
}  // namespace millrace::http::simulator_tests
