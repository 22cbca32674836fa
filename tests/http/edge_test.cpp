#include <utility>

#include "http/edge.hpp"

#include <atomic>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/http/edge_fixture.hpp"

namespace millrace::http {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

const std::string get_hello = "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n";
const std::string chunked_echo = "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

engine::answer stream(std::vector<std::string> pieces, bool broken = false) {
  engine::answer a;
  a.content_type = "text/event-stream";
  a.stream = std::make_unique<piece_stream>(std::move(pieces), broken);
  return a;
}

TEST_F(edge_test, keeps_a_connection) {
  start();
  raw_client c(port);
  for (int i = 0; i < 3; ++i) {
    c.send(get_hello);
    const auto answer = c.read_answer();
    EXPECT_THAT(answer, StartsWith("HTTP/1.1 200 OK\r\n"));
    EXPECT_THAT(answer, HasSubstr("Content-Type: text/plain\r\n"));
    EXPECT_THAT(answer, HasSubstr("Content-Length: 5\r\n"));
    EXPECT_THAT(answer, HasSubstr("Date: "));
    EXPECT_THAT(answer, Not(HasSubstr("Connection")));
    EXPECT_THAT(answer, EndsWith("\r\n\r\nhello"));
  }
  const auto s = server->statistics();
  EXPECT_EQ(s.accepted, 1);
  EXPECT_EQ(s.requests, 3);
  EXPECT_EQ(s.open, 1);
}

TEST_F(edge_test, closes_when_asked) {
  start();
  raw_client c(port);
  c.send("GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_THAT(c.read_all(), HasSubstr("Connection: close\r\n"));
}

TEST_F(edge_test, answers_pipelined_requests_in_order) {
  start();
  raw_client c(port);
  std::string bytes;
  for (int i = 0; i < 50; ++i) {
    bytes += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n" + std::to_string(10 + i);
  }
  c.send(bytes);
  for (int i = 0; i < 50; ++i) EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\n" + std::to_string(10 + i)));
}

TEST_F(edge_test, reads_bodies_with_length_and_in_chunks) {
  start();
  raw_client c(port);
  const std::string long_body(300'000, 'x');
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + long_body);
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\n" + long_body));
  c.send(chunked_echo + "5\r\nhello\r\n");
  c.send("7;ext=1\r\n, world\r\n0\r\nTrailer: x\r\n\r\n" + get_hello);
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nhello, world"));
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nhello"));
  EXPECT_TRUE(eventually([&] { return server->statistics().bodies_bytes == 0; }));
}

TEST_F(edge_test, a_request_may_come_byte_by_byte) {
  start();
  raw_client c(port);
  for (const auto byte : chunked_echo + "3\r\nabc\r\n0\r\n\r\n") c.send({&byte, 1});
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
}

TEST_F(edge_test, sends_100_continue_only_to_who_waits_for_it) {
  start();
  raw_client c(port);
  const std::string head =
      "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
  c.send(head);
  EXPECT_EQ(c.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  c.send("abc");
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nabc"));
  c.send(head + "def");
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200"));
}

TEST_F(edge_test, answers_head_without_a_body) {
  on("GET", "/events", [](const edge_request&, engine::yield) { return stream({"a", "b"}); });
  start();
  raw_client c(port);
  c.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\nHEAD /events HTTP/1.1\r\nHost: a\r\n\r\n" + get_hello);
  EXPECT_THAT(c.read_until("\r\n\r\n"), HasSubstr("Content-Length: 5\r\n"));
  const auto streamed = c.read_until("\r\n\r\n");
  EXPECT_THAT(streamed, HasSubstr("text/event-stream"));
  EXPECT_THAT(streamed, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\nhello"));
}

TEST_F(edge_test, speaks_http_1_0) {
  on("GET", "/events", [](const edge_request&, engine::yield) { return stream({"a", "b"}); });
  start();
  raw_client plain(port);
  plain.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_THAT(plain.read_all(), EndsWith("\r\n\r\nhello"));
  raw_client kept(port);
  kept.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_THAT(kept.read_answer(), HasSubstr("Connection: keep-alive\r\n"));
  kept.send("GET /events HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  const auto streamed = kept.read_all();
  EXPECT_THAT(streamed, Not(HasSubstr("chunked")));
  EXPECT_THAT(streamed, EndsWith("\r\n\r\nab"));
}

TEST_F(edge_test, streams_in_chunks_and_keeps_the_connection) {
  on("GET", "/events", [](const edge_request&, engine::yield) {
    return stream({"data: 1\n\n", "", "data: 2\n\n"});
  });
  start();
  raw_client c(port);
  c.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n");
  const auto answer = c.read_until("0\r\n\r\n");
  EXPECT_THAT(answer, HasSubstr("Transfer-Encoding: chunked\r\n"));
  EXPECT_THAT(answer, EndsWith("\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n"));
  c.send(get_hello);
  EXPECT_THAT(c.read_answer(), EndsWith("hello"));
}

TEST_F(edge_test, a_broken_stream_ends_in_good_order_and_closes) {
  on("GET", "/events", [](const edge_request&, engine::yield) { return stream({"oops"}, true); });
  start();
  raw_client c(port);
  c.send("GET /events HTTP/1.1\r\nHost: a\r\n\r\n" + get_hello);
  bool reset = true;
  EXPECT_THAT(c.read_all(&reset), EndsWith("4\r\noops\r\n0\r\n\r\n"));
  EXPECT_FALSE(reset);
}

TEST_F(edge_test, a_stream_that_throws_is_cut_by_a_reset) {
  struct throwing : engine::answer_stream {
    bool read(std::string&, engine::yield) override { throw std::runtime_error("secret"); }
  };
  on("GET", "/events", [](const edge_request&, engine::yield) {
    engine::answer a;
    a.stream = std::make_unique<throwing>();
    return a;
  });
  start();
  raw_client c(port);
  c.send("GET /events HTTP/1.0\r\n\r\n");
  bool reset = false;
  EXPECT_THAT(c.read_all(&reset), Not(HasSubstr("secret")));
  EXPECT_TRUE(reset);
  EXPECT_TRUE(
      eventually([&] { return server->statistics().open == 0 && server->statistics().serving == 0; }));
}

TEST_F(edge_test, an_exception_is_a_500_without_its_text) {
  on("GET", "/throw",
     [](const edge_request&, engine::yield) -> engine::answer { throw std::runtime_error("secret"); });
  start();
  raw_client c(port);
  c.send("GET /throw HTTP/1.1\r\nHost: a\r\n\r\n" + get_hello);
  const auto answer = c.read_answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 500 "));
  EXPECT_THAT(answer, HasSubstr("internal_error"));
  EXPECT_THAT(answer, Not(HasSubstr("secret")));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
}

TEST_F(edge_test, gives_handlers_the_request_as_sent) {
  on("GET", "/v1/models/{id}", [](const edge_request& r, engine::yield) {
    std::string s;
    for (const auto part :
         {r.method, r.path, r.query, r.param, r.pattern, r.version, r.remote, r.header("x-a")}) {
      s.append(part).append("|");
    }
    return text(s + (r.has_header("x-empty") ? "1" : "0") + (r.has_header("x-none") ? "1" : "0"));
  });
  start();
  raw_client c(port);
  c.send("GET /v1/models/a%2Fb/c?q=%20 HTTP/1.1\r\nHost: a\r\nX-A:  %41 b \r\nX-Empty:\r\n\r\n");
  EXPECT_THAT(c.read_answer(),
              EndsWith("\r\n\r\nGET|/v1/models/a%2Fb/c|q=%20|a/b/c|/v1/models/{id}|HTTP/1.1|127.0.0.1|"
                       "%41 b|10"));
}

TEST_F(edge_test, unknown_routes_and_methods) {
  start();
  raw_client c(port);
  c.send("GET /nothing HTTP/1.1\r\nHost: a\r\n\r\nPUT /hello HTTP/1.1\r\nHost: a\r\n\r\n" + get_hello);
  EXPECT_THAT(c.read_answer(), EndsWith("\r\n\r\n{\"code\":\"unknown_route\",\"path\":\"/nothing\"}"));
  const auto answer = c.read_answer();
  EXPECT_THAT(answer, StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(answer, HasSubstr("Allow: GET, HEAD, OPTIONS\r\n"));
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  c.send("POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n" + get_hello);
  const auto last = c.read_all();
  EXPECT_THAT(last, StartsWith("HTTP/1.1 404 "));
  EXPECT_THAT(last, HasSubstr("Connection: close\r\n"));
  EXPECT_THAT(last, Not(HasSubstr("200 OK")));
}

TEST_F(edge_test, answers_options_and_cross_origin_requests) {
  config.cors_origins = {"https://app.example"};
  start();
  raw_client c(port);
  const auto ask = [&](const std::string& head) {
    c.send(head + "Host: a\r\n\r\n");
    return c.read_answer();
  };
  EXPECT_THAT(ask("OPTIONS * HTTP/1.1\r\n"), StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(ask("OPTIONS /nothing HTTP/1.1\r\n"), StartsWith("HTTP/1.1 404 "));
  const auto preflight =
      ask("OPTIONS /echo HTTP/1.1\r\nOrigin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n"
          "Access-Control-Request-Headers: authorization, x-a\r\n");
  EXPECT_THAT(preflight, StartsWith("HTTP/1.1 204 "));
  EXPECT_THAT(preflight, HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n"));
  EXPECT_THAT(preflight, HasSubstr("Access-Control-Allow-Methods: POST, OPTIONS\r\n"));
  EXPECT_THAT(preflight, HasSubstr("Access-Control-Allow-Headers: authorization, x-a\r\n"));
  EXPECT_THAT(preflight, Not(HasSubstr("Content-Length")));
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nOrigin: https://app.example\r\n"),
              HasSubstr("Access-Control-Allow-Origin: https://app.example\r\n"));
  EXPECT_THAT(ask("GET /hello HTTP/1.1\r\nOrigin: https://evil.example\r\n"),
              Not(HasSubstr("Access-Control-Allow-Origin")));
}

TEST_F(edge_test, tells_anthropics_sdks_the_id_of_the_request_where_they_look) {
  const auto named = [](engine::answer a) {
    a.headers.emplace_back("x-request-id", "mine");
    return a;
  };
  on("POST", "/v1/messages", [&](const edge_request&, engine::yield) { return named(text("hi")); });
  on("DELETE", "/v1/messages", [&](const edge_request&, engine::yield) {
    auto a = named(text(R"({"type":"error","request_id":null})"));
    a.status = 404;
    return a;
  });
  on("GET", "/v1/messages",
     [&](const edge_request&, engine::yield) { return named(stream({"data: x\n\n"})); });
  on("POST", "/v1/chat/completions", [&](const edge_request&, engine::yield) { return named(text("hi")); });
  start();
  const auto ask = [this](const std::string& line) {
    raw_client c(port);
    c.send(line +
           " HTTP/1.1\r\nHost: a\r\nX-Request-Id: mine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    return c.read_all();
  };
  EXPECT_THAT(ask("POST /v1/messages"), HasSubstr("\r\nrequest-id: mine\r\n"));
  EXPECT_THAT(ask("GET /v1/messages"), HasSubstr("\r\nrequest-id: mine\r\n")) << "a stream";
  EXPECT_THAT(ask("PUT /v1/messages"), HasSubstr("\r\nrequest-id: mine\r\n")) << "a refusal of the edge";
  EXPECT_THAT(ask("POST /v1/chat/completions"), Not(HasSubstr("\r\nrequest-id:")));
  EXPECT_THAT(ask("DELETE /v1/messages"), HasSubstr("Content-Length: 36\r\n"));
  EXPECT_THAT(ask("DELETE /v1/messages"), HasSubstr(R"({"type":"error","request_id":"mine"})"));
}

TEST_F(edge_test, applies_a_new_configuration_to_later_requests) {
  start();
  raw_client c(port);
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(c.read_answer(), StartsWith("HTTP/1.1 200 "));
  config.max_body_bytes = 2;
  server->set_config(config);
  pool.on_each([](size_t) {});
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_THAT(c.read_all(), StartsWith("HTTP/1.1 413 "));
}

TEST_F(edge_test, spreads_connections_evenly) {
  std::atomic<int> first = 0, second = 0;
  on("GET", "/where", [&](const edge_request& r, engine::yield) {
    ++(r.thread == 0 ? first : second);
    return text("");
  });
  start();
  std::vector<std::unique_ptr<raw_client>> clients;
  for (int i = 0; i < 16; ++i) {
    clients.push_back(std::make_unique<raw_client>(port));
    clients.back()->send("GET /where HTTP/1.1\r\nHost: a\r\n\r\n");
    clients.back()->read_answer();
  }
  EXPECT_EQ(first, 8);
  EXPECT_EQ(second, 8);
}

}  // namespace
}  // namespace millrace::http
