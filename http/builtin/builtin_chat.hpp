#pragma once

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Conversations as the builtin provider takes them: in OpenAI's dialect, of which it reads the texts of
/// users, assistants and tools, the answer's format and bound, and whether it streams. What else asks for
/// something is told as dropped, by its OpenAI name: tools and a tool that must be called (there will be no
/// call), n, logprobs, top_logprobs, stop, temperature, top_p, penalties other than 0, seed,
/// reasoning_effort, user, image_url, file, input_audio. Instructions are followed by nobody there, those of
/// the system are not read: its answers say that no language model gave them.
const chat_provider_format& builtin_chat();

}  // namespace millrace::http
