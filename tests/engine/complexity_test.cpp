#include "engine/complexity.hpp"

#include <gmock/gmock.h>

#include "engine/model_choice.hpp"
#include "tests/engine/config_texts.hpp"

namespace millrace::engine {
namespace {

using namespace config_testing;
using testing::HasSubstr;

complexity judged(const std::string& text, const complexity_config& rules = {}) {
  return prompt_judge(rules).judge(text).complexity;
}

TEST(complexity, ShortPlainQuestionsAreSimple) {
  EXPECT_EQ(judged("What is a mill race?"), complexity::simple);
  EXPECT_EQ(judged(""), complexity::simple);
  EXPECT_EQ(judged(std::string(99, 'x')), complexity::simple);
  EXPECT_EQ(judged(std::string(100, 'x')), complexity::medium);
}

TEST(complexity, CharactersAreCountedNotBytes) {
  std::string text;
  for (int i = 0; i < 99; ++i) text += "\xc3\xa4";
  EXPECT_EQ(judged(text), complexity::simple);
  EXPECT_EQ(judged(text + "\xf0\x9f\x99\x82"), complexity::medium);
}

TEST(complexity, CodeIsNeverSimple) {
  for (const std::string text : {"Why?\n```\nx = 1\n```", "Why?\n~~~\nx\n~~~", "~~~\nx"}) {
    const prompt_traits t = prompt_judge({}).judge(text);
    EXPECT_TRUE(t.code) << text;
    EXPECT_EQ(t.complexity, complexity::medium) << text;
  }
  EXPECT_FALSE(prompt_judge({}).judge("a ~~~ b `x`").code);
}

TEST(complexity, DesignWordsAndStepsAreComplex) {
  for (const std::string text : {"Design a cache.", "DESIGN, please", "What are the trade-offs?",
                                 "the trade - off", "explain step by step", "First wash it, then dry it.",
                                 "1. wash\n2. dry", "Do this:\n 1) wash\n\t2) dry", "10. a\n11. b"}) {
    EXPECT_EQ(judged(text), complexity::complex) << text;
  }
  for (const std::string text :
       {"designer", "redesigned", "predesign", "What is the first one?", "then, then, then", "1. wash",
        "1.5 kg\n2.5 kg", "2024. was\nbut not a list", "first-class"}) {
    EXPECT_EQ(judged(text), complexity::simple) << text;
  }
}

TEST(complexity, WordsAreConfiguration) {
  complexity_config rules;
  rules.simple_below = 5;
  rules.design_words = {"M\xc3\xbchle", "mill race"};
  rules.step_words = {};
  EXPECT_EQ(judged("design", rules), complexity::medium);
  EXPECT_EQ(judged("abc", rules), complexity::simple);
  EXPECT_EQ(judged("die M\xc3\xbchle", rules), complexity::complex);
  EXPECT_EQ(judged("the Mill  Race", rules), complexity::complex);
  EXPECT_EQ(judged("the mill", rules), complexity::medium) << "half a phrase, at the end of the text";
  EXPECT_EQ(judged("first this then that", rules), complexity::medium);
}

TEST(complexity, OnlyTheBeginningOfALongPromptIsJudged) {
  const std::string filler(complexity_config::max_prompt_bytes, ' ');
  EXPECT_EQ(judged(filler + "design"), complexity::medium);
  EXPECT_EQ(judged("design" + filler), complexity::complex);
}

const std::string models = R"(
auth: { keys: [ { name: a, secret: s } ] }
providers:
  api: { base_url: https://api.example.com/v1, keys: [ { id: k, secret: one } ] }
  gpu: { base_url: http://gpu:8000/v1, private: true, keys: [ { id: k, secret: two } ] }
models:
  assistant:
    targets: [ { provider: api, model: premium } ]
    choose:
      - { complexity: simple, tier: free, model: small }
      - { complexity: medium, tier: basic, model: medium }
      - { code: true, model: coder }
  small: { targets: [ { provider: api, model: s } ], fallbacks: [ home ] }
  medium: { targets: [ { provider: api, model: m } ] }
  coder: { targets: [ { provider: api, model: c } ], choose: [ { complexity: complex, model: home } ] }
  home: { targets: [ { provider: gpu, model: h } ] }
)";

std::string chosen(const prompt_traits& p, const std::string& tier, bool private_only = false) {
  const auto c = parse(models);
  return c->models[choose_model(*c, 0, p, tier, private_only)].name;
}

TEST(model_choice, TheFirstRuleThatFitsCounts) {
  EXPECT_EQ(chosen({complexity::simple, false}, "free"), "small");
  EXPECT_EQ(chosen({complexity::simple, false}, "pro"), "assistant");
  EXPECT_EQ(chosen({complexity::medium, false}, "basic"), "medium");
  EXPECT_EQ(chosen({complexity::medium, true}, "basic"), "medium");
  EXPECT_EQ(chosen({complexity::medium, true}, "pro"), "coder");
  EXPECT_EQ(chosen({complexity::complex, false}, ""), "assistant");
}

TEST(model_choice, TheChosenModelsRulesHoldToo) {
  EXPECT_EQ(chosen({complexity::complex, true}, "pro"), "home");
}

TEST(model_choice, PrivateRequestsFitOnlyRulesToModelsThatCanServeThem) {
  EXPECT_EQ(chosen({complexity::simple, false}, "free", true), "small") << "its fallback is private";
  EXPECT_EQ(chosen({complexity::medium, false}, "basic", true), "assistant");
}

TEST(model_choice, PromptsAreJudgedOnlyWhereSomeModelHasRules) {
  EXPECT_NE(parse(models)->judge, nullptr);
  EXPECT_EQ(parse(two_providers)->judge, nullptr);
}

std::string with_rules(const std::string& rules, const std::string& top = "") {
  return top + R"(
providers: { p: { base_url: https://api.example.com/v1, keys: [ { id: k, secret: one } ] } }
models:
  a: { targets: [ { provider: p, model: x } ], choose: [ )" +
         rules + R"( ] }
  b: { targets: [ { provider: p, model: y } ], choose: [ { code: true, model: c } ] }
  c: { targets: [ { provider: p, model: z } ] }
)";
}

TEST(model_choice, MistakesAreNamed) {
  const std::vector<std::pair<std::string, std::string>> table = {
      {with_rules("{ model: d }"), "there is no model \"d\""},
      {with_rules("{ model: a }"), "a model cannot be its own"},
      {with_rules("{ complexity: hard, model: b }"), "models.a.choose[0].complexity"},
      {with_rules("{ tier: gold, model: b }"), "models.a.choose[0].tier"},
      {with_rules("{ complexity: simple }"), "name the model that answers"},
      {with_rules("{ model: b }, { code: true, model: c }"), "is never reached"},
      {with_rules("{ model: b }", "complexity: { simple_below: 5000 }"), "complexity.simple_below"},
      {with_rules("{ model: b }", "complexity: { design_words: [ " + std::string(65, 'x') + " ] }"),
       "longer than 64 bytes"},
  };
  for (const auto& [text, expected] : table) EXPECT_THAT(complaint(text), HasSubstr(expected)) << text;
  EXPECT_EQ(complaint(with_rules("{ model: b }", "complexity: { simple_below: 50, step_words: [] }")), "");
}

TEST(model_choice, LoopsAreMistakes) {
  const std::string text = R"(
providers: { p: { base_url: https://api.example.com/v1, keys: [ { id: k, secret: one } ] } }
models:
  a: { targets: [ { provider: p, model: x } ], choose: [ { code: true, model: b } ] }
  b: { targets: [ { provider: p, model: y } ], choose: [ { code: false, model: c } ] }
  c: { targets: [ { provider: p, model: z } ], choose: [ { complexity: simple, model: a } ] }
)";
  EXPECT_THAT(complaint(text), HasSubstr("models.c.choose: leads from `c` to `a` and back again"));
}

}  // namespace
}  // namespace millrace::engine
