#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "http/dialects/gemini_chunk.hpp"

namespace millrace::http {

/// The id of call `index` of an answer, for calls that Gemini gave none: the same whenever it is read.
std::string gemini_call_id(std::string_view answer_id, size_t index);

/// Appends a part with a functionCall. False, with nothing written, when `arguments` are no JSON object; none
/// at all are an empty one.
bool write_gemini_call(std::string_view id, std::string_view name, std::string_view arguments,
                       std::string& out);

/// What stands in an answer for other dialects in place of a part that none of them can hold: images and
/// audio, files, code that Gemini ran. A string literal, in brackets and on a line of its own.
std::string gemini_note_of(const gemini_answer_part& part);

}  // namespace millrace::http
