#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/config.hpp"
#include "engine/time.hpp"

/// How the provider simulator behaves, and how that is written down.
namespace millrace::http {

/// What can go wrong with an answer on purpose.
enum class fault_kind : std::uint8_t {
  none,
  status,        ///< an error answer; argument: the status, 400..599
  quota,         ///< 429 that speaks of an exhausted quota (`insufficient_quota`), without a retry hint
  reset,         ///< the connection is reset (RST) instead of an answer
  stall,         ///< never answers
  stall_stream,  ///< stops after `argument` events and keeps the connection
  cut,           ///< closes after `argument` events; a plain answer ends in the middle of its body
  content_type,  ///< 200 with an HTML page
  truncate,      ///< closes in the middle of a body whose content-length promises more; streams: like cut
  error_event,   ///< an error event after `argument` events, then a proper end without [DONE]; plain: 500
  slow_head,     ///< drips the head, 16 bytes each `argument` microseconds
  slow,          ///< `argument` microseconds later than usual
  pause,         ///< a stream that says nothing for `argument` microseconds after its first event
};

/// One fault with its chance. Copies share the count of `times`.
struct simulated_fault {
  fault_kind kind = fault_kind::none;
  std::int64_t argument = 0;
  double probability = 1;  ///< 0..1, drawn per request from the seed and the request's number
  /// Where set: only the first so many requests that draw this fault suffer it.
  std::shared_ptr<std::atomic<std::int64_t>> times;
  std::int64_t times_configured = -1;  ///< as written; -1: no such bound
};

/// Time to the first byte of an answer.
struct latency_model {
  enum class shape : std::uint8_t { fixed, uniform, lognormal };
  shape kind = shape::fixed;
  engine::duration low{};   ///< fixed: the value; uniform: the least; lognormal: the median
  engine::duration high{};  ///< uniform: the greatest
  double sigma = 0;         ///< lognormal: standard deviation of the logarithm
};

/// What one model does; there is one for all models and there may be others by name.
struct model_behaviour {
  latency_model latency;
  double tokens_per_second = 0;  ///< 0: as fast as the connection takes them
  std::int64_t tokens =
      32;                  ///< length of an answer, cut by the request's own maximum; 0: exactly that maximum
  std::string say;         ///< said instead of an echo and words, whatever is asked; empty: nothing
  double probability = 0;  ///< of every token, told as OpenAI's logprobs; 0: none are told
  bool stamp = false;      ///< each filler token is the time it was written: " t" and CLOCK_MONOTONIC in us
  bool usage = true;       ///< OpenAI's chat and completions tell what was used; some that speak it do not
  std::int64_t context = 0;  ///< most tokens of prompt and answer together; 0: no bound
  std::string refuse;        ///< a word in the prompt that is against the provider's policy; empty: none
  std::vector<simulated_fault> faults;  ///< tried in order; the first that strikes counts
};

/// Limits of one API key in any 60 s; engine::unlimited where there is none.
struct simulated_limits {
  std::int64_t rpm = engine::unlimited;
  std::int64_t tpm = engine::unlimited;
  std::int64_t tpm_input = engine::unlimited;   ///< input tokens alone, as Anthropic limits them
  std::int64_t tpm_output = engine::unlimited;  ///< output tokens alone
};

/// Everything that may change while a simulator runs.
struct simulator_settings {
  model_behaviour behaviour;
  std::map<std::string, model_behaviour, std::less<>> models;  ///< by model name, instead of `behaviour`
  simulated_limits limits;                                     ///< of every key that is not in `keys`
  std::map<std::string, simulated_limits, std::less<>> keys;
  std::vector<std::string> require_keys;  ///< empty: any key and none will do; otherwise the others get 401
  std::uint64_t seed = 1;                 ///< of every draw
};

/// Longest text a setting may have said, in bytes.
inline constexpr size_t max_said_bytes = 65'536;
/// Longest answer a setting may ask for, in tokens.
inline constexpr std::int64_t max_simulated_tokens = 100'000;
/// Largest context.
inline constexpr std::int64_t max_simulated_context = 1'000'000'000;

/// `250us`, `50ms`, `1.5s`, `2m`, `1h`. Throws std::invalid_argument that says what is wrong.
engine::duration parse_simulated_duration(std::string_view text);

/// `50ms` (fixed), `20ms-80ms` (uniform), `50ms~0.5` (lognormal: median ~ sigma). Throws
/// std::invalid_argument.
latency_model parse_latency(std::string_view text);

/// KIND[=ARGUMENT][:PROBABILITY | :xTIMES], kinds with dashes: `status=500:0.1`, `quota`, `reset`, `stall`,
/// `stall-stream=3`, `cut=3`, `content-type`, `truncate`, `error-event=2`, `slow-head=50ms`, `slow=5s:x2`,
/// `pause=200ms`.
/// Throws std::invalid_argument.
simulated_fault parse_fault(std::string_view text);

/// The fault that a model name itself asks for: `fault-` and a status (`fault-500`), `html` (`fault-html`) or
/// anything parse_fault takes (`fault-reset`, `fault-cut=2:0.5`). Returns kind none for every other name.
simulated_fault fault_of_model_name(std::string_view model);

/// `NAME:key=value,...` into settings.models; keys latency, tokens_per_second, tokens, say, probability,
/// stamp, usage, context, refuse, fault (repeatable). What is not said is as in settings.behaviour at this
/// moment. Throws std::invalid_argument.
void apply_model_option(simulator_settings& settings, std::string_view text);

/// `NAME:rpm=N,tpm=N,tpm_input=N,tpm_output=N` into settings.keys. Throws std::invalid_argument.
void apply_key_option(simulator_settings& settings, std::string_view text);

/// Changes what the JSON object names and leaves the rest: latency, tokens_per_second, tokens, say,
/// probability, stamp, usage, context, refuse, faults, rpm, tpm, tpm_input, tpm_output (0: unlimited),
/// require_keys, seed, models {name: {...} | null}, keys {name: {rpm, tpm, tpm_input, tpm_output} | null}.
/// Throws std::invalid_argument, also for unknown members; `settings` is unchanged then.
void apply_settings_json(simulator_settings& settings, std::string_view json);

/// The same form, complete.
std::string to_json(const simulator_settings& settings);

}  // namespace millrace::http
