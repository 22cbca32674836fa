#include "http/sse.hpp"

#include <gtest/gtest.h>

#include <random>

namespace millrace::http {
namespace {

struct block {
  std::string raw;
  std::string name;
  std::vector<std::string> data;
  bool operator==(const block&) const = default;
};

/// The blocks of a stream given in these pieces; a tail is joined to its block.
std::vector<block> split(const std::vector<std::string>& pieces) {
  std::vector<block> blocks;
  sse_splitter splitter;
  sse_event event;
  for (const std::string& piece : pieces) {
    splitter.feed(piece);
    while (splitter.next(event) == sse_splitter::result::event) {
      if (event.tail) {
        blocks.back().raw += event.raw;
        continue;
      }
      block b{std::string(event.raw), std::string(event.name), {}};
      for (const auto& line : event.data) b.data.emplace_back(event.raw.substr(line.offset, line.length));
      blocks.push_back(b);
    }
  }
  return blocks;
}

TEST(sse, reads_fields) {
  const auto blocks =
      split({"event: a\nevent:b\ndata: one\ndata:two\ndata\ndata:  three \nid: 7\nretry: 1\n: note\n\n"});
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_EQ(blocks[0].name, "b");
  EXPECT_EQ(blocks[0].data, (std::vector<std::string>{"one", "two", "", " three "}));
}

TEST(sse, other_fields_are_no_data) {
  const auto blocks = split({"datax: 1\n data: 2\nDATA: 3\n:data: 4\n\n"});
  ASSERT_EQ(blocks.size(), 1U);
  EXPECT_TRUE(blocks[0].data.empty());
}

TEST(sse, comments_and_empty_lines_are_blocks_without_data) {
  const auto blocks = split({": ping\n\n\n\ndata: x\n\n"});
  ASSERT_EQ(blocks.size(), 4U);
  EXPECT_EQ(blocks[0].raw, ": ping\n\n");
  EXPECT_EQ(blocks[1].raw, "\n");
  EXPECT_EQ(blocks[3].data, std::vector<std::string>{"x"});
}

TEST(sse, an_event_ends_with_its_empty_line_only) {
  EXPECT_TRUE(split({"data: x\n"}).empty());
  EXPECT_TRUE(split({"data: x\r\n\r"}).empty());
  EXPECT_EQ(split({"data: x\r\n\r\n"}).size(), 1U);
}

TEST(sse, lone_carriage_returns_do_not_wait_for_what_may_never_come) {
  EXPECT_EQ(split({"data: x\r\r"}).size(), 1U);
  EXPECT_EQ(split({"data: x\r", "\r", "data: y\r\r"}).size(), 2U);
}

TEST(sse, a_late_line_feed_makes_its_carriage_return_a_pair) {
  const std::string stream = "x\r\r\r\n\r";
  EXPECT_EQ(split({"x\r", "\r", "\r", "\n", "\r"}), split({stream}));
}

TEST(sse, only_a_leading_byte_order_mark_is_dropped) {
  const auto blocks = split({"\xEF", "\xBB",
                             "\xBF"
                             "data: x\n\n\xEF\xBB\xBF"
                             "data: y\n\n"});
  ASSERT_EQ(blocks.size(), 2U);
  EXPECT_EQ(blocks[0].raw, "data: x\n\n");
  EXPECT_TRUE(blocks[1].data.empty());
}

TEST(sse, every_split_gives_the_same_blocks) {
  const std::string parts[] = {"data: one",
                               "data:two",
                               "event: error",
                               ": ping",
                               "id",
                               "data",
                               "\xEF\xBB\xBF"
                               "data: z",
                               ""};
  const std::string ends[] = {"\n", "\r\n", "\r"};
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::string stream;
    const bool mixed = random() % 2 == 0;
    const std::string end = ends[random() % 3];
    for (size_t i = 0; i < 14; ++i) stream += parts[random() % 8] + (mixed ? ends[random() % 3] : end);
    stream += "data: last\n\n";
    const auto whole = split({stream});
    for (size_t cut = 0; cut <= stream.size(); ++cut) {
      ASSERT_EQ(split({stream.substr(0, cut), stream.substr(cut)}), whole)
          << cut << " of " << testing::PrintToString(stream);
    }
    std::vector<std::string> bytes;
    for (char c : stream) bytes.emplace_back(1, c);
    ASSERT_EQ(split(bytes), whole) << testing::PrintToString(stream);
  }
}

TEST(sse, bounds_the_size_of_an_event_however_it_arrives) {
  const std::string head = "data: ";
  const std::string fits = head + std::string(max_sse_event_bytes - head.size() - 2, 'x') + "\n\n";
  const std::string over = head + std::string(max_sse_event_bytes - head.size() - 1, 'x') + "\n\n";
  for (const bool whole : {true, false}) {
    for (const std::string* text : {&fits, &over}) {
      sse_splitter splitter;
      sse_event event;
      auto verdict = sse_splitter::result::more;
      const size_t step = whole ? text->size() : 65536;
      for (size_t at = 0; at < text->size() && verdict == sse_splitter::result::more; at += step) {
        splitter.feed(std::string_view(*text).substr(at, step));
        verdict = splitter.next(event);
      }
      EXPECT_EQ(verdict, text == &fits ? sse_splitter::result::event : sse_splitter::result::too_large);
    }
  }
}

TEST(sse, an_event_that_never_ends_is_given_up) {
  sse_splitter splitter;
  sse_event event;
  const std::string piece(65536, 'x');
  size_t fed = 0;
  auto verdict = sse_splitter::result::more;
  while (verdict == sse_splitter::result::more && fed < 2 * max_sse_event_bytes) {
    splitter.feed(piece);
    fed += piece.size();
    verdict = splitter.next(event);
  }
  EXPECT_EQ(verdict, sse_splitter::result::too_large);
  EXPECT_LE(fed, max_sse_event_bytes + piece.size());
  splitter.feed("\n\ndata: x\n\n");
  EXPECT_EQ(splitter.next(event), sse_splitter::result::too_large);
}

TEST(sse, bounds_the_number_of_data_lines) {
  std::string text;
  for (size_t i = 0; i <= max_sse_data_lines; ++i) text += "data\n";
  sse_splitter splitter;
  sse_event event;
  splitter.feed(text);
  EXPECT_EQ(splitter.next(event), sse_splitter::result::too_large);
}

}  // namespace
}  // namespace millrace::http
