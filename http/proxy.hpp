#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.hpp"
#include "engine/ports.hpp"

namespace millrace::http {

/// An HTTP proxy as named by the environment. `authorization` is a secret: it goes on the wire and nowhere
/// else.
struct proxy_endpoint {
  std::string host;  ///< without brackets
  std::uint16_t port = 0;
  std::string authorization;  ///< "Basic ..." or empty
  std::string variable;       ///< that names it: "HTTPS_PROXY"
};

/// Which proxy, if any, stands before a host. Follows curl: `https_proxy` for TLS, `http_proxy` for plain
/// HTTP, lower case before upper case, and only `no_proxy` exempts: loopback goes through the proxy as well
/// unless listed there. `no_proxy` is a list, by commas or spaces, of `*`, host names (each also covers its
/// subdomains, with or without a leading dot), IP addresses and networks (`10.0.0.0/8`). Only `http://`
/// proxies are known; without a port it is 80.
class proxy_settings {
 public:
  proxy_settings() = default;
  /// Throws std::invalid_argument naming the variable (never its value) that cannot be understood.
  explicit proxy_settings(const engine::environment& env);

  /// Null: connect directly. `host` as configured, brackets around an IPv6 address allowed.
  const proxy_endpoint* find(std::string_view host, bool tls) const;

 private:
  bool exempt(std::string_view host) const;

  std::optional<proxy_endpoint> plain_;
  std::optional<proxy_endpoint> tls_;
  std::vector<std::string> no_proxy_;  ///< lower case, without leading dots
};

/// What a client is told of a way through a proxy that failed: `protocol` when the proxy does not speak HTTP,
/// `reset` when it closes the connection. Names the variable, never its value. Empty where nothing is wrong
/// with the way.
std::string proxy_trouble(const proxy_endpoint& proxy, engine::upstream_failure failure);
/// The same of a proxy that opens no tunnel: it answered CONNECT with this status.
std::string proxy_refusal(const proxy_endpoint& proxy, int status);

/// `host` without the brackets of an IPv6 literal.
std::string_view without_brackets(std::string_view host);

/// "host:port", with brackets where the host is an IPv6 address.
std::string authority_of(std::string_view host, std::uint16_t port);

}  // namespace millrace::http
