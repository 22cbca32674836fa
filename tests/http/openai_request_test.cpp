#include "http/openai_request.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/json_scan.hpp"
#include "http/openai.hpp"
#include "http/openai_request.hpp"
#include "http/token_estimate.hpp"
#include "tests/http/json_maker.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;

engine::request_facts read(const std::string& body, route_kind route = route_kind::chat) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(openai().read_request(route, body, facts, error)) << error.message << "\n" << body;
  return facts;
}

engine::api_error refuse(const std::string& body, route_kind route = route_kind::chat) {
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_FALSE(openai().read_request(route, body, facts, error)) << body;
  EXPECT_EQ(error.status, 400);
  EXPECT_EQ(error.type, "invalid_request_error");
  EXPECT_FALSE(error.message.empty());
  return error;
}

std::string encode(const std::string& body, const std::string& model, route_kind route = route_kind::chat) {
  std::string out = "left over";
  encode_openai_request(route, body, read(body, route), model, true, out);
  return out;
}

/// A chat body with `members` behind model and messages.
std::string chat(const std::string& members = "", const std::string& content = "hi") {
  return R"({"model":"m","messages":[{"role":"user","content":")" + content + "\"}]" + members + "}";
}

TEST(openai_request, reads_what_the_pipeline_needs) {
  const std::string body =
      R"( {"stream": true, "model" : "gpt-4o-mini","max_tokens":50, "n":2, "stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]} )";
  const auto facts = read(body);
  EXPECT_EQ(facts.model, "gpt-4o-mini");
  EXPECT_EQ(body.substr(facts.model_offset, facts.model_length), "\"gpt-4o-mini\"");
  EXPECT_TRUE(facts.stream);
  EXPECT_TRUE(facts.include_usage);
  EXPECT_EQ(body.substr(facts.stream_options_offset, facts.stream_options_length),
            R"({"include_usage":true})");
  EXPECT_EQ(facts.insert_offset, body.find('{') + 1);
  EXPECT_EQ(facts.max_output_tokens, 100);
}

TEST(openai_request, tells_an_explicit_zero_temperature) {
  for (const char* zero : {"0", "0.0", "-0", "0e5", "-0.000E-9"})
    EXPECT_TRUE(read(chat(std::string(",\"temperature\":") + zero)).zero_temperature) << zero;
  for (const char* other : {"1", "0.1", "1e-400", "-0.01", "null", "\"0\"", "false", "[0]", "{}"})
    EXPECT_FALSE(read(chat(std::string(",\"temperature\":") + other)).zero_temperature) << other;
  EXPECT_FALSE(read(chat(R"(,"x":{"temperature":0})")).zero_temperature);
  EXPECT_TRUE(read(chat(R"(,"t\u0065mperature":0)")).zero_temperature);
}

TEST(openai_request, facts_of_an_earlier_body_do_not_linger) {
  engine::request_facts facts =
      read(chat(R"(,"stream":true,"stream_options":{"include_usage":true},"max_tokens":9,"temperature":0)"));
  engine::api_error error;
  ASSERT_TRUE(openai().read_request(route_kind::chat, chat(), facts, error));
  EXPECT_FALSE(facts.stream);
  EXPECT_FALSE(facts.zero_temperature);
  EXPECT_FALSE(facts.include_usage);
  EXPECT_EQ(facts.stream_options_length, 0U);
  EXPECT_EQ(facts.max_output_tokens, -1);
}

TEST(openai_request, names_what_is_missing) {
  const auto model = refuse(R"({"messages":[{"role":"user","content":"hi"}]})");
  EXPECT_EQ(model.code, "missing_required_parameter");
  EXPECT_EQ(model.param, "model");
  EXPECT_EQ(refuse(R"({"model":"m"})").param, "messages");
  EXPECT_EQ(refuse(R"({"model":"m"})", route_kind::completions).param, "prompt");
  EXPECT_EQ(refuse(R"({"model":"m","prompt":"x"})", route_kind::embeddings).param, "input");
  EXPECT_EQ(refuse(R"({"model":"m","messages":[]})").code, "empty_array");
  EXPECT_EQ(refuse("{}").param, "model");
}

TEST(openai_request, names_what_has_the_wrong_type) {
  for (const char* model : {"1", "null", "[\"m\"]", "{}", "true"}) {
    const auto e = refuse("{\"model\":" + std::string(model) + ",\"messages\":[{}]}");
    EXPECT_EQ(e.code, "invalid_type");
    EXPECT_EQ(e.param, "model");
  }
  EXPECT_EQ(refuse(R"({"model":"","messages":[{}]})").code, "invalid_value");
  EXPECT_EQ(refuse(R"({"model":"a\ud800","messages":[{}]})").code, "invalid_value");
  EXPECT_EQ(refuse("{\"model\":\"" + std::string(max_model_bytes + 1, 'x') + "\",\"messages\":[{}]}").code,
            "invalid_value");
  EXPECT_EQ(refuse(R"({"model":"m","messages":"hi"})").param, "messages");
  EXPECT_EQ(refuse(R"({"model":"m","prompt":null})", route_kind::completions).param, "prompt");
  EXPECT_EQ(refuse(chat(R"(,"stream":"yes")")).param, "stream");
  EXPECT_EQ(refuse(chat(R"(,"stream":1)")).param, "stream");
  EXPECT_EQ(refuse(chat(R"(,"stream":true,"stream_options":[])")).param, "stream_options");
  EXPECT_EQ(refuse(chat(R"(,"stream":true,"stream_options":{"include_usage":1})")).param,
            "stream_options.include_usage");
}

TEST(openai_request, refuses_bodies_that_two_parsers_might_read_differently) {
  EXPECT_EQ(refuse(R"({"model":"a","messages":[{}],"model":"b"})").code, "duplicate_key");
  const auto escaped = refuse(R"({"model":"a","messages":[{}],"mo\u0064el":"b"})");
  EXPECT_EQ(escaped.code, "duplicate_key");
  EXPECT_EQ(escaped.param, "model");
  EXPECT_EQ(refuse(R"({"mo\u0064el":"a","messages":[{}],"model":"b"})").code, "duplicate_key");
  EXPECT_EQ(refuse(chat(R"(,"\u0061b":1,"x":2,"a\u0062":3)")).code, "duplicate_key");
  EXPECT_EQ(refuse(chat(R"(,"a\ud800":1,"a\uD800":2)")).code, "duplicate_key");
  EXPECT_EQ(
      refuse(chat(R"(,"stream":true,"stream_options":{"include_usage":true,"include\u005fusage":false})"))
          .code,
      "duplicate_key");
  EXPECT_EQ(refuse(chat() + chat()).code, "invalid_json");
  EXPECT_EQ(refuse(chat() + "x").code, "invalid_json");
  EXPECT_EQ(refuse(chat() + std::string(1, '\0')).code, "invalid_json");
  EXPECT_EQ(refuse(chat("", "\xC3(")).code, "invalid_utf8");
  EXPECT_EQ(refuse(chat("", "\xED\xA0\x80")).code, "invalid_utf8");
}

TEST(openai_request, an_escaped_key_is_the_key) {
  const auto facts = read(R"({"mo\u0064el":"g\u0070t","messages":[{}],"s\u0074ream":true})");
  EXPECT_EQ(facts.model, "gpt");
  EXPECT_TRUE(facts.stream);
}

TEST(openai_request, says_where_the_json_breaks) {
  EXPECT_EQ(refuse("").code, "invalid_json");
  EXPECT_EQ(refuse("[]").code, "invalid_json");
  EXPECT_EQ(refuse("\"x\"").code, "invalid_json");
  EXPECT_NE(refuse(R"({"model":"m",})").message.find("byte 13"), std::string::npos);
}

TEST(openai_request, bounds_depth_and_members) {
  const auto deep = [](size_t levels) {
    return chat(",\"x\":" + std::string(levels, '[') + std::string(levels, ']'));
  };
  read(deep(max_json_depth - 1));
  EXPECT_EQ(refuse(deep(max_json_depth)).code, "json_too_deep");
  EXPECT_EQ(refuse(deep(100000)).code, "json_too_deep");
  std::string many;
  for (size_t i = 2; i < max_top_level_members; ++i) many += ",\"k" + std::to_string(i) + "\":0";
  read(chat(many));
  EXPECT_EQ(refuse(chat(many + ",\"last\":0")).code, "too_many_members");
}

TEST(openai_request, passes_what_it_does_not_know) {
  read(chat(
      R"(,"temperature":"hot","n":"two","max_tokens":-1,"logit_bias":{"1":-100},"x":1e999,"y":"\ud800")"));
  read(R"({"model":"m","messages":[1,null,"x",{"content":7},{"content":[1,"x",{"type":1}]}]})");
  read(R"({"model":"m","stream":"yes","input":"x"})", route_kind::embeddings);
  EXPECT_FALSE(read(R"({"model":"m","stream":true,"input":"x"})", route_kind::embeddings).stream);
  read(chat(R"(,"stream_options":7)"));
}

TEST(openai_request, output_tokens_are_bounded_and_multiplied) {
  const auto most = [](const std::string& members, route_kind route = route_kind::chat) {
    return read(R"({"model":"m","messages":[{}],"prompt":"","input":"")" + members + "}", route)
        .max_output_tokens;
  };
  EXPECT_EQ(most(""), -1);
  EXPECT_EQ(most(R"(,"n":3)"), -1);
  EXPECT_EQ(most(R"(,"max_tokens":10,"max_completion_tokens":20,"n":3)"), 60);
  EXPECT_EQ(most(R"(,"max_tokens":10,"max_completion_tokens":null)"), 10);
  EXPECT_EQ(most(R"(,"max_tokens":10,"n":2,"best_of":5)", route_kind::completions), 50);
  EXPECT_EQ(most(R"(,"max_tokens":10,"best_of":5)"), 10);
  EXPECT_EQ(most(R"(,"max_tokens":10)", route_kind::embeddings), 0);
  EXPECT_EQ(most(R"(,"max_tokens":9223372036854775807,"n":9223372036854775807)"),
            max_counted_tokens * max_counted_choices);
  EXPECT_EQ(most(R"(,"max_tokens":99999999999999999999)"), -1);
}

TEST(openai_request, estimates_input_by_its_text) {
  const std::int64_t frame = message_tokens + reply_tokens;
  EXPECT_EQ(read(chat("", std::string(400, 'x'))).input_tokens, 100 + frame);
  EXPECT_EQ(read(chat("", R"(\u0061\u0062\u0063\u0064)")).input_tokens, read(chat("", "abcd")).input_tokens);
  EXPECT_EQ(
      read(R"({ "model" : "other", "messages" : [ { "content":"abcd", "role" : "user" } ] } )").input_tokens,
      read(chat("", "abcd")).input_tokens);
  EXPECT_GT(read(chat(R"(,"tools":[{"type":"function","function":{"name":"weather"}}])")).input_tokens,
            read(chat()).input_tokens + 5);
  EXPECT_EQ(read(chat(R"(,"metadata":{"note":"not for the model"},"user":"me")")).input_tokens,
            read(chat()).input_tokens);
}

TEST(openai_request, images_count_by_number_not_by_size) {
  const auto with_part = [](const std::string& part) {
    return read(R"({"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"abcd"},)" +
                part + "]}]}")
               .input_tokens -
           (message_tokens + reply_tokens + 1);
  };
  const std::string base64(100000, 'A');
  EXPECT_EQ(with_part(R"({"type":"image_url","image_url":{"url":"data:image/png;base64,)" + base64 + "\"}}"),
            image_tokens);
  EXPECT_EQ(with_part(R"({"type":"image_url","image_url":{"detail":"l\u006fw","url":"https://x/y.png"}})"),
            low_detail_image_tokens);
  EXPECT_EQ(with_part(R"({"type":"image_url","image_url":"https://x/y.png"})"), image_tokens);
  EXPECT_EQ(with_part(R"({"type":"input_audio","input_audio":{"data":")" + base64 + "\"}}"),
            attachment_tokens);
}

TEST(openai_request, counts_prompts_and_inputs_in_all_their_shapes) {
  const auto tokens = [](const std::string& input) {
    const auto count = read("{\"model\":\"m\",\"input\":" + input + "}", route_kind::embeddings).input_tokens;
    EXPECT_EQ(count,
              read("{\"model\":\"m\",\"prompt\":" + input + "}", route_kind::completions).input_tokens);
    return count;
  };
  EXPECT_EQ(tokens(R"("abcdefgh")"), 2);
  EXPECT_EQ(tokens(R"(["abcdefgh","abcd"])"), 3);
  EXPECT_EQ(tokens("[1,22,333]"), 3);
  EXPECT_EQ(tokens("[[1,2],[3],[]]"), 3);
  EXPECT_EQ(tokens("[]"), 0);
}

TEST(openai_request, replaces_the_model_in_place) {
  EXPECT_EQ(encode(R"({ "messages":[{"model":"m"}] , "model" : "m" , "x":"model" })", "a\"b"),
            R"({ "messages":[{"model":"m"}] , "model" : "a\"b" , "x":"model" })");
  const std::string same = R"({"model":"\u006d","messages":[{}]})";
  EXPECT_EQ(encode(same, "m"), same);
}

TEST(openai_request, asks_for_usage_on_streams_only) {
  const auto asked = [](const std::string& options, const std::string& expected) {
    EXPECT_EQ(encode(chat(",\"stream\":true,\"stream_options\":" + options), "m"),
              chat(",\"stream\":true,\"stream_options\":" + expected));
  };
  asked("{}", R"({"include_usage":true})");
  asked("null", R"({"include_usage":true})");
  asked(R"({ "include_usage" : false })", R"({ "include_usage" : true })");
  asked(R"({"include_usage":null,"a":1})", R"({"include_usage":true,"a":1})");
  asked(R"({ "a":1})", R"({"include_usage":true, "a":1})");
  asked(R"({"include_usage":true})", R"({"include_usage":true})");
  const std::string plain = chat(",\"stream\":true");
  EXPECT_EQ(encode(plain, "m"), "{\"stream_options\":{\"include_usage\":true}," + plain.substr(1));
  EXPECT_EQ(encode(chat(R"(,"stream_options":{})"), "m"), chat(R"(,"stream_options":{})"));
  const std::string embeddings = R"({"model":"m","input":"x","stream":true})";
  EXPECT_EQ(encode(embeddings, "m", route_kind::embeddings), embeddings);
}

// Whatever surrounds them, only the bytes of the two edited values change.
TEST(openai_request, every_other_byte_is_the_clients) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    json_maker maker(seed);
    std::vector<std::string> members = {"\"model\":@MODEL@", "\"messages\":[" + maker.value(2) + "]",
                                        "\"stream\":true"};
    if (maker.below(2)) std::swap(members[0], members[2]);
    const bool has_options = maker.below(2) == 0;
    if (has_options) {
      members.insert(members.begin() + static_cast<std::ptrdiff_t>(maker.below(4)),
                     "\"stream_options\":{\"a\":" + maker.value(1) + ",\"include_usage\":@USAGE@}");
    }
    const std::string pattern = maker.space() + maker.object_with(members) + maker.space();
    const auto filled = [&](const std::string& model, const std::string& usage) {
      std::string text = pattern;
      text.replace(text.find("@MODEL@"), 7, model);
      if (has_options) text.replace(text.find("@USAGE@"), 7, usage);
      return text;
    };
    std::string expected = filled("\"up/\\\"stream\"", "true");
    if (!has_options) expected.insert(expected.find('{') + 1, "\"stream_options\":{\"include_usage\":true},");
    const std::string actual =
        encode(filled(maker.below(2) ? "\"client\"" : R"("cl\u0069ent")", "false"), "up/\"stream");
    ASSERT_EQ(actual, expected);
    ASSERT_TRUE(nlohmann::json::accept(actual));
  }
}

}  // namespace
}  // namespace millrace::http
