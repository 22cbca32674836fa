#pragma once

#include <string_view>

#include "engine/ports.hpp"

/// What plain answers of any client's dialect say, to weigh one against another. Pure; safe from any thread.
namespace millrace::http {

/// See `engine::wire_formats::gist_of`. A field is looked for in the JSON that the text is: the whole text,
/// what stands in its first code fence, or what stands between its first `{` and its last `}`. Its value is a
/// number from 0 to 1, or a string of one, with `%` from 0 to 100. Log-probabilities are OpenAI's `logprobs`,
/// or Gemini's `avgLogprobs` or `logprobsResult`, where the request asked for them; the confidence is e to
/// their mean, the geometric mean of the tokens' probabilities.
engine::answer_gist read_gist(engine::route_kind route, std::string_view answer,
                              const engine::confidence_source& source);

}  // namespace millrace::http
