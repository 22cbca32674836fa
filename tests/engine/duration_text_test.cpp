#include "engine/duration_text.hpp"

#include <gtest/gtest.h>

namespace millrace::engine {
namespace {

using namespace std::chrono_literals;

TEST(duration_text, reads_back_what_it_writes) {
  for (const duration d :
       {duration(1ms), duration(90s), duration(2min), duration(25h), duration(48h), duration(0s)}) {
    EXPECT_EQ(parse_duration(duration_text(d)), d);
  }
  EXPECT_EQ(duration_text(2min), "2m");
  EXPECT_EQ(duration_text(48h), "2d");
  EXPECT_EQ(size_text(3LL << 30), "3GiB");
  EXPECT_EQ(parse_size("5MiB"), 5 << 20);
}

TEST(duration_text, refuses_what_does_not_fit) {
  EXPECT_FALSE(parse_duration("9223372036854775807d"));
  EXPECT_FALSE(parse_duration("99999999999999999999s"));
  EXPECT_FALSE(parse_size("9223372036854775807KiB"));
  for (const char* text : {"", "s", "+1s", "1", "1S", "1ss", " 1s", "1s ", "0x1s"})
    EXPECT_FALSE(parse_duration(text)) << text;
}

}  // namespace
}  // namespace millrace::engine
