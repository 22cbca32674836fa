#pragma once

#include <string>
#include <utility>
#include <vector>

#include "tests/http/simulator_client.hpp"

/// What the tests of the simulator's Anthropic side share.
namespace millrace::http::simulator_tests {

inline json message(const std::string& text) {
  return {{"model", "claude-x"},
          {"max_tokens", 100},
          {"system", "be brief"},
          {"messages", {{{"role", "user"}, {"content", text}}}}};
}

inline json with_tools(json body) {
  const json city = {{"type", "object"}, {"properties", {{"city", {{"type", "string"}}}}}};
  body["tools"] = {{{"name", "weather"}, {"input_schema", city}}, {{"name", "time"}, {"input_schema", city}}};
  return body;
}

class AnthropicSimulator : public Simulator {
 protected:
  static std::string post_bytes(const json& body, const std::string& key = "k1",
                                const std::string& path = "/v1/messages") {
    const std::string text = body.dump();
    return "POST " + path + " HTTP/1.1\r\nHost: x\r\nx-api-key: " + key +
           "\r\nanthropic-version: 2023-06-01\r\nContent-Type: application/json\r\nContent-Length: " +
           std::to_string(text.size()) + "\r\n\r\n" + text;
  }
  answer post_message(const json& body, const std::string& key = "k1",
                      const std::string& path = "/v1/messages") {
    client c(port_);
    c.write(post_bytes(body, key, path));
    return c.read();
  }
  /// The body of an answer that must be 200. `count`: without what only an answer takes.
  json tell(json body, const std::string& path = "/v1/messages", bool count = false) {
    if (count) body.erase("max_tokens");
    const answer a = post_message(body, "k1", path);
    EXPECT_EQ(a.status, 200) << a.body;
    return a.parsed();
  }
  void expect_refused(const json& body, const std::string& message) {
    const answer a = post_message(body);
    EXPECT_EQ(a.status, 400) << body << a.body;
    if (a.status != 400) return;
    EXPECT_EQ(a.parsed()["error"]["type"], "invalid_request_error");
    EXPECT_NE(a.parsed()["error"]["message"].get<std::string>().find(message), std::string::npos)
        << a.body << "\n  expected: " << message;
  }
};

}  // namespace millrace::http::simulator_tests
