#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http/dialects/chat.hpp"

/// Conversations in the dialect of OpenAI's /v1/responses, of clients whose provider speaks another one.
/// Pure; safe from any thread.
///
/// # Requests
/// | field | becomes |
/// |---|---|
/// | `instructions` | a system message, the first |
/// | `input`, a text | what the user says |
/// | messages (`system`, `developer`, `user`, `assistant`) | messages; of the assistant's, what stands in a
/// row
///   is one |
/// | `input_text`, `output_text`, `refusal` | texts |
/// | `input_image` with `image_url`, `input_file` with `file_data` or `file_url`, `input_audio` | images,
///   documents, audio |
/// | `function_call`, `function_call_output` | calls and results by `call_id`; results in a row are one |
/// | `reasoning` | a thought; one whose `encrypted_content` is not of Millrace's making loses that |
/// | `tools` and `tool_choice` of type function, `parallel_tool_calls` | the same |
/// | `text.format`, `reasoning.effort`, `max_output_tokens`, `temperature`, `top_p` | the same |
/// | `safety_identifier`, else `user` | the end user |
///
/// Dropped and told: metadata, store, service_tier, truncation, include, prompt_cache_key,
/// prompt_cache_retention, prompt_cache_options, text.verbosity, text.format.description, reasoning.summary,
/// stream_options, max_tool_calls, input.phase, input.annotations, input.encrypted_content,
/// input.prompt_cache_breakpoint.
/// 400 `unsupported_field`: previous_response_id, conversation, background, prompt, top_logprobs above 0, all
/// tools but functions, items of other types, item_reference, file_id, and whatever is not known.
///
/// # Answers and streams
/// Texts and refusals in a row are one message; thoughts are reasoning items with a summary, whose
/// `encrypted_content` holds the provider's signature with a mark. Out of tokens is `incomplete` with
/// `max_output_tokens`, a provider's refusal with `content_filter`; everything else is `completed`. What the
/// request said is not repeated: instructions, temperature and top_p are null, tools empty, tool_choice auto.
/// Ids follow from the answer's.
///
/// A stream tells every item with all its events. Function calls are done when the answer is, since pieces
/// of parallel ones may come in turns.
namespace millrace::http {

const chat_client_format& responses_chat();

/// Most bytes of a streamed answer's texts, which its last event repeats; beyond them the stream is given up.
inline constexpr std::size_t max_response_bytes = 16U << 20;
/// Most items of an answer, and parts of a message.
inline constexpr std::size_t max_response_items = 4096;

bool decode_responses_request(std::string_view body, chat_request& out, engine::api_error& error);
void encode_responses_answer(const chat_answer& answer, const encode_options& options, std::string& out);
std::unique_ptr<delta_sink> encode_responses_stream(const encode_options& options);

}  // namespace millrace::http
