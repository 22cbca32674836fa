#include "http/usage_routes.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

namespace millrace::http {
namespace {

using engine::money;
using engine::usage_counts;
using engine::usage_row;
using nlohmann::json;
using testing::HasSubstr;

const engine::day_number today = *engine::parse_day("2026-11-29");

usage_query query(std::string_view text) {
  usage_query q;
  std::string problem;
  EXPECT_TRUE(read_usage_query(text, today, q, problem)) << problem;
  return q;
}

std::string complaint(std::string_view text) {
  usage_query q;
  std::string problem;
  EXPECT_FALSE(read_usage_query(text, today, q, problem)) << text;
  return problem;
}

usage_row row(const char* day, const char* tenant, const char* client, const char* model, std::int64_t nano) {
  usage_counts c;
  c.requests = 1;
  c.input_tokens = 10;
  c.cost = money::of_nano(nano);
  return {{*engine::parse_day(day), tenant, client, model}, c};
}

const std::vector<usage_row> rows = {
    row("2026-11-01", "acme", "a", "gpt", 1), row("2026-11-02", "acme", "a", "gpt", 20),
    row("2026-11-02", "acme", "b", "gpt", 300), row("2026-11-02", "umbrella", "c", "claude", 4000)};

json body(std::string_view text, const std::vector<engine::budget_view>& budgets = {},
          const engine::name_table& names = {}) {
  return json::parse(usage_body(query(text), rows, budgets, names));
}

TEST(usage_routes, without_words_it_is_the_present_month_by_tenant_model_and_day) {
  const usage_query q = query("");
  EXPECT_EQ(engine::day_text(q.from), "2026-11-01");
  EXPECT_EQ(q.to, today);
  const json b = body("");
  ASSERT_EQ(b["rows"].size(), 3U);
  EXPECT_EQ(b["rows"][1]["day"], "2026-11-02");
  EXPECT_EQ(b["rows"][1]["tenant"], "acme");
  EXPECT_EQ(b["rows"][1]["model"], "gpt");
  EXPECT_EQ(b["rows"][1]["requests"], 2);
  EXPECT_FALSE(b["rows"][1].contains("client"));
  EXPECT_EQ(b["totals"]["input_tokens"], 40);
  EXPECT_EQ(b["more_rows"], false);
}

TEST(usage_routes, money_is_written_exactly) {
  const std::string text = usage_body(query("group_by=tenant"), rows, {}, {});
  EXPECT_THAT(text, HasSubstr(R"("tenant":"acme","requests":3)"));
  EXPECT_THAT(text, HasSubstr(R"("cost_usd":0.000000321)"));
  EXPECT_THAT(text, HasSubstr(R"("cost_usd":0.000004321)")) << "the total";
}

TEST(usage_routes, rows_are_chosen_and_grouped) {
  EXPECT_EQ(body("group_by=client,model")["rows"].size(), 3U);
  EXPECT_EQ(body("group_by=client&tenant=acme&from=2026-11-02")["rows"].size(), 2U);
  EXPECT_EQ(body("model=claude")["totals"]["requests"], 1);
  EXPECT_EQ(body("client=a&to=2026-11-01")["totals"]["requests"], 1);
  EXPECT_EQ(body("tenant=nobody")["rows"].size(), 0U);
  EXPECT_EQ(query("tenant=a%2Bb&model=x+y").tenant, "a+b");
  EXPECT_EQ(query("model=x+y").model, "x y");
}

TEST(usage_routes, a_bad_question_is_told_what_to_ask) {
  EXPECT_THAT(complaint("from=yesterday"), HasSubstr("2026-11-29"));
  EXPECT_THAT(complaint("from=2026-11-30&to=2026-11-29"), HasSubstr("must not be after"));
  EXPECT_THAT(complaint("group_by=hour"), HasSubstr("tenant, client, model and day"));
  EXPECT_THAT(complaint("user=x"), HasSubstr("`user` is not known"));
  EXPECT_THAT(complaint("tenant="), HasSubstr("`tenant` has no value"));
}

TEST(usage_routes, budgets_say_what_is_spent_reserved_and_when_it_begins_anew) {
  engine::name_table names;
  const auto id = names.intern("client/acme-key");
  const json b =
      body("", {{id, false, money::of_usd(5), money::of_nano(1), money::of_usd(0.5), today + 1}}, names);
  ASSERT_EQ(b["budgets"].size(), 1U);
  EXPECT_EQ(b["budgets"][0],
            json::parse(R"({"client":"acme-key","period":"day","limit_usd":5,"spent_usd":1e-9,
                                             "reserved_usd":0.5,"resets_at":"2026-11-30T00:00:00Z"})"));
}

}  // namespace
}  // namespace millrace::http
