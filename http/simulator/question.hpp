#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "engine/ports.hpp"

namespace millrace::http::simulation {

/// What the simulator wants to know about a request. Meant to be reused, so that a request allocates nothing.
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
  bool last_is_user = false;    ///< the last message is the user's
  std::string tools;            ///< raw JSON of `tools`; empty: none
  std::string tool_choice;      ///< raw JSON; empty: none
  std::string response_format;  ///< raw JSON; empty: none
  std::int64_t dimensions = 0;  ///< of an embedding; 0: the model's own
  bool base64 = false;          ///< encoding_format of an embedding
};

/// Reads a body; `padding` bytes behind it may be read. False: `error` says why not.
bool read_question(engine::route_kind route, std::string_view body, size_t padding, question& q,
                   engine::api_error& error);

}  // namespace millrace::http::simulation
