#pragma once

#include <memory>
#include <string_view>

#include "engine/ports.hpp"

namespace millrace::http {

/// Follows a streamed answer of chat or completions (see `engine::stream_reader`). What it changes:
/// - the value of `model` in every chunk becomes `client_model`;
/// - when the client did not ask for usage: the chunk with `choices: []` and `usage` is left out, and so is
/// the `"usage":null` that
///   providers put into all other chunks because Millrace asked. Real usage beside choices stays: it would
///   have come anyway.
/// Every other byte, comments included, passes as it came; only a leading byte order mark is dropped. Content
/// starts with the first choice that has a finish reason, a text, or any member of `delta` other than `role`
/// that is not null or empty. Bytes behind `[DONE]` are ignored. Not thread-safe; both arguments are copied.
std::unique_ptr<engine::stream_reader> read_openai_stream(std::string_view client_model,
                                                          bool client_wants_usage);

}  // namespace millrace::http
