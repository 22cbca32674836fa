#include "engine/header_list.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace millrace::engine {
namespace {

using fields = std::vector<std::pair<std::string, std::string>>;

fields all(const header_list& list) {
  fields out;
  for (const auto& [name, value] : list) out.emplace_back(name, value);
  return out;
}

TEST(HeaderList, KeepsOrderAndRepeatedAndEmptyFields) {
  header_list list{{"set-cookie", "a=1"}, {"x", ""}};
  list.emplace_back("set-cookie", "b=2");
  EXPECT_EQ(all(list), (fields{{"set-cookie", "a=1"}, {"x", ""}, {"set-cookie", "b=2"}}));
  EXPECT_EQ(list.size(), 3U);
  EXPECT_EQ(list.front().second, "a=1");
}

TEST(HeaderList, NothingIsInAnEmptyOne) {
  header_list list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(list.begin(), list.end());
  list.emplace_back("a", "b");
  list.clear();
  EXPECT_EQ(list, header_list());
  EXPECT_EQ(list.begin(), list.end());
}

TEST(HeaderList, LowersOnlyLettersOfTheName) {
  header_list list;
  list.emplace_back_lower("X-Rate_Limit@[Z", "Value");
  EXPECT_EQ(all(list), (fields{{"x-rate_limit@[z", "Value"}}));
}

TEST(HeaderList, HoldsMoreThanItReservesFor) {
  header_list list;
  fields expected;
  for (int i = 0; i < 100; ++i) {
    expected.emplace_back("name-" + std::to_string(i), std::string(static_cast<size_t>(i) * 7, 'v'));
    list.emplace_back(expected.back().first, expected.back().second);
  }
  EXPECT_EQ(all(list), expected);
}

TEST(HeaderList, AppendsAndErases) {
  header_list list{{"a", "1"}, {"drop", "2"}};
  list.append({{"b", "3"}, {"drop", "4"}});
  erase_if(list, [](const auto& field) { return field.first == "drop"; });
  EXPECT_EQ(all(list), (fields{{"a", "1"}, {"b", "3"}}));
}

TEST(HeaderList, EqualMeansTheSameFieldsInTheSameOrder) {
  const header_list list{{"a", "bc"}, {"d", "e"}};
  EXPECT_EQ(list, (header_list{{"a", "bc"}, {"d", "e"}}));
  EXPECT_NE(list, (header_list{{"d", "e"}, {"a", "bc"}}));
  EXPECT_NE(list, (header_list{{"ab", "c"}, {"d", "e"}}));
}

TEST(HeaderList, CopiesAreTheirOwn) {
  header_list list{{"a", "b"}};
  const header_list copy = list;
  list.emplace_back("c", "d");
  EXPECT_EQ(all(copy), (fields{{"a", "b"}}));
  const header_list moved = std::exchange(list, {});
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(all(moved), (fields{{"a", "b"}, {"c", "d"}}));
}

}  // namespace
}  // namespace millrace::engine
