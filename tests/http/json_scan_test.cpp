#include "http/json_scan.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "tests/http/json_maker.hpp"

namespace millrace::http {
namespace {

bool accepts(std::string_view text) {
  json_scanner scanner(text);
  return !scanner.value().empty() && scanner.at_end();
}

std::string nested(size_t levels) {
  return std::string(levels, '[') + std::string(levels, ']');
}

TEST(json_scan, accepts_json) {
  for (const char* text :
       {"{}", "[]", " {\"a\" : 1 , \"b\":[1,2 , {}]}\r\n\t", "null", "true", "false", "0", "-0", "10",
        "1.5e-7", "1E+400", "\"\"", R"("\"\\\/\b\f\n\r\t\u00e9")", R"("\ud83d\ude00")", R"("\ud83d")",
        "[[],[[]],{\"\":{}}]", "123456789012345678901234567890123456789012345678901234567890"}) {
    EXPECT_TRUE(accepts(text)) << text;
  }
}

TEST(json_scan, refuses_what_is_not_json) {
  for (const std::string text : {"",
                                 " ",
                                 "{",
                                 "}",
                                 "[",
                                 "[1",
                                 "[1,]",
                                 "[,1]",
                                 "[1 2]",
                                 "{\"a\"}",
                                 "{\"a\":}",
                                 "{\"a\":1,}",
                                 "{,\"a\":1}",
                                 "{a:1}",
                                 "{'a':1}",
                                 "{\"a\":1 \"b\":2}",
                                 "[1}",
                                 "{\"a\":1]",
                                 "01",
                                 "+1",
                                 "1.",
                                 ".5",
                                 "1e",
                                 "1e+",
                                 "-",
                                 "--1",
                                 "0x1",
                                 "NaN",
                                 "Infinity",
                                 "tru",
                                 "nul",
                                 "True",
                                 "\"",
                                 "\"\\\"",
                                 R"("\x")",
                                 R"("\u12")",
                                 R"("\u12g4")",
                                 "\"\n\"",
                                 "\"\t\"",
                                 "{} {}",
                                 "{}x",
                                 "1 2",
                                 "/**/1",
                                 "{\"a\":1}//"}) {
    EXPECT_FALSE(accepts(text)) << text;
  }
  EXPECT_FALSE(accepts(std::string_view("\"a\0b\"", 5)));
  EXPECT_FALSE(accepts(std::string_view("1\0", 2)));
}

TEST(json_scan, bounds_the_depth) {
  EXPECT_TRUE(accepts(nested(max_json_depth)));
  const std::string deep = nested(max_json_depth + 1);
  json_scanner scanner(deep);
  EXPECT_TRUE(scanner.value().empty());
  EXPECT_EQ(scanner.error(), json_error::too_deep);
}

TEST(json_scan, depth_counts_where_one_steps_in_as_well) {
  const std::string text = "{\"a\":" + nested(max_json_depth) + "}";
  json_scanner scanner(text);
  ASSERT_TRUE(scanner.enter_object());
  std::string_view key;
  ASSERT_TRUE(scanner.next_member(key));
  scanner.value();
  EXPECT_EQ(scanner.error(), json_error::too_deep);
}

TEST(json_scan, values_stand_where_they_are_written) {
  const std::string text = R"( { "a" : [1, {"x":"}"}] , "b\u0063":"q\"" ,"c":-1.5 } )";
  json_scanner scanner(text);
  ASSERT_TRUE(scanner.enter_object());
  std::string_view key;
  ASSERT_TRUE(scanner.next_member(key));
  EXPECT_EQ(key, "a");
  EXPECT_FALSE(scanner.key_escaped());
  EXPECT_EQ(text[scanner.key_offset()], '"');
  const std::string_view value = scanner.value();
  EXPECT_EQ(value, R"([1, {"x":"}"}])");
  EXPECT_EQ(value.data(), text.data() + text.find('['));
  ASSERT_TRUE(scanner.next_member(key));
  EXPECT_EQ(key, "bc");
  EXPECT_TRUE(scanner.key_escaped());
  EXPECT_EQ(scanner.value(), R"("q\"")");
  ASSERT_TRUE(scanner.next_member(key));
  EXPECT_EQ(scanner.value(), "-1.5");
  EXPECT_FALSE(scanner.next_member(key));
  EXPECT_TRUE(scanner.at_end());
}

TEST(json_scan, stepping_in_leaves_other_values_alone) {
  json_scanner scanner("[1]");
  EXPECT_FALSE(scanner.enter_object());
  EXPECT_EQ(scanner.error(), json_error::none);
  ASSERT_TRUE(scanner.enter_array());
  ASSERT_TRUE(scanner.next_element());
  EXPECT_EQ(scanner.value(), "1");
  EXPECT_FALSE(scanner.next_element());
  EXPECT_TRUE(scanner.at_end());
}

TEST(json_scan, text_bytes_do_not_depend_on_escaping) {
  for (const char* text : {R"({"k":"a\n\u00e9\u4e2d\ud83d\ude00"})",
                           "{ \"\\u006b\" : \"\\u0061\\u000a\u00e9\u4e2d\U0001F600\" }"}) {
    json_scanner scanner(text);
    scanner.value();
    ASSERT_TRUE(scanner.at_end());
    EXPECT_EQ(scanner.text_bytes(), 1U + 1 + 1 + 2 + 3 + 4) << text;
  }
}

TEST(json_scan, unescapes_and_keeps_lone_surrogates_apart) {
  EXPECT_EQ(json_text(R"("\"\\\/\b\f\n\r\t\u00e9\u4e2d\ud83d\ude00")"),
            "\"\\/\b\f\n\r\t\u00e9\u4e2d\U0001F600");
  EXPECT_EQ(json_text("12"), "");
  std::string one;
  std::string other;
  EXPECT_FALSE(json_unescape(R"(\ud83d)", one));
  EXPECT_FALSE(json_unescape(R"(\ud83e\u0041)", other));
  EXPECT_NE(one + "A", other);
}

TEST(json_scan, quoting_reads_back_as_the_same_text) {
  std::string text;
  for (int c = 0; c < 128; ++c) text.push_back(static_cast<char>(c));
  text += "\u00e9\u4e2d\U0001F600";
  std::string literal;
  json_quote(text, literal);
  EXPECT_TRUE(accepts(literal));
  EXPECT_EQ(json_text(literal), text);
  EXPECT_EQ(nlohmann::json::parse(literal), text);
}

TEST(json_scan, quoting_never_writes_invalid_utf8) {
  std::string literal;
  json_quote("a\xFF\"b\xC3", literal);
  EXPECT_TRUE(valid_utf8(literal));
  EXPECT_EQ(json_text(literal), "a\uFFFD\"b\uFFFD");
}

TEST(json_scan, integers_are_whole_and_fit) {
  std::int64_t number = 7;
  EXPECT_TRUE(json_integer("-9223372036854775808", number));
  EXPECT_EQ(number, INT64_MIN);
  for (const char* text : {"9223372036854775808", "1.0", "1e3", "\"1\"", "null", ""}) {
    EXPECT_FALSE(json_integer(text, number)) << text;
  }
  EXPECT_EQ(number, INT64_MIN);
}

// Random documents, then the same with one byte changed: the verdict must be that of an independent parser.
TEST(json_scan, agrees_with_another_parser_on_random_texts) {
  for (unsigned seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    std::string text = maker.document();
    ASSERT_TRUE(accepts(text)) << text;
    // A change must not leave half of a pair of surrogates: there the parsers differ on purpose.
    const std::string pair = "\\ud83d\\ude00";
    for (size_t at = text.find(pair); at != std::string::npos; at = text.find(pair)) {
      text.replace(at, pair.size(), "\\u00ff");
    }
    for (int i = 0; i < 40; ++i) {
      std::string changed = text;
      changed[maker.below(changed.size())] = "\"\\{}[],:0-e.tn \n"[maker.below(16)];
      ASSERT_EQ(accepts(changed) && valid_utf8(changed), nlohmann::json::accept(changed)) << changed;
    }
  }
}

}  // namespace
}  // namespace millrace::http
