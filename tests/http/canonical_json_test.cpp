#include "http/canonical_json.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/http/json_maker.hpp"
#include "tests/http/json_respeller.hpp"

namespace millrace::http {
namespace {

std::string canonical(std::string_view text, std::vector<std::string_view> left_out = {}) {
  // One writer for all, so that what an earlier text left behind would be seen.
  static canonical_writer writer;
  std::string out;
  EXPECT_TRUE(writer.append(text, left_out, out)) << text;
  return out;
}

/// The canonical form of one value.
std::string value(const std::string& text) {
  const std::string whole = canonical("{\"v\":" + text + "}");
  return whole.substr(5, whole.size() - 6);
}

TEST(canonical_json, sorts_members_at_every_level_and_drops_white_space) {
  EXPECT_EQ(canonical(" { } "), "{}");
  EXPECT_EQ(canonical("\n{\"b\" : [ 1 , {\"d\":null , \"c\":true} ] ,\t\"a\":{ \"z\":{}, \"y\": [ ]} } "),
            R"({"a":{"y":[],"z":{}},"b":[1,{"c":true,"d":null}]})");
  EXPECT_EQ(
      canonical(R"({"c":{"a":{"y":1,"x":2},"b":0},"b":{"b":1,"a":2},"a":[{"b":3},{"a":{"d":1,"c":2}}]})"),
      R"({"a":[{"b":3},{"a":{"c":2,"d":1}}],"b":{"a":2,"b":1},"c":{"a":{"x":2,"y":1},"b":0}})");
  EXPECT_EQ(canonical(R"({"ab":1,"a":2,"a b":3,"":4,"é":5,"z":6})"),
            R"({"":4,"a":2,"a b":3,"ab":1,"z":6,"é":5})");
}

TEST(canonical_json, many_members_are_sorted_too) {
  std::string expected;
  std::string reversed;
  for (int i = 1000; i < 2000; ++i) {
    const std::string member = "\"k" + std::to_string(i) + "\":" + std::to_string(i);
    expected += (expected.empty() ? "" : ",") + member;
    reversed = member + (reversed.empty() ? "" : ",") + reversed;
  }
  EXPECT_EQ(canonical("{" + reversed + "}"), "{" + expected + "}");
}

TEST(canonical_json, beyond_the_bound_members_stay_in_their_order) {
  std::string members = "\"b\":0,\"a\":0";
  for (size_t i = 0; i < max_sorted_members; ++i) members += ",\"\":0";
  EXPECT_EQ(canonical("{ " + members + "}"), "{" + members + "}");
  EXPECT_EQ(canonical(R"({"b":0,"a":0})"), R"({"a":0,"b":0})");
}

TEST(canonical_json, members_of_one_name_keep_their_order) {
  EXPECT_EQ(canonical(R"({"v":{"b":1,"a":2,"\u0062":0,"a":1}})"), R"({"v":{"a":2,"a":1,"b":1,"b":0}})");
}

TEST(canonical_json, leaves_out_top_level_members_only) {
  EXPECT_EQ(canonical(R"({"user":{"b":1,"a":2},"z":{"user":1},"\u0075ser":2,"users":3})", {"user", "model"}),
            R"({"users":3,"z":{"user":1}})");
  EXPECT_EQ(canonical(R"({"user":1})", {"user"}), "{}");
}

TEST(canonical_json, strings_have_one_spelling) {
  for (const char* text : {R"("a\/b\"\\\n\r\t\b\f\u0001é中😀")",
                           R"("a/b\u0022\u005C\u000a\u000D\u0009\u0008\u000C\u0001\u00e9\u4E2D\ud83D\uDE00")",
                           R"("\u0061\u002f\u0062\"\\\n\r\t\b\f\u0001\u00E9中\uD83d\ude00")"}) {
    EXPECT_EQ(value(text), R"("a/b\"\\\n\r\t\b\f\u0001é中😀")") << text;
  }
  EXPECT_EQ(value(R"("\u001F\u007f\u0000")"), "\"\\u001f\x7f\\u0000\"");
  EXPECT_EQ(value(R"("\\u0061")"), R"("\\u0061")");
  EXPECT_NE(value(R"("é")"), value("\"e\u0301\"")) << "no Unicode normalisation";
}

TEST(canonical_json, lone_surrogates_stay_apart) {
  EXPECT_EQ(value(R"("\uD83D")"), R"("\ud83d")");
  EXPECT_EQ(value(R"("\uDE00\uD83D")"), R"("\ude00\ud83d")");
  EXPECT_EQ(value(R"("\uD83D\uD83D\uDE00")"), "\"\\ud83d😀\"");
  EXPECT_EQ(value(R"("\uD83D\u0041")"), R"("\ud83dA")");
  EXPECT_EQ(value(R"("\uD83D\n")"), R"("\ud83d\n")");
}

TEST(canonical_json, equal_doubles_have_one_spelling) {
  const std::vector<std::vector<const char*>> equal = {
      {"1", "1.0", "1e0", "10e-1", "0.1e1", "1E+00", "1.00000000000000000000001"},
      {"0", "-0", "0.0", "-0.0e9", "0e-999", "0e99999999999"},
      {"-12", "-1.2e1", "-12.000"},
      {"0.1", "1e-1", "0.10", "0.1000000000000000055511151231257827"},
      {"0.0000001", "1e-7", "1E-07"},
      {"333333333.33333329", "333333333.3333333"},
      {"1000000000000000", "1e15"},
      {"9007199254740991", "9007199254740991.0", "9007199254740991.2"},
      {"9007199254740992", "9007199254740992.0", "9.007199254740992e15", "0.90071992547409920E+16"},
      {"-9007199254740992", "-90071992547409920e-1"},
      {"5e-324", "4.9406564584124654e-324"},
  };
  std::vector<std::string> seen;
  for (const auto& group : equal) {
    const std::string first = value(group[0]);
    EXPECT_EQ(std::count(seen.begin(), seen.end(), first), 0) << first;
    seen.push_back(first);
    for (const char* text : group) {
      EXPECT_EQ(value(text), first) << text;
      EXPECT_EQ(value(first), first);
    }
  }
}

TEST(canonical_json, what_doubles_do_not_hold_is_told_apart_by_text) {
  for (const char* text : {"9007199254740993", "-9007199254740993", "9007199254740993.0",
                           "18446744073709551616", "123456789012345678901234567890", "1e400", "-1E400",
                           "1e-400", "1e21", "1e99999999999", "9007199254740992.5", "90071992547409921e-1"}) {
    EXPECT_EQ(value(text), text);
  }
}

TEST(canonical_json, refuses_what_is_no_object) {
  const auto nested = [](size_t arrays) {
    return "{\"v\":" + std::string(arrays, '[') + std::string(arrays, ']') + "}";
  };
  canonical_writer writer;
  for (const std::string& text : {std::string(), std::string("[]"), std::string("1"), std::string("{"),
                                  std::string("{}x"), std::string("{\"a\":}"), std::string("{\"a\":\"\\x\"}"),
                                  std::string("{\"b\":1,\"a\":[1,{\"c\":-}]}"), nested(max_json_depth)}) {
    std::string out = "before";
    EXPECT_FALSE(writer.append(text, {}, out)) << text;
    EXPECT_EQ(out, "before");
  }
  const std::string deepest = nested(max_json_depth - 1);
  EXPECT_EQ(canonical(deepest), deepest);
}

TEST(canonical_json, sorts_at_every_depth) {
  std::string in = "0";
  std::string out = "0";
  for (size_t level = 0; level < max_json_depth; ++level) {
    in = "{\"b\":" + in + ",\"a\":1}";
    out = "{\"a\":1,\"b\":" + out + "}";
  }
  EXPECT_EQ(canonical(in), out);
}

TEST(canonical_json, appends) {
  canonical_writer writer;
  std::string out = "before";
  ASSERT_TRUE(writer.append(R"({"b":1,"a":2})", {}, out));
  EXPECT_EQ(out, R"(before{"a":2,"b":1})");
}

// All spellings of a value have one canonical form, which is JSON, that value, and its own canonical form.
TEST(canonical_json, every_spelling_gives_the_same_text) {
  for (unsigned seed = 1; seed <= 2000; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    const std::string written = maker.document();
    const auto meaning = nlohmann::json::parse(written);
    const std::string once = canonical(written);
    ASSERT_EQ(nlohmann::json::parse(once), meaning) << written;
    ASSERT_EQ(canonical(once), once);
    json_respeller respell(seed);
    for (int i = 0; i < 3; ++i) {
      const std::string other = respell(meaning);
      ASSERT_EQ(canonical(other), once) << other;
    }
  }
}

}  // namespace
}  // namespace millrace::http
