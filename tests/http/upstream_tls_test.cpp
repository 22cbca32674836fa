#include <sstream>

#include <gmock/gmock.h>

#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

class upstream_tls_test : public upstream_test {
 protected:
  void SetUp() override { options.tls = make_tls_context(certificate.file()); }

  test_server serve_tls(test_server::script s) {
    return serve([this, s](peer& p) {
      if (p.start_tls(certificate.server_context())) s(p);
    });
  }

  test_certificate certificate{"DNS:localhost,DNS:provider.test,IP:127.0.0.1"};
};

TEST_F(upstream_tls_test, calls_a_trusted_host_and_reuses_the_connection) {
  const std::string body = std::string(100000, 'b');
  auto s = serve_tls([&](peer& p) {
    EXPECT_TRUE(p.read_request().ends_with(body));
    p.write(ok_answer);
    EXPECT_TRUE(p.read_request().ends_with("{}"));
    p.write(ok_answer);
    p.wait_closed();
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y, post(body)).body, "ok");
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).body, "ok");
  });
  EXPECT_EQ(s.accepted(), 1);
  EXPECT_EQ(client().counters().reused, 1);
}

/// Their buffers are given back while they wait; nothing of them may go with those.
TEST_F(upstream_tls_test, event_streams_with_pauses_are_read_whole_in_clear_and_not) {
  std::string events;
  std::vector<std::string> chunks;
  for (size_t i = 0; i < 60; ++i) {
    const std::string event = "data: " + std::string(i * 37, 'e') + "\n\n";
    events += event;
    std::ostringstream chunk;
    chunk << std::hex << event.size() << "\r\n" << event << "\r\n";
    chunks.push_back(chunk.str());
  }
  const auto script = [&](peer& p) {
    while (!p.read_request().empty()) {
      p.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
      for (size_t i = 0; i < chunks.size(); ++i) {
        p.write(chunks[i].substr(0, i % 7));
        p.pause(1ms);
        p.write(chunks[i].substr(i % 7));
        p.pause(1ms);
      }
      p.write("0\r\n\r\n");
    }
  };
  auto clear = serve(script);
  auto secret = serve_tls(script);
  run([&](engine::yield y) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(exchange(provider(clear.port()), y).body, events);
      EXPECT_EQ(exchange(provider(secret.port(), "localhost", true), y).body, events);
    }
  });
  EXPECT_EQ(client().counters().reused, 2);
}

TEST_F(upstream_tls_test, names_the_host_and_http_1_1_in_its_hello) {
  std::string name;
  std::string protocol;
  SSL_CTX_set_alpn_select_cb(
      certificate.server_context().native_handle(),
      [](SSL*, const unsigned char** out, unsigned char* length, const unsigned char* in, unsigned int size,
         void* to) {
        static_cast<std::string*>(to)->assign(reinterpret_cast<const char*>(in), size);
        *out = in + 1;
        *length = in[0];
        return SSL_TLSEXT_ERR_OK;
      },
      &protocol);
  SSL_CTX_set_tlsext_servername_callback(
      certificate.server_context().native_handle(), +[](SSL* ssl, int*, void* to) {
        const char* n = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
        *static_cast<std::string*>(to) = n == nullptr ? "" : n;
        return SSL_TLSEXT_ERR_OK;
      });
  SSL_CTX_set_tlsext_servername_arg(certificate.server_context().native_handle(), &name);
  auto s = serve_tls(answer_all);
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).body, "ok");
    EXPECT_EQ(name, "localhost");
    EXPECT_EQ(exchange(provider(s.port(), "127.0.0.1", true), y).body, "ok");
    EXPECT_EQ(name, "") << "RFC 6066 knows no addresses";
  });
  EXPECT_EQ(protocol, "\x08http/1.1");
}

TEST_F(upstream_tls_test, refuses_an_untrusted_certificate) {
  options.tls = make_tls_context();
  auto s = serve_tls(answer_all);
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).connect, upstream_failure::tls);
  });
  EXPECT_EQ(client().counters().open, 0);
}

TEST_F(upstream_tls_test, refuses_a_certificate_for_another_host) {
  options.lookup = [this](const std::string&, std::function<void(const address_list&)> done) {
    boost::asio::post(io, [done] { done({boost::asio::ip::make_address("127.0.0.1")}); });
  };
  auto s = serve_tls(answer_all);
  auto v2 = serve([this](peer& p) { p.start_tls(certificate.server_context()); }, "127.0.0.2", s.port());
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "provider.test", true), y).body, "ok");
    EXPECT_EQ(exchange(provider(s.port(), "other.test", true), y).connect, upstream_failure::tls);
    EXPECT_EQ(exchange(provider(s.port(), "sub.provider.test", true), y).connect, upstream_failure::tls);
    EXPECT_EQ(exchange(provider(v2.port(), "127.0.0.2", true), y).connect, upstream_failure::tls);
  });
}

TEST_F(upstream_tls_test, refuses_old_protocols_and_what_is_not_tls) {
  SSL_CTX_set_security_level(certificate.server_context().native_handle(), 0);
  SSL_CTX_set_max_proto_version(certificate.server_context().native_handle(), TLS1_1_VERSION);
  auto old = serve_tls(answer_all);
  auto plain = serve([](peer& p) {
    p.write("HTTP/1.1 400 Bad Request\r\n\r\n");
    p.wait_closed();
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(old.port(), "localhost", true), y).connect, upstream_failure::tls);
    EXPECT_EQ(exchange(provider(plain.port(), "localhost", true), y).connect, upstream_failure::tls);
  });
}

TEST_F(upstream_tls_test, resumes_the_session_of_a_host) {
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    SSL_CTX_set_max_proto_version(certificate.server_context().native_handle(), version);
    std::vector<bool> resumed;
    auto s = serve_tls([&](peer& p) {
      resumed.push_back(p.session_reused());
      answer_all(p);
    });
    run([&](engine::yield y) {
      for (int i = 0; i < 2; ++i) {
        EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y, post(), true).body, "ok");
      }
    });
    EXPECT_EQ(resumed, (std::vector<bool>{false, true}));
  }
}

TEST_F(upstream_tls_test, resumes_the_session_of_a_connection_that_is_closed) {
  for (const int version : {TLS1_3_VERSION, TLS1_2_VERSION}) {
    SSL_CTX_set_max_proto_version(certificate.server_context().native_handle(), version);
    std::vector<bool> resumed;
    auto s = serve_tls([&](peer& p) {
      resumed.push_back(p.session_reused());
      p.read_request();
      p.write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
      p.wait_closed();
    });
    run([&](engine::yield y) {
      for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).body, "ok");
        EXPECT_EQ(client().counters().open, 0);
      }
    });
    EXPECT_EQ(resumed, (std::vector<bool>{false, true, true}));
  }
}

TEST_F(upstream_tls_test, an_end_without_a_goodbye_is_a_reset) {
  auto s = serve_tls([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\n\r\nno length, so a cut cannot be seen otherwise");
    p.close();
  });
  run([&](engine::yield y) {
    const call c = exchange(provider(s.port(), "localhost", true), y);
    EXPECT_EQ(c.send, upstream_failure::none);
    EXPECT_EQ(c.read, upstream_failure::reset);
  });
}

TEST_F(upstream_tls_test, a_closed_idle_connection_is_not_used) {
  int closed = 0;
  auto s = serve_tls([&](peer& p) {
    p.read_request();
    p.write(ok_answer);
    p.close();
    ++closed;
  });
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).body, "ok");
    wait_until([&] { return closed == 1; }, y);
    settle(y);
    EXPECT_EQ(exchange(provider(s.port(), "localhost", true), y).body, "ok");
  });
  EXPECT_EQ(client().counters().reused, 0);
}

TEST_F(upstream_tls_test, large_transfers_wait_in_both_directions) {
  const std::string body(4 << 20, 'b');
  auto s = serve_tls([&](peer& p) {
    p.pause(20ms);
    EXPECT_TRUE(p.read_request().ends_with(body));
    p.write("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    p.wait_closed();
  });
  run([&](engine::yield y) {
    const call c = exchange(provider(s.port(), "localhost", true), y, post(body));
    EXPECT_TRUE(c.body == body);
  });
}

}  // namespace millrace::http
