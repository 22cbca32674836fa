#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"
#include "http/simulator/prefix_cache.hpp"

namespace millrace::http::simulation {

/// What the simulator wants to know about a request of any dialect: what the others say in their own way is
/// put into OpenAI's, so that equal questions have equal answers. Meant to be reused, so that a request
/// allocates nothing.
struct question {
  /// Bounds of what a single request may ask for.
  static constexpr std::int64_t max_choices = 128;
  static constexpr size_t max_inputs = 2048;
  static constexpr std::int64_t max_dimensions = 4096;

  engine::route_kind route = engine::route_kind::chat;
  engine::request_facts facts;
  std::int64_t max_tokens = -1;  ///< of one choice; -1: not said
  std::int64_t choices = 1;      ///< `n`
  std::uint32_t digest = 0;      ///< CRC-32 of the raw bytes of `messages`, `prompt` or `input`
  /// Text of the last user message, or the prompts, or the inputs of an embedding. Tokens given as numbers
  /// are joined by spaces. Only the first `texts` are this request's.
  std::vector<std::string> text;
  size_t texts = 0;
  std::string said;             ///< scratch
  bool plain = true;            ///< nothing in it that needs to be judged
  bool last_is_user = false;    ///< the last message is the user's
  bool parallel_calls = true;   ///< several tools may be called at once
  bool reasons = false;         ///< thinks before it answers
  bool shows_thoughts = false;  ///< and says what
  bool redacts_thoughts = false;
  std::string tools;                      ///< raw JSON of `tools`; empty: none
  std::string tool_choice;                ///< raw JSON; empty: none
  std::string response_format;            ///< raw JSON; empty: none
  std::int64_t dimensions = 0;            ///< of an embedding; 0: the model's own
  bool base64 = false;                    ///< encoding_format of an embedding
  std::int64_t prompt_tokens = 0;         ///< as usage tells them; limits go by facts.input_tokens
  std::vector<cache_point> cache_points;  ///< where the prompt may be known up to, by length
  bool writes_cache = false;              ///< up to the last of them it is told as written where it is not
  bool array_stream = false;              ///< Gemini: the stream is a JSON array
  bool keeps = true;                      ///< Responses: thoughts may come back by their id alone
  bool seals_thoughts = false;            ///< Responses: thoughts come encrypted, too
  std::string repeated;                   ///< Responses: members that the answer repeats, each after a comma
};

/// Forgets the last request.
void clear(question& q, engine::route_kind route);

/// The next text of the question, empty and ready to be filled; capacity is kept between requests.
std::string& next_text(question& q);

/// Adds a function to a list of tools as `question::tools` has it; the list is to be closed. `parameters`:
/// JSON.
void add_function(std::string& tools, std::string_view name, std::string_view parameters);
/// The value of `question::tool_choice` that names a function.
std::string chosen_function(std::string_view name);

/// CRC-32 of raw JSON; white space behind it does not count.
std::uint32_t digest_of(std::string_view raw);

/// Reads a body of OpenAI's into a clear question; `padding` bytes behind it may be read. False: `error` says
/// why not.
bool read_openai_question(engine::route_kind route, std::string_view body, size_t padding, question& q,
                          engine::api_error& error);

}  // namespace millrace::http::simulation
