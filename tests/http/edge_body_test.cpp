#include <utility>

#include "http/edge.hpp"

#include <atomic>
#include <optional>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// POST /guarded, which refuses by the head alone who has no `x-pass`.
class edge_body_test : public edge_test {
 protected:
  void add_guarded() {
    on(
        "POST", "/guarded",
        [this](const edge_request& r, engine::yield) {
          ++handled;
          return text(std::string(r.body));
        },
        [this](const edge_request& r) -> std::optional<engine::answer> {
          ++asked;
          if (!r.body.empty()) ++seen_bodies;
          if (r.has_header("x-pass")) return std::nullopt;
          auto a = text("no pass");
          a.status = 401;
          return a;
        });
  }
  static std::string head(const std::string& fields) {
    return "POST /guarded HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n";
  }

  std::atomic<int> asked = 0, handled = 0, seen_bodies = 0;
};

TEST_F(edge_body_test, a_route_may_refuse_by_the_head_before_the_body_is_read) {
  add_guarded();
  start();
  for (const auto* fields : {"Content-Length: 1000000\r\n", "Transfer-Encoding: chunked\r\n",
                             "Content-Length: 5\r\nExpect: 100-continue\r\n"}) {
    raw_client c(port);
    c.send(head(fields));
    const auto answer = c.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 401 ")) << fields;
    EXPECT_THAT(answer, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(answer, EndsWith("no pass"));
    c.shutdown();
    EXPECT_EQ(c.read_all(), "");
  }
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(server->statistics().requests, 3) << "counted as if the handler had refused";
}

TEST_F(edge_body_test, who_is_refused_while_sending_still_sees_why) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("Content-Length: 3000000\r\n"));
  c.send(std::string(3'000'000, 'x'));
  c.shutdown();
  bool reset = true;
  EXPECT_THAT(c.read_all(&reset), StartsWith("HTTP/1.1 401 "));
  EXPECT_FALSE(reset);
  EXPECT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 0; }));
}

TEST_F(edge_body_test, who_is_admitted_is_asked_for_the_body_and_served) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("x-pass: 1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n"));
  EXPECT_EQ(c.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("abc");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
  c.send(head("x-pass: 1\r\nContent-Length: 200000\r\n") + std::string(100'000, 'x'));
  c.send(std::string(100'000, 'x'));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(asked, 2);
  EXPECT_EQ(handled, 2);
  EXPECT_EQ(seen_bodies, 0);
}

TEST_F(edge_body_test, a_body_that_came_with_the_head_is_the_handlers_alone) {
  add_guarded();
  start();
  raw_client c(port);
  c.send(head("Content-Length: 3\r\n") + "abc");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
  c.send(head("Transfer-Encoding: chunked\r\n") + "3\r\ndef\r\n0\r\n\r\n");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\ndef"));
  c.send(head(""));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  EXPECT_EQ(asked, 0);
}

}  // namespace
}  // namespace millrace::http
