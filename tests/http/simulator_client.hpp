#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <nlohmann/json.hpp>

#include "http/simulator/simulator.hpp"

/// What the tests of the simulator share: a blocking client and a fixture.
namespace millrace::http::simulator_tests {

using nlohmann::json;
namespace asio = boost::asio;

struct answer {
  int status = 0;
  std::map<std::string, std::string> headers;
  std::string body;       ///< as far as it came
  bool complete = false;  ///< the framing's end was seen
  json parsed() const { return json::parse(body); }
};

class client {
 public:
  explicit client(std::uint16_t port) {
    socket_.connect({asio::ip::address_v4::loopback(), port});
    timeval limit{.tv_sec = 10, .tv_usec = 0};
    setsockopt(socket_.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }

  void write(const std::string& bytes) { asio::write(socket_, asio::buffer(bytes)); }
  void close() { socket_.close(); }
  /// False at the end of the connection, however it came; `reset` tells.
  bool read_more() {
    char bytes[4096];
    boost::system::error_code error;
    const size_t n = socket_.read_some(asio::buffer(bytes), error);
    reset = error == asio::error::connection_reset;
    buffer_.append(bytes, n);
    return !error;
  }

  /// False where the connection ends before `text` has come.
  bool reads(const std::string& text) {
    while (buffer_.find(text) == std::string::npos)
      if (!read_more()) return false;
    return true;
  }

  answer read() {
    answer a;
    size_t end;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!read_more()) return a;
    size_t at = buffer_.find("\r\n");
    a.status = std::stoi(buffer_.substr(9, 3));
    while (at < end) {
      const size_t next = buffer_.find("\r\n", at + 2);
      const std::string line = buffer_.substr(at + 2, next - at - 2);
      a.headers[line.substr(0, line.find(':'))] = line.substr(line.find(": ") + 2);
      at = next;
    }
    buffer_.erase(0, end + 4);
    if (a.headers.contains("transfer-encoding"))
      read_chunks(a);
    else
      read_length(a);
    return a;
  }

  bool reset = false;

 private:
  void read_length(answer& a) {
    const size_t length = std::stoul(a.headers.at("content-length"));
    while (buffer_.size() < length && read_more()) {
    }
    a.complete = buffer_.size() >= length;
    a.body = buffer_.substr(0, length);
    buffer_.erase(0, a.body.size());
  }
  void read_chunks(answer& a) {
    for (;;) {
      size_t line;
      while ((line = buffer_.find("\r\n")) == std::string::npos)
        if (!read_more()) return;
      const size_t size = std::stoul(buffer_.substr(0, line), nullptr, 16);
      while (buffer_.size() < line + 2 + size + 2)
        if (!read_more()) return;
      a.body += buffer_.substr(line + 2, size);
      buffer_.erase(0, line + 2 + size + 2);
      if (size == 0) {
        a.complete = true;
        return;
      }
    }
  }

  asio::io_context io_;
  asio::ip::tcp::socket socket_{io_};
  std::string buffer_;
};

inline std::string post(const std::string& path, const std::string& body, const std::string& key = "k1") {
  return "POST " + path + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + key +
         "\r\nContent-Type: application/json\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

inline const std::string chat_path = "/v1/chat/completions";

inline json chat(const std::string& text, const std::string& model = "gpt-4o-mini") {
  return {
      {"model", model},
      {"messages", {{{"role", "system"}, {"content", "be brief"}}, {{"role", "user"}, {"content", text}}}}};
}

inline json with(json object, const std::string& name, json value) {
  object[name] = std::move(value);
  return object;
}

/// The data of every event; the last is "[DONE]" if it came.
inline std::vector<std::string> events(const std::string& body) {
  std::vector<std::string> out;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    EXPECT_EQ(body.substr(at, 6), "data: ");
    out.push_back(body.substr(at + 6, end - at - 6));
    at = end + 2;
  }
  return out;
}

/// The data of every event, whose name must be its type.
inline std::vector<json> named_events(const std::string& body) {
  std::vector<json> out;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    const size_t line = body.find('\n', at);
    EXPECT_EQ(body.substr(at, 7), "event: ");
    EXPECT_EQ(body.substr(line + 1, 6), "data: ");
    out.push_back(json::parse(body.substr(line + 7, end - line - 7)));
    EXPECT_EQ(out.back()["type"], body.substr(at + 7, line - at - 7));
    at = end + 2;
  }
  return out;
}

class Simulator : public testing::Test {
 protected:
  void start(const std::string& settings = "{}") {
    simulator_options options;
    apply_settings_json(options.settings, settings);
    provider_.emplace(options);
    port_ = provider_->start();
  }
  answer ask(const json& body, const std::string& key = "k1", const std::string& path = chat_path) {
    client c(port_);
    c.write(post(path, body.dump(), key));
    return c.read();
  }
  json stats(const std::string& key = "k1") { return json::parse(provider_->stats())["keys"][key]; }
  /// Polls; the simulator learns of a client's close on its own thread. Bounded by the test's timeout.
  void until(const std::function<bool()>& holds) {
    while (!holds()) std::this_thread::yield();
  }

  std::optional<simulator> provider_;
  std::uint16_t port_ = 0;
};

}  // namespace millrace::http::simulator_tests
