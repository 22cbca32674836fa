#pragma once

#include <cstdint>
#include <string_view>

#include "engine/pipeline.hpp"
#include "engine/shared_answer.hpp"

/// By which steps an answer may be worse than the one that was asked for, and what is left to say when no
/// provider answers. Nothing degrades silently: the step is told in x-millrace-degraded, in the access line
/// and in a metric.
namespace millrace::engine {

enum class degrade_step : std::uint8_t {
  none,
  fallback,  ///< another target than the model's first choice answered
  local,     ///< the same, and it is private or builtin, where the model has a target that is neither; or no
             ///< provider answered, and the builtin one was asked instead
  stale,     ///< no provider answered: an expired answer
  text,      ///< no provider answered: the template
};

/// As in x-millrace-degraded; empty for none.
constexpr std::string_view to_string(degrade_step s) {
  switch (s) {
    case degrade_step::none:
      return "";
    case degrade_step::fallback:
      return "fallback";
    case degrade_step::local:
      return "local";
    case degrade_step::stale:
      return "stale";
    case degrade_step::text:
      return "template";
  }
  return "";
}

/// The step that an answer of `provider` (its name) to a request for `model` is. `fallback`: as in
/// x-millrace-fallback.
degrade_step step_of(const config& c, const model_config& model, std::string_view provider, bool fallback);

/// Whether a request failed because of providers: they fail, refuse their keys, are full, or take too long.
/// Not because of what the client sent or may use, nor because the configuration names nobody.
bool is_outage(const api_error& error);

/// The answer of last resort to `c`, which failed with `error`, as its model and its client allow: one of the
/// builtin provider, else an expired one, else the template. `none`: `error` is no outage or there is
/// nothing, and `out` is untouched. `source`: who gave the answer.
///
/// The builtin provider is not asked for embeddings, since vectors of another kind would spoil whatever they
/// are compared with, nor where a provider refuses its keys: that is for the operator to see.
degrade_step answer_in_outage(const pipeline::ports& ports, const call& c, const api_error& error,
                              answer& out, answer_source& source, yield y);

}  // namespace millrace::engine
