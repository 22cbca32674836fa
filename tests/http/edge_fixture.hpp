#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "http/edge.hpp"
#include "http/io_pool.hpp"

namespace millrace::http {

/// A client that sends and receives raw bytes over a loopback socket. Every wait is bounded by ten seconds.
class raw_client {
 public:
  explicit raw_client(std::uint16_t port, int receive_buffer = 0);
  ~raw_client();
  raw_client(const raw_client&) = delete;
  raw_client& operator=(const raw_client&) = delete;

  void send(std::string_view bytes);
  /// Reads until `text` was received; returns everything up to and with it. Empty, and a failure, at the end.
  std::string read_until(std::string_view text);
  /// Reads one answer with a Content-Length; returns head and body.
  std::string read_answer();
  /// Reads until the server closes. `reset`: whether it did so by a reset.
  std::string read_all(bool* reset = nullptr);
  /// True when nothing can be read, waiting for it `milliseconds` at most: the pace of a slow sender.
  bool silent(int milliseconds) const;
  void shutdown();
  void close();
  /// Closes with a reset.
  void reset();

 private:
  bool receive();

  int socket_;
  std::string received_;
  bool was_reset_ = false;
};

/// A stream that gives `pieces` and counts what was taken.
class piece_stream : public engine::answer_stream {
 public:
  piece_stream(std::vector<std::string> pieces, bool broken = false)
      : pieces_(std::move(pieces)), broken_(broken) {}
  bool read(std::string& out, engine::yield) override {
    if (next_ == pieces_.size()) return false;
    out += pieces_[next_++];
    return true;
  }
  bool broken() const override { return broken_; }

 private:
  std::vector<std::string> pieces_;
  bool broken_;
  size_t next_ = 0;
};

/// What an edge reported about the requests that it refused.
class refusal_recorder : public engine::observer {
 public:
  struct line {
    std::string id, method, route, code;
    int status;
    bool client_gone;
    engine::duration total, overhead;
  };
  void request_done(const engine::request_record& r) override {
    const std::lock_guard lock(mutex_);
    lines_.push_back({std::string(r.id), std::string(r.method), std::string(r.route),
                      std::string(r.error_code), r.status, r.client_gone, r.total, r.overhead});
  }
  void attempt_done(const engine::attempt_record&) override {}
  std::vector<line> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<line> lines_;
};

/// An edge on port 0 with a few routes.
class edge_test : public ::testing::Test {
 protected:
  void SetUp() override {
    config.port = 0;
    limits.check = std::chrono::milliseconds(50);
    limits.linger = std::chrono::milliseconds(300);
  }
  void TearDown() override {
    server.reset();
    pool.stop();
  }

  /// Adds a route; only before `start`.
  void on(const char* method, const char* pattern, handler h, admission admit = {}) {
    routes.push_back({method, pattern, std::move(h), std::move(admit)});
  }
  void start();
  /// Polls until `condition` holds; false after ten seconds.
  static bool eventually(const std::function<bool()>& condition);
  std::int64_t refused(refusal r) const { return server->statistics().refused[static_cast<size_t>(r)]; }

  engine::http_config config;
  edge_limits limits;
  std::vector<route> routes;
  refusal_recorder watch;
  io_pool pool{2};
  std::unique_ptr<edge> server;
  std::uint16_t port = 0;
};

/// Suspends the coroutine until `gone` fires.
void wait_until_gone(engine::cancellation& gone, engine::yield y);

engine::answer text(std::string body);

}  // namespace millrace::http
