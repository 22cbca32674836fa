#include "engine/kept_limits.hpp"

#include <stdexcept>

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

kept_key some_key(const std::string& name, std::int64_t amount = 3, duration age = 2s) {
  kept_key k{"n1", "0123abcd", {}};
  k.use.key = name;
  k.use.rpm = {{{age, amount}, {-1500ms, 4}}, 12};
  k.use.rpd = {{{5h, 700}}, 0};
  k.use.cooldowns = {{"p/m", 10min}, {"p/\xc3\xa4", 1ms}};
  return k;
}

TEST(kept_limits, what_is_written_is_read) {
  kept_limits k{true, 1'700'000'000'123, "salt", {some_key("key/p/k1"), some_key("key/p/\xc3\xa4")}};
  k.keys[1].use.tpm = {{{1s, 1}}, 2};
  k.keys[1].use.tpm_input = {{{1s, 3}}, 4};
  k.keys[1].use.tpm_output = {{{1s, 5}}, 6};
  const kept_limits r = parse_kept(format_kept(k));
  EXPECT_EQ(r.clean, k.clean);
  EXPECT_EQ(r.saved_at_ms, k.saved_at_ms);
  EXPECT_EQ(r.salt, k.salt);
  ASSERT_EQ(r.keys.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(r.keys[i].node, "n1");
    EXPECT_EQ(r.keys[i].fingerprint, "0123abcd");
    EXPECT_EQ(r.keys[i].use, k.keys[i].use);
  }
}

TEST(kept_limits, ages_are_rounded_towards_later_use) {
  kept_limits k{false, 1, "s", {some_key("k", 3, 1999us), some_key("k", 3, -1us)}};
  const kept_limits r = parse_kept(format_kept(k));
  EXPECT_EQ(r.keys[0].use.rpm.uses[0].age, 1ms);
  EXPECT_EQ(r.keys[1].use.rpm.uses[0].age, -1ms);
}

TEST(kept_limits, a_cooldown_ends_no_earlier_than_it_was_told) {
  kept_limits k{false, 1, "s", {some_key("k")}};
  k.keys[0].use.cooldowns = {{"", 1001us}};
  EXPECT_EQ(parse_kept(format_kept(k)).keys.at(0).use.cooldowns.at(0), (cooldown{"", 2ms}));
}

TEST(kept_limits, a_file_of_the_version_before_is_read) {
  const kept_limits r = parse_kept(
      R"({"version":1,"clean":true,"saved_at_ms":5,"salt":"s","keys":[{"node":"n","key":"key/p/k",)"
      R"("fingerprint":"f","rpm":{"soon":3,"uses":[2000,4]}}]})");
  ASSERT_EQ(r.keys.size(), 1U);
  EXPECT_EQ(r.keys[0].use.rpm, (window_use{{{2s, 4}}, 3}));
  EXPECT_TRUE(r.keys[0].use.cooldowns.empty());
}

TEST(kept_limits, a_slot_of_the_day_that_has_just_begun_is_read) {
  kept_limits k{true, 1, "s", {some_key("k")}};
  k.keys[0].use.rpd = {{{-6min - 2s, 1}}, 0};
  EXPECT_EQ(parse_kept(format_kept(k)).keys.at(0).use, k.keys[0].use);
}

TEST(kept_limits, what_is_broken_says_so) {
  const std::string good = format_kept({true, 1, "s", {some_key("k")}});
  ASSERT_NO_THROW(parse_kept(good));
  for (size_t n = 0; n + 2 < good.size(); ++n) {
    EXPECT_THROW(parse_kept(good.substr(0, n)), std::runtime_error) << n;
  }
  const auto with = [&](const std::string& what, const std::string& instead) {
    std::string text = good;
    const auto at = text.find(what);
    if (at == std::string::npos) throw std::logic_error(what);
    return text.replace(at, what.size(), instead);
  };
  for (const auto& [what, instead] :
       std::vector<std::pair<std::string, std::string>>{{"\"version\":2", "\"version\":3"},
                                                        {"\"version\":2", "\"version\":0"},
                                                        {"\"version\":2", "\"version\":\"2\""},
                                                        {"600000", "86400001"},
                                                        {"600000", "-1"},
                                                        {"\"target\":\"p/m\"", "\"target\":1"},
                                                        {"\"cooldowns\":[", "\"cooldowns\":5,\"x\":["},
                                                        {"\"clean\":true", "\"clean\":1"},
                                                        {"\"soon\":12", "\"soon\":-1"},
                                                        {"\"soon\":12", "\"soon\":1.5"},
                                                        {"2000,3", "2000,18446744073709551615"},
                                                        {"2000,3", "2000,-3"},
                                                        {"2000,3", "2000,null"},
                                                        {"2000,3", "9223372036854775807,3"},
                                                        {"2000,3", "-600001,3"},
                                                        {"2000,3", "2000"},
                                                        {"\"saved_at_ms\":1", "\"saved_at_ms\":-1"},
                                                        {"\"node\":\"n1\"", "\"node\":1"},
                                                        {"\"keys\":[", "\"keys\":5,\"other\":["}}) {
    EXPECT_THROW(parse_kept(with(what, instead)), std::runtime_error) << instead;
  }
}

TEST(kept_limits, are_bounded) {
  kept_limits k{true, 1, "s", {}};
  for (size_t i = 0; i < kept_limits::max_keys + 1; ++i) {
    k.keys.push_back(some_key(std::to_string(i)));
    k.keys.back().use.rpm = {};
    k.keys.back().use.rpd.uses[0].age = 10h - std::chrono::seconds(i);
  }
  const kept_limits r = parse_kept(format_kept(k));
  ASSERT_EQ(r.keys.size(), kept_limits::max_keys);
  for (const auto& key : r.keys) EXPECT_NE(key.use.key, "0") << "the one used longest ago";
}

TEST(kept_limits, time_passes_forward_only) {
  key_use u = some_key("k").use;
  age(u, -5s);
  EXPECT_EQ(u, some_key("k").use);
  age(u, 5s);
  EXPECT_EQ(u.rpm.uses[0].age, 7s);
  EXPECT_EQ(u.rpm.uses[1].age, 3500ms);
  EXPECT_EQ(u.rpd.uses[0].age, 5h + 5s);
  EXPECT_EQ(u.cooldowns, (std::vector<cooldown>{{"p/m", 10min - 5s}}));
  age(u, 1h);
  EXPECT_TRUE(u.cooldowns.empty());
  EXPECT_TRUE(u.rpm.uses.empty());
  EXPECT_EQ(u.rpm.soon, 12) << "nobody knows when";
  EXPECT_EQ(u.rpd.uses.size(), 1U);
  forget_soon(u);
  EXPECT_FALSE(empty(u));
  age(u, duration::max());
  EXPECT_TRUE(empty(u));
}

TEST(kept_limits, what_may_have_been_granted_can_be_taken_for_granted) {
  key_use u = some_key("k").use;
  assume_soon(u);
  EXPECT_EQ(u.rpm.soon, 0);
  EXPECT_EQ(u.rpm.uses.back(), (aged_use{0s, 12}));
  EXPECT_EQ(u.rpd, some_key("k").use.rpd);
}

TEST(kept_limits, a_fingerprint_is_of_one_place_one_secret_and_one_salt) {
  const std::string a = key_fingerprint("salt", "http://a/v1", secret("canary"));
  EXPECT_EQ(a, key_fingerprint("salt", "http://a/v1", secret("canary")));
  EXPECT_EQ(a.size(), 64U);
  EXPECT_EQ(a.find("canary"), std::string::npos);
  EXPECT_NE(a, key_fingerprint("salt", "http://b/v1", secret("canary")));
  EXPECT_NE(a, key_fingerprint("salt", "http://a/v1", secret("canari")));
  EXPECT_NE(a, key_fingerprint("tlas", "http://a/v1", secret("canary")));
}

}  // namespace
}  // namespace millrace::engine
