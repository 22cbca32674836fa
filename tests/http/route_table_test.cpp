#include "http/route_table.hpp"

#include <stdexcept>
#include <string>

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

route make(const char* method, const char* pattern) {
  return {method, pattern, {}};
}

class routes : public ::testing::Test {
 protected:
  std::string pattern_of(std::string_view method, std::string_view path) const {
    const auto m = table.find(method, path);
    return m.route != nullptr ? m.route->pattern : "";
  }

  route_table table{{make("GET", "/v1/models"), make("GET", "/v1/models/{id}"), make("POST", "/v1/jobs"),
                     make("GET", "/v1/jobs"), make("GET", "/v1/jobs/{id}"), make("DELETE", "/v1/jobs/{id}"),
                     make("GET", "/v1/jobs/{id}/events"), make("GET", "/v1/jobs/all"),
                     make("POST", "/v1beta/models/{model}:generateContent")}};
};

TEST_F(routes, finds_exact_paths_before_patterns_and_long_patterns_before_short_ones) {
  EXPECT_EQ(pattern_of("GET", "/v1/models"), "/v1/models");
  EXPECT_EQ(pattern_of("GET", "/v1/jobs/all"), "/v1/jobs/all");
  EXPECT_EQ(pattern_of("GET", "/v1/jobs/7"), "/v1/jobs/{id}");
  EXPECT_EQ(pattern_of("GET", "/v1/jobs/7/events"), "/v1/jobs/{id}/events");
  EXPECT_EQ(pattern_of("POST", "/v1beta/models/gemini-2:generateContent"),
            "/v1beta/models/{model}:generateContent");
}

TEST_F(routes, a_parameter_may_hold_slashes_and_is_never_empty) {
  EXPECT_EQ(table.find("GET", "/v1/models/openai/gpt-4o").param, "openai/gpt-4o");
  EXPECT_EQ(table.find("GET", "/v1/jobs/7/events").param, "7");
  EXPECT_TRUE(table.find("GET", "/v1/models/").allow.empty());
  EXPECT_TRUE(table.find("POST", "/v1beta/models/:generateContent").allow.empty());
}

TEST_F(routes, head_goes_to_get_and_other_methods_are_named) {
  EXPECT_EQ(pattern_of("HEAD", "/v1/models"), "/v1/models");
  const auto m = table.find("PUT", "/v1/jobs");
  EXPECT_EQ(m.route, nullptr);
  EXPECT_EQ(m.allow, "POST, GET, HEAD, OPTIONS");
}

TEST_F(routes, does_not_guess) {
  for (const auto* path :
       {"/", "/v1", "/V1/models", "/v1//models", "/v1/models?x", "/v1/%6dodels", "//v1/models", "*"}) {
    EXPECT_TRUE(table.find("GET", path).allow.empty()) << path;
  }
}

TEST(route_table, refuses_patterns_that_contradict) {
  EXPECT_THROW(route_table({make("GET", "/a"), make("GET", "/a")}), std::invalid_argument);
  EXPECT_THROW(route_table({make("GET", "a")}), std::invalid_argument);
  EXPECT_THROW(route_table({make("GET", "/{a}/{b}")}), std::invalid_argument);
}

TEST(percent_decode, decodes_once_and_refuses_control_characters) {
  std::string out;
  EXPECT_TRUE(percent_decode("a%2Fb%2525%C3%A4", out));
  EXPECT_EQ(out, "a/b%25\xc3\xa4");
  for (const auto* bad : {"%00", "a%0d%0a", "%7f"}) EXPECT_FALSE(percent_decode(bad, out)) << bad;
}

}  // namespace
}  // namespace millrace::http
