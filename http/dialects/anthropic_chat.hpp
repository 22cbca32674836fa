#pragma once

#include "http/dialects/chat.hpp"

namespace millrace::http {

/// Anthropic's Messages API (/v1/messages) as a `chat_format`. Field names are those of the SDKs
/// @anthropic-ai/sdk and anthropic. Stateless; safe from any thread.
///
/// # Requests of clients (`decode_request`)
/// Read: messages (roles user, assistant, system; text, image, document, thinking, redacted_thinking,
/// tool_use, tool_result; sources base64, url, text), system, max_tokens, tools, tool_choice with
/// disable_parallel_tool_use, stop_sequences, temperature, top_p, top_k, thinking (enabled, disabled,
/// adaptive), output_config.effort, output_config.format, metadata.user_id, cache_control of blocks and
/// tools, stream. A document's `context` becomes a text before it.
///
/// Dropped, by these names: service_tier, speed, diagnostics, cache_control (top level), citations (of texts
/// given back), thinking.display, eager_input_streaming, input_examples.
///
/// 400 `unsupported_field`, because only Anthropic can do it: every other content block and source (server
/// tools and their results, search results, files, documents made of blocks), citations that are switched on,
/// tools with a `type` other than custom, deferred tools, callers other than direct, container, mcp_servers,
/// context_management, inference_geo, thinking `between_tools`, `max_tokens: 0`, image transformations, and
/// every member that is not known.
///
/// # Requests to Anthropic (`encode_request`)
/// | of the request | becomes |
/// |---|---|
/// | system messages, wherever they stand | `system`, in order; alone they are the user's message |
/// | messages of one role in a row | one message; of a user's, tool results first |
/// | texts of nothing but white space | left out: they say nothing, and are refused |
/// | refusal | text |
/// | thinking without a signature | left out: it would be refused |
/// | tool ids with other characters than A-Z a-z 0-9 _ - | `_` for those and a hash behind; missing ones by
///   order and name |
/// | no bound of output tokens | `encode_options.default_max_output_tokens`, plus the thinking budget |
/// | temperature above 1 | 1, and `temperature` in dropped |
/// | temperature (other than 1), top_k, top_p below 0.95, with thinking | left out, in dropped |
/// | top_p (other than 1) beside temperature | left out, in dropped: models refuse both |
/// | JSON schema | `output_config.format`, always strict; its name is a mere label and has no place |
/// | JSON without a schema | an instruction at the end of `system`, and `response_format` in dropped |
/// | parallel_tool_calls: false | `tool_choice.disable_parallel_tool_use` |
/// | effort, thinking | for models up to Claude 4.5 `thinking.budget_tokens`; for later ones adaptive
/// thinking
///   and `output_config.effort` |
/// | thinking with a forced tool, or amid a tool loop whose thoughts did not come back (models up to 4.5), or
///   without room for 1024 tokens | no thinking, `reasoning_effort` in dropped |
///
/// Efforts and budgets in tokens: minimal 1024, low 2048, medium 8192, high 24576, xhigh 32768, max 65536;
/// `none` switches thinking off. A budget that is not below max_tokens is cut to half of it. A budget for a
/// model that takes none becomes the effort that reaches it, high at most.
///
/// Dropped, by their OpenAI names: presence_penalty and frequency_penalty (other than 0), seed, image detail
/// (other than auto, as `detail`).
/// 400: n above 1, logprobs, audio, images other than jpeg, png, gif and webp, documents other than PDF and
/// text, names of tools that Anthropic does not allow, `stop` of nothing but white space, an unknown effort.
///
/// With `mark_prompt_cache`, and no `cache_control` in the request, the last tool and the last block of
/// `system` are marked ephemeral where the prompt up to there is at least 1024 tokens long by
/// token_estimate.hpp: two marks of the four that are allowed.
///
/// # Answers and streams
/// Usage is converted: `input_tokens` of this dialect leaves cached tokens out, `engine::usage` does not.
/// Blocks that no request of ours can cause are skipped. A refusal's explanation becomes a refusal part.
/// The sink holds the stop reason back until `done`, since usage may follow it. Without an id, answers are
/// named after `encode_options.now`.
const chat_format& anthropic_chat();

}  // namespace millrace::http
