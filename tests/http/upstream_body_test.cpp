#include <random>

#include <zlib.h>

#include "http/gzip.hpp"
#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

namespace {

constexpr int gzip_bits = 15 + 16;
constexpr int zlib_bits = 15;
constexpr int raw_bits = -15;

std::string compress(std::string_view text, int bits) {
  z_stream z{};
  deflateInit2(&z, 6, Z_DEFLATED, bits, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&z, text.size()) + 64, '\0');
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  z.avail_in = static_cast<uInt>(text.size());
  z.next_out = reinterpret_cast<Bytef*>(out.data());
  z.avail_out = static_cast<uInt>(out.size());
  deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  return out;
}

std::string chunked(std::string_view data, size_t chunk) {
  std::string out;
  char line[32];
  for (size_t i = 0; i < data.size(); i += chunk) {
    const auto piece = data.substr(i, chunk);
    std::snprintf(line, sizeof line, "%zx\r\n", piece.size());
    out.append(line).append(piece).append("\r\n");
  }
  return out + "0\r\n\r\n";
}

std::string with_length(std::string_view data, std::string_view fields = "") {
  return "HTTP/1.1 200 OK\r\n" + std::string(fields) + "Content-Length: " + std::to_string(data.size()) +
         "\r\n\r\n" + std::string(data);
}

std::string some_text(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string out;
  while (out.size() < size) out += "word" + std::to_string(random() % 1000) + " ";
  return out;
}

}  // namespace

class upstream_body_test : public upstream_test {
 protected:
  /// What a call gets when the server writes `pieces` one after the other and then closes or not.
  call answered(const std::vector<std::string>& pieces, bool close = false) {
    call c;
    auto s = serve([&](peer& p) {
      p.read_request();
      for (const auto& piece : pieces) p.write(piece);
      if (!close) answer_all(p);
    });
    run([&](engine::yield y) { c = exchange(provider(s.port()), y); });
    return c;
  }
};

TEST_F(upstream_body_test, reads_chunked_bodies_however_they_are_cut) {
  const std::string text = some_text(300, 1);
  const std::string wire = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(text, 17);
  auto s = serve([&](peer& p) {
    for (size_t cut = 1; !p.read_request().empty(); cut += 7) {
      p.write(wire.substr(0, cut));
      p.pause(0ms);
      p.write(wire.substr(cut));
    }
  });
  run([&](engine::yield y) {
    for (size_t cut = 1; cut < wire.size(); cut += 7) {
      const call c = exchange(provider(s.port()), y);
      ASSERT_EQ(c.read, upstream_failure::none) << "cut at " << cut;
      ASSERT_EQ(c.body, text) << "cut at " << cut;
    }
  });
  EXPECT_EQ(s.accepted(), 1);
}

TEST_F(upstream_body_test, hands_over_each_piece_as_it_comes) {
  bool seen = false;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ndata: 1\r\n");
    while (!seen) p.pause(1ms);
    p.write("7;ext=1\r\ndata: 2\r\n0\r\nTrailer: x\r\n\r\n");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    engine::upstream_head head;
    std::string out;
    ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
    ASSERT_EQ(e->send(post(), in(10s), head, y), upstream_failure::none);
    ASSERT_EQ(e->read(out, in(10s), y), upstream_failure::none);
    EXPECT_EQ(out, "data: 1");
    seen = true;
    ASSERT_EQ(e->read(out, in(10s), y), upstream_failure::none);
    EXPECT_EQ(out, "data: 2");
    EXPECT_EQ(client().counters().idle, 1) << "free at once, before the caller asks again";
    ASSERT_EQ(e->read(out, in(10s), y), upstream_failure::none);
    EXPECT_EQ(out, "");
    EXPECT_EQ(head.headers.size(), 1U) << "trailers are not fields";
  });
}

TEST_F(upstream_body_test, reads_bodies_that_end_with_the_connection) {
  const call c = answered({"HTTP/1.1 200 OK\r\n\r\n", "all of ", "it"}, true);
  EXPECT_EQ(c.read, upstream_failure::none);
  EXPECT_EQ(c.body, "all of it");
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_body_test, a_truncated_body_is_a_reset) {
  const call length = answered({"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nsome"}, true);
  EXPECT_EQ(length.read, upstream_failure::reset);
  EXPECT_EQ(length.body, "some");
  EXPECT_FALSE(length.stale);
  const call chunk = answered({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n"}, true);
  EXPECT_EQ(chunk.read, upstream_failure::reset);
  const call last =
      answered({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n0\r\n"}, true);
  EXPECT_EQ(last.read, upstream_failure::reset);
  EXPECT_EQ(last.body, "some");
}

TEST_F(upstream_body_test, bad_chunks_are_refused_after_what_came_before_them) {
  for (const std::string bad : {"x\r\n", "-1\r\n", "4 4\r\nsome\r\n", "0x4\r\nsome\r\n\r\n",
                                "ffffffffffffffffff\r\n", "2\r\nsome\r\n"}) {
    const call c = answered({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n" + bad});
    EXPECT_EQ(c.read, upstream_failure::protocol) << bad;
    EXPECT_EQ(c.body.substr(0, 2), "ok") << bad;
  }
  const std::string endless(100000, 'x');
  const call c = answered({"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;" + endless});
  EXPECT_EQ(c.read, upstream_failure::protocol) << "chunk lines are bounded";
}

TEST_F(upstream_body_test, large_bodies_come_whole_and_in_bounded_pieces) {
  const std::string text = some_text(3 << 20, 2);
  for (const std::string& wire :
       {with_length(text), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(text, 50000)}) {
    const call c = answered({wire});
    EXPECT_EQ(c.read, upstream_failure::none);
    EXPECT_TRUE(c.body == text);
    EXPECT_LE(c.longest_read, 64U << 10);
  }
}

TEST_F(upstream_body_test, reads_nothing_that_nobody_asked_for) {
  constexpr size_t total = 256 << 20;
  size_t sent = 0;
  auto s = serve([&](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(total) + "\r\n\r\n");
    const std::string piece(1 << 20, 'x');
    while (sent < total && p.write(piece)) sent += piece.size();
  });
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    engine::upstream_head head;
    ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
    ASSERT_EQ(e->send(post(), in(10s), head, y), upstream_failure::none);
    settle(y, 100ms);
    EXPECT_LT(sent, 64U << 20) << "only what the kernel buffers";
  });
}

TEST_F(upstream_body_test, decodes_gzip_and_deflate) {
  const std::string text = some_text(200000, 3);
  const std::string member = compress(text, gzip_bits);
  struct {
    std::string coding;
    std::string data;
    std::string expected;
  } const cases[] = {
      {"gzip", member, text},
      {"x-gzip", member, text},
      {"GZip", member + member, text + text},
      {"deflate", compress(text, zlib_bits), text},
      {"deflate", compress(text, raw_bits), text},
      {"identity", text, text},
  };
  for (const auto& x : cases) {
    const call c = answered({with_length(x.data, "Content-Encoding: " + x.coding + "\r\n")});
    EXPECT_EQ(c.read, upstream_failure::none) << x.coding;
    EXPECT_TRUE(c.body == x.expected) << x.coding;
    if (x.coding != "identity") {
      EXPECT_TRUE(c.head.headers.empty()) << "they describe what nobody sees";
    }
  }
  EXPECT_EQ(client().counters().idle, 6);
}

TEST_F(upstream_body_test, a_body_that_does_not_decode_is_refused) {
  const std::string text = some_text(1000, 4);
  std::string broken = compress(text, gzip_bits);
  broken[broken.size() - 5] ^= 1;
  const std::string gzip = compress(text, gzip_bits);
  for (const std::string& data : {broken, gzip.substr(0, gzip.size() - 1), gzip + "tail", text}) {
    const call c = answered({with_length(data, "Content-Encoding: gzip\r\n")});
    EXPECT_EQ(c.read, upstream_failure::protocol);
  }
  const call empty =
      answered({"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"});
  EXPECT_EQ(empty.read, upstream_failure::none);
  EXPECT_EQ(empty.body, "");
}

TEST_F(upstream_body_test, a_zip_bomb_comes_in_bounded_pieces_and_only_when_asked_for) {
  const std::string bomb = compress(std::string(50 << 20, '\0'), gzip_bits);
  ASSERT_LT(bomb.size(), 60000U);
  const call c = answered({with_length(bomb, "Content-Encoding: gzip\r\n")});
  EXPECT_EQ(c.read, upstream_failure::none);
  EXPECT_EQ(c.body.size(), 50U << 20);
  EXPECT_EQ(c.longest_read, 64U << 10);
}

TEST_F(upstream_body_test, gzip_events_are_not_held_back) {
  bool seen = false;
  auto s = serve([&](peer& p) {
    z_stream z{};
    deflateInit2(&z, 6, Z_DEFLATED, gzip_bits, 8, Z_DEFAULT_STRATEGY);
    const auto event = [&](std::string text, int flush) {
      std::string out(1000, '\0');
      z.next_in = reinterpret_cast<Bytef*>(text.data());
      z.avail_in = static_cast<uInt>(text.size());
      z.next_out = reinterpret_cast<Bytef*>(out.data());
      z.avail_out = static_cast<uInt>(out.size());
      deflate(&z, flush);
      out.resize(out.size() - z.avail_out);
      return out;
    };
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n");
    p.write(event("data: 1\n\n", Z_SYNC_FLUSH));
    while (!seen) p.pause(1ms);
    p.write(event("data: 2\n\n", Z_FINISH));
    deflateEnd(&z);
  });
  run([&](engine::yield y) {
    std::unique_ptr<engine::upstream_exchange> e;
    call c;
    std::string out;
    ASSERT_EQ(client().connect(provider(s.port()), in(10s), false, gone, e, y), upstream_failure::none);
    ASSERT_EQ(e->send(post(), in(10s), c.head, y), upstream_failure::none);
    ASSERT_EQ(e->read(out, in(10s), y), upstream_failure::none);
    EXPECT_EQ(out, "data: 1\n\n");
    seen = true;
    read_all(*e, c, y);
    EXPECT_EQ(c.read, upstream_failure::none);
    EXPECT_EQ(c.body, "data: 2\n\n");
  });
}

/// However input is cut and however small the output's bound: the same text, never more than the bound at a
/// time.
TEST(body_decoder_test, random_cuts_and_bounds_change_nothing) {
  for (unsigned seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    const std::string text =
        random() % 2 ? some_text(random() % 50000, seed) : std::string(random() % 200000, 'z');
    const bool gzip = random() % 2;
    const std::string data = compress(text, gzip ? gzip_bits : random() % 2 ? zlib_bits : raw_bits);
    body_decoder decoder(gzip ? body_decoder::coding::gzip : body_decoder::coding::deflate);
    std::string whole;
    std::string_view rest = data;
    while (!rest.empty() || decoder.pending()) {
      std::string out;
      const size_t limit = 1 + random() % 5000;
      const auto piece = rest.substr(0, random() % 300);
      rest.remove_prefix(decoder.decode(piece, out, limit));
      ASSERT_FALSE(decoder.failed());
      ASSERT_LE(out.size(), limit);
      whole += out;
    }
    ASSERT_TRUE(whole == text);
    ASSERT_TRUE(decoder.finished());
  }
}

TEST(body_decoder_test, random_input_never_does_more_than_fail) {
  for (unsigned seed = 1; seed <= 500; ++seed) {
    std::mt19937 random(seed);
    std::string data = compress(some_text(2000, seed), gzip_bits);
    for (unsigned i = 0; i < 1 + seed % 4; ++i)
      data[random() % data.size()] ^= static_cast<char>(1 + random() % 255);
    body_decoder decoder(body_decoder::coding::gzip);
    std::string out;
    decoder.decode(data, out, 64 << 10);
    EXPECT_TRUE(decoder.failed() || !decoder.finished() || out.size() <= 64U << 10) << "seed " << seed;
  }
}

}  // namespace millrace::http
