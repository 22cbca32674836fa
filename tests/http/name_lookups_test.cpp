#include "http/name_lookups.hpp"

#include <future>

#include <gtest/gtest.h>

#include "tests/http/slow_names.hpp"

namespace millrace::http {

namespace {

const address_list loopback = {boost::asio::ip::make_address("127.0.0.1")};

std::future<address_list> find(name_lookups& names, const std::string& host) {
  auto told = std::make_shared<std::promise<address_list>>();
  names.find(host, [told](const address_list& found) { told->set_value(found); });
  return told->get_future();
}

bool answered(const std::future<address_list>& f) {
  return f.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

TEST(name_lookups_test, a_name_that_is_never_answered_holds_up_no_other) {
  slow_names service;
  name_lookups names(service.lookup());
  service.let_go("good.test");
  const auto dead = find(names, "dead.test");
  const auto dead_too = find(names, "dead2.test");
  service.wait_asked(2);
  EXPECT_EQ(find(names, "good.test").get(), loopback);
  EXPECT_FALSE(answered(dead));
  EXPECT_FALSE(answered(dead_too));
  service.let_go("dead.test");
  service.let_go("dead2.test");
}

TEST(name_lookups_test, all_who_want_a_name_share_one_lookup) {
  slow_names service;
  name_lookups names(service.lookup());
  std::vector<std::future<address_list>> all;
  for (int i = 0; i < 5; ++i) all.push_back(find(names, "a.test"));
  service.let_go("a.test");
  for (auto& f : all) EXPECT_EQ(f.get(), loopback);
  EXPECT_EQ(service.wait_asked(1), (std::vector<std::string>{"a.test"}));
  EXPECT_EQ(find(names, "a.test").get(), loopback);
  EXPECT_EQ(service.wait_asked(2).size(), 2U) << "who comes later asks anew";
}

TEST(name_lookups_test, beyond_the_bounds_names_wait_or_fail_at_once) {
  slow_names service;
  name_lookups names(service.lookup(), 2, 1);
  auto a = find(names, "a.test");
  auto b = find(names, "b.test");
  auto queued = find(names, "c.test");
  auto joined = find(names, "c.test");
  auto refused = find(names, "d.test");
  ASSERT_TRUE(answered(refused));
  EXPECT_EQ(refused.get(), address_list());
  EXPECT_EQ(service.wait_asked(2), (std::vector<std::string>{"a.test", "b.test"}));
  service.let_go("c.test");
  service.let_go("a.test");
  EXPECT_EQ(queued.get(), loopback) << "by the thread that is free again";
  EXPECT_EQ(joined.get(), loopback);
  EXPECT_FALSE(answered(b));
  service.let_go("b.test");
  EXPECT_EQ(b.get(), loopback);
  EXPECT_EQ(service.most_at_once(), 2U);
  service.let_go("d.test");
  EXPECT_EQ(find(names, "d.test").get(), loopback) << "a refusal is not remembered";
}

TEST(name_lookups_test, going_waits_for_no_lookup_and_begins_none) {
  slow_names service;
  std::future<address_list> running;
  std::future<address_list> queued;
  {
    name_lookups names(service.lookup(), 1);
    running = find(names, "a.test");
    queued = find(names, "b.test");
    service.wait_asked(1);
  }
  service.let_go("a.test");
  service.let_go("b.test");
  EXPECT_EQ(running.get(), loopback);
  EXPECT_THROW(queued.get(), std::future_error) << "its callback is gone with the thread";
}

TEST(name_lookups_test, the_system_knows_localhost_and_no_invalid_name) {
  const address_list found = system_addresses("localhost");
  ASSERT_FALSE(found.empty());
  for (const auto& a : found) EXPECT_TRUE(a.is_loopback());
  EXPECT_EQ(system_addresses("does-not-exist.invalid"), address_list());
}

}  // namespace millrace::http
