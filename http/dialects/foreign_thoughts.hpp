#pragma once

#include <string>
#include <string_view>

#include "http/dialects/chat.hpp"

/// Thoughts that a conversation brings along, but that its provider did not make: another one answered an
/// earlier turn, before a fallback or a change of the configuration. Their signatures would have the whole
/// request refused. Whoever reads a request of the provider's own dialect finds them by the marks that they
/// got on their way to the client. Pure; safe from any thread.
namespace millrace::http {

/// Whether `body` holds these bytes anywhere. Fast, for bodies of megabytes.
bool holds_bytes(std::string_view body, std::string_view bytes);

/// Whether there is an empty signature, as thoughts of providers get that sign none.
bool holds_blank_signature(std::string_view body);

/// Whether a message of the conversation has a thought for which `is_own` is false.
bool has_foreign_thought(const chat_request& request, bool (*is_own)(const chat_part& thought));

/// Takes items of /v1/responses out of `input` that Millrace made of other providers' thoughts. False, and
/// `body` as it was, when there are none.
bool drop_foreign_reasoning(std::string& body);

}  // namespace millrace::http
