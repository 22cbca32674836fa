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

/// A provider to test against, on threads of its own, speaking four providers' HTTP APIs at once:
///
///   OpenAI     POST /v1/chat/completions, /v1/responses, /v1/completions, /v1/embeddings; GET /v1/models,
///              /v1/models/{id}
///   Azure      POST /openai/deployments/{name}/chat/completions, .../completions, .../embeddings,
///              /openai/responses, all with ?api-version=
///   Anthropic  POST /v1/messages, /v1/messages/count_tokens; GET /v1/models with `anthropic-version`
///   Gemini     POST /v1beta/models/{model}:generateContent, :streamGenerateContent (?alt=sse, or an array),
///              :embedContent, :batchEmbedContents; GET /v1beta/models
///   itself     GET /stats      per API key what arrived, in exact sliding windows, and the tokens billed, by
///                              model; DELETE /stats starts it anew
///              GET /control    the settings; POST /control changes them while it runs
///
/// A request that the real API would refuse is refused as it would: unknown members, roles and blocks, values
/// out of range, tool calls without results and results without calls, empty contents, broken base64, and
/// what else is known of each. Keys are taken from each API's own header. Limits, latencies and faults are
/// the same for all, in each one's shapes; Gemini tells neither limits nor hints in headers, and Azure -1
/// where there is no limit.
///
/// Answers depend on the request alone, but for caching. A text answer is `echo H: ` and the first 64
/// characters of the last user message (or of the prompt), then filler words; H is the CRC-32 (8 hex digits)
/// of the raw bytes of the value of `messages` (`input`, `prompt`, `contents`), so that a test can tell that
/// an answer belongs to its question and that no byte was changed. A tool is called when `tools` is there and
/// either `tool_choice` demands it or the last message is the user's and says "use the tool"; all of them (at
/// most 16) when it also says "parallel" and nothing forbids that. Equal texts have equally many tokens in
/// every dialect, counted by http/token_estimate.hpp. Model names that start with `fault-` ask for trouble,
/// see fault_of_model_name.
///
/// Thinking takes 12 tokens, where `thinking`, `thinkingConfig`, `reasoning_effort` or `reasoning` ask for
/// it. Signatures and encrypted contents that come back must be the simulator's own and fit their thoughts.
/// Responses are not kept, as if every `previous_response_id` were wrong; but thoughts whose request did not
/// say `store: false` may come back by their ids.
///
/// What was prompted once is cached, for all keys: up to a `cache_control` of Anthropic's, whatever its
/// length; in the other dialects for the same model from 1024 tokens on, in steps of 128.
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
