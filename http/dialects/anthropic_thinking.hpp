#pragma once

#include <cstdint>
#include <string_view>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// How a request's thinking is put to one of Anthropic's models.
struct anthropic_thinking {
  std::int64_t max_tokens = 0;
  std::string_view literal;  ///< of `thinking`, up to the budget; empty: not said
  std::int64_t budget = -1;  ///< `budget_tokens`; -1: none
  std::string_view effort;   ///< of `output_config`; empty: not said
  bool on = false;
  bool dropped = false;  ///< it was asked for, and cannot be
  bool unknown_effort = false;
};

/// Whether the model takes `thinking.budget_tokens` and no effort: Claude up to 4.5.
bool takes_thinking_budget(std::string_view model);

/// Whether Anthropic made a thought, as far as can be told: it is signed, and not by Gemini.
bool is_anthropic_thought(const chat_part& part);

/// Whether the request goes on with the results of tools, in a turn that does not begin with Anthropic's
/// thoughts: with thinking on, its API refuses that.
bool lacks_thoughts(const chat_request& request);

anthropic_thinking plan_anthropic_thinking(const chat_request& request, const encode_options& options);

}  // namespace millrace::http
