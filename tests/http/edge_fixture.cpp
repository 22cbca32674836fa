#include <utility>

#include "tests/http/edge_fixture.hpp"

#include <chrono>
#include <thread>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/wake_point.hpp"

namespace millrace::http {

raw_client::raw_client(std::uint16_t port, int receive_buffer) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
  timeval bound{10, 0};
  setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
  setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &bound, sizeof bound);
  if (receive_buffer > 0) setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    ADD_FAILURE() << "no connection";
}

raw_client::~raw_client() {
  close();
}

void raw_client::send(std::string_view bytes) {
  while (!bytes.empty()) {
    const auto n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (n <= 0) return;  // A server that refuses may close before it has read everything.
    bytes.remove_prefix(static_cast<size_t>(n));
  }
}

bool raw_client::receive() {
  char buffer[16384];
  const auto n = ::recv(socket_, buffer, sizeof buffer, 0);
  if (n < 0 && errno != ECONNRESET) ADD_FAILURE() << "nothing received in time";
  was_reset_ = n < 0;
  if (n > 0) received_.append(buffer, static_cast<size_t>(n));
  return n > 0;
}

std::string raw_client::read_until(std::string_view text) {
  auto at = received_.find(text);
  while (at == std::string::npos) {
    if (!receive()) {
      ADD_FAILURE() << "closed before \"" << text << "\" came; received: " << received_;
      return {};
    }
    at = received_.find(text);
  }
  auto result = received_.substr(0, at + text.size());
  received_.erase(0, result.size());
  return result;
}

std::string raw_client::read_answer() {
  auto answer = read_until("\r\n\r\n");
  const auto at = answer.find("Content-Length: ");
  if (at == std::string::npos) return answer;
  const auto length = std::stoul(answer.substr(at + 16));
  while (received_.size() < length && receive()) {
  }
  answer += received_.substr(0, length);
  received_.erase(0, length);
  return answer;
}

std::string raw_client::read_all(bool* reset) {
  while (receive()) {
  }
  if (reset != nullptr) *reset = was_reset_;
  return std::exchange(received_, {});
}

bool raw_client::silent(int milliseconds) const {
  pollfd p{socket_, POLLIN, 0};
  return received_.empty() && ::poll(&p, 1, milliseconds) == 0;
}

void raw_client::shutdown() {
  ::shutdown(socket_, SHUT_WR);
}

void raw_client::close() {
  if (socket_ >= 0) ::close(std::exchange(socket_, -1));
}

void raw_client::reset() {
  const linger now{1, 0};
  setsockopt(socket_, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  close();
}

void edge_test::start() {
  on("GET", "/hello", [](const edge_request&, engine::yield) { return text("hello"); });
  on("POST", "/echo", [](const edge_request& r, engine::yield) { return text(std::string(r.body)); });
  pool.start();
  const auto format = [](const engine::api_error& e, std::string_view path) {
    return "{\"code\":\"" + e.code + "\",\"path\":\"" + std::string(path) + "\"}";
  };
  server = std::make_unique<edge>(pool, routes, format, watch, config, limits);
  port = server->listen();
}

bool edge_test::eventually(const std::function<bool()>& condition) {
  const auto until = engine::clock::now() + std::chrono::seconds(10);
  while (!condition()) {
    if (engine::clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

void wait_until_gone(engine::cancellation& gone, engine::yield y) {
  wake_point wake;
  const engine::cancellation::hook hook(gone, [&] { wake.wake(); });
  while (!gone.cancelled()) wake.wait(y);
}

engine::answer text(std::string body) {
  engine::answer a;
  a.content_type = "text/plain";
  a.body = std::move(body);
  return a;
}

}  // namespace millrace::http
