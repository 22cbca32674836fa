#pragma once

#include <string>
#include <string_view>

#include "http/dialects/chat.hpp"

/// Signatures of thoughts are only good for the provider that made them: another one refuses the request. So
/// those of Gemini bear a mark where other dialects carry them, and those of others go to Gemini's clients
/// wrapped as base64, the only thing its SDKs can hold. All arguments and results are string literals.
namespace millrace::http {

/// How Gemini's signatures begin in other dialects, and others' in Gemini's.
inline constexpr std::string_view gemini_signature_mark = "\"gemini#";
inline constexpr std::string_view foreign_signature_mark = "bWlsbHJhY2U6";

/// Whether a signature in the shared model is Gemini's own.
bool is_gemini_signature(json_literal signature);

/// Gemini's `thoughtSignature` as the shared model carries it.
std::string mark_gemini_signature(json_literal thought_signature);
/// The other way round; only for marked ones.
std::string unmark_gemini_signature(json_literal signature);

/// Any signature of the shared model as Gemini's clients get it, and as they give it back, in whichever
/// alphabet their SDK writes it.
std::string wrap_for_gemini_client(json_literal signature);
std::string unwrap_from_gemini_client(json_literal thought_signature);

}  // namespace millrace::http
