#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/time.hpp"
#include "http/simulator/event_stream.hpp"
#include "http/simulator/text.hpp"

/// Answers, and their bodies in OpenAI's shapes.
namespace millrace::http::simulation {

/// What all parts of one answer share.
struct identity {
  std::string id;
  std::int64_t created = 0;  ///< Unix time in s
  std::string model;         ///< escaped, as the request named it
};

/// The answers to one question, at least one text, all equally long; each is given `copies` times.
struct reply_choices {
  engine::route_kind route = engine::route_kind::chat;
  std::vector<reply_text> texts;
  std::int64_t copies = 1;
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;       ///< of the prompt: read from a cache
  std::int64_t cache_write_tokens = 0;  ///< of the prompt: written to it
  bool tells_usage = true;              ///< OpenAI's chat and completions may leave it out

  std::int64_t count() const { return static_cast<std::int64_t>(texts.size()) * copies; }
  const reply_text& text(std::int64_t choice) const { return texts[static_cast<size_t>(choice / copies)]; }
  std::int64_t reasoning_tokens() const;
  std::int64_t completion_tokens() const;  ///< reasoning among them
  engine::usage usage() const;
  /// The same with so many visible tokens said, or nothing at all (-1).
  engine::usage usage_after(std::int64_t tokens) const;
};

/// A whole chat completion or completion.
void append_completion(std::string& out, const identity& who, const reply_choices& choices,
                       std::int64_t now_us);

/// A whole list of embeddings. A vector is the sum of a pseudo-random vector for each word of the text, of
/// length 1: the same text has the same vector, and texts that share words are close.
void append_embeddings(std::string& out, const identity& who, const question& q);

/// The vector of one text, as JSON numbers in brackets. `dimensions` 0: 3072.
void append_vector(std::string& out, std::string_view text, std::int64_t dimensions);

/// GET /v1/models, or one of them.
std::string model_list(const std::vector<std::string>& names);
std::string model_entry(const std::string& name);

/// A streamed chat completion or completion.
class event_source final : public event_stream {
 public:
  event_source(identity who, reply_choices choices, bool include_usage, double tokens_per_second,
               bool chunked);

  bool done() const override { return step_ == step::end; }
  engine::duration due() const override;
  void write_event(std::string& out, std::int64_t now_us) override;
  engine::usage used() const override { return choices_.usage_after(events_written() > 0 ? tokens_ : -1); }

 private:
  enum class step : std::uint8_t { role, token, finish, usage, marker, end };
  void advance();
  void append_event(std::string& out, std::int64_t now_us) const;
  void append_role(std::string& out, const reply_text& text) const;
  void append_token(std::string& out, const reply_text& text, std::int64_t now_us) const;

  identity who_;
  reply_choices choices_;
  bool include_usage_;
  double tokens_per_second_;
  std::string prefix_;  ///< every event up to the choices
  std::string scratch_;
  step step_;
  std::int64_t length_;      ///< tokens of each choice
  std::int64_t choice_ = 0;  ///< of the next event
  std::int64_t token_ = 0;   ///< of the next event
  std::int64_t tokens_ = 0;
};

}  // namespace millrace::http::simulation
