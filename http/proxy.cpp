#include "http/proxy.hpp"

#include <algorithm>
#include <charconv>
#include <stdexcept>
#include <utility>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>

#include "http/base64.hpp"

namespace millrace::http {

namespace {

namespace ip = boost::asio::ip;

std::string lower(std::string_view s) {
  std::string out(s);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool from_hex(std::string_view digits, char& out) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
  out = static_cast<char>(value);
  return error == std::errc() && end == digits.data() + digits.size();
}

std::string percent_decoded(std::string_view s) {
  std::string out;
  for (size_t i = 0; i < s.size(); ++i) {
    char c = s[i];
    if (c == '%' && i + 2 < s.size() && from_hex(s.substr(i + 1, 2), c)) i += 2;
    out += c;
  }
  return out;
}

std::string base64(std::string_view s) {
  std::string out;
  base64_encode(s, out);
  return out;
}

/// Splits "host[:port]"; an empty host or a bad port is refused.
bool split_authority(std::string_view s, proxy_endpoint& out) {
  const size_t bracket = s.rfind(']');
  const size_t colon = s.rfind(':');
  out.port = 80;
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const std::string_view digits = s.substr(colon + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.port);
    if (error != std::errc() || end != digits.data() + digits.size() || out.port == 0) return false;
    s = s.substr(0, colon);
  }
  out.host = without_brackets(s);
  return !out.host.empty();
}

/// [http://][user[:password]@]host[:port][/]
std::optional<proxy_endpoint> parse_proxy(std::string_view url) {
  if (const size_t scheme = url.find("://"); scheme != std::string_view::npos) {
    if (lower(url.substr(0, scheme)) != "http") return std::nullopt;
    url.remove_prefix(scheme + 3);
  }
  url = url.substr(0, url.find('/'));
  proxy_endpoint out;
  if (const size_t at = url.rfind('@'); at != std::string_view::npos) {
    const std::string_view user = url.substr(0, at);
    const size_t colon = user.find(':');
    const std::string_view password = colon == std::string_view::npos ? "" : user.substr(colon + 1);
    out.authorization =
        "Basic " + base64(percent_decoded(user.substr(0, colon)) + ":" + percent_decoded(password));
    url.remove_prefix(at + 1);
  }
  if (!split_authority(url, out)) return std::nullopt;
  return out;
}

/// The first of the two variables that is set and not empty.
std::pair<std::string, std::string> read_variable(const engine::environment& env, const char* small,
                                                  const char* large) {
  for (const char* name : {small, large}) {
    if (auto value = env(name); value && !value->empty()) return {name, *value};
  }
  return {};
}

std::optional<proxy_endpoint> read_proxy(const engine::environment& env, const char* small,
                                         const char* large) {
  const auto [name, value] = read_variable(env, small, large);
  if (value.empty()) return std::nullopt;
  auto out = parse_proxy(value);
  if (!out)
    throw std::invalid_argument(name + " is not a proxy of the form http://[user:password@]host[:port]");
  out->variable = name;
  return out;
}

bool in_network(const ip::address& address, const std::string& network) {
  boost::system::error_code error;
  if (address.is_v4()) {
    const auto n = ip::make_network_v4(network, error);
    return !error && ip::network_v4(address.to_v4(), n.prefix_length()).canonical() == n.canonical();
  }
  const auto n = ip::make_network_v6(network, error);
  return !error && ip::network_v6(address.to_v6(), n.prefix_length()).canonical() == n.canonical();
}

bool is_domain_or_subdomain(std::string_view host, std::string_view domain) {
  if (host == domain) return true;
  return host.size() > domain.size() && host.ends_with(domain) &&
         host[host.size() - domain.size() - 1] == '.';
}

}  // namespace

proxy_settings::proxy_settings(const engine::environment& env) {
  if (!env) return;
  plain_ = read_proxy(env, "http_proxy", "HTTP_PROXY");
  tls_ = read_proxy(env, "https_proxy", "HTTPS_PROXY");
  const std::string list = lower(read_variable(env, "no_proxy", "NO_PROXY").second);
  for (size_t begin = 0; begin < list.size();) {
    const size_t end = std::min(list.find_first_of(", \t", begin), list.size());
    std::string_view entry = std::string_view(list).substr(begin, end - begin);
    while (entry.starts_with('.')) entry.remove_prefix(1);
    if (!entry.empty()) no_proxy_.emplace_back(without_brackets(entry));
    begin = end + 1;
  }
}

const proxy_endpoint* proxy_settings::find(std::string_view host, bool tls) const {
  const auto& proxy = tls ? tls_ : plain_;
  return proxy && !exempt(host) ? &*proxy : nullptr;
}

bool proxy_settings::exempt(std::string_view host) const {
  std::string name = lower(without_brackets(host));
  if (name.ends_with('.')) name.pop_back();
  boost::system::error_code not_literal;
  const auto address = ip::make_address(name, not_literal);
  return std::any_of(no_proxy_.begin(), no_proxy_.end(), [&](const std::string& entry) {
    if (entry == "*") return true;
    if (not_literal) return is_domain_or_subdomain(name, entry);
    if (entry.find('/') != std::string::npos) return in_network(address, entry);
    boost::system::error_code error;
    return ip::make_address(entry, error) == address && !error;
  });
}

std::string proxy_trouble(const proxy_endpoint& proxy, engine::upstream_failure failure) {
  using engine::upstream_failure;
  const std::string named = "The proxy of " + proxy.variable;
  switch (failure) {
    case upstream_failure::resolve:
      return "The host name of the proxy of " + proxy.variable +
             " could not be resolved. Check the variable and the name service.";
    case upstream_failure::connect:
      return named + " could not be reached. Check the variable and the network, or try again later.";
    case upstream_failure::timeout:
      return "The way to the provider through the proxy of " + proxy.variable +
             " took too long. Check the proxy and the network, or try again later.";
    case upstream_failure::tls:
      return "No trusted TLS connection to the provider could be made through the proxy of " +
             proxy.variable +
             ". Check the certificate that comes through it and the system's certificate store.";
    case upstream_failure::reset:
      return named + " closed the connection instead of opening a tunnel. Check the proxy and the variable.";
    case upstream_failure::protocol:
      return named + " does not answer as an HTTP proxy does. Check the variable's host and port.";
    case upstream_failure::none:
    case upstream_failure::head_too_large:
    case upstream_failure::too_large:
    case upstream_failure::cancelled:
      break;
  }
  return {};
}

std::string proxy_refusal(const proxy_endpoint& proxy, int status) {
  const std::string answered = "The proxy of " + proxy.variable + " answered " + std::to_string(status);
  if (status == 407) return answered + ". Check its user and password.";
  return answered + " instead of opening a tunnel. Check that it may and can reach the provider.";
}

std::string_view without_brackets(std::string_view host) {
  return host.starts_with('[') && host.ends_with(']') ? host.substr(1, host.size() - 2) : host;
}

std::string authority_of(std::string_view host, std::uint16_t port) {
  const std::string name(without_brackets(host));
  const bool v6 = name.find(':') != std::string::npos;
  return (v6 ? "[" + name + "]" : name) + ":" + std::to_string(port);
}

}  // namespace millrace::http
