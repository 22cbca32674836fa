#include "http/dialects/embedding.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "http/base64.hpp"
#include "http/dialects/embedding_translation.hpp"

namespace millrace::http {
namespace {

using engine::route_kind;
using nlohmann::json;

TEST(embedding, from_openai_to_gemini) {
  const std::string body =
      R"({"model":"m","input":["a\n","b"],"dimensions":256,"encoding_format":"base64","user":"u"})";
  embedding_request request;
  engine::api_error error;
  ASSERT_TRUE(decode_openai_embedding_request(body, request, error)) << error.message;
  EXPECT_TRUE(request.base64);
  std::string out;
  std::vector<std::string> dropped;
  encode_gemini_batch(request, "gemini-embedding-001", out, dropped);
  EXPECT_EQ(json::parse(out), json::parse(R"({"requests":[
    {"model":"models/gemini-embedding-001","content":{"parts":[{"text":"a\n"}]},"outputDimensionality":256},
    {"model":"models/gemini-embedding-001","content":{"parts":[{"text":"b"}]},"outputDimensionality":256}]})"));
  EXPECT_EQ(dropped, std::vector<std::string>{"user"});
}

TEST(embedding, gemini_s_answer_as_numbers_and_as_base64) {
  embedding_answer answer;
  ASSERT_TRUE(
      decode_gemini_embeddings(R"({"embeddings":[{"values":[1,-0.5]},{"values":[2.5e-1,0]}]})", answer));
  std::string out;
  encode_openai_embeddings(answer, false, "mine", out);
  EXPECT_EQ(json::parse(out),
            json::parse(R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,-0.5]},
    {"object":"embedding","index":1,"embedding":[0.25,0]}],"model":"mine","usage":{"prompt_tokens":0,"total_tokens":0}})"));
  out.clear();
  encode_openai_embeddings(answer, true, "mine", out);
  // 1.0f and -0.5f in little-endian bytes.
  std::string expected;
  base64_encode(std::string("\x00\x00\x80\x3f\x00\x00\x00\xbf", 8), expected);
  EXPECT_EQ(json::parse(out)["data"][0]["embedding"], expected);
  embedding_answer again;
  ASSERT_TRUE(decode_openai_embeddings(out, again));
  ASSERT_EQ(again.vectors.size(), 2U);
  EXPECT_EQ(again.vectors[0], "[1,-0.5]");
  EXPECT_EQ(again.vectors[1], "[0.25,0]");
}

TEST(embedding, from_gemini_to_openai) {
  embedding_request request;
  engine::api_error error;
  ASSERT_TRUE(decode_gemini_embedding_request(
      route_kind::batch_embed,
      R"({"requests":[{"model":"models/m","content":{"parts":[{"text":"a"},{"text":"\"b\""}]},"taskType":"RETRIEVAL_QUERY","outputDimensionality":8},
      {"content":{"role":"user","parts":{"text":"c"}},"output_dimensionality":8}]})",
      request, error))
      << error.message;
  std::string out;
  std::vector<std::string> dropped;
  encode_openai_embedding_request(request, "text-embedding-3-small", out, dropped);
  EXPECT_EQ(
      json::parse(out),
      json::parse(
          R"({"model":"text-embedding-3-small","input":["a\n\"b\"","c"],"encoding_format":"float","dimensions":8})"));
  EXPECT_EQ(dropped, std::vector<std::string>{"taskType"});
  embedding_answer answer;
  ASSERT_TRUE(decode_openai_embeddings(
      R"({"object":"list","data":[{"index":0,"embedding":[0.1]},{"index":1,"embedding":[0.2]}],"usage":{"prompt_tokens":3,"total_tokens":3}})",
      answer));
  EXPECT_EQ(answer.used.input_tokens, 3);
  out.clear();
  encode_gemini_embeddings(route_kind::batch_embed, answer, out);
  EXPECT_EQ(out,
            R"({"embeddings":[{"values":[0.1]},{"values":[0.2]}],"usageMetadata":{"promptTokenCount":3}})");
}

TEST(embedding, one_content_of_gemini) {
  embedding_request request;
  engine::api_error error;
  ASSERT_TRUE(decode_gemini_embedding_request(
      route_kind::embed,
      R"({"content":{"parts":[{"text":"a"}]},"title":"T","embedContentConfig":{"outputDimensionality":3}})",
      request, error));
  EXPECT_EQ(request.inputs.at(0), "\"a\"");
  EXPECT_EQ(request.title, "\"T\"");
  EXPECT_EQ(request.dimensions, 3);
  embedding_answer answer;
  answer.vectors = {"[1,2,3]"};
  std::string out;
  encode_gemini_embeddings(route_kind::embed, answer, out);
  EXPECT_EQ(out, R"({"embedding":{"values":[1,2,3]}})");
}

TEST(embedding, where_a_provider_counts_nothing_the_client_is_told_what_is_billed) {
  std::string out;
  engine::usage used;
  ASSERT_TRUE(gemini_embeddings_at_openai().rewrite_answer(
      route_kind::embed, R"({"object":"list","data":[{"index":0,"embedding":[1]}]})",
      engine::answer_form("mine", 7), out, used));
  EXPECT_FALSE(used.known);
  EXPECT_EQ(json::parse(out)["usageMetadata"], json::parse(R"({"promptTokenCount":7})"));
  ASSERT_TRUE(openai_embeddings_at_gemini().rewrite_answer(route_kind::embeddings,
                                                           R"({"embeddings":[{"values":[1]}]})",
                                                           engine::answer_form("mine", 7), out, used));
  EXPECT_FALSE(used.known) << "the call reckons by itself";
  EXPECT_EQ(json::parse(out)["usage"], json::parse(R"({"prompt_tokens":7,"total_tokens":7})"));
}

TEST(embedding, names_what_cannot_be_said) {
  const auto openai = [](std::string_view body) {
    embedding_request request;
    engine::api_error error;
    EXPECT_FALSE(decode_openai_embedding_request(body, request, error)) << body;
    EXPECT_EQ(error.status, 400);
    return error.code + " " + error.param;
  };
  EXPECT_EQ(openai(R"({"input":[1,2]})"), "unsupported_field input");
  EXPECT_EQ(openai(R"({"input":[[1],[2]]})"), "unsupported_field input");
  EXPECT_EQ(openai(R"({"input":[]})"), "missing_field input");
  EXPECT_EQ(openai(R"({"model":"m"})"), "missing_field input");
  EXPECT_EQ(openai(R"({"input":"a","encoding_format":"hex"})"), "invalid_value encoding_format");
  EXPECT_EQ(openai(R"({"input":"a","x":1})"), "unsupported_field x");
  EXPECT_EQ(openai(R"({"input":"a"}})"), "invalid_json ");
  const auto gemini = [](std::string_view body) {
    embedding_request request;
    engine::api_error error;
    EXPECT_FALSE(decode_gemini_embedding_request(route_kind::batch_embed, body, request, error)) << body;
    return error.code + " " + error.param;
  };
  EXPECT_EQ(gemini(R"({"requests":[{"content":{"parts":[{"inlineData":{}}]}}]})"),
            "unsupported_field requests[0].content.parts.inlineData");
  EXPECT_EQ(
      gemini(
          R"({"requests":[{"content":{"parts":[{"text":"a"}]}},{"content":{"parts":[{"text":"a"}]},"outputDimensionality":2}]})"),
      "unsupported_field requests[1].outputDimensionality");
  EXPECT_EQ(gemini(R"({"requests":[{}]})"), "missing_field requests[0].content");
}

TEST(embedding, answers_that_are_none) {
  embedding_answer answer;
  for (const char* body :
       {"", "{}", R"({"data":[{"index":1,"embedding":[1]}]})", R"({"data":[{"embedding":["a"]}]})",
        R"({"data":[{"embedding":"AAA"}]})", R"({"data":[{"embedding":"AADAfw=="}]})"})
    EXPECT_FALSE(decode_openai_embeddings(body, answer)) << body;
  for (const char* body : {"", "{}", R"({"embedding":{}})", R"({"embeddings":[{"values":[true]}]})"})
    EXPECT_FALSE(decode_gemini_embeddings(body, answer)) << body;
}

TEST(base64, both_alphabets_with_and_without_padding) {
  for (const char* text : {"", "a", "ab", "abc", "\xff\xef\xfe!"}) {
    std::string encoded;
    base64_encode(text, encoded);
    EXPECT_TRUE(base64_is_standard(encoded));
    std::string back;
    EXPECT_TRUE(base64_decode(encoded, back));
    EXPECT_EQ(back, text);
  }
  std::string out = "x";
  EXPECT_TRUE(base64_decode("_-8", out));
  EXPECT_EQ(out, "x\xff\xef");
  EXPECT_FALSE(base64_decode("a", out));
  EXPECT_FALSE(base64_decode("a b=", out));
  EXPECT_EQ(out, "x\xff\xef");
  EXPECT_EQ(base64_to_standard("_-8"), "/+8=");
}

}  // namespace
}  // namespace millrace::http
