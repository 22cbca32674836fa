#include <map>

#include <gmock/gmock.h>

#include "http/proxy.hpp"
#include "tests/http/upstream_fixture.hpp"

namespace millrace::http {

using ::testing::HasSubstr;
using ::testing::Not;

namespace {

engine::environment variables(std::map<std::string, std::string> v) {
  return [v = std::move(v)](const std::string& name) -> std::optional<std::string> {
    const auto found = v.find(name);
    if (found == v.end()) return std::nullopt;
    return found->second;
  };
}

}  // namespace

TEST(proxy_settings_test, reads_each_form_of_a_proxy) {
  struct {
    std::string url, host;
    std::uint16_t port;
    std::string authorization;
  } const cases[] = {
      {"http://proxy.test:3128", "proxy.test", 3128, ""},
      {"http://proxy.test:3128/", "proxy.test", 3128, ""},
      {"HTTP://proxy.test", "proxy.test", 80, ""},
      {"proxy.test:8080", "proxy.test", 8080, ""},
      {"http://[::1]:3128", "::1", 3128, ""},
      {"http://user:p%40ss%3A@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjpwQHNzOg=="},
      {"http://user@proxy.test:3128", "proxy.test", 3128, "Basic dXNlcjo="},
  };
  for (const auto& c : cases) {
    const proxy_settings s(variables({{"https_proxy", c.url}}));
    const auto* p = s.find("api.test", true);
    ASSERT_NE(p, nullptr) << c.url;
    EXPECT_EQ(p->host, c.host) << c.url;
    EXPECT_EQ(p->port, c.port) << c.url;
    EXPECT_EQ(p->authorization, c.authorization) << c.url;
    EXPECT_EQ(s.find("api.test", false), nullptr) << "only for TLS";
  }
}

TEST(proxy_settings_test, refuses_others_without_telling_the_secret) {
  for (const std::string bad :
       {"socks5://u:secret@h:1", "http://u:secret@h:99999", "http://u:secret@", "http://u:secret@h:x"}) {
    try {
      proxy_settings s(variables({{"HTTPS_PROXY", bad}}));
      ADD_FAILURE() << bad;
    } catch (const std::invalid_argument& e) {
      EXPECT_THAT(e.what(), HasSubstr("HTTPS_PROXY"));
      EXPECT_THAT(e.what(), Not(HasSubstr("secret")));
    }
  }
}

TEST(proxy_settings_test, small_letters_win_and_empty_is_unset) {
  const proxy_settings s(variables({{"http_proxy", "small.test"},
                                    {"HTTP_PROXY", "large.test"},
                                    {"https_proxy", ""},
                                    {"HTTPS_PROXY", "tls.test"}}));
  EXPECT_EQ(s.find("a", false)->host, "small.test");
  EXPECT_EQ(s.find("a", true)->host, "tls.test");
  EXPECT_EQ(proxy_settings(variables({})).find("a", true), nullptr);
  EXPECT_EQ(proxy_settings(nullptr).find("a", true), nullptr);
}

TEST(proxy_settings_test, no_proxy_exempts_hosts_domains_addresses_and_networks) {
  const auto proxied = [](const std::string& list, const std::string& host) {
    return proxy_settings(variables({{"http_proxy", "p:1"}, {"NO_PROXY", list}})).find(host, false) !=
           nullptr;
  };
  EXPECT_TRUE(proxied("", "localhost")) << "as curl does";
  EXPECT_TRUE(proxied("other.test", "127.0.0.1"));
  EXPECT_FALSE(proxied("*", "api.test"));
  EXPECT_FALSE(proxied("x, Api.Test ,y", "api.TEST"));
  EXPECT_FALSE(proxied("test", "api.test"));
  EXPECT_FALSE(proxied(".api.test", "api.test"));
  EXPECT_FALSE(proxied("api.test", "eu.api.test"));
  EXPECT_FALSE(proxied("api.test", "api.test."));
  EXPECT_TRUE(proxied("api.test", "myapi.test")) << "a label is whole";
  EXPECT_TRUE(proxied("eu.api.test", "api.test"));
  EXPECT_FALSE(proxied("a 127.0.0.1", "127.0.0.1"));
  EXPECT_TRUE(proxied("27.0.0.1", "127.0.0.1"));
  EXPECT_FALSE(proxied("127.0.0.0/8", "127.9.9.9"));
  EXPECT_TRUE(proxied("10.0.0.0/8", "11.0.0.1"));
  EXPECT_FALSE(proxied("[::1]", "::1"));
  EXPECT_FALSE(proxied("::1", "[0:0::1]"));
  EXPECT_FALSE(proxied("fd00::/8", "fd12::1"));
  EXPECT_TRUE(proxied("fd00::/8", "10.0.0.1"));
}

class upstream_proxy_test : public upstream_test {
 protected:
  void use_proxy(std::uint16_t port, const std::string& no_proxy = "") {
    const std::string url = "http://user:pass@127.0.0.1:" + std::to_string(port);
    options.environment = variables({{"http_proxy", url}, {"https_proxy", url}, {"no_proxy", no_proxy}});
    // Through a proxy the provider's name is the proxy's affair.
    options.lookup = [](const std::string& host, const std::function<void(const address_list&)>&) {
      ADD_FAILURE() << "asked for " << host;
    };
  }
};

TEST_F(upstream_proxy_test, tunnels_tls) {
  test_certificate certificate("DNS:provider.test");
  std::string connect;
  std::string request;
  auto proxy = serve([&](peer& p) {
    connect = p.read_request();
    p.write("HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
    if (!p.start_tls(certificate.server_context())) return;
    request = p.read_request();
    p.write(ok_answer);
    answer_all(p);
  });
  use_proxy(proxy.port());
  options.tls = make_tls_context(certificate.file());
  run([&](engine::yield y) {
    EXPECT_EQ(exchange(provider(443, "provider.test", true), y).body, "ok");
    EXPECT_EQ(exchange(provider(443, "provider.test", true), y).body, "ok");
  });
  EXPECT_EQ(proxy.accepted(), 1);
  EXPECT_EQ(connect,
            "CONNECT provider.test:443 HTTP/1.1\r\nhost: provider.test:443\r\n"
            "proxy-authorization: Basic dXNlcjpwYXNz\r\n\r\n");
  EXPECT_THAT(request, HasSubstr("POST /v1/x HTTP/1.1\r\nhost: provider.test\r\n"));
  EXPECT_THAT(request, Not(HasSubstr("proxy-authorization")));
}

TEST_F(upstream_proxy_test, a_refusal_is_a_connect_failure) {
  const std::pair<std::string, const char*> cases[] = {
      {"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
       "answered 407. Check its user"},
      {"HTTP/1.1 502 Bad Gateway\r\n\r\n", "answered 502 instead"},
      {"gibberish\r\n\r\n", "does not answer as an HTTP proxy does"},
      {"HTTP/1.1 200 OK\r\nX: " + std::string(70000, 'x'), "does not answer as an HTTP proxy does"},
      {"HTTP/1.1 200 OK\r\n\r\nearly", "does not answer as an HTTP proxy does"},
      {"", "closed the connection"}};
  for (const auto& c : cases) {
    const std::string& answer = c.first;
    const char* const told = c.second;
    auto proxy = serve([&](peer& p) {
      p.read_request();
      p.write(answer);
    });
    use_proxy(proxy.port());
    upstream_client own(io, options);
    run([&](engine::yield y) {
      std::unique_ptr<engine::upstream_exchange> e;
      std::string why;
      EXPECT_EQ(own.connect(provider(443, "provider.test", true), in(10s), false, gone, e, y, &why),
                upstream_failure::connect)
          << answer;
      EXPECT_THAT(why, ::testing::AllOf(HasSubstr("The proxy of https_proxy "), HasSubstr(told)));
      EXPECT_THAT(why, Not(HasSubstr("pass@")));
    });
  }
}

TEST_F(upstream_proxy_test, what_fails_before_and_behind_the_proxy_names_it_too) {
  std::uint16_t closed = 0;
  {
    auto nobody = serve(answer_all);
    closed = nobody.port();
    nobody.stop();
  }
  auto mute = serve([](peer& p) { p.wait_closed(); });
  auto no_tls = serve([](peer& p) {
    p.read_request();
    p.write("HTTP/1.1 200 OK\r\n\r\n");
    p.read_some();
    p.write("no TLS");
  });
  const std::tuple<std::uint16_t, upstream_failure, const char*> cases[] = {
      {closed, upstream_failure::connect, "could not be reached"},
      {mute.port(), upstream_failure::timeout, "took too long"},
      {no_tls.port(), upstream_failure::tls, "No trusted TLS connection"}};
  for (const auto& [port, failure, told] : cases) {
    use_proxy(port);
    upstream_client own(io, options);
    run([&, failure = failure, told = told](engine::yield y) {
      std::unique_ptr<engine::upstream_exchange> e;
      std::string why;
      const auto patience = failure == upstream_failure::timeout ? in(20ms) : in(10s);
      EXPECT_EQ(own.connect(provider(443, "provider.test", true), patience, false, gone, e, y, &why),
                failure);
      EXPECT_THAT(why, ::testing::AllOf(HasSubstr("proxy of https_proxy"), HasSubstr(told)));
    });
  }
}

TEST_F(upstream_proxy_test, forwards_plain_http) {
  std::string request;
  auto proxy = serve([&](peer& p) {
    request = p.read_request();
    p.write(ok_answer);
    p.wait_closed();
  });
  use_proxy(proxy.port());
  run([&](engine::yield y) { EXPECT_EQ(exchange(provider(8000, "provider.test"), y).body, "ok"); });
  EXPECT_THAT(request,
              HasSubstr("POST http://provider.test:8000/v1/x HTTP/1.1\r\nhost: provider.test:8000\r\n"));
  EXPECT_THAT(request, HasSubstr("\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n"));
}

TEST_F(upstream_proxy_test, no_proxy_goes_straight) {
  auto proxy = serve([](peer& p) { ADD_FAILURE() << p.read_request(); });
  auto s = serve([](peer& p) {
    EXPECT_THAT(p.read_request(), ::testing::StartsWith("POST /v1/x HTTP/1.1\r\n"));
    p.write(ok_answer);
    p.wait_closed();
  });
  use_proxy(proxy.port(), "127.0.0.0/8");
  run([&](engine::yield y) { EXPECT_EQ(exchange(provider(s.port()), y).body, "ok"); });
}

}  // namespace millrace::http
