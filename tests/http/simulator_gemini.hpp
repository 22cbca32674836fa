#pragma once

#include <string>
#include <vector>

#include "tests/http/simulator_client.hpp"

/// What the tests of the simulator's Gemini side share.
namespace millrace::http::simulator_tests {

inline json content(const std::string& role, const json& part) {
  return {{"role", role}, {"parts", part.is_array() ? part : json::array({part})}};
}
inline json text_part(const std::string& text) {
  return {{"text", text}};
}
inline json generate(const std::string& text) {
  return {{"systemInstruction", {{"parts", {{{"text", "be brief"}}}}}},
          {"contents", json::array({content("user", text_part(text))})}};
}

inline json with_functions(json body) {
  const json city = {{"type", "OBJECT"}, {"properties", {{"city", {{"type", "STRING"}}}}}};
  body["tools"] = json::array(
      {{{"functionDeclarations",
         {{{"name", "weather"}, {"parameters", city}}, {{"name", "time"}, {"parameters", city}}}}}});
  return body;
}

/// The data of every server-sent event.
inline std::vector<json> gemini_events(const std::string& body) {
  std::vector<json> out;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\r\n\r\n", at);
    EXPECT_EQ(body.substr(at, 6), "data: ");
    out.push_back(json::parse(body.substr(at + 6, end - at - 6)));
    at = end + 4;
  }
  return out;
}

class GeminiSimulator : public Simulator {
 protected:
  static std::string post_bytes(const json& body, const std::string& method = "generateContent",
                                const std::string& model = "gemini-x", const std::string& key = "k1") {
    const std::string text = body.dump();
    return "POST /v1beta/models/" + model + ":" + method + " HTTP/1.1\r\nHost: x\r\nx-goog-api-key: " + key +
           "\r\nContent-Length: " + std::to_string(text.size()) + "\r\n\r\n" + text;
  }
  answer post_question(const json& body, const std::string& method = "generateContent",
                       const std::string& model = "gemini-x", const std::string& key = "k1") {
    client c(port_);
    c.write(post_bytes(body, method, model, key));
    return c.read();
  }
  json tell(const json& body, const std::string& method = "generateContent") {
    const answer a = post_question(body, method);
    EXPECT_EQ(a.status, 200) << a.body;
    return a.parsed();
  }
  void expect_refused(const json& body, const std::string& message,
                      const std::string& method = "generateContent", const std::string& model = "gemini-x") {
    const answer a = post_question(body, method, model);
    EXPECT_EQ(a.status, 400) << body << a.body;
    if (a.status != 400) return;
    EXPECT_EQ(a.parsed()["error"]["status"], "INVALID_ARGUMENT");
    EXPECT_EQ(a.parsed()["error"]["code"], 400);
    EXPECT_NE(a.parsed()["error"]["message"].get<std::string>().find(message), std::string::npos)
        << a.body << "\n  expected: " << message;
  }
};

}  // namespace millrace::http::simulator_tests
