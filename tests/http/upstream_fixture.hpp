#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/spawn.hpp>
#include <boost/asio/ssl.hpp>

#include "http/upstream_client.hpp"

namespace millrace::http {

using engine::upstream_failure;
using namespace std::chrono_literals;

std::ostream& print(std::ostream& out, upstream_failure f);

/// The server's side of one connection, as its script sees it.
class peer {
 public:
  peer(boost::asio::io_context& io, int number) : socket_(io), number_(number) {}

  int number() const { return number_; }  ///< of the connection, from 1
  boost::asio::ip::tcp::socket& socket() { return socket_; }
  engine::yield& y() { return *y_; }

  bool start_tls(boost::asio::ssl::context& context);
  bool session_reused();
  /// One request with its Content-Length body, whole; empty when the client closed.
  std::string read_request();
  std::string read_some();
  /// False when the client is gone.
  bool write(std::string_view data);
  /// Reads until the client closes.
  void wait_closed();
  void pause(engine::duration d);
  void close();
  void reset();  ///< RST instead of FIN

 private:
  friend class test_server;
  boost::asio::ip::tcp::socket socket_;
  std::optional<boost::asio::ssl::stream<boost::asio::ip::tcp::socket&>> tls_;
  std::string buffer_;
  int number_;
  engine::yield* y_ = nullptr;
};

/// Accepts on a loopback port of its own and runs the script for each connection; closes it after the script.
/// When destroyed it closes everything and waits for its scripts, so that they may use what was declared
/// before it.
class test_server {
 public:
  using script = std::function<void(peer&)>;
  test_server(boost::asio::io_context& io, script s, const std::string& address = "127.0.0.1",
              std::uint16_t port = 0);
  ~test_server();
  test_server(const test_server&) = delete;
  test_server& operator=(const test_server&) = delete;

  std::uint16_t port() const { return port_; }
  int accepted() const { return accepted_; }
  void stop();

 private:
  void accept();

  boost::asio::io_context& io_;
  boost::asio::ip::tcp::acceptor acceptor_;
  script script_;
  std::uint16_t port_;
  int accepted_ = 0;
  int running_ = 0;
  std::vector<std::weak_ptr<peer>> peers_;
};

/// A listening socket whose queue is full: connecting to it neither succeeds nor fails.
class deaf_server {
 public:
  explicit deaf_server(boost::asio::io_context& io, const std::string& address = "127.0.0.1",
                       std::uint16_t port = 0);
  std::uint16_t port() const { return acceptor_.local_endpoint().port(); }

 private:
  boost::asio::ip::tcp::acceptor acceptor_;
  std::vector<boost::asio::ip::tcp::socket> fillers_;
};

/// A self-signed certificate made for the test, and where its PEM file lies.
class test_certificate {
 public:
  /// `names` in OpenSSL's form: "DNS:localhost,IP:127.0.0.1".
  explicit test_certificate(const std::string& names);
  ~test_certificate();
  const std::string& file() const { return file_; }
  boost::asio::ssl::context& server_context() { return context_; }

 private:
  std::string file_;
  boost::asio::ssl::context context_;
};

struct call {
  upstream_failure connect = upstream_failure::none;
  upstream_failure send = upstream_failure::none;
  upstream_failure read = upstream_failure::none;
  bool stale = false;
  engine::upstream_head head;
  std::string body;
  size_t longest_read = 0;
};

/// One I/O thread's worth of world: servers, one client, and a coroutine that uses it.
class upstream_test : public ::testing::Test {
 protected:
  void TearDown() override;

  test_server serve(test_server::script s, const std::string& address = "127.0.0.1", std::uint16_t port = 0) {
    return {io, std::move(s), address, port};
  }
  upstream_client& client();
  /// For `client()`; to be changed before its first use.
  upstream_options options;

  /// Runs `body` as a coroutine until it ends, or fails the test.
  void run(const std::function<void(engine::yield)>& body);

  engine::provider_config provider(std::uint16_t port, const std::string& host = "127.0.0.1",
                                   bool tls = false);
  static engine::time_point in(engine::duration d) { return engine::clock::now() + d; }
  static engine::upstream_request post(std::string_view body = "{}", std::string_view target = "/v1/x");

  /// Connect, send and read to the end, with generous deadlines.
  call exchange(const engine::provider_config& p, engine::yield y, const engine::upstream_request& r = post(),
                bool fresh = false);
  static void read_all(engine::upstream_exchange& e, call& c, engine::yield y);
  /// Waits, in turns of the loop, until `done`.
  void wait_until(const std::function<bool()>& done, engine::yield y);
  /// Lets time pass: for what the kernel has still to deliver, and for what must not happen.
  void settle(engine::yield y, engine::duration d = 20ms);

  boost::asio::io_context io;
  engine::cancellation gone;

 private:
  std::unique_ptr<upstream_client> client_;
};

inline constexpr std::string_view ok_answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers every request on every connection.
void answer_all(peer& p);

}  // namespace millrace::http

namespace millrace::engine {
inline std::ostream& operator<<(std::ostream& out, upstream_failure f) {
  return http::print(out, f);
}
}  // namespace millrace::engine
