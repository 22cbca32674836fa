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
/// - A stream is `done` when its body ends and every candidate that was seen has a finishReason, or the
/// prompt
///   was blocked.
const engine::provider_dialect& gemini_passthrough();

/// The model as Gemini names it in bodies and paths: "models/x", "tunedModels/y".
std::string gemini_model_name(std::string_view model);

/// Path and query of a call, of translated ones, too: embeddings of any dialect are `batchEmbedContents`,
/// conversations `generateContent` or its streamed form.
std::string gemini_path(const engine::provider_dialect::question& q);

/// Adds the client's headers, without those meant for providers of another dialect, and the key as a header;
/// none where it is empty.
void add_gemini_headers(const engine::header_list& forwarded, const engine::secret& key,
                        engine::header_list& headers);

}  // namespace millrace::http
