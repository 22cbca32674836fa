#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "http/simulator/provider.hpp"
#include "http/simulator/request_reader.hpp"

namespace millrace::http::simulation {

/// One client's connection: reads requests, asks the provider, and does what the reply says. Callbacks on one
/// thread; what is waited for keeps it alive. A read is always under way (unless the client pipelines too
/// much), so that the client's close is noticed whatever else is waited for.
class connection : public std::enable_shared_from_this<connection> {
 public:
  connection(boost::asio::ip::tcp::socket socket, provider& answers, stats_book& stats);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  void start();

 private:
  /// Output is handed to the kernel in pieces of about this size; more is not made before the client took
  /// that.
  static constexpr size_t batch_bytes = size_t{64} * 1024;
  static constexpr size_t drip_bytes = 16;

  enum class phase : std::uint8_t {
    reading,    ///< between requests
    waiting,    ///< the first byte of the answer is not due
    dripping,   ///< the bytes of the answer go out few by few
    streaming,  ///< events are made as they are due
    draining,   ///< the answer is complete once the client took it
    stalled,    ///< on purpose
    closing,    ///< after what is still to be written
    closed,
  };

  void run();
  bool step();
  bool take_request();
  void begin_reply();
  bool drip();
  void continue_reply();
  bool stream_some();
  void break_off_stream();
  void finish_reply(reply::ending then);

  void start_read();
  void wait_until(engine::time_point when);
  bool flush();
  void refuse(request_reader::result why);
  void client_gone();
  void account(outcome how);
  void close();
  void reset();

  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  provider& provider_;
  stats_book& stats_;
  request_reader reader_;
  http_request request_;
  reply reply_;
  std::string out_;  ///< to be written, from out_at_
  size_t out_at_ = 0;
  size_t dripped_ = 0;  ///< of the reply's bytes
  engine::time_point stream_start_{};
  phase phase_ = phase::reading;
  bool reading_ = false;  ///< a read is under way
  bool writing_ = false;  ///< waiting until the kernel takes more
  bool timing_ = false;   ///< the timer is running
};

}  // namespace millrace::http::simulation
