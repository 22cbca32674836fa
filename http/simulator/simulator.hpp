#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "http/simulator/settings.hpp"

namespace millrace::http {

struct simulator_options {
  std::string host = "127.0.0.1";  ///< a literal address
  std::uint16_t port = 0;          ///< 0: a free one
  unsigned threads = 1;            ///< 1..64
  simulator_settings settings;
};

/// A provider to test against, on threads of its own, speaking OpenAI's HTTP API:
///
///   POST /v1/chat/completions, /v1/completions   plain and streamed, n, usage, tool calls, JSON answers
///   POST /v1/embeddings                          vectors made from the text; float and base64
///   GET  /v1/models, /v1/models/{id}
///   GET  /stats      per API key what arrived, in exact sliding windows; DELETE /stats starts it anew
///   GET  /control    the settings; POST /control changes them while it runs
///
/// Answers depend on the request alone. A text answer is `echo H: ` and the first 64 characters of the last
/// user message (or of the prompt), then filler words; H is the CRC-32 (8 hex digits) of the raw bytes of the
/// value of `messages` (`prompt`), so that a test can tell that an answer belongs to its question and that no
/// byte was changed. A tool is called when `tools` is there and either `tool_choice` demands it or the last
/// message is the user's and says "use the tool". Model names that start with `fault-` ask for trouble, see
/// fault_of_model_name.
///
/// The client's close (also of its sending half) is noticed at once, whatever the simulator is waiting for.
/// All functions are thread-safe.
class simulator {
 public:
  explicit simulator(simulator_options options);
  /// Stops.
  ~simulator();
  simulator(const simulator&) = delete;
  simulator& operator=(const simulator&) = delete;

  /// Binds, starts the threads, returns the port. Once only. Throws std::system_error when the address is not
  /// to be had, std::invalid_argument for bad options.
  std::uint16_t start();
  /// Closes every connection and joins the threads. Idempotent.
  void stop();

  std::uint16_t port() const;

  /// Holds for every request that arrives after the return.
  void configure(const simulator_settings& settings);
  simulator_settings settings() const;
  /// What GET /stats answers.
  std::string stats() const;

 private:
  struct impl;
  std::unique_ptr<impl> impl_;
};

}  // namespace millrace::http
