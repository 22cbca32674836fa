#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/cache_key.hpp"
#include "engine/cached_answer.hpp"
#include "engine/config.hpp"
#include "engine/exchange.hpp"
#include "engine/messages.hpp"
#include "engine/money.hpp"
#include "engine/time.hpp"

/// What the request pipeline needs from the rest of the program. All calls happen on the request's own I/O
/// thread; a call with a `yield` may suspend the coroutine.
namespace millrace::engine {

// --- permits (implemented by actors/)
// -------------------------------------------------------------------------

class permit_port {
 public:
  virtual ~permit_port() = default;
  virtual ticket new_ticket() = 0;
  /// Waits until the dispatcher answers. A grant may come under another ticket than the request's: `reply.id`
  /// is the one to report under. Cancelled: returns `no_candidate` at once and gives back whatever arrives
  /// later.
  virtual acquire_reply acquire(const acquire_request& request, cancellation& gone, yield y) = 0;
  virtual void sent(const sent_report& report) = 0;
  virtual void settle(const settlement& s) = 0;
};

// --- upstream (implemented by http/)
// --------------------------------------------------------------------------

enum class upstream_failure : std::uint8_t {
  none,
  resolve,         ///< name lookup failed
  connect,         ///< refused, unreachable, or not within the connect timeout
  tls,             ///< handshake or certificate verification failed
  reset,           ///< the connection broke before the whole head or body was there
  timeout,         ///< the deadline given to this very call passed
  protocol,        ///< not HTTP, or a body that cannot be decoded
  too_large,       ///< body above the bound
  head_too_large,  ///< the answer's head, or all its 1xx heads together, above the bound
  cancelled,       ///< the request's cancellation fired
};

/// One request to a provider, ready to be written. Views must outlive `send`.
struct upstream_request {
  std::string_view method = "POST";
  std::string_view target;  ///< path and query
  header_list headers;      ///< without host, content-length, connection, accept-encoding
  std::string_view body;
};

struct upstream_head {
  int status = 0;
  header_list headers;  ///< names in lower case
  /// First value of `name` (lower case), or empty.
  std::string_view header(std::string_view name) const;
};

/// A connection that is ready to carry one request, then that request's answer.
/// Destroying it before the body was read to its end closes the connection; otherwise it returns to the pool.
class upstream_exchange {
 public:
  virtual ~upstream_exchange() = default;
  /// Writes the request and reads the head of the answer. `first_byte`: latest time for the head.
  virtual upstream_failure send(const upstream_request& request, time_point first_byte, upstream_head& head,
                                yield y) = 0;
  /// Replaces `out` by the next decoded bytes of the body; empty at the proper end. A connection that closes
  /// before the framing says so is `reset`. `until`: latest time for at least one byte.
  virtual upstream_failure read(std::string& out, time_point until, yield y) = 0;
  /// True when the request was written on a reused connection which failed before any byte of an answer: the
  /// call may be repeated once on a fresh connection, under a permit of its own.
  virtual bool stale() const = 0;
  /// The variable that names the proxy between here and the provider; empty: none.
  virtual std::string_view proxy_variable() const { return {}; }
};

class upstream_port {
 public:
  virtual ~upstream_port() = default;
  /// A pooled or fresh connection to the provider. `fresh` forbids a pooled one. `why`, unless null, gets
  /// what to tell of a failure where that is more than its kind says.
  virtual upstream_failure connect(const provider_config& provider, time_point until, bool fresh,
                                   cancellation& gone, std::unique_ptr<upstream_exchange>& out, yield y,
                                   std::string* why = nullptr) = 0;
};

// --- time (implemented by http/ on the thread's I/O loop)
// --------------------------------------------------------

class clock_port {
 public:
  virtual ~clock_port() = default;
  virtual time_point now() const = 0;
  virtual wall_time wall() const = 0;
  /// Uniform in [0, 1).
  virtual double random() = 0;
  /// Waits; false when cancelled first.
  virtual bool sleep(duration d, cancellation& gone, yield y) = 0;
};

// --- the request's own thread (implemented by http/ on the thread's I/O loop)
// --------------------------------------------------------

/// Work that outlives the coroutine that asks for it.
class thread_port {
 public:
  /// Destroying it takes the action back.
  class alarm {
   public:
    virtual ~alarm() = default;
  };

  virtual ~thread_port() = default;
  /// Starts another coroutine. Only from the thread itself.
  virtual void start(std::function<void(yield)> body) = 0;
  /// Runs `action` on the thread, soon and never in place. From any thread.
  virtual void post(std::function<void()> action) = 0;
  /// Runs `action` at `when`. Only from the thread itself.
  virtual std::unique_ptr<alarm> at(time_point when, std::function<void()> action) = 0;
};

// --- answers on disk (implemented by actors/)
// --------------------------------------------------------

class answer_disk {
 public:
  virtual ~answer_disk() = default;
  /// The answer kept under `key`, or null. Never fails: a disk that cannot be read knows nothing. One that is
  /// older than `max_age`, or expired, may come all the same, and counts as a miss.
  virtual cached_answer_ptr find(const cache_key& key, duration max_age, cancellation& gone, yield y) = 0;
};

// --- wire formats (implemented by http/)
// ----------------------------------------------------------------------

/// What a client asks for, and in which dialect.
enum class route_kind : std::uint8_t {
  chat,          ///< OpenAI: /v1/chat/completions
  completions,   ///< OpenAI: /v1/completions
  embeddings,    ///< OpenAI: /v1/embeddings
  responses,     ///< OpenAI: /v1/responses
  messages,      ///< Anthropic: /v1/messages
  count_tokens,  ///< Anthropic: /v1/messages/count_tokens
  generate,      ///< Gemini: generateContent and streamGenerateContent
  embed,         ///< Gemini: embedContent
  batch_embed,   ///< Gemini: batchEmbedContents
};
inline constexpr std::size_t route_kinds = 9;
std::string_view to_string(route_kind r);

/// An error as Millrace itself answers it; the dialect gives it its shape.
struct api_error {
  int status = 500;
  std::string type;        ///< OpenAI's `type`
  std::string code;        ///< stable snake_case
  std::string message;     ///< says what to do
  std::string param;       ///< empty: null
  duration retry_after{};  ///< 0: no header
  bool no_retry = false;   ///< x-should-retry: false
};

/// What was read from a request's body. Offsets are into the body.
struct request_facts {
  std::string model;        ///< Gemini's is in the path, and set before the body is read; so is `stream`
  size_t model_offset = 0;  ///< of the value of top-level `model`, quotes included
  size_t model_length = 0;
  bool stream = false;
  bool include_usage = false;        ///< stream_options.include_usage is true
  size_t stream_options_offset = 0;  ///< of the value of `stream_options`; length 0: absent
  size_t stream_options_length = 0;
  size_t insert_offset = 0;  ///< just behind the opening brace of the body
  bool empty_object = false;
  std::int64_t input_tokens = 0;  ///< estimate
  std::int64_t max_output_tokens = -1;
  std::int64_t images = 0;        ///< in the input
  bool zero_temperature = false;  ///< `temperature` is there and numerically 0
  bool base64 = false;            ///< embeddings are wanted in it
};

/// What a client wants its answer to be like.
struct answer_form {
  std::string_view model;         ///< its own name of it
  bool base64 = false;            ///< embeddings
  std::int64_t input_tokens = 0;  ///< reckoned: what it is told where the provider counts none
  answer_form(const request_facts& facts)
      : model(facts.model), base64(facts.base64), input_tokens(facts.input_tokens) {}
  template <class Text>
  requires std::convertible_to<const Text&, std::string_view> answer_form(const Text& m,
                                                                          std::int64_t tokens = 0)
      : model(m), input_tokens(tokens) {}
};

struct usage {
  std::int64_t input_tokens = 0;        ///< all of them, those from and to the provider's cache among them
  std::int64_t output_tokens = 0;       ///< all of them, reasoning among them
  std::int64_t cached_tokens = 0;       ///< of the input: read from the provider's cache
  std::int64_t cache_write_tokens = 0;  ///< of the input: written to it
  std::int64_t long_write_tokens = 0;   ///< of those: to be kept for an hour, not minutes
  std::int64_t reasoning_tokens = 0;    ///< of the output
  bool known = false;

  usage& operator+=(const usage& o) {
    input_tokens += o.input_tokens;
    output_tokens += o.output_tokens;
    cached_tokens += o.cached_tokens;
    cache_write_tokens += o.cache_write_tokens;
    long_write_tokens += o.long_write_tokens;
    reasoning_tokens += o.reasoning_tokens;
    known = known || o.known;
    return *this;
  }
};

/// Follows one streamed answer. Pure: no I/O, no clock.
class stream_reader {
 public:
  enum class state : std::uint8_t {
    preamble,  ///< nothing yet that a client would miss: failing over is invisible
    content,   ///< content, a tool call, or a finish reason passed
    done,      ///< the terminal marker passed, or the body ended where there is none
    failed,    ///< the provider sent an error event, or bytes that are not the dialect's
  };
  virtual ~stream_reader() = default;
  /// Takes bytes as they came and appends to `out` what the client shall get (whole events only).
  virtual state feed(std::string_view bytes, std::string& out) = 0;
  /// The body has ended in good order, with `feed` in state preamble or content. Done, where this dialect has
  /// no terminal marker and everything has come to its end; `out` gets what is left to say. Otherwise the
  /// stream was cut.
  virtual state end(std::string& out) { return feed({}, out); }
  virtual const usage& seen_usage() const = 0;
  /// In state failed: what the provider said, for the error event and the log.
  virtual const std::string& failure() const = 0;
  /// Status that a failure event would have had as an answer; 0 when unknown.
  virtual int failure_status() const = 0;
};

/// The dialect that a route's clients speak. Stateless and thread-safe.
class client_dialect {
 public:
  virtual ~client_dialect() = default;
  /// Fills `facts`, or says what is wrong with the body.
  virtual bool read_request(route_kind route, std::string_view body, request_facts& facts,
                            api_error& error) const = 0;
  /// A whole plain answer as the text of a whole event stream. Id, time and model stay; usage is told only
  /// where the client asked for it. Replaces `out`. False, with `out` empty, when it is no answer that ended
  /// properly or the route does not stream.
  virtual bool replay_stream(route_kind route, std::string_view answer, bool client_wants_usage,
                             std::string& out) const = 0;
  virtual std::string error_body(const api_error& e) const = 0;
  /// The same as an event inside a stream.
  virtual std::string error_event(const api_error& e) const = 0;
};

/// A request as one provider gets it.
struct provider_request {
  std::string path;  ///< and query
  std::string body;
  header_list headers;               ///< with the provider's credentials
  std::vector<std::string> dropped;  ///< fields of the client's request that it does not say
};

/// How requests of some routes are put to one kind of provider, and its answers to their clients: in the
/// provider's own dialect byte for byte, in any other one translated. Stateless and thread-safe.
class provider_dialect {
 public:
  virtual ~provider_dialect() = default;
  struct question {
    route_kind route;
    std::string_view body;
    const request_facts& facts;
    const header_list& forwarded;  ///< the client's headers that may go on
    const provider_config& provider;
    const secret& key;
    std::string_view model;          ///< the provider's name for it
    bool mark_prompt_cache = false;  ///< see model_config
  };
  /// False, with a 400 that names the field, for a request that this provider's dialect cannot say.
  virtual bool encode_request(const question& q, provider_request& out, api_error& error) const = 0;
  /// A whole 2xx answer as the client shall get it: under its own name of the model. Reads usage. False when
  /// it is no answer; it may tell of usage nevertheless.
  virtual bool rewrite_answer(route_kind route, std::string_view body, const answer_form& form,
                              std::string& out, usage& used) const = 0;
  /// Puts a refusal that is passed on (400, 404, 413, 422) into the client's dialect.
  virtual void rewrite_refusal(route_kind route, int status, std::string& body,
                               std::string& content_type) const = 0;
  virtual std::unique_ptr<stream_reader> read_stream(route_kind route, const answer_form& form,
                                                     bool client_wants_usage) const = 0;
  /// All bytes of a provider's event stream as the plain answer that the client would have got. Replaces
  /// `out` and `used`. False, with `out` empty, when the stream did not come to its proper end, tells of an
  /// error, or cannot be put together with certainty: then nothing of it may be kept. `out` is never much
  /// larger than `stream`, whose length the caller bounds.
  virtual bool collect_answer(route_kind route, std::string_view stream, const answer_form& form,
                              std::string& out, usage& used) const = 0;
  /// Limit headers of a provider's answer.
  virtual limit_hint read_limits(const upstream_head& head) const = 0;
  /// When to come back, by the headers and the body of a refusal; 0: not said.
  virtual duration read_retry_after(const upstream_head& head, std::string_view body) const = 0;
  /// True when an error body says that the account has no credit, in words that are not quoted from
  /// `request`.
  virtual bool speaks_of_credit(std::string_view body, std::string_view request) const = 0;
  /// True when the body of a 400 says that the key is none: not all tell so by 401 or 403.
  virtual bool refuses_key(std::string_view /*body*/) const { return false; }
};

/// What matters of an answer when it is weighed against another one.
struct answer_gist {
  /// 0..1, or below 0 where the answer does not tell: as its source says, of the first choice; of a choice
  /// that says nothing but calls a tool, of that call's arguments.
  double confidence = -1;
  /// What it says apart from how sure it is: equal texts are the same answer. JSON has its members in order.
  std::string said;
};

/// All dialects. Stateless and thread-safe; what it returns lives as long as the program.
class wire_formats {
 public:
  virtual ~wire_formats() = default;
  virtual const client_dialect& of(route_kind route) const = 0;
  /// Null when such a provider cannot serve such a route at all.
  virtual const provider_dialect* between(route_kind route, const provider_config& provider) const = 0;
  /// A whole plain answer of the route that says `text` and used no tokens, under the client's name of the
  /// model. `now`: UNIX time, seconds. Replaces `out`. False, with `out` empty, for routes whose answers are
  /// no text.
  virtual bool text_answer(route_kind route, std::string_view client_model, std::string_view text,
                           std::int64_t now, std::string& out) const = 0;
  /// What a whole plain answer says, to weigh it against another one. Never fails: what cannot be read says
  /// nothing.
  virtual answer_gist gist_of(route_kind route, std::string_view answer,
                              const confidence_source& source) const = 0;
  /// Whether another model may take what this answer refuses. `body`: the whole of it as the provider sent
  /// it; of a stream what came up to its first content.
  virtual refusal_reason reason_of(const provider_config& provider, int status,
                                   std::string_view body) const = 0;
};

// --- observation
// ----------------------------------------------------------------------------------------------

/// One finished request, for metrics and the access line. Views are valid during the call only.
struct request_record {
  std::string_view id;
  std::string_view method;
  std::string_view route;        ///< the route's pattern, never the raw path; empty when there is none
  std::string_view model;        ///< configured name; empty when unknown
  std::string_view asked_model;  ///< as the client asked for it: a wildcard has many
  std::string_view tenant;
  std::string_view client;
  std::string_view provider;
  std::string_view upstream_model;
  std::string_view key;  ///< its id
  std::string_view error_code;
  int status = 0;
  bool stream = false;
  bool fallback = false;
  bool client_gone = false;
  int attempts = 0;
  int retries = 0;
  engine::usage used;
  money cost;      ///< of all its upstream calls
  wall_time at{};  ///< its end
  duration total{};
  duration overhead{};     ///< total minus waiting for its client, permits, pauses and providers
  duration first_token{};  ///< 0: none
  duration waited{};       ///< for a permit
  queue_class queue = queue_class::standard;
  std::string_view cache;       ///< as in x-millrace-cache; empty where no answer could be cached
  std::string_view complexity;  ///< as in x-millrace-complexity; empty where nothing was judged
  std::string_view chosen;      ///< configured name of the model that rules chose; with `complexity`
  std::string_view hedge;       ///< as in x-millrace-hedged; empty: one call at a time
  std::string_view upgraded;    ///< as in x-millrace-upgraded; empty: the model has no upgrade
  double confidence = -1;       ///< of the answer, 0..1; below 0: not known
  std::string_view degraded;    ///< as in x-millrace-degraded; empty: not
};

/// One finished upstream call.
struct attempt_record {
  std::string_view provider;
  std::string_view model;  ///< upstream model as configured
  std::string_view key;
  std::string_view reason;  ///< "ok", "rate_limited", "unauthorized", "no_credit", "server_error", "timeout",
                            ///< "reset", "connect", "cut", "cancelled", ...
  duration total{};
  std::string_view tenant = {};
  std::string_view client = {};
  std::string_view asked_model = {};  ///< as the client asked for it
  engine::usage used = {};            ///< what the provider billed, or is reckoned to
  std::int64_t estimated_tokens = 0;  ///< of `used`: not told by the provider
  std::int64_t images = 0;            ///< in the input, if it was billed
  money cost = {};
  wall_time at = {};  ///< its end
};

/// What became of one answer of a model with an upgrade.
struct upgrade_record {
  enum class outcome : std::uint8_t {
    sure,     ///< sure enough, or unreadable and kept: nobody was asked again
    failed,   ///< the upgrade model did not answer, or had no room
    kept,     ///< it was no surer: the first answer stands
    same,     ///< it was surer, and said the same
    changed,  ///< it was surer, and said something else
  };
  std::string_view model;  ///< as configured
  std::string_view route;  ///< as `to_string` names it
  outcome what = outcome::sure;
  double before = -1;  ///< confidence of the first answer; below 0: not told
  double after = -1;   ///< of the one that was given
};

constexpr std::string_view to_string(upgrade_record::outcome o) {
  switch (o) {
    case upgrade_record::outcome::sure:
      return "sure";
    case upgrade_record::outcome::failed:
      return "failed";
    case upgrade_record::outcome::kept:
      return "kept";
    case upgrade_record::outcome::same:
      return "same";
    case upgrade_record::outcome::changed:
      return "changed";
  }
  return "";
}

/// Where finished work is counted. Thread-safe and cheap: called on the I/O threads.
class observer {
 public:
  virtual ~observer() = default;
  virtual void request_done(const request_record& r) = 0;
  virtual void attempt_done(const attempt_record& r) = 0;
  virtual void upgrade_done(const upgrade_record& /*r*/) {}
};

}  // namespace millrace::engine
