#include "engine/money.hpp"

#include <limits>

#include <gtest/gtest.h>

#include "engine/calendar.hpp"
#include "engine/config.hpp"
#include "engine/output_estimate.hpp"
#include "engine/ports.hpp"

/// What things cost, when, and by how many tokens when nobody says.
namespace millrace::engine {
namespace {

token_prices prices(double input, double output, double cached, double write, double image = 0) {
  target_config t;
  t.input_usd = input;
  t.output_usd = output;
  t.cached_usd = cached;
  t.cache_write_usd = write;
  t.image_usd = image;
  return prices_of(t);
}

TEST(money, is_written_in_exact_decimals) {
  EXPECT_EQ(money().text(), "0");
  EXPECT_EQ(money::of_nano(1).text(), "0.000000001");
  EXPECT_EQ(money::of_nano(30'000).text(), "0.00003");
  EXPECT_EQ(money::of_usd(12).text(), "12");
  EXPECT_EQ(money::of_nano(-1'500'000'000).text(), "-1.5");
  EXPECT_EQ(money::of_nano(std::numeric_limits<std::int64_t>::min()).text(), "-9223372036.854775808");
}

TEST(money, sums_have_no_rounding_and_stay_at_the_end_of_the_range) {
  money sum;
  for (int i = 0; i < 1'000'000; ++i) sum += money::of_usd(0.000000001);
  EXPECT_EQ(sum.text(), "0.001");
  const money most = money::of_nano(std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(most + most, most);
  EXPECT_EQ(money::of_usd(1e300), most);
  EXPECT_LT(money() - most - most, money());
}

TEST(money, each_kind_of_token_has_its_own_price) {
  usage u;
  u.input_tokens = 1000;
  u.cached_tokens = 600;
  u.cache_write_tokens = 100;
  u.output_tokens = 50;
  // 300 fresh at 3, 600 cached at 0.3, 100 written at 3.75, 50 out at 15: millionths of a USD
  EXPECT_EQ(cost_of(u, 0, prices(3, 15, 0.3, 3.75)), money::of_nano(900'000 + 180'000 + 375'000 + 750'000));
  EXPECT_EQ(cost_of(u, 2, prices(0, 0, 0, 0, 0.005)), money::of_usd(0.01));
}

TEST(money, what_is_kept_for_an_hour_costs_twice_the_input) {
  usage u;
  u.input_tokens = 1000;
  u.cache_write_tokens = 1000;
  u.long_write_tokens = 400;
  EXPECT_EQ(cost_of(u, 0, prices(3, 15, 0.3, 3.75)), money::of_nano(600 * 3750 + 400 * 6000));
}

TEST(money, a_cost_is_rounded_once_at_the_end) {
  usage u;
  u.input_tokens = 1;
  u.output_tokens = 1;
  EXPECT_EQ(cost_of(u, 0, prices(0.0004, 0.0001, 0, 0)), money::of_nano(1)) << "0.4 + 0.1 of 10^-9";
  EXPECT_EQ(cost_of(u, 0, prices(0.0003, 0.0001, 0, 0)), money::of_nano(0));
  u.input_tokens = std::numeric_limits<std::int64_t>::max();
  EXPECT_EQ(cost_of(u, 0, prices(1e6, 0, 0, 0)).nano(), std::numeric_limits<std::int64_t>::max());
  u.input_tokens = -5;
  EXPECT_EQ(cost_of(u, 0, prices(1, 0, 0, 0)), money());
}

TEST(money, the_most_a_call_may_cost_is_never_below_what_it_costs) {
  const token_prices p = prices(3, 15, 0.3, 3.75, 0.01);
  for (int cached = 0; cached <= 100; cached += 10) {
    for (int written = 0; written + cached <= 100; written += 10) {
      const usage u{100, 20, cached, written, written / 2, 0, true};
      EXPECT_LE(cost_of(u, 1, p), most_for(100, 20, 1, p));
    }
  }
}

TEST(calendar, days_and_months_are_those_of_utc) {
  const auto day = parse_day("2024-02-29");
  ASSERT_TRUE(day);
  EXPECT_EQ(day_text(*day), "2024-02-29");
  EXPECT_EQ(day_of(start_of(*day)), *day);
  EXPECT_EQ(day_of(start_of(*day) - std::chrono::milliseconds(1)), *day - 1);
  EXPECT_EQ(day_text(first_of_month(*day)), "2024-02-01");
  EXPECT_EQ(start_text(first_of_next_month(*day)), "2024-03-01T00:00:00Z");
  EXPECT_EQ(day_text(first_of_next_month(*parse_day("2023-12-31"))), "2024-01-01");
  for (const char* bad :
       {"2023-02-29", "2023-13-01", "2023-1-1", "2023-01-01x", "", "2023/01/01", "-023-01-01"})
    EXPECT_FALSE(parse_day(bad)) << bad;
}

TEST(output_estimate, counts_the_texts_of_every_dialect_however_it_is_cut) {
  const std::string_view streams[] = {
      R"(data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{"content":"12345678"},"finish_reason":null}]})",
      R"(event: x
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"12345678"}})",
      R"(data: {"candidates":[{"content":{"role":"model","parts":[{"text": "12345678"}]}}]})",
      R"(data: {"type":"response.output_text.delta","item_id":"m_1234567890","delta":"12345678"})",
      R"({"choices":[{"message":{"role":"assistant","tool_calls":[{"function":{"name":"f","arguments":"12345678"}}]}}]})",
  };
  for (const std::string_view text : streams) {
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      output_estimate e;
      e.feed(text.substr(0, cut));
      e.feed(text.substr(cut));
      ASSERT_EQ(e.tokens(), 2) << text << " cut at " << cut;
    }
  }
  output_estimate none;
  none.feed(
      R"(data: {"id":"a","model":"m","object":"chat.completion.chunk","choices":[{"delta":{"role":"assistant"}}]})");
  EXPECT_EQ(none.tokens(), 0);
}

TEST(output_estimate, a_text_that_a_responses_stream_says_again_at_its_end_counts_once) {
  constexpr std::string_view stream =
      R"(data: {"type":"response.content_part.added","part":{"type":"output_text","text":""}}

data: {"type":"response.output_text.delta","delta":"1234"}

data: {"type":"response.output_text.delta","delta":"5678"}

data: {"type":"response.output_text.done","text":"12345678"}

data: {"type":"response.content_part.done","part":{"type":"output_text","text":"12345678"}}

data: {"type":"response.output_item.done","item":{"content":[{"type":"output_text","text":"12345678"}]}}

)";
  for (std::size_t cut = stream.find("5678") + 4; cut <= stream.size(); ++cut) {
    output_estimate e;
    e.feed(stream.substr(0, cut));
    ASSERT_EQ(e.tokens(), 2) << "cut at " << cut;
  }
  output_estimate call;
  call.feed(R"({"parts":[{"functionCall":{"args":{"delta":"1234"}}},{"text":"12345678"}]})");
  EXPECT_EQ(call.tokens(), 2) << "an argument of this name is no piece of a stream";
}

TEST(output_estimate, an_escaped_quote_does_not_end_a_text) {
  output_estimate e;
  e.feed(R"({"content":"a\"b\\","id":"not counted"})");
  EXPECT_EQ(e.tokens(), 1) << "a, an escape, b, an escape: four bytes";
}

}  // namespace
}  // namespace millrace::engine
