#pragma once

#include <random>
#include <utility>

#include <boost/asio/io_context.hpp>

#include "engine/ports.hpp"

namespace millrace::http {

/// The time of one I/O thread's requests. Used on that thread only.
class io_clock final : public engine::clock_port {
 public:
  explicit io_clock(boost::asio::io_context& io) : io_(io), random_(std::random_device{}()) {}

  engine::time_point now() const override { return engine::clock::now(); }
  engine::wall_time wall() const override {
    return std::chrono::time_point_cast<std::chrono::milliseconds>(std::chrono::system_clock::now());
  }
  double random() override { return std::uniform_real_distribution<double>(0, 1)(random_); }
  bool sleep(engine::duration d, engine::cancellation& gone, engine::yield y) override;

 private:
  boost::asio::io_context& io_;
  std::mt19937_64 random_;
};

}  // namespace millrace::http
