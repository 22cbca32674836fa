#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

#include "engine/exchange.hpp"
#include "http/edge_thread.hpp"
#include "http/input_buffer.hpp"
#include "http/wake_point.hpp"

namespace millrace::http {

/// The socket of one client with buffers and deadlines. One coroutine uses it; beside it a read is under way,
/// so that a vanished client is noticed whatever the coroutine waits for: within a request's handler from the
/// thread's next look at the latest. Input beyond `read_ahead_bytes` stays in the kernel; then a hang-up is
/// asked for at each look instead.
class client_socket : public list_hook {
 public:
  client_socket(edge_thread& thread, tcp_socket socket);

  // --- reading
  /// What came in and was not consumed yet.
  input_buffer& input() { return input_; }
  /// Whether something came in that nobody has read, from the kernel or from us.
  bool has_input();
  /// Waits for more input, or the deadline. False: there will be none (see `expired`).
  bool wait_for_input(const engine::yield& y, size_t want = input_buffer::least_room);

  // --- deadline of `wait_for_input`; a write has its own
  void set_deadline(engine::time_point t);
  void clear_deadline() { set_deadline(engine::time_point::max()); }
  bool expired() const { return expired_; }
  /// Lets it pass at `t`, if that is earlier.
  void hasten(engine::time_point t) { deadline_ = std::min(deadline_, t); }

  /// Before the wait for the next request: lets all that is ready on this thread run first. Under load the
  /// request is there by then, and one look at the socket finds it.
  void pass_turn(const engine::yield& y);

  // --- a request that is cancelled when the client disappears
  /// `gone` must live until `end_request` returned.
  void begin_request(engine::cancellation& gone);
  void end_request(const engine::yield& y);
  /// Within a request: nothing but a hang-up is expected for long. Gives back memory until something comes.
  void expect_nothing();

  // --- writing: gathered, and written when there is much or when asked
  /// False: the client cannot be reached any more.
  bool send(std::string_view bytes, const engine::yield& y);
  bool flush(const engine::yield& y);
  /// After a write that failed: why.
  std::string_view loss() const { return stalled_ ? "stalled" : closing_ ? "drain_timeout" : "client_gone"; }

  // --- a stream that waits for its next bytes, with everything before them flushed
  /// Until `end_silence`, `comment` is written whenever `interval` passed without a byte. A client that has
  /// not taken what was written before gets none; when it takes nothing for `write_stall`, it is cut as if a
  /// write had stalled. `comment` must live until `end_silence`, which comes before anything else is sent.
  void begin_silence(std::string_view comment, engine::duration interval);
  void end_silence() { comment_ = {}; }

  // --- the end
  /// Ends our side and waits, dropping input, until the client has ended its own or the linger time is over.
  /// So it sees the answer: closing with unread input would reset the connection.
  void linger(const engine::yield& y);
  /// Closes at once with a reset: what was sent cannot pass for complete.
  void reset();
  /// Closes, and waits until no operation is under way.
  void close(const engine::yield& y);
  bool usable() const { return !closing_ && !peer_gone_ && !broken_; }

  // --- called by the thread, from outside the coroutine
  /// Expires the deadline, or breaks the silence. Never resumes the coroutine in place.
  void check(engine::time_point now);
  /// The deadline, whatever it is, has passed. Never resumes the coroutine in place.
  void expire();
  /// Makes the coroutine stop waiting for input for good. Never resumes it in place.
  void stop_waiting();
  /// Begins the read of a request that lasts, or looks for a hang-up behind unread input; may resume
  /// coroutines.
  void look();
  /// Cancels the request and resets the connection; may resume coroutines.
  void abort(engine::cancel_cause why = engine::cancel_cause::client_gone);
  /// Cancels the request alone; may resume coroutines.
  void cancel_request(engine::cancel_cause why);

 private:
  void arm_read(size_t want);
  void on_read(const boost::system::error_code& ec, size_t n);
  void peer_disappeared();
  void break_silence(engine::time_point now);
  bool reader_takes(engine::time_point now);
  bool write_all(std::string_view first, std::string_view second, const engine::yield& y);
  bool wait_until_writable(const engine::yield& y);

  edge_thread& thread_;
  tcp_socket socket_;
  wake_point wake_;
  input_buffer input_;
  std::string output_;
  engine::cancellation* request_ = nullptr;
  engine::time_point deadline_ = engine::time_point::max();
  std::string_view comment_;  ///< empty: no stream waits
  engine::duration comment_interval_{};
  engine::time_point comment_due_;
  engine::time_point untaken_since_;  ///< the kernel has held `untaken_bytes_` since then
  int untaken_bytes_ = 0;
  bool expired_ = false;
  bool reading_ = false;  ///< a read is under way
  bool expects_nothing_ = false;
  bool peer_gone_ = false;  ///< end of input, or an error
  bool closing_ = false;    ///< no input is wanted any more
  bool broken_ = false;     ///< a write failed
  bool stalled_ = false;    ///< because nothing was taken
  bool waiting_to_write_ = false;
  bool cancelling_ = false;  ///< the request's hooks run
};

}  // namespace millrace::http
