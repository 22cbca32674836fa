#pragma once

#include <string>

#include "engine/pipeline.hpp"
#include "http/edge.hpp"

/// What a request's headers, its client and its model say about who may answer it.
namespace millrace::http {

/// Longest `x-millrace-session`, in bytes.
inline constexpr std::size_t max_session_bytes = 256;

/// Finishes a call whose client and model are known: with the model that the rules of the asked one choose,
/// for which alone the prompt is read; private when its header, its client or one of its models says so; and
/// with the number that its weighted choices are made with, where the model is sticky. False, with `error`,
/// for a session that is none. Pure; any thread.
/// `by_prompt`: the body holds a prompt for the model's rules to judge.
bool apply_model(const edge_request& r, bool by_prompt, engine::call& c, engine::api_error& error);

/// What stands for the model in the key of a question that rules sent to another model than was asked for.
/// The same words of clients of two tiers may be two models' to answer: then they are two questions.
std::string question_model(const engine::call& c);

}  // namespace millrace::http
