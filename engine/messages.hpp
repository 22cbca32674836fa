#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/money.hpp"
#include "engine/names.hpp"
#include "engine/time.hpp"

/// What the deciding actors say to each other. Everything here is a plain value: it survives the wire, and
/// times are ages or remaining durations, never readings of a node's clock. The `inspect` functions are found
/// by the actor library's serialisers; nothing here depends on it.
namespace millrace::engine {

/// Tokens as a provider's limit counts them. Providers with one TPM limit count the sum.
struct token_count {
  std::int64_t input = 0;
  std::int64_t output = 0;
  std::int64_t total() const { return input + output; }
  bool operator==(const token_count&) const = default;
};
inline token_count operator+(const token_count& a, const token_count& b) {
  return {a.input + b.input, a.output + b.output};
}
inline token_count operator-(const token_count& a, const token_count& b) {
  return {a.input - b.input, a.output - b.output};
}
template <class Inspector>
auto inspect(Inspector& f, token_count& x) {
  return f(x.input, x.output);
}

// --- dispatcher <-> key: permits are leased in chunks
// -----------------------------------------------------------

/// A node's demand for permits of one key. The newest request of a node replaces its older one; `permits ==
/// 0` withdraws it. The key answers with a grant as soon as it can give at least `head`; it may take its
/// time.
struct lease_request {
  std::string node;
  std::int64_t permits = 0;  ///< wanted in all, waiting requests plus what the node would like to hold ready
  token_count tokens;        ///< the same in tokens
  std::int64_t waiting = 0;  ///< of `permits`, how many are for requests that wait now
  token_count head;    ///< tokens of the first waiting request: a grant below one permit and this is useless
  std::string target;  ///< target of the first waiting request, for cooldowns per model; "" = any
};
template <class Inspector>
auto inspect(Inspector& f, lease_request& x) {
  return f(x.node, x.permits, x.tokens, x.waiting, x.head, x.target);
}

/// Permits a node may use during `life`, reckoned from the moment the grant was *asked for* or received,
/// whichever the node can prove to be earlier; the key counts them as used at the end of that life until it
/// hears better.
struct lease_grant {
  std::uint64_t lease = 0;
  std::int64_t permits = 0;
  token_count tokens;
  duration life{};
  bool probe = false;  ///< one permit to find out whether a quarantined key works again
};
template <class Inspector>
auto inspect(Inspector& f, lease_grant& x) {
  return f(x.lease, x.permits, x.tokens, x.life, x.probe);
}

/// Part of a lease that was used `age` ago (one or several requests).
struct lease_use {
  std::uint64_t lease = 0;
  duration age{};
  std::int64_t permits = 0;
  token_count tokens;
};
template <class Inspector>
auto inspect(Inspector& f, lease_use& x) {
  return f(x.lease, x.age, x.permits, x.tokens);
}

/// Part of a lease handed back unused.
struct lease_return {
  std::uint64_t lease = 0;
  std::int64_t permits = 0;
  token_count tokens;
};
template <class Inspector>
auto inspect(Inspector& f, lease_return& x) {
  return f(x.lease, x.permits, x.tokens);
}

/// What a provider's answer said about the key's limits. -1: not said. Tokens are told as one sum, or input
/// and output apart.
struct limit_hint {
  std::int64_t limit_requests = -1;
  std::int64_t remaining_requests = -1;
  std::int64_t limit_tokens = -1;
  std::int64_t remaining_tokens = -1;
  duration reset_requests{};
  duration reset_tokens{};
  token_count limit_apart{-1, -1};
  token_count remaining_apart{-1, -1};
  duration reset_input{};  ///< resets: until the limit is whole again; 0: not said
  duration reset_output{};
  /// Nothing that a key could heed.
  bool empty() const {
    return std::max({limit_requests, remaining_requests, limit_tokens, remaining_tokens, limit_apart.input,
                     limit_apart.output, remaining_apart.input, remaining_apart.output}) < 0;
  }
};
template <class Inspector>
auto inspect(Inspector& f, limit_hint& x) {
  return f(x.limit_requests, x.remaining_requests, x.limit_tokens, x.remaining_tokens, x.reset_requests,
           x.reset_tokens, x.limit_apart, x.remaining_apart, x.reset_input, x.reset_output);
}

enum class key_event_kind : std::uint8_t {
  ok = 1,        ///< the key was accepted; ends a probe well
  rate_limited,  ///< 429: cool down for this target
  unauthorized,  ///< 401 or 403
  no_credit,     ///< 402, or a body that speaks of credit or billing
};

struct key_event {
  key_event_kind kind = key_event_kind::ok;
  std::string target;      ///< "<provider>/<model>"
  duration retry_after{};  ///< what the provider asked for; 0: nothing
};
template <class Inspector>
auto inspect(Inspector& f, key_event& x) {
  return f(x.kind, x.target, x.retry_after);
}

/// Everything a node has to tell a key since the last report.
struct lease_report {
  std::string node;
  std::vector<lease_use> used;
  std::vector<lease_return> returned;
  std::int64_t finished = 0;  ///< calls that ended: frees concurrency
  token_count debt;           ///< used beyond the reservation
  std::vector<limit_hint> hints;
  std::vector<key_event> events;
};
template <class Inspector>
auto inspect(Inspector& f, lease_report& x) {
  return f(x.node, x.used, x.returned, x.finished, x.debt, x.hints, x.events);
}

struct cooldown {
  std::string target;
  duration remaining{};
  bool operator==(const cooldown&) const = default;
};
template <class Inspector>
auto inspect(Inspector& f, cooldown& x) {
  return f(x.target, x.remaining);
}

enum class quarantine_reason : std::uint8_t { none = 1, unauthorized, no_credit };

constexpr std::string_view to_string(quarantine_reason r) {
  switch (r) {
    case quarantine_reason::none:
      return "none";
    case quarantine_reason::unauthorized:
      return "unauthorized";
    case quarantine_reason::no_credit:
      return "no_credit";
  }
  return "";
}

/// What a key tells the nodes that lease from it whenever it changes, and with each grant.
struct key_notice {
  std::string key;  ///< "key/<provider>/<id>"
  std::vector<cooldown> cooldowns;
  quarantine_reason quarantine = quarantine_reason::none;
  duration probe_in{};       ///< with a quarantine: when the next probe may go
  double used_fraction = 0;  ///< of the tightest limit, 0..1
  duration next_permit{};    ///< an honest guess when a permit will be free; 0: now
  /// About how far apart permits come for those of the node who wait; 0: nobody does, or nothing paces them.
  duration apart{};
  duration spent_for{};  ///< until its day's limit has room again; 0: it has
  std::int64_t in_flight = 0;
};
template <class Inspector>
auto inspect(Inspector& f, key_notice& x) {
  return f(x.key, x.cooldowns, x.quarantine, x.probe_in, x.used_fraction, x.next_permit, x.apart, x.spent_for,
           x.in_flight);
}

// --- dispatcher <-> breaker
// ------------------------------------------------------------------------------------

enum class breaker_state : std::uint8_t { closed = 1, open, half_open };

/// Outcomes of calls to one target. Failures are reported at once, successes in batches.
struct breaker_report {
  std::string node;
  std::int64_t successes = 0;
  std::int64_t failures = 0;
  bool probe = false;         ///< the outcome is a probe's
  bool probe_unused = false;  ///< the probe was granted but never sent
};
template <class Inspector>
auto inspect(Inspector& f, breaker_report& x) {
  return f(x.node, x.successes, x.failures, x.probe, x.probe_unused);
}

struct breaker_notice {
  std::string target;  ///< "breaker/<provider>/<model>"
  breaker_state state = breaker_state::closed;
  duration retry_in{};  ///< while open: until a probe may go
  int consecutive_failures = 0;
};
template <class Inspector>
auto inspect(Inspector& f, breaker_notice& x) {
  return f(x.target, x.state, x.retry_in, x.consecutive_failures);
}

// --- request coroutines <-> their node's dispatcher (never leaves the node)
// ---------------------------------------

/// Names one request for as long as it deals with the dispatcher. Unique in the process.
using ticket = std::uint64_t;

/// Requests for which one permit is as good as another: see `acquire_request::spares`.
struct spare_class {
  std::uint64_t config_version = 0;
  name_id model = no_name;
  name_id client = no_name;
  std::uint8_t strategy = 0xff;
  bool private_only = false;
  bool operator==(const spare_class&) const = default;
};

/// Why a provider would not take a request that another model may take.
enum class refusal_reason : std::uint8_t {
  none,
  context,  ///< it is too long for the model
  content,  ///< the provider's content policy forbids it
};

/// "Who may I call now?" Asked once per upstream attempt.
/// A key that told this very request 429: the request is not to call that target with it before `until`;
/// time_point::max(): never again.
struct key_rest {
  name_id key = no_name;
  name_id target = no_name;
  time_point until{};
};

struct acquire_request {
  ticket id = 0;
  std::uint64_t config_version = 0;
  name_id model = no_name;
  name_id client = no_name;
  name_id tenant = no_name;
  std::uint8_t queue = 1;        ///< queue_class
  std::uint8_t strategy = 0xff;  ///< strategy override; 0xff: the model's own
  bool private_only = false;
  std::uint64_t affinity = 0;     ///< weighted choices are made with this number; 0: at random
  bool first = true;              ///< first attempt of this request: the client's own limits are charged
  std::uint8_t route = 0;         ///< route_kind, for the client's limit on each
  std::int64_t input_tokens = 0;  ///< estimate
  std::int64_t max_output_tokens = -1;  ///< -1: not said; the learned p95 is reserved
  std::int64_t images = 0;              ///< in the input
  token_prices wildcard;                ///< of a target that has no model of its own
  duration patience{};                  ///< how long it may wait for a permit
  std::vector<name_id> tried;           ///< targets already called, in order; avoided unless `retry_tried`
  std::vector<name_id> tried_keys;      ///< keys that refused this request (401, 402): never again for it
  std::vector<key_rest> rests;          ///< one for each 429 of this request
  std::vector<name_id> barred;          ///< targets that cannot serve this request at all
  bool retry_tried = false;
  /// The model refused, and those are asked that stand in for it in such a case.
  refusal_reason refused = refusal_reason::none;
  /// Nothing is to be called: the request is only counted against its client's own limit of requests.
  bool only_count = false;
  /// How many more requests like this one the asker would take permits for, ahead of need. They are granted
  /// only out of plenty, each as a reply of its own with `spare` set, under the tickets that begin with
  /// `first_spare`.
  std::uint8_t spares = 0;
  ticket first_spare = 0;
};

enum class verdict : std::uint8_t {
  granted = 1,
  client_limited,  ///< the client's own limits of requests or tokens: 429
  no_permit,       ///< no permit before `patience` ran out: 429
  too_large,       ///< needs more tokens than any candidate's limit ever allows
  breakers_open,   ///< every candidate's breaker is open: 503
  keys_unusable,   ///< every candidate's keys are quarantined: 503
  queue_full,      ///< max_waiting reached: 503
  no_candidate,    ///< nothing left to try
  over_budget,     ///< of the client's key or its tenant: 402
};

/// Which budget it is that has not enough left.
enum class budget_kind : std::uint8_t { none, key_day, key_month, tenant_day, tenant_month };

/// State of one client limit after this request. limit < 0: none configured.
struct client_window {
  std::int64_t limit = -1;
  std::int64_t remaining = 0;
  duration reset{};  ///< until the window is empty again
};

struct acquire_reply {
  ticket id = 0;
  engine::verdict verdict = verdict::no_candidate;
  name_id target = no_name;  ///< of the granted target
  size_t model = 0;          ///< index of the model the target belongs to (a fallback's, perhaps)
  size_t target_index = 0;   ///< index into that model's targets
  name_id key = no_name;
  duration valid_for{};  ///< the request must be written within this time, or given back with `unused`
  token_count reserved;
  /// See `target_stats`: when a call has been silent for long; 0: not learned.
  duration p95_first_token{};
  duration p95_first_byte{};
  bool probe = false;
  bool fallback = false;  ///< not the model's own first choice
  duration waited{};
  duration retry_after{};                  ///< for refusals; over_budget: until the budget begins anew
  budget_kind budget = budget_kind::none;  ///< of over_budget
  client_window client_requests;
  client_window client_tokens;
  bool spare = false;  ///< nobody waits for it: it is for any later request of its class
  engine::spare_class spare_class;
  std::int64_t context_tokens = 0;  ///< spare: of the target's model; 0: not known
  bool tokens_limited = false;  ///< spare: its key has a token limit, so `reserved` must cover the request
};

/// The permit was used just now.
struct sent_report {
  ticket id = 0;
  duration age{};
};

/// How an attempt ended, as far as the decisions care.
enum class attempt_outcome : std::uint8_t {
  ok = 1,        ///< a proper answer, also 4xx that is the client's own fault
  rate_limited,  ///< 429
  unauthorized,  ///< 401, 403
  no_credit,     ///< 402 or the like
  failed,        ///< 5xx, reset, cut, connect failure, wrong content: the breaker counts it
  timed_out,     ///< first byte or a gap: the breaker counts it
  out_of_time,   ///< total or the caller's deadline: nobody's fault, unless it was a probe that heard nothing
  cancelled,     ///< the client went away
  unused,        ///< the permit was never used
};

/// Ends an attempt. After it the ticket may acquire again.
struct settlement {
  ticket id = 0;
  attempt_outcome outcome = attempt_outcome::ok;
  token_count used;  ///< real usage; zero when unknown
  bool usage_known = false;
  duration first_token{};  ///< 0: none seen
  duration first_byte{};   ///< of a plain answer; 0: none seen
  duration total{};
  duration retry_after{};
  limit_hint hint;
  bool probe = false;           ///< of a call that was a probe
  money cost;                   ///< what it cost, as far as is known or reckoned
  bool billed_nothing = false;  ///< the provider refused the request: it used no tokens, whatever is unknown
};

}  // namespace millrace::engine
