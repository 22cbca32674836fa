#include "http/retry_hints.hpp"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

using namespace std::chrono_literals;
using std::chrono::sys_days;
using std::chrono::system_clock;

const system_clock::time_point now = sys_days(std::chrono::year(2024) / 11 / 6) + 8h + 49min + 37s;

engine::upstream_head head(engine::header_list headers) {
  return {429, std::move(headers)};
}

engine::duration retry(const std::string& name, const std::string& value) {
  return read_retry_hint(head({{name, value}}), now);
}

TEST(retry_hints, reads_resets) {
  EXPECT_EQ(parse_reset("6m0s"), 6min);
  EXPECT_EQ(parse_reset("20ms"), 20ms);
  EXPECT_EQ(parse_reset("1h2m3.5s"), 1h + 2min + 3500ms);
  EXPECT_EQ(parse_reset("1d1s"), 24h);
  EXPECT_EQ(parse_reset("8.64s"), 8640ms);
  EXPECT_EQ(parse_reset(" 7 "), 7s);
  EXPECT_EQ(parse_reset("0.5"), 500ms);
  EXPECT_EQ(parse_reset("500us"), 500us);
  EXPECT_EQ(parse_reset("48h"), max_hint);
  for (const char* text :
       {"", "s", "-1", "-1s", "5x", "5s3", "1h m", "nan", "inf", "1e3s", "soon", "1731000000", "0x5"}) {
    EXPECT_EQ(parse_reset(text), std::nullopt) << text;
  }
}

TEST(retry_hints, reads_limits) {
  const auto hint = read_openai_limits(head({{"x-ratelimit-limit-requests", "60"},
                                             {"x-ratelimit-remaining-requests", "59"},
                                             {"x-ratelimit-reset-requests", "1s"},
                                             {"x-ratelimit-limit-tokens", "150000"},
                                             {"x-ratelimit-remaining-tokens", "149984"},
                                             {"x-ratelimit-reset-tokens", "6m0s"}}));
  EXPECT_EQ(hint.limit_requests, 60);
  EXPECT_EQ(hint.remaining_requests, 59);
  EXPECT_EQ(hint.reset_requests, 1s);
  EXPECT_EQ(hint.limit_tokens, 150000);
  EXPECT_EQ(hint.remaining_tokens, 149984);
  EXPECT_EQ(hint.reset_tokens, 6min);
  EXPECT_TRUE(read_openai_limits(head({})).empty());
  const auto odd = read_openai_limits(
      head({{"x-ratelimit-remaining-requests", "-1"}, {"x-ratelimit-remaining-tokens", "many"}}));
  EXPECT_TRUE(odd.empty());
}

TEST(retry_hints, reads_how_long_to_wait) {
  EXPECT_EQ(retry("retry-after-ms", "1500"), 1500ms);
  EXPECT_EQ(retry("x-ms-retry-after-ms", "250.5"), 250500us);
  EXPECT_EQ(retry("retry-after", "20"), 20s);
  EXPECT_EQ(retry("retry-after", "1.5"), 1500ms);
  EXPECT_EQ(retry("retry-after", "-5"), 0s);
  EXPECT_EQ(retry("retry-after", "999999999999"), max_hint);
  EXPECT_EQ(retry("retry-after", "soon"), 0s);
  EXPECT_EQ(retry("x", "1"), 0s);
}

TEST(retry_hints, the_finest_readable_hint_wins) {
  EXPECT_EQ(read_retry_hint(
                head({{"retry-after", "9"}, {"x-ms-retry-after-ms", "2"}, {"retry-after-ms", "1"}}), now),
            1ms);
  EXPECT_EQ(read_retry_hint(head({{"retry-after", "9"}, {"retry-after-ms", "x"}}), now), 9s);
}

TEST(retry_hints, reads_dates_in_the_three_forms_of_http) {
  for (const char* date :
       {"Wed, 06 Nov 2024 08:49:47 GMT", "Wednesday, 06-Nov-24 08:49:47 GMT", "Wed Nov  6 08:49:47 2024"}) {
    EXPECT_EQ(retry("retry-after", date), 10s) << date;
  }
  EXPECT_EQ(retry("retry-after", "Wed, 06 Nov 2024 08:49:00 GMT"), 0s);
  EXPECT_EQ(retry("retry-after", "Fri, 06 Nov 2099 08:49:00 GMT"), max_hint);
  EXPECT_EQ(parse_http_date("Sunday, 06-Nov-94 08:49:37 GMT", now),
            sys_days(std::chrono::year(1994) / 11 / 6) + 8h + 49min + 37s);
  for (const char* text : {"", ",", "Wed, 31 Feb 2024 08:49:47 GMT", "Wed, 06 Nov 2024 24:00:00 GMT",
                           "Wed, 06 Nov 2024 08:49:47", "Wed, 06 Nov 2024 08:49:47 CET",
                           "Wed, 6 Nov 2024 08:49:47 GMT", "Wed Nov 6 08:49:47 2024", "Wed"}) {
    EXPECT_EQ(parse_http_date(text, now), std::nullopt) << text;
  }
}

}  // namespace
}  // namespace millrace::http
