#pragma once

#include <string>
#include <string_view>

#include "engine/ports.hpp"

/// Gemini's API, v1beta, in its own dialect: generateContent and streamGenerateContent (`generate`),
/// embedContent (`embed`), batchEmbedContents (`batch_embed`). All stateless; safe from any thread.
namespace millrace::http {

/// - `read_request` keeps the `model` and `stream` that the path told. It looks only at what Millrace itself
///   needs; two spellings of one field are a duplicate. `include_usage` is that of `stream`: Gemini's clients
///   are always told.
/// - `error_body`: `status` by the HTTP status; `details` has ErrorInfo with the code as its reason,
///   BadRequest where a field is to blame, and RetryInfo where it is known when to come back.
const engine::client_dialect& gemini_client();

/// - Of a request only the value of `model` in the body is replaced, by the full name of the target's.
/// - Of an answer only `modelVersion` is replaced.
/// - A stream is `done` when every candidate that was seen has its finishReason, or the prompt was blocked.
///   Events behind that still pass and their usage counts.
/// - `speaks_of_credit` is true for keys that do not work at all, too: Gemini says so by a 400.
const engine::provider_dialect& gemini_passthrough();

/// The model as Gemini names it in bodies and paths: "models/x", "tunedModels/y".
std::string gemini_model_name(std::string_view model);

/// Path and query of a call; `stream` only counts for `generate`.
std::string gemini_path(engine::route_kind route, const engine::provider_config& provider,
                        std::string_view model, bool stream);

/// Adds the key as a header; none where it is empty.
void add_gemini_key(const engine::secret& key, engine::header_list& headers);

}  // namespace millrace::http
