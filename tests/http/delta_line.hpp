#pragma once

#include <string>

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// One line that says all of a delta: what it is, and its fields as they stand, literals with their quotes.
inline std::string line_of(const chat_delta& d) {
  using kind = chat_delta::kind;
  switch (d.what) {
    case kind::start:
      return "start " + std::string(d.id);
    case kind::text:
      return "text " + std::string(d.text);
    case kind::refusal:
      return "refusal " + std::string(d.text);
    case kind::thinking:
      return "thinking " + std::string(d.text);
    case kind::signature:
      return "signature " + std::string(d.text);
    case kind::sealed_thinking:
      return "sealed " + std::string(d.text);
    case kind::tool_call:
      return "call " + std::to_string(d.index) + " " + std::string(d.id) + " " + std::string(d.name);
    case kind::tool_arguments:
      return "arguments " + std::to_string(d.index) + " " + std::string(d.text);
    case kind::usage:
      return "usage " + std::to_string(d.used.input_tokens) + "/" + std::to_string(d.used.cached_tokens) +
             " " + std::to_string(d.used.output_tokens) + "/" + std::to_string(d.used.reasoning_tokens);
    case kind::finish:
      return "finish " + std::to_string(static_cast<int>(d.finish)) + " " + std::string(d.stop_sequence);
    case kind::done:
      return "done";
    case kind::error:
      return "error " + std::to_string(d.status) + " " + std::string(d.message);
  }
  return {};
}

}  // namespace millrace::http
