#include "http/dialects/closed_schema.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using nlohmann::json;

json closed(const std::string& schema) {
  std::string out;
  append_closed_schema(schema, out);
  return json::parse(out);
}

TEST(closed_schema, every_object_takes_no_other_properties) {
  EXPECT_EQ(closed(R"({"type":"object","properties":{"a":{"type":["object","null"]},"b":{"type":"array",
    "items":{"properties":{}}},"c":{"anyOf":[{"type":"object"},{"type":"string"}]}},"$defs":{"d":{"type":"object"}}})"),
            json::parse(
                R"({"type":"object","properties":{"a":{"type":["object","null"],"additionalProperties":false},
    "b":{"type":"array","items":{"properties":{},"additionalProperties":false}},
    "c":{"anyOf":[{"type":"object","additionalProperties":false},{"type":"string"}]}},
    "$defs":{"d":{"type":"object","additionalProperties":false}},"additionalProperties":false})"));
}

TEST(closed_schema, what_is_said_stays) {
  for (const char* schema :
       {R"({"type":"object","additionalProperties":true})", R"({"type":"string"})", "true", "{}",
        R"({"type":"object","additionalProperties":{"type":"string"}})", R"({"enum":[{"type":"object"}]})"})
    EXPECT_EQ(closed(schema), json::parse(schema)) << schema;
}

TEST(closed_schema, properties_may_have_the_names_of_keywords) {
  EXPECT_EQ(closed(R"({"type":"object","properties":{"items":{"type":"string"},"type":{"type":"object"}}})"),
            json::parse(R"({"type":"object","properties":{"items":{"type":"string"},
    "type":{"type":"object","additionalProperties":false}},"additionalProperties":false})"));
}

}  // namespace
}  // namespace millrace::http
