#include "storage/usage_store.hpp"

#include <rocksdb/env.h>

#include "tests/storage/store_world.hpp"

namespace millrace::storage {
namespace {

using engine::money;
using engine::usage_counts;
using engine::usage_key;
using engine::usage_row;

usage_row row_of(std::int32_t day, std::int64_t n, const std::string& model = "gpt") {
  usage_counts c;
  c.requests = n;
  c.cached_requests = n + 1;
  c.attempts = n + 2;
  c.input_tokens = n + 3;
  c.output_tokens = n + 4;
  c.cached_tokens = n + 5;
  c.cache_write_tokens = n + 6;
  c.reasoning_tokens = n + 7;
  c.estimated_tokens = n + 8;
  c.images = n + 9;
  c.cost = money::of_nano(n + 10);
  return {{day, "acme", "key-1", model}, c};
}

class usage_store_test : public store_world {
 protected:
  std::string directory() const { return (root() / "usage").string(); }
  std::vector<usage_row> reopened() const { return usage_store::open(directory()).rows; }
};

TEST_F(usage_store_test, rows_come_back_as_they_were_written_in_the_order_of_days) {
  std::string why;
  {
    const auto o = usage_store::open(directory());
    ASSERT_NE(o.store, nullptr) << o.note;
    EXPECT_TRUE(o.rows.empty());
    ASSERT_TRUE(o.store->write({row_of(20001, 5), row_of(256, 7), row_of(20001, 9, "other")}, {}, why))
        << why;
  }
  EXPECT_EQ(reopened(),
            (std::vector<usage_row>{row_of(256, 7), row_of(20001, 5), row_of(20001, 9, "other")}));
}

TEST_F(usage_store_test, a_row_is_replaced_and_a_forgotten_one_is_gone) {
  std::string why;
  {
    const auto o = usage_store::open(directory());
    ASSERT_TRUE(o.store->write({row_of(1, 1), row_of(2, 1)}, {}, why));
    ASSERT_TRUE(o.store->write({row_of(2, 4)}, {row_of(1, 1).first}, why));
  }
  EXPECT_EQ(reopened(), std::vector<usage_row>{row_of(2, 4)});
}

TEST_F(usage_store_test, a_second_process_gets_no_store_and_hears_why) {
  const auto first = usage_store::open(directory());
  const auto second = usage_store::open(directory());
  EXPECT_EQ(second.store, nullptr);
  EXPECT_NE(second.note, "");
}

TEST_F(usage_store_test, what_is_no_database_is_left_alone) {
  fs::create_directories(directory());
  replace(directory() + "/CURRENT", "nonsense");
  const auto o = usage_store::open(directory());
  EXPECT_EQ(o.store, nullptr);
  EXPECT_EQ(content(directory() + "/CURRENT"), "nonsense");
}

TEST_F(usage_store_test, only_the_very_record_of_a_key_is_taken) {
  const std::string key = encode_usage_key(row_of(3, 1).first);
  const std::string record = encode_usage(key, row_of(3, 1).second);
  usage_counts read;
  EXPECT_TRUE(decode_usage(key, record, read));
  EXPECT_EQ(read, row_of(3, 1).second);
  EXPECT_FALSE(decode_usage(encode_usage_key(row_of(4, 1).first), record, read)) << "in another's place";
  for (std::size_t i = 0; i < record.size(); ++i) {
    std::string bad = record;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    EXPECT_FALSE(decode_usage(key, bad, read)) << "byte " << i;
  }
  usage_key read_key;
  for (std::size_t n = 0; n < key.size(); ++n) EXPECT_FALSE(decode_usage_key(key.substr(0, n), read_key));
  EXPECT_TRUE(decode_usage_key(key, read_key));
  EXPECT_EQ(read_key, row_of(3, 1).first);
}

}  // namespace
}  // namespace millrace::storage
