// Files that were changed, cut or put there by others: an answer is right or absent, and the store opens.
#include <algorithm>

#include "store_world.hpp"

namespace millrace::storage {
namespace {

class AnswerStoreDamage : public store_world {
 protected:
  static constexpr std::uint64_t answers = 150;

  /// A closed store with answers 0 to `answers`, all in files.
  void fill() {
    const auto s = open();
    ASSERT_EQ(write(*s, 0, answers, body), write_result::ok);
    ASSERT_EQ(s->flush(), write_result::ok);
  }
  static constexpr std::size_t body = 400;

  /// Opens and looks at everything: right or absent; then it works.
  std::uint64_t open_and_check() {
    const auto s = open();
    if (s == nullptr) {
      ADD_FAILURE() << "not opened: " << note();
      return 0;
    }
    const auto found = count_found(*s, 0, answers, body);
    EXPECT_EQ(write(*s, answers, answers + 5, body), write_result::ok);
    EXPECT_EQ(count_found(*s, answers, answers + 5, body), 5U);
    return found;
  }

  fs::path broken(unsigned n) const { return path() + ".broken-" + std::to_string(n); }
};

TEST_F(AnswerStoreDamage, AFlippedBitInATableNeverGivesAWrongAnswer) {
  fill();
  ASSERT_EQ(tables().size(), 1U);
  const fs::path kept = root() / "kept";
  fs::copy(path(), kept, fs::copy_options::recursive);
  const fs::path table = tables().front();
  const std::string whole = content(table);
  constexpr unsigned regions = 100;
  std::uint64_t misses = 0;
  for (unsigned seed = 0; seed < regions; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    fs::remove_all(path());
    fs::copy(kept, path(), fs::copy_options::recursive);
    std::mt19937_64 random(seed);
    const std::size_t at = whole.size() * seed / regions + random() % (whole.size() / regions);
    std::string changed = whole;
    changed[at] = static_cast<char>(static_cast<unsigned char>(changed[at]) ^ (1U << (random() % 8)));
    replace(table, changed);
    misses += answers - open_and_check();
  }
  EXPECT_GT(misses, answers) << "the damage was not met";
}

/// Damage that RocksDB's checksum does not know of: a record that was good for another key.
TEST_F(AnswerStoreDamage, WhatDoesNotVerifyIsAbsentAndCounted) {
  fill();
  const fs::path table = tables().front();
  std::string bytes = content(table);
  bytes[bytes.size() / 3] = static_cast<char>(bytes[bytes.size() / 3] + 1);
  replace(table, bytes);
  const auto s = open();
  ASSERT_NE(s, nullptr);
  EXPECT_LT(count_found(*s, 0, answers, body), answers);
  EXPECT_GT(s->usage().bad_records, 0U);
}

TEST_F(AnswerStoreDamage, ACutTableIsReplaced) {
  fill();
  const fs::path table = tables().front();
  fs::resize_file(table, fs::file_size(table) / 2);
  EXPECT_EQ(open_and_check(), 0U);
  EXPECT_NE(note().find("broken-1"), std::string::npos) << note();
}

TEST_F(AnswerStoreDamage, AMissingTableIsReplaced) {
  fill();
  fs::remove(tables().front());
  EXPECT_EQ(open_and_check(), 0U);
}

TEST_F(AnswerStoreDamage, GarbageInTheOtherFilesIsReplaced) {
  for (const std::string start : {"MANIFEST", "CURRENT", "MILLRACE", "OPTIONS", "IDENTITY"}) {
    for (const std::string& garbage : {std::string(), std::string(5000, '\x5a')}) {
      SCOPED_TRACE(start + " of " + std::to_string(garbage.size()) + " bytes");
      fs::remove_all(path());
      fill();
      for (const auto& f : fs::directory_iterator(path())) {
        if (f.path().filename().string().starts_with(start)) replace(f.path(), garbage);
      }
      open_and_check();
    }
  }
}

TEST_F(AnswerStoreDamage, ADirectoryOfOthersIsSetAsideAndNotTouched) {
  fill();
  fs::remove(path() + "/MILLRACE");
  open_and_check();
  EXPECT_EQ(files(broken(1), ".sst").size(), 1U);
}

TEST_F(AnswerStoreDamage, AFileInItsPlaceIsSetAside) {
  replace(path(), "not a directory");
  open_and_check();
  EXPECT_EQ(content(broken(1)), "not a directory");
}

TEST_F(AnswerStoreDamage, OnlyTheNewestOfThoseSetAsideIsKept) {
  for (unsigned n = 1; n <= 3; ++n) {
    fill();
    replace(path() + "/CURRENT", "garbage");
    open_and_check();
    EXPECT_TRUE(fs::exists(broken(n)));
    EXPECT_FALSE(fs::exists(broken(n - 1)));
  }
}

/// Merging reads what nobody asked for and meets the damage: RocksDB then refuses all writes for good.
TEST_F(AnswerStoreDamage, DamageMetInTheBackgroundDoesNotStopTheStore) {
  {
    const auto s = open();
    for (std::uint64_t n = 0; n < 3; ++n) {
      ASSERT_EQ(write(*s, n * 50, n * 50 + 50, 1000), write_result::ok);
      ASSERT_EQ(s->flush(), write_result::ok);
    }
  }
  for (const auto& table : tables()) {
    std::string bytes = content(table);
    bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] + 1);
    replace(table, bytes);
  }
  const auto s = open();
  ASSERT_NE(s, nullptr) << note();
  for (std::uint64_t n = 0; n < 2000 && s->usage().rebuilds == 0; ++n) {
    static_cast<void>(write(*s, 1000 + n * 50, 1050 + n * 50, 1000));
    static_cast<void>(s->flush());
  }
  EXPECT_EQ(s->usage().rebuilds, 1U);
  ASSERT_EQ(write(*s, 0, 100, 1000), write_result::ok);
  ASSERT_EQ(s->flush(), write_result::ok);
  EXPECT_EQ(count_found(*s, 0, 100, 1000), 100U);
}

}  // namespace
}  // namespace millrace::storage
