#pragma once

#include <string>

#include "engine/ports.hpp"

namespace millrace::http {

/// Clients that speak Anthropic's Messages API, on the routes messages and count_tokens.
///
/// `read_request` accepts exactly one JSON object in valid UTF-8, nested at most 128 deep, without duplicate
/// top-level keys, and looks only at what Millrace itself needs: model, messages, stream, max_tokens,
/// temperature, and whatever counts as input by token_estimate.hpp. count_tokens has no stream and no output.
/// Errors have the type that belongs to their status, `request_id: null` (for the edge to fill in, but within
/// a stream), and Millrace's own code as `details.error_code`, where the SDKs look for it. A replayed stream
/// tells usage as the answer does, since clients of this dialect cannot decline it.
const engine::client_dialect& anthropic_client();

/// Their requests to providers of the same dialect, byte for byte: of a request only the value of `model`
/// changes, and where the model has `prompt_cache: auto` marks are put into a long prompt that has none
/// (anthropic_cache_marks.hpp), of an answer the same, of a stream that in `message_start`. Answers of
/// count_tokens have no model and stay as they are, and cost nothing: their usage is unknown.
///
/// Of a provider's token limits the one for all tokens counts; where only those of input and of output are
/// told, the one with less left. `collect_answer` gives up on what it does not know by name.
const engine::provider_dialect& anthropic_passthrough();

/// Path of a route at a provider: its base path, `/v1` unless that ends in it, and the rest.
std::string anthropic_path(engine::route_kind route, const engine::provider_config& provider);

/// The client's headers that may go on, `x-api-key` unless the key is empty, and `anthropic-version` where
/// the client did not send one.
void add_anthropic_headers(const engine::header_list& forwarded, const engine::secret& key,
                           engine::header_list& headers);

}  // namespace millrace::http
