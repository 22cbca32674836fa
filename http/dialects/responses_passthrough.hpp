#pragma once

#include <string>

#include "engine/ports.hpp"

namespace millrace::http {

/// Clients that speak OpenAI's /v1/responses.
///
/// `read_request` accepts what openai.hpp says, and refuses `background`, whose answers nobody could fetch. A
/// request that belongs to a `conversation` never counts as one of temperature 0. A replayed stream tells the
/// answer item by item; usage is in its last event, as it always is. Errors are OpenAI's; as an event they
/// are of type `error`.
const engine::client_dialect& responses_client();

/// Their requests to providers that have this route themselves, byte for byte: of a request only the value of
/// `model` changes, of an answer the same, of a stream `response.model` in every event that has it.
///
/// Answers that failed are none. A stream is over with `response.completed` or `response.incomplete`;
/// `response.failed`, `error` and whatever else holds an `error` are failures. Until something is said or
/// done, events may be replaced unseen. `collect_answer` gives the response of the last event.
const engine::provider_dialect& responses_passthrough();

/// Path of the route at a provider. Azure's has no deployment in it, since the body names the model, and its
/// version behind it.
std::string responses_path(const engine::provider_config& provider);

}  // namespace millrace::http
