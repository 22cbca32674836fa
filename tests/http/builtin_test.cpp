#include "http/builtin/builtin_provider.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "http/builtin/extract.hpp"
#include "http/builtin/label_choice.hpp"
#include "http/builtin/text_features.hpp"
#include "http/dialects/formats.hpp"

/// The provider that needs neither a network nor a model.
namespace millrace::http::builtin {
namespace {

using nlohmann::json;

json asked(const std::string& path, const json& body, int status = 200) {
  const reply r = answer(path, body.dump(), 12);
  EXPECT_EQ(r.status, status) << r.body;
  return json::parse(r.body);
}

TEST(builtin, embeddings_have_512_dimensions_and_length_1) {
  const json a =
      asked("/embeddings", {{"model", "m"}, {"input", {"a mill race", "a mill race", "quarterly revenue"}}});
  ASSERT_EQ(a["data"].size(), 3U);
  std::vector<std::vector<float>> v;
  for (const auto& d : a["data"]) v.push_back(d["embedding"].get<std::vector<float>>());
  EXPECT_EQ(v[0].size(), 512U);
  EXPECT_NEAR(likeness(v[0], v[0]), 1, 1e-4);
  EXPECT_EQ(v[0], v[1]);
  EXPECT_LT(likeness(v[0], v[2]), 0.3);
  EXPECT_GT(a["usage"]["prompt_tokens"], 0);
}

TEST(builtin, texts_that_share_words_are_more_alike) {
  const auto mill = features_of("The water turns the wheel of the mill.");
  EXPECT_GT(likeness(mill, features_of("Water turns a mill wheel")),
            likeness(mill, features_of("Stocks fell on Monday")));
  EXPECT_GT(likeness(features_of("colour"), features_of("colours")), 0.3F);
  EXPECT_EQ(likeness(features_of(""), mill), 0);
}

TEST(builtin, fewer_dimensions_may_be_asked_for_and_base64) {
  const json a = asked("/embeddings", {{"model", "m"}, {"input", "x"}, {"dimensions", 8}});
  EXPECT_EQ(a["data"][0]["embedding"].size(), 8U);
  EXPECT_TRUE(asked("/embeddings",
                    {{"model", "m"}, {"input", "x"}, {"encoding_format", "base64"}})["data"][0]["embedding"]
                  .is_string());
  EXPECT_EQ(
      asked("/embeddings", {{"model", "m"}, {"input", "x"}, {"dimensions", 513}}, 400)["error"]["param"],
      "dimensions");
}

json chat(const std::string& text, json more = json::object()) {
  json body = {{"model", "m"}, {"messages", {{{"role", "user"}, {"content", text}}}}};
  body.update(more);
  return body;
}

TEST(builtin, an_answer_quotes_the_request_and_says_what_it_is) {
  const json a = asked("/chat/completions", chat("The mill was built in 1820. Its wheel is of oak. Bread is "
                                                 "baked on Fridays.\nWhen was the mill built?"));
  const std::string text = a["choices"][0]["message"]["content"];
  EXPECT_NE(text.find("no language model"), std::string::npos);
  EXPECT_NE(text.find("The mill was built in 1820."), std::string::npos);
  EXPECT_EQ(a["model"], "m");
  EXPECT_GT(a["usage"]["completion_tokens"], 0);
}

TEST(builtin, what_cannot_be_quoted_is_not_invented) {
  const std::string text = asked("/chat/completions", chat("Hello"))["choices"][0]["message"]["content"];
  EXPECT_NE(text.find("no text to quote"), std::string::npos);
}

TEST(builtin, max_tokens_cuts_between_characters) {
  const json a = asked("/chat/completions", chat("Über Öl. Was ist Öl?", {{"max_tokens", 3}}));
  EXPECT_EQ(a["choices"][0]["finish_reason"], "length");
  EXPECT_LE(a["choices"][0]["message"]["content"].get<std::string>().size(), 12U);
}

TEST(builtin, a_stream_says_the_same) {
  const std::string text = "The mill was built in 1820. Its wheel is of oak.\nWhat is the wheel of?";
  const json whole = asked("/chat/completions", chat(text));
  const reply r = answer("/chat/completions", chat(text, {{"stream", true}}).dump(), 12);
  EXPECT_EQ(r.content_type, "text/event-stream");
  std::string said;
  for (std::size_t at = r.body.find("data: {"); at != std::string::npos;
       at = r.body.find("data: {", at + 1)) {
    const json chunk = json::parse(r.body.substr(at + 6, r.body.find('\n', at) - at - 6));
    for (const auto& c : chunk["choices"]) said += c["delta"].value("content", "");
  }
  EXPECT_EQ(said, whole["choices"][0]["message"]["content"]);
  EXPECT_TRUE(r.body.ends_with("data: [DONE]\n\n"));
}

const std::vector<std::string> finance = {"bank_statement", "invoice",  "drivers_license",
                                          "receipt",        "tax_form", "other"};

TEST(builtin, documents_are_told_by_what_is_printed_on_them) {
  const std::pair<const char*, const char*> cases[] = {
      {"FIRST BANK Account Statement\nStatement period 1 Jan - 31 Jan\nOpening balance "
       "120.00\nDeposits\nClosing balance 80.00",
       "bank_statement"},
      {"INVOICE\nInvoice number 17\nBill to: ACME\nDue date 1 March\nSubtotal 10.00\nTotal due 12.00",
       "invoice"},
      {"CALIFORNIA DRIVER LICENSE\nDL I1234568 EXP 08/31/2029\nDOB 08/31/1977 SEX F EYES BRN",
       "drivers_license"},
      {"Corner Store\nThank you!\nCash 20.00 Change due 3.10\nCashier Ann", "receipt"},
      {"Form W-2 Wage and Tax Statement. Employer identification number. Federal income tax withheld",
       "tax_form"},
  };
  for (const auto& [text, label] : cases) {
    const auto c = choose_label(text, finance);
    EXPECT_EQ(finance[c.index], label) << text;
    EXPECT_GT(c.confidence, 0.5) << text;
    EXPECT_LE(c.confidence, 1);
  }
  const auto nothing = choose_label("lorem ipsum dolor", finance);
  EXPECT_EQ(finance[nothing.index], "other");
  EXPECT_EQ(nothing.confidence, 0);
}

TEST(builtin, a_schema_with_labels_is_a_classification) {
  const json schema = {{"type", "object"},
                       {"properties",
                        {{"classification", {{"type", "string"}, {"enum", finance}}},
                         {"confidence", {{"type", "number"}}},
                         {"note", {{"type", "string"}}}}}};
  const json a =
      asked("/chat/completions",
            chat("INVOICE\nInvoice number 17\nBill to: ACME\nDue date 1 March",
                 {{"response_format",
                   {{"type", "json_schema"}, {"json_schema", {{"name", "s"}, {"schema", schema}}}}}}));
  const json said = json::parse(a["choices"][0]["message"]["content"].get<std::string>());
  EXPECT_EQ(said["classification"], "invoice");
  EXPECT_GT(said["confidence"], 0.5);
  EXPECT_EQ(said["note"], "");
}

using names = std::vector<std::string>;

/// What a client of the route is told that the builtin provider leaves out of its request, in order of name;
/// the provider gives a whole answer all the same.
names left_out(engine::route_kind route, const std::string& body) {
  engine::provider_config p;
  p.kind = engine::provider_kind::builtin;
  const auto* wire = all_formats().between(route, p);
  engine::request_facts facts;
  engine::api_error error;
  EXPECT_TRUE(all_formats().of(route).read_request(route, body, facts, error)) << error.message;
  engine::provider_request sent;
  EXPECT_TRUE(wire->encode_request({route, body, facts, {}, p, {}, "extract"}, sent, error)) << error.message;
  const reply r = answer(sent.path, sent.body, 12);
  EXPECT_EQ(r.status, 200) << r.body;
  std::string told;
  engine::usage used;
  EXPECT_TRUE(wire->rewrite_answer(route, r.body, "mine", told, used)) << r.body;
  EXPECT_GT(used.output_tokens, 0);
  std::sort(sent.dropped.begin(), sent.dropped.end());
  return sent.dropped;
}

TEST(builtin, what_an_openai_client_asks_for_in_vain_is_told) {
  const auto told = [](const json& more) {
    return left_out(engine::route_kind::chat, chat("A. B?", more).dump());
  };
  EXPECT_EQ(told(json::object()), names{});
  EXPECT_EQ(told({{"max_tokens", 9}, {"n", 1}, {"presence_penalty", 0}, {"reasoning_effort", "none"}}),
            names{})
      << "it does so";
  EXPECT_EQ(told({{"n", 2}, {"logprobs", true}, {"top_logprobs", 3}, {"stop", "x"}, {"seed", 1}}),
            (names{"logprobs", "n", "seed", "stop", "top_logprobs"}));
  EXPECT_EQ(told({{"temperature", 0.5}, {"top_p", 0.5}, {"presence_penalty", 1}, {"frequency_penalty", 1}}),
            (names{"frequency_penalty", "presence_penalty", "temperature", "top_p"}));
  EXPECT_EQ(told({{"reasoning_effort", "high"}, {"user", "u"}, {"metadata", {{"a", "b"}}}}),
            (names{"metadata", "reasoning_effort", "user"}));
  const json tools = json::parse(R"([{"type":"function","function":{"name":"f"}}])");
  EXPECT_EQ(told({{"tools", tools}}), names{"tools"});
  EXPECT_EQ(told({{"tools", tools}, {"tool_choice", "none"}}), names{});
  EXPECT_EQ(told({{"tools", tools}, {"tool_choice", "required"}}), (names{"tool_choice", "tools"}));
  EXPECT_EQ(told({{"messages", json::parse(R"([{"role":"developer","content":"Be brief."},
      {"role":"user","content":"x"}])")}}),
            names{"system"});
  EXPECT_EQ(
      told({{"messages", json::parse(R"([{"role":"user","content":[{"type":"text","text":"Look. What is it?"},
      {"type":"image_url","image_url":{"url":"https://h/x.png"}},
      {"type":"file","file":{"filename":"a.pdf","file_data":"data:application/pdf;base64,JVBERg=="}},
      {"type":"input_audio","input_audio":{"data":"UklGRg==","format":"wav"}}]}])")}}),
      (names{"file", "image_url", "input_audio"}));
}

TEST(builtin, what_clients_of_other_dialects_ask_for_in_vain_is_told) {
  EXPECT_EQ(
      left_out(
          engine::route_kind::messages,
          R"({"model":"m","max_tokens":2000,"messages":[{"role":"user","content":[{"type":"text","text":"x",
      "cache_control":{"type":"ephemeral"}},{"type":"image","source":{"type":"url","url":"https://h/x.png"}}]}],
      "temperature":0.5,"top_k":3,"stop_sequences":["y"],"thinking":{"type":"enabled","budget_tokens":1024},
      "tools":[{"name":"f","input_schema":{"type":"object"}}],"tool_choice":{"type":"auto"}})"),
      (names{"cache_control", "image_url", "reasoning_effort", "stop", "temperature", "tools", "top_k"}));
  EXPECT_EQ(
      left_out(
          engine::route_kind::messages,
          R"({"model":"m","max_tokens":9,"messages":[{"role":"user","content":"x"}],"thinking":{"type":"disabled"}})"),
      names{})
      << "it never thinks";
  EXPECT_EQ(
      left_out(engine::route_kind::generate,
               R"({"contents":[{"role":"user","parts":[{"text":"x"}]}],"generationConfig":{"candidateCount":2,
      "seed":1,"responseLogprobs":true,"thinkingConfig":{"thinkingBudget":0}}})"),
      (names{"logprobs", "n", "seed"}));
  EXPECT_EQ(left_out(engine::route_kind::responses,
                     R"({"model":"m","input":"x","temperature":1,"reasoning":{"effort":"low"}})"),
            (names{"reasoning_effort", "temperature"}));
}

TEST(builtin, other_paths_and_bodies_are_refused) {
  asked("/completions", chat("x"), 404);
  EXPECT_EQ(answer("/chat/completions", "{", 0).status, 400);
  EXPECT_EQ(answer("/embeddings", R"({"model":"m","input":[1,2]})", 0).status, 400);
}

}  // namespace
}  // namespace millrace::http::builtin
