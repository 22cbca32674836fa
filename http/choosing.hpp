#pragma once

#include "engine/pipeline.hpp"
#include "http/edge.hpp"

/// What a request's headers, its client and its model say about who may answer it.
namespace millrace::http {

/// Longest `x-millrace-session`, in bytes.
inline constexpr std::size_t max_session_bytes = 256;

/// Finishes a call whose client and model are known: private when its header, its client or its model says
/// so, and with the number that its weighted choices are made with, where the model is sticky. False, with
/// `error`, for a session that is none. Pure; any thread.
bool apply_model(const edge_request& r, engine::call& c, engine::api_error& error);

}  // namespace millrace::http
