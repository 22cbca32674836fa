#include "http/guard.hpp"

#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "http/chunked.hpp"
#include "tests/http/corpus.hpp"

namespace millrace::http {
namespace {

struct verdict {
  progress state = progress::incomplete;
  int status = 0;
  size_t size = 0;
  bool operator==(const verdict&) const = default;
};
std::ostream& operator<<(std::ostream& out, const verdict& v) {
  return out << "state " << static_cast<int>(v.state) << ", status " << v.status << ", size " << v.size;
}

/// Feeds `bytes` in pieces that end at `cuts`, each time from a fresh copy, as a buffer that moves would.
verdict judge(head_guard& guard, const std::string& bytes, const std::vector<size_t>& cuts) {
  auto state = progress::incomplete;
  for (const auto cut : cuts) {
    const std::string copy = bytes.substr(0, cut);
    state = guard.advance(copy);
    if (state != progress::incomplete) break;
  }
  if (state == progress::incomplete) state = guard.advance(bytes);
  verdict v{state, 0, 0};
  if (state == progress::refused) v.status = status_of(guard.fault().reason);
  if (state == progress::complete) v.size = guard.size();
  return v;
}

verdict judge(const std::string& bytes, const std::vector<size_t>& cuts = {}) {
  head_guard guard;
  return judge(guard, bytes, cuts);
}

struct chunk_verdict {
  progress state = progress::incomplete;
  int status = 0;
  size_t consumed = 0;
  std::string body;
  bool operator==(const chunk_verdict&) const = default;
};

chunk_verdict decode(const std::string& bytes, const std::vector<size_t>& cuts = {},
                     std::int64_t max_body = 1 << 20) {
  chunk_decoder decoder(max_body);
  chunk_verdict v;
  size_t at = 0;
  const auto feed_until = [&](size_t end) {
    if (decoder.state() != progress::incomplete) return;
    v.consumed += decoder.feed(std::string_view(bytes).substr(at, end - at), v.body);
    at = end;
  };
  for (const auto cut : cuts) feed_until(cut);
  feed_until(bytes.size());
  v.state = decoder.state();
  if (v.state == progress::refused) v.status = status_of(decoder.fault().reason);
  return v;
}

std::vector<size_t> every_byte(size_t n) {
  std::vector<size_t> cuts;
  for (size_t i = 1; i < n; ++i) cuts.push_back(i);
  return cuts;
}

std::vector<size_t> random_cuts(size_t n, std::mt19937_64& random) {
  std::vector<size_t> cuts;
  for (size_t at = 0; at < n; at += 1 + random() % (n / 4 + 1)) cuts.push_back(at);
  return cuts;
}

const std::string chat =
    "POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: localhost:8080\r\nAuthorization: Bearer k\r\n"
    "Content-Type:application/json\r\nX-Empty:\r\nX-Tabs: \t a\tb \t\r\nContent-Length: 12\r\n\r\n";

TEST(guard, reads_a_request) {
  head_guard guard;
  ASSERT_EQ(guard.advance(chat + "{}"), progress::complete);
  ASSERT_EQ(guard.size(), chat.size());
  std::string storage = chat;
  std::vector<header_field> fields;
  const auto head = guard.take(storage, fields);
  EXPECT_EQ(head.method, "POST");
  EXPECT_EQ(head.path, "/v1/chat/completions");
  EXPECT_EQ(head.query, "a=b");
  EXPECT_EQ(head.version, "HTTP/1.1");
  EXPECT_EQ(head.framing, framing::length);
  EXPECT_EQ(head.content_length, 12);
  EXPECT_TRUE(head.keep_alive);
  EXPECT_FALSE(head.expect_continue);
  ASSERT_EQ(head.fields.size(), 6U);
  EXPECT_EQ(head.fields[1].name, "authorization");
  EXPECT_EQ(head.fields[1].value, "Bearer k");
  EXPECT_EQ(head.fields[2].value, "application/json");
  EXPECT_EQ(head.fields[3].value, "");
  EXPECT_EQ(head.fields[4].value, "a\tb");
}

struct good_case {
  const char* name;
  std::string bytes;
  std::string path;
  bool keep_alive = true;
  http::framing framing = framing::none;
  bool expect_continue = false;
};

TEST(guard, accepts_what_the_standard_allows) {
  const std::vector<good_case> cases = {
      {"one empty line first", "\r\nGET /a HTTP/1.1\r\nHost: a\r\n\r\n", "/a"},
      {"absolute target", "GET http://example.com:80/a?b HTTP/1.1\r\nHost: x\r\n\r\n", "/a"},
      {"absolute without path", "GET HTTPS://example.com HTTP/1.1\r\nHost: x\r\n\r\n", "/"},
      {"absolute with query only", "GET http://[::1]:80?b HTTP/1.1\r\nHost: x\r\n\r\n", "/"},
      {"asterisk of OPTIONS", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "*"},
      {"empty host", "GET /a HTTP/1.1\r\nHost:\r\n\r\n", "/a"},
      {"IPv6 host", "GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "/a"},
      {"UTF-8 value", "GET /a HTTP/1.1\r\nHost: a\r\nX: \xc3\xa4\r\n\r\n", "/a"},
      {"close", "GET /a HTTP/1.1\r\nHost: a\r\nConnection: foo , Close\r\n\r\n", "/a", false},
      {"1.0", "GET /a HTTP/1.0\r\n\r\n", "/a", false},
      {"1.0 keep-alive", "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "/a", true},
      {"chunked in capitals", "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n", "/a", true,
       framing::chunked},
      {"length zero", "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", "/a", true,
       framing::length},
      {"expectation", "POST /a HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n",
       "/a", true, framing::length, true},
      {"expectation of 1.0", "POST /a HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", "/a",
       false, framing::length, false},
      {"escapes and colons", "GET /a%20b:c/%7Bd%7D HTTP/1.1\r\nHost: a\r\n\r\n", "/a%20b:c/%7Bd%7D"},
  };
  head_guard guard;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    guard.reset();
    ASSERT_EQ(guard.advance(c.bytes), progress::complete);
    EXPECT_EQ(guard.size(), c.bytes.size());
    std::string storage = c.bytes;
    std::vector<header_field> fields;
    const auto head = guard.take(storage, fields);
    EXPECT_EQ(head.path, c.path);
    EXPECT_EQ(head.keep_alive, c.keep_alive);
    EXPECT_EQ(head.framing, c.framing);
    EXPECT_EQ(head.expect_continue, c.expect_continue);
  }
}

TEST(guard, refuses_what_is_ambiguous) {
  for (const auto& c : bad_heads()) {
    SCOPED_TRACE(c.name);
    EXPECT_EQ(judge(c.bytes), (verdict{progress::refused, c.status, 0}));
  }
}

TEST(guard, limits_are_inclusive) {
  const auto line = [](size_t n) {
    return "GET /" + std::string(n - 14, 'a') + " HTTP/1.1\r\nHost: a\r\n\r\n";
  };
  EXPECT_EQ(judge(line(8192)).state, progress::complete);
  EXPECT_EQ(judge(line(8193)).status, 414);
  const std::string get = "GET / HTTP/1.1\r\n";
  const auto headers = [&](size_t n) {
    return get + "Host: a\r\nX: " + std::string(n - 14, 'a') + "\r\n\r\n";
  };
  EXPECT_EQ(judge(headers(32768)).state, progress::complete);
  EXPECT_EQ(judge(headers(32769)).status, 431);
  std::string lines = get + "Host: a\r\n";
  for (int i = 0; i < 99; ++i) lines += "X: a\r\n";
  EXPECT_EQ(judge(lines + "\r\n").state, progress::complete);
  EXPECT_EQ(judge(lines + "X: a\r\n\r\n").status, 431);
}

TEST(guard, remembers_the_path_of_what_it_refused) {
  head_guard guard;
  std::string bytes = "POST /v1/messages HTTP/1.1\r\nHost : a\r\n\r\n";
  ASSERT_EQ(guard.advance(bytes), progress::refused);
  std::vector<header_field> fields;
  EXPECT_EQ(guard.take(bytes, fields).path, "/v1/messages");
}

/// Random damage to good and bad heads; only the splits differ between the two readings.
TEST(guard, splitting_does_not_change_the_verdict) {
  constexpr std::uint64_t seed = 20240611;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  auto corpus = bad_heads();
  corpus.push_back({"chat", 0, chat});
  for (const auto& c : corpus) {
    const auto whole = judge(c.bytes);
    if (c.bytes.size() < 1024) {
      ASSERT_EQ(judge(c.bytes, every_byte(c.bytes.size())), whole) << c.name;
    }
    for (int i = 0; i < 200; ++i) {
      auto bytes = c.bytes;
      constexpr std::string_view alphabet(
          "\r\n\t :;,+-0x/%\0\x7f\xff"
          "aZ",
          19);
      for (auto n = random() % 3; n > 0; --n)
        bytes[random() % bytes.size()] = alphabet[random() % alphabet.size()];
      ASSERT_EQ(judge(bytes, random_cuts(bytes.size(), random)), judge(bytes)) << c.name << ": " << bytes;
    }
  }
}

TEST(chunked, takes_the_framing_off) {
  const std::string body =
      "5\r\nhello\r\n1;name=\"v\"\r\n,\r\n006\r\n world\r\n0;last\r\nX-Sum: abc\r\nY: \r\n\r\n";
  const chunk_verdict expected{progress::complete, 0, body.size(), "hello, world"};
  EXPECT_EQ(decode(body), expected);
  EXPECT_EQ(decode(body + "GET /next", every_byte(body.size() + 9)), expected);
}

TEST(chunked, refuses_what_is_ambiguous) {
  for (const auto& c : bad_chunks()) {
    SCOPED_TRACE(c.name);
    const auto v = decode(c.bytes);
    EXPECT_EQ(v.state, progress::refused);
    EXPECT_EQ(v.status, c.status);
  }
}

TEST(chunked, bounds_the_body) {
  EXPECT_EQ(decode("5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", {}, 10).body, "helloworld");
  const auto v = decode("5\r\nhello\r\n6\r\nworld!\r\n0\r\n\r\n", {}, 10);
  EXPECT_EQ(v.status, 413);
  EXPECT_EQ(v.body, "hello");
  EXPECT_EQ(decode("1\r\n", {}, 0).status, 413);
  EXPECT_EQ(decode("5\r\nhello\r\n1", {}, 5).status, 413);
}

TEST(chunked, splitting_does_not_change_the_verdict) {
  constexpr std::uint64_t seed = 20240612;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  auto corpus = bad_chunks();
  corpus.push_back(
      {"good", 0, "5\r\nhello\r\n1;name=\"v\"\r\n,\r\n006\r\n world\r\n0;last\r\nX-Sum: abc\r\nY: \r\n\r\n"});
  for (const auto& c : corpus) {
    for (int i = 0; i < 200; ++i) {
      auto bytes = c.bytes;
      constexpr std::string_view alphabet(
          "\r\n\t :;,+-0x\0\x7f\xff"
          "aZ",
          17);
      for (auto n = random() % 3; n > 0; --n)
        bytes[random() % bytes.size()] = alphabet[random() % alphabet.size()];
      ASSERT_EQ(decode(bytes, random_cuts(bytes.size(), random)), decode(bytes)) << c.name << ": " << bytes;
    }
  }
}

TEST(guard, one_key_may_be_sent_twice_but_not_two) {
  const std::string get = "GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\n";
  EXPECT_EQ(judge(get + "authorization: Bearer a\r\nx-api-key: b\r\nx-goog-api-key: c\r\n\r\n").status, 0);
  EXPECT_EQ(judge(get + "authorization: Bearer b\r\n\r\n").status, 400);
}

}  // namespace
}  // namespace millrace::http
