#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coroutine.hpp"
#include "engine/header_list.hpp"

namespace millrace::engine {

/// Why a request is given up before its end.
enum class cancel_cause : std::uint8_t {
  client_gone,  ///< nobody wants the answer any more
  stopping,     ///< this node ends; the client is there, and is told
};

/// Tells everything done for one request that it is given up. One I/O thread only. Whoever waits registers a
/// hook for as long as it waits; hooks run inside `cancel()` and must not throw.
class cancellation {
 public:
  class hook {
   public:
    hook(cancellation& c, std::function<void()> action);
    ~hook();
    hook(const hook&) = delete;
    hook& operator=(const hook&) = delete;

   private:
    friend class cancellation;
    cancellation& owner_;
    std::function<void()> action_;
    hook* next_ = nullptr;
    hook* previous_ = nullptr;
  };

  cancellation() = default;
  cancellation(const cancellation&) = delete;
  cancellation& operator=(const cancellation&) = delete;

  bool cancelled() const { return cancelled_; }
  bool cancelled_for(cancel_cause why) const { return cancelled_ && cause_ == why; }
  /// Of the first `cancel`.
  cancel_cause cause() const { return cause_; }
  /// Idempotent. Hooks may unregister themselves or others while it runs.
  void cancel(cancel_cause why = cancel_cause::client_gone);

 private:
  bool cancelled_ = false;
  cancel_cause cause_ = cancel_cause::client_gone;
  hook* first_ = nullptr;  ///< the oldest; linked through the hooks, so that they need no memory
  hook* last_ = nullptr;
  hook* to_call_ = nullptr;  ///< while `cancel` runs: the next one
};

/// A body that is written as it comes. Pulled by the edge: nothing is read from a provider before the client
/// took what was read before. Lives and dies on one I/O thread; destroying it early cancels what feeds it.
class answer_stream {
 public:
  virtual ~answer_stream() = default;
  /// Appends the next bytes to `out`, waiting for them if need be; false at the end (then nothing was
  /// appended).
  virtual bool read(std::string& out, yield y) = 0;
  /// After the end: true when the stream broke off, so that the connection must not be kept.
  virtual bool broken() const { return false; }
  /// The client is slow or gone; called once when the edge stops reading before the end.
  virtual void abandon() {}
};

/// What goes back to the client. Either `body` or `stream`.
struct answer {
  int status = 200;
  header_list headers;  ///< without content-length, transfer-encoding, connection, date
  std::string content_type = "application/json";
  std::string body;
  std::unique_ptr<answer_stream> stream;
  bool close = false;  ///< close the connection afterwards
  /// The stream's readers know comments, so one may tell that it is still alive. Google's SDK for Python
  /// takes a comment for an event.
  bool comments = true;
};

}  // namespace millrace::engine
