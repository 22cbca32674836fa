#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// The `thinkingConfig` that says what `request` asks of thinking, for this model; empty: nothing to say.
/// `dropped` gets `reasoning_effort` where it could only be said in part.
/// - Gemini 3 and later: effort becomes a level (minimal is "low" but for Flash models; xhigh and above are
///   "high"), without one a budget stays a budget; "off" becomes the lowest level.
/// - Others: a budget stays a budget, within the model's bounds; effort becomes one as Google's own
///   compatible endpoint has it: minimal and low 1024, medium 8192, high and above 24576. "Off" is 0, and 128
///   for Pro models, which always think.
/// - Before 2.5 no model thinks.
/// Thoughts are shown where thinking was turned on in so many words.
/// https://ai.google.dev/gemini-api/docs/thinking, https://ai.google.dev/gemini-api/docs/openai
std::string gemini_thinking_config(const chat_request& request, std::string_view model,
                                   std::vector<std::string>& dropped);

}  // namespace millrace::http
