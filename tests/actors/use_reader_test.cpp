#include "actors/use_reader.hpp"

#include <future>

#include <gtest/gtest.h>

#include "actors_world.hpp"

namespace millrace::actors {
namespace {

engine::key_use of(const std::string& key, std::int64_t amount) {
  engine::key_use u;
  u.key = key;
  u.rpm = {{{10s, amount}}, 0};
  return u;
}

struct restart_test : testing::Test {
  node_world w{one_target({engine::rpm(40)})};

  /// What the key's home says its minute holds; nullopt without a home.
  std::optional<std::int64_t> used(const std::string& key) {
    use_reader reader(w.system, w.home);
    auto answer = std::async(std::launch::async, [&] { return reader.read(key); });
    while (answer.wait_for(1ms) != std::future_status::ready) w.deliver();
    const auto use = answer.get();
    if (!use) return std::nullopt;
    EXPECT_EQ(use->key, key);
    std::int64_t sum = 0;
    for (const auto& u : use->rpm.uses) sum += u.amount;
    return sum;
  }
};

TEST_F(restart_test, AHomeTellsWhatItGranted) {
  EXPECT_EQ(used("key/p/k1"), 0);
  w.acquire(1);
  ASSERT_TRUE(w.granted(1));
  EXPECT_GE(used("key/p/k1").value_or(0), 1);
  EXPECT_EQ(used("key/p/nobody"), std::nullopt);
}

TEST_F(restart_test, TheFirstHomeOfAKeyLearnsOfItsEarlierLifeAndOthersDoNot) {
  w.send(w.home, earlier_use{{of("key/p/k1", 40), of("key/q/k1", 40), of("key/q/k2", 7)}});
  EXPECT_EQ(used("key/p/k1"), 0) << "it knows better";
  w.builder.provider("q", {engine::rpm(40)});
  w.reload();
  EXPECT_EQ(used("key/q/k1"), 40);
  w.pass(52s);
  EXPECT_EQ(used("key/q/k1"), 0);
}

TEST_F(restart_test, AHomeThatReplacesAFailedOneIsToldNoOldNews) {
  w.send(w.home, earlier_use{{of("key/q/k1", 5)}});
  w.builder.provider("q", {engine::rpm(40)});
  w.reload();
  ASSERT_EQ(used("key/q/k1"), 5);
  w.end(w.find("key/q/k1"));
  EXPECT_EQ(used("key/q/k1"), 40) << "it waits for all that may have been granted";
  w.pass(63s);
  EXPECT_EQ(used("key/q/k1"), 0);
}

}  // namespace
}  // namespace millrace::actors
