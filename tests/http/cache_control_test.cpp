#include "http/cache_control.hpp"

#include <gtest/gtest.h>

namespace millrace::http {
namespace {

using namespace std::chrono_literals;

engine::cache_wish read(std::string_view value) {
  engine::cache_wish wish;
  EXPECT_TRUE(read_cache_control(value, wish)) << value;
  return wish;
}

TEST(CacheControl, DirectivesAreFoundWhereverTheyStand) {
  EXPECT_TRUE(read("no-cache").no_cache);
  EXPECT_TRUE(read("No-Store").no_store);
  EXPECT_TRUE(read("foo=\"bar\" ,\tonly-if-cached").only_if_cached);
  const auto all = read("max-age=60,no-cache , no-store");
  EXPECT_TRUE(all.no_cache && all.no_store);
  EXPECT_EQ(all.max_age, 60s);
  EXPECT_FALSE(read("x-no-cache, no-cached, max-stale=5").no_cache);
  EXPECT_FALSE(read("").max_age.has_value());
  EXPECT_FALSE(read(" , ,").no_store);
}

TEST(CacheControl, StaleIfErrorIsAnAgeToo) {
  const auto both = read("max-age=60, stale-if-error=3600");
  EXPECT_EQ(both.max_age, std::chrono::minutes(1));
  EXPECT_EQ(both.stale_if_error, std::chrono::hours(1));
  EXPECT_FALSE(read("max-age=60").stale_if_error);
  engine::cache_wish wish;
  EXPECT_FALSE(read_cache_control("stale-if-error", wish));
  EXPECT_FALSE(read_cache_control("stale-if-error=1.5", wish));
}

TEST(CacheControl, AgesAreWholeSeconds) {
  EXPECT_EQ(read("max-age=0").max_age, 0s);
  EXPECT_EQ(read("max-age=\"5\"").max_age, 5s);
  EXPECT_GT(read("max-age=99999999999999999999").max_age, 24h * 365);
  engine::cache_wish wish;
  for (const auto* bad : {"max-age", "max-age=", "max-age=-1", "max-age=1.5", "max-age=a", "max-age=1 2"}) {
    EXPECT_FALSE(read_cache_control(bad, wish)) << bad;
  }
}

}  // namespace
}  // namespace millrace::http
