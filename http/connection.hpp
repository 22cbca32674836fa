#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/chunked.hpp"
#include "http/client_socket.hpp"
#include "http/edge_thread.hpp"
#include "http/guard.hpp"

namespace millrace::http {

/// One client connection: a coroutine that reads, judges, serves and answers request after request. Lives on
/// one I/O thread; its coroutine owns it.
class connection : public list_hook {
 public:
  /// `refuse`: only tells the client that the server is full.
  connection(edge_thread& thread, tcp_socket socket, std::string remote, bool refuse);
  ~connection();
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  /// The coroutine's body. Returns when the connection is closed and no operation on it is under way.
  void run(const engine::yield& y);

  /// Ends what is beyond its deadline. Never resumes the coroutine in place.
  void check(engine::time_point now) { socket_.check(now); }
  /// Closes soon when idle. Never resumes the coroutine in place.
  void drain();
  /// Cancels the request, whose answer then tells why, and closes; may resume coroutines.
  void cut();
  /// It only tells the client that the server is full.
  bool refused() const { return refuse_; }

 private:
  class output;

  /// What is known of the current request. The strings keep their memory from one request to the next.
  struct incoming {
    std::string head_bytes;
    std::vector<header_field> fields;
    request_head head;
    const http::route* route = nullptr;         ///< once the head is whole
    std::optional<engine::time_point> arrived;  ///< its first byte, where it did not come whole
    std::string param;
    std::string body;
    std::int64_t counted_bytes = 0;  ///< of `body`, in the thread's counter
    std::int64_t remaining = 0;      ///< of a body with a length
    chunk_decoder chunks{0};
    std::optional<fault> wrong;                          ///< with the body
    engine::time_point due = engine::time_point::max();  ///< the client wants no answer to a later body
  };

  void converse(const engine::yield& y);
  bool serve_one(const engine::yield& y);
  bool read_head(const engine::yield& y);
  bool find_route(const engine::yield& y);
  bool read_body(const engine::yield& y);
  bool await_body(const engine::yield& y);
  bool admit(const engine::yield& y);
  bool answer_unread(engine::answer a, const engine::yield& y);
  bool invite_body(const engine::yield& y);
  bool wait_for_body(const engine::yield& y);
  bool take_body();
  bool count_body();
  bool serve(const engine::yield& y);
  edge_request request();
  edge_request head_alone();
  engine::answer handle(const engine::yield& y);
  bool answer_options(std::string_view allow, const engine::yield& y);
  bool refuse(const fault& f, const engine::yield& y, bool keep = false, std::string_view allow = {});
  std::string given_request_id() const;
  engine::answer error_answer(const fault& f, engine::time_point received, engine::duration upload);
  void report(std::string_view id, int status, std::string_view code, engine::time_point received,
              engine::duration upload) const;
  void report_left();
  void report_not_taken(const engine::answer& a) const;
  std::string_view comment_for(const engine::answer& a, bool old) const;
  void settle_down(engine::answer& a);
  bool write_answer(engine::answer& a, const engine::yield& y);
  void drop_body();
  void forget_request();

  edge_thread& thread_;
  const void* stack_ = nullptr;  ///< of the coroutine, its outermost part
  client_socket socket_;
  const std::string remote_;
  const bool refuse_;
  bool idle_ = true;        ///< between requests
  bool newcomer_ = true;    ///< no request has come yet
  bool linger_ = false;     ///< the client may still be sending what it was refused
  bool half_sent_ = false;  ///< the rest of a head or body is awaited
  bool asking_ = false;     ///< waits for what a handler or its stream has to say, not for the client
  head_guard guard_;
  incoming in_;
  std::shared_ptr<const engine::http_config> config_;  ///< of the current request
  std::optional<engine::cancellation> gone_;           ///< of the current request
};

/// What handlers answer to a request that was cancelled.
inline constexpr int client_gone = 499;

/// To whom the rest of a request is not awaited any longer.
inline constexpr fault node_stops{
    refusal::drain_timeout,
    "this node stops and could not wait for the rest of the request; send it again, or to another node"};

/// Empties it, and gives back memory that is too much to be kept for the next request.
void clear_bulk(std::string& s);

}  // namespace millrace::http
