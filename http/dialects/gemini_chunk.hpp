#pragma once

#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// One part of an answer, as written.
struct gemini_answer_part {
  enum class kind : std::uint8_t {
    text,
    call,
    media,  ///< inlineData
    own,    ///< what only Gemini's API has: fileData, executableCode, codeExecutionResult
    other
  };
  kind what = kind::other;
  bool thought = false;
  json_literal text;
  json_literal signature;
  json_literal id;  ///< of a call
  json_literal name;
  json_literal arguments;
  json_literal media_type;
};

/// What is to be known of every candidate.
struct gemini_candidate {
  std::int64_t index = 0;
  bool says = false;  ///< it has content: a text that is not empty, a call, ...
  bool ended = false;
};

/// A whole answer, or one event of a stream: they have the same shape. All literals point into the payload.
struct gemini_chunk {
  std::vector<gemini_answer_part> parts;  ///< of the first candidate
  std::vector<gemini_candidate> candidates;
  json_literal finish;  ///< the first one's finishReason
  json_literal id;      ///< responseId
  json_literal model_version;
  json_literal error;
  bool blocked = false;  ///< promptFeedback says why there is no answer
  bool any_usage = false;
  engine::usage used;
};

/// Replaces `out`. False when it is no JSON object.
bool read_gemini_chunk(std::string_view payload, gemini_chunk& out);

}  // namespace millrace::http
