#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/coroutine.hpp"
#include "engine/header_list.hpp"

namespace millrace::engine {

/// Tells everything done for one request that its client is gone (or the node gives it up). One I/O thread
/// only. Whoever waits registers a hook for as long as it waits; hooks run inside `cancel()` and must not
/// throw.
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
  /// Idempotent. Hooks may unregister themselves or others while it runs.
  void cancel();

 private:
  bool cancelled_ = false;
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
