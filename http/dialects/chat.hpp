#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"

/// A conversation as all providers mean it: what one dialect's decoder reads and another's encoder writes.
/// Same-dialect traffic never comes here; it passes byte for byte.
///
/// Two kinds of text: a `json_literal` is JSON as it was written, of a string with its quotes, and goes from
/// one body into another without being unescaped; a plain `std::string_view` is unescaped. Both point into
/// the body that was read, which must outlive the value, or into the value's own `texts`.
namespace millrace::http {

using json_literal = std::string_view;

enum class chat_role : std::uint8_t { system, user, assistant };

enum class part_kind : std::uint8_t {
  text,
  image,            ///< `url`, or `media_type` and `data`
  document,         ///< the same; a plain-text document has its text in `text`
  audio,            ///< `media_type` and `data`
  tool_call,        ///< of the assistant: `id`, `name`, `arguments`
  tool_result,      ///< of the user, for the call `id`: `result`, `failed`
  thinking,         ///< of the assistant: `text`, `signature`
  sealed_thinking,  ///< of the assistant: `signature` is all there is (redacted or encrypted)
  refusal,          ///< of the assistant: `text` says why
};

struct chat_part {
  part_kind kind = part_kind::text;
  json_literal text;
  std::string_view url;
  std::string_view media_type;
  std::string_view data;          ///< base64
  std::string_view name;          ///< of a tool; of a document its title or file name
  std::string_view id;            ///< of a tool call; empty where the dialect has none
  std::string_view detail;        ///< of an image: OpenAI's `detail`; empty: not said
  json_literal arguments;         ///< an object; in answers whatever the model wrote
  std::vector<chat_part> result;  ///< text, images, documents
  bool failed = false;
  json_literal signature;      ///< a string
  json_literal cache_control;  ///< Anthropic's object; empty: none
};

struct chat_message {
  chat_role role = chat_role::user;
  std::vector<chat_part> parts;
};

struct chat_tool {
  std::string_view name;
  json_literal description;  ///< a string; empty: none
  json_literal parameters;   ///< a JSON schema; empty: no parameters
  std::optional<bool> strict;
  json_literal cache_control;
};

enum class tool_choice : std::uint8_t { unset, automatic, none, any, named };
enum class answer_format : std::uint8_t { text, json, schema };
enum class thinking_mode : std::uint8_t { unset, off, on };

struct chat_request {
  std::vector<chat_message> messages;  ///< in order; system ones wherever they stood
  std::vector<chat_tool> tools;
  http::tool_choice tool_choice = http::tool_choice::unset;
  std::string_view chosen_tool;  ///< with `named`
  std::optional<bool> parallel_tool_calls;
  answer_format format = answer_format::text;
  std::string_view schema_name;
  json_literal schema;
  std::optional<bool> schema_strict;
  std::int64_t max_output_tokens = -1;  ///< -1: not said
  json_literal temperature;             ///< numbers as written; empty: not said
  json_literal top_p;
  json_literal top_k;
  json_literal presence_penalty;
  json_literal frequency_penalty;
  json_literal seed;
  std::vector<json_literal> stop;  ///< strings
  thinking_mode thinking = thinking_mode::unset;
  std::int64_t thinking_tokens = -1;  ///< budget; -1: not said
  std::string_view effort;            ///< minimal, low, medium, high, ...; empty: not said
  std::int64_t choices = 1;
  bool logprobs = false;
  std::int64_t top_logprobs = -1;
  std::string_view end_user;  ///< whom the client serves, as the client calls him
  bool stream = false;
  bool include_usage = false;  ///< in the stream

  /// Fields that were read and have no meaning in any other dialect, or none that changes what is answered:
  /// the documented drops, by their names in the request.
  std::vector<std::string> dropped;
  std::deque<std::string> texts;  ///< what views point to that is not in the body
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

enum class finish_reason : std::uint8_t {
  none,            ///< not said yet
  stop,            ///< came to its end, or `stop_sequence`
  length,          ///< out of output tokens, or of context
  tool_calls,      ///< wants tools called
  content_filter,  ///< the provider's policy, or the model refused
  paused,          ///< Anthropic's pause_turn
};

struct chat_answer {
  std::string_view id;
  std::int64_t created = 0;  ///< UNIX time, seconds; 0: not said
  std::vector<chat_part> parts;
  finish_reason finish = finish_reason::none;
  json_literal stop_sequence;  ///< the one that ended it, where the provider says; a string
  engine::usage used;

  std::deque<std::string> texts;
  std::string_view keep(std::string text) { return texts.emplace_back(std::move(text)); }
};

/// A step of a streamed answer. Views are valid only while it is handed over.
struct chat_delta {
  enum class kind : std::uint8_t {
    start,            ///< `id` of the answer; comes once, first
    text,             ///< more of the text, in `text`
    refusal,          ///< the same of a refusal
    thinking,         ///< the same of a thought
    signature,        ///< of the thought that ends with it, whole, in `text`
    sealed_thinking,  ///< whole, in `text`
    tool_call,        ///< one begins: `index` (0 for the first of the answer), `id`, `name`
    tool_arguments,   ///< of call `index`: the next piece of the text of its arguments, in `text`
    usage,            ///< `used` is what is known so far, all fields cumulative
    finish,           ///< `finish`, `stop_sequence`; usage may still follow, content may not
    done,             ///< the terminal marker
    error,            ///< the provider's error event: `message`, `status`
  };
  kind what = kind::text;
  json_literal text{};  ///< a string literal with its quotes; may hold one half of a surrogate pair
  std::int64_t index = 0;
  std::string_view id{};
  std::string_view name{};
  finish_reason finish = finish_reason::none;
  json_literal stop_sequence{};
  engine::usage used{};
  std::string_view message{};
  int status = 0;  ///< an HTTP status, 0: unknown
};

/// Takes a stream apart. One per stream; not thread-safe.
class delta_source {
 public:
  virtual ~delta_source() = default;
  /// Takes bytes as they came, whatever the pieces, and calls `sink` for what is in them. False when they are
  /// not the dialect's (malformed, or above a bound): nothing more is read then.
  virtual bool feed(std::string_view bytes, const std::function<void(const chat_delta&)>& sink) = 0;
  /// The body has ended in good order: what only this tells is said now.
  virtual void end(const std::function<void(const chat_delta&)>& /*sink*/) {}
};

/// Puts a stream together. One per stream; not thread-safe.
class delta_sink {
 public:
  virtual ~delta_sink() = default;
  /// Appends to `out` the events that say `d`, none or several, whole. `error` is not given to it.
  virtual void put(const chat_delta& d, std::string& out) = 0;
  /// The answer is larger than this dialect can tell: the stream is to be given up.
  virtual bool overflowed() const { return false; }
};

/// What an encoder needs to know beside the request.
struct encode_options {
  std::string_view model;  ///< the provider's name for it
  /// What to ask for where the dialect demands a bound and the client named none.
  std::int64_t default_max_output_tokens = 4096;
  /// Mark long system prompts and tools for the provider's prompt cache (Anthropic), unless the client marked
  /// any itself.
  bool mark_prompt_cache = false;
  /// OpenAI's own API, or a model of its own that refuses the older name: `max_completion_tokens`, which many
  /// that speak its dialect do not know.
  bool newest_names = false;
  bool stream_usage = true;  ///< see engine::provider_config
  bool thinks = true;        ///< false: no model of the provider thinks before it answers
  std::int64_t now = 0;      ///< UNIX time, seconds
};

/// One dialect of conversations, on the side of clients. Stateless and thread-safe.
class chat_client_format {
 public:
  virtual ~chat_client_format() = default;

  /// Replaces `out`. False, with a 400 that names the field, for what is malformed or what only this dialect
  /// can say: then no other provider may get the request.
  virtual bool decode_request(std::string_view body, chat_request& out, engine::api_error& error) const = 0;
  /// Whether the dialect can tell `answer`; where not, it is no answer. Takes out what it has no word for and
  /// the client does not miss.
  virtual bool fit(chat_answer& /*answer*/) const { return true; }
  /// Appends the whole answer, under `model` as the client calls it.
  virtual void encode_answer(const chat_answer& answer, const encode_options& options,
                             std::string& out) const = 0;
  /// `include_usage`: the client asked for usage where the dialect lets it choose.
  virtual std::unique_ptr<delta_sink> encode_stream(const encode_options& options,
                                                    bool include_usage) const = 0;
};

/// The same on the side of providers.
class chat_provider_format {
 public:
  virtual ~chat_provider_format() = default;

  /// Appends the body. False, with a 400 that names the field in the client's words as far as they are known
  /// (the OpenAI name otherwise), for what this dialect cannot say. `dropped` gets the names of what it
  /// leaves out, as listed in the folder's README.
  virtual bool encode_request(const chat_request& request, const encode_options& options, std::string& out,
                              std::vector<std::string>& dropped, engine::api_error& error) const = 0;
  /// Replaces `out`. False when the body is not an answer of this dialect.
  virtual bool decode_answer(std::string_view body, chat_answer& out) const = 0;
  virtual std::unique_ptr<delta_source> decode_stream() const = 0;
  /// What an error body says: its message, or empty when it is not this dialect's.
  virtual std::string decode_error(std::string_view body) const = 0;
};

/// A dialect that both sides speak.
class chat_format : public chat_client_format, public chat_provider_format {};

}  // namespace millrace::http
