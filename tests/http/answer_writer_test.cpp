#include "http/answer_writer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using testing::HasSubstr;
using testing::Not;

struct collecting_sink : answer_sink {
  bool write(std::string_view bytes) override {
    out += bytes;
    return true;
  }
  pulled pull(std::string&) override { return pulled::end; }

  std::string out;
};

std::string written(const engine::answer& a) {
  answer_writer writer;
  collecting_sink sink;
  EXPECT_TRUE(writer.write(a, {.date = "Sun, 29 Nov 2026 00:00:00 GMT"}, sink));
  return sink.out;
}

TEST(answer_writer, a_field_that_no_head_may_hold_is_left_out) {
  for (const bool streamed : {false, true}) {
    engine::answer a;
    if (streamed) a.stream = std::make_unique<piece_stream>(std::vector<std::string>{});
    for (const std::string& ender :
         {std::string("\r"), std::string("\n"), std::string(1, '\0'), std::string("\x1b")}) {
      a.headers.emplace_back("x-value", "a-long-value-before-it" + ender + "x-injected: 1");
      a.headers.emplace_back("x-na" + ender + "me", "v");
    }
    a.headers.emplace_back("x-kept", "\"quoted\" and \\ and\ttab");
    const std::string out = written(a);
    EXPECT_THAT(out, Not(HasSubstr("x-value"))) << streamed;
    EXPECT_THAT(out, Not(HasSubstr("x-na"))) << streamed;
    EXPECT_THAT(out, Not(HasSubstr("injected"))) << streamed;
    EXPECT_THAT(out, HasSubstr("\r\nx-kept: \"quoted\" and \\ and\ttab\r\n")) << streamed;
  }
}

}  // namespace
}  // namespace millrace::http
